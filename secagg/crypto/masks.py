"""Seeds to masks: AES-128-CTR keystream, read as ring words and added in cache-sized chunks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn, cast

import numpy as np

from secagg.crypto.keys import Secret
from secagg.crypto.streams import BLOCK, HEAD, from_counter, stream_after_head
from secagg.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Executor

    from secagg.crypto.ring import RingArray
    from secagg.crypto.streams import Start

__all__ = ["SEED_SIZE", "add_masks"]

SEED_SIZE = 16
"""An AES-128 key. Each key is used for one stream only, so the counter starts at zero."""

# In bytes: a chunk fits the second-level cache, and keeps threads from waiting for each other.
_CHUNK = 256 << 10
_WINDOW = 16 * _CHUNK  # bytes that each core works on between two sums
_CACHE_LINE = 64
_ZEROS = memoryview(bytes(_CHUNK))
# In bytes: below, one stream by CTR costs less than GCM's and a second one for the head. On an EPYC with
# AVX-512, where GCM is faster, the two meet between 128 and 256 KiB.
_SHORT = 64 << 10


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
        executor: executor of threads: each core makes a part of the masks, in 4 MiB of its own. Do not give
            the executor in which this call runs, since it waits for its parts.

    Raises:
        LocalProtocolError: the executor is one of processes, to which seeds would be sent (the accumulator
            has not changed), or it does not run each task once (the accumulator is unusable).

    Example:
        >>> vector = np.zeros(3, dtype=np.uint16)
        >>> add_masks(vector, [bytes(16)])
        >>> vector.tobytes().hex()
        '66e94bd4ef8a'
        >>> add_masks(vector, [], minus=[bytes(16)])
        >>> vector.tolist()
        [0, 0, 0]
    """
    plus, minus = list(plus), list(minus)
    width = accumulator.itemsize
    if executor is None and accumulator.nbytes <= _SHORT:
        _Streams(plus, minus, from_counter).add_to(accumulator)
        return
    # GCM does not give the first two blocks of a stream; `_heads` does, below.
    head, rest = accumulator[: HEAD // width], accumulator[HEAD // width :]
    if executor is None:
        _Streams(plus, minus).add_to(rest)
    else:
        cores, step = os.cpu_count() or 1, _WINDOW // width
        parts = [_Streams(plus[core::cores], minus[core::cores]) for core in range(cores)]
        # At least one window, so that a short vector uses the executor too.
        for start in range(0, max(1, rest.size), step):
            # A window ends before the next one begins, so each core needs memory for one window only.
            window = rest[start : start + step]
            tasks = [executor.submit(part, window.size, window.dtype) for part in parts]
            for part, task in zip(parts, tasks, strict=True):
                task.result()  # raises what the task raised; its value is not believed
                np.add(window, part.taken(start + window.size), out=window)
    np.add(head, _heads(plus, head), out=head)
    np.subtract(head, _heads(minus, head), out=head)


class _Streams(Secret):
    """The streams of some seeds, by default after their heads, each read once; they stay in the process."""

    __slots__ = ("_made", "_streams", "_words")

    def __init__(self, plus: list[bytes], minus: list[bytes], start: Start | None = None) -> None:
        begin = stream_after_head if start is None else start
        self._streams = [(begin(seed), np.add) for seed in plus]
        self._streams += [(begin(seed), np.subtract) for seed in minus]
        self._made, self._words = 0, cast("RingArray", np.empty(0, np.uint16))

    def __reduce__(self) -> NoReturn:
        raise LocalProtocolError(
            "masks are made by threads: an executor of processes is sent no seed"
        )

    def __call__(self, size: int, dtype: np.dtype[np.unsignedinteger]) -> None:
        """Compute the sum of the next words of all streams, for `taken`."""
        self._words = cast("RingArray", np.zeros(size, dtype))
        self.add_to(self._words)
        self._made += size

    def taken(self, made: int) -> RingArray:
        """The last words; `made` words were made in all.

        The executor's own results are not used: a task that it skipped would leave the input without masks,
        and a task that it ran again would have the masks of other coordinates.

        Raises:
            LocalProtocolError: another number of words was made.
        """
        if self._made != made:
            raise LocalProtocolError(
                "the executor did not run each task once, in a thread of this process: no masks are used"
            )
        return self._words

    def add_to(self, part: RingArray) -> None:
        """Add the next words; chunks in the outer loop, so that the part is read from memory once."""
        step = _CHUNK // part.itemsize
        room = np.empty(min(_CHUNK, part.nbytes) + BLOCK + _CACHE_LINE, np.uint8)
        skipped = -room.ctypes.data % _CACHE_LINE
        raw = room[skipped:].data  # update_into needs room for a block more than it writes
        words = np.frombuffer(raw, dtype=part.dtype.newbyteorder("<"), count=min(step, part.size))
        for start in range(0, part.size, step):
            window = part[start : start + step]
            zeros, mask = _ZEROS[: window.nbytes], words[: window.size]
            for stream, apply in self._streams:
                stream.update_into(zeros, raw)
                apply(window, mask, window)


def _heads(seeds: list[bytes], head: RingArray) -> RingArray:
    """The sum of the first words of the streams of some seeds, as many as `head` has."""
    blocks = b"".join(from_counter(seed).update(bytes(HEAD)) for seed in seeds)
    words = np.frombuffer(blocks, head.dtype.newbyteorder("<")).reshape(
        len(seeds), HEAD // head.itemsize
    )
    return words[:, : head.size].sum(axis=0, dtype=head.dtype)
