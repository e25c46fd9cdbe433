"""Seeds to masks: AES-128-CTR keystream, read as ring words and added in cache-sized chunks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from secagg.keys import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Executor

    from cryptography.hazmat.primitives.ciphers import CipherContext

    from secagg.ring import RingArray

__all__ = ["SEED_SIZE", "add_masks"]

SEED_SIZE = 16
"""An AES-128 key. Each key makes one stream only, so the counter starts at zero."""

_BLOCK = 16
_CHUNK = 256 << 10  # bytes: keystream and the vector's part stay in the second-level cache
_CACHE_LINE = 64
_ZEROS = memoryview(bytes(_CHUNK))


def add_masks(
    accumulator: RingArray,
    plus: Iterable[bytes],
    minus: Iterable[bytes] = (),
    *,
    executor: Executor | None = None,
) -> None:
    """Add the masks of `plus` and subtract those of `minus`, in place, modulo the word size.

    Word i of a mask is the i-th little-endian word of the keystream.

    Args:
        accumulator: uint16[d], uint32[d] or uint64[d].
        plus: 16-byte seeds.
        minus: 16-byte seeds.
        executor: of threads: each core masks a part of the vector. Not the one that this call is a task
            of, since it waits for its parts.

    Raises:
        TypeError: an executor of processes, which would mask copies; the accumulator is as it was.

    Example:
        >>> vector = np.zeros(3, dtype=np.uint16)
        >>> add_masks(vector, [bytes(16)])
        >>> vector.tobytes().hex()
        '66e94bd4ef8a'
        >>> add_masks(vector, [], minus=[bytes(16)])
        >>> vector.tolist()
        [0, 0, 0]
    """
    seeds = list(plus), list(minus)
    if executor is None:
        _Span(accumulator, *seeds)()
        return
    width, cores = accumulator.itemsize, os.cpu_count() or 1
    # whole chunks to a part, so that its first word opens a block of the cipher
    step = _CHUNK // width * max(1, -(-accumulator.nbytes // (_CHUNK * cores)))
    tasks = [
        executor.submit(_Span(accumulator[start : start + step], *seeds, start * width // _BLOCK))
        for start in range(0, accumulator.size, step)
    ]
    for task in tasks:
        task.result()


class _Span(Secret):
    """A part of the vector and the streams to mask it with, once; it cannot leave the process."""

    __slots__ = ("_part", "_streams")

    def __init__(
        self, part: RingArray, plus: list[bytes], minus: list[bytes], block: int = 0
    ) -> None:
        counter = block.to_bytes(_BLOCK, "big")
        self._part = part
        self._streams = [(_keystream(seed, counter), np.add) for seed in plus]
        self._streams += [(_keystream(seed, counter), np.subtract) for seed in minus]

    def __call__(self) -> None:
        """Chunk outside, stream inside: the vector's part comes from memory once."""
        part, step = self._part, _CHUNK // self._part.itemsize
        room = np.empty(min(_CHUNK, part.nbytes) + _BLOCK + _CACHE_LINE, np.uint8)
        skipped = -room.ctypes.data % _CACHE_LINE
        raw = room[skipped:].data  # update_into wants a block more than it writes
        words = np.frombuffer(raw, dtype=part.dtype.newbyteorder("<"), count=min(step, part.size))
        for start in range(0, part.size, step):
            window = part[start : start + step]
            zeros, mask = _ZEROS[: window.nbytes], words[: window.size]
            for stream, apply in self._streams:
                stream.update_into(zeros, raw)
                apply(window, mask, window)


def _keystream(seed: bytes, counter: bytes = bytes(_BLOCK)) -> CipherContext:
    return Cipher(algorithms.AES128(seed), modes.CTR(counter)).encryptor()
