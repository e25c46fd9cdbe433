"""Seeds to masks: AES-128-CTR keystream, read as ring words and added in cache-sized chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from secagg.ring import RingArray

__all__ = ["SEED_SIZE", "add_masks"]

SEED_SIZE = 16
"""An AES-128 key. Each key makes one stream only, so the counter starts at zero."""

_CHUNK = 128 << 10  # bytes: keystream and the accumulator's chunk stay in the second-level cache
_ZEROS = memoryview(bytes(_CHUNK))


def add_masks(accumulator: RingArray, plus: Iterable[bytes], minus: Iterable[bytes] = ()) -> None:
    """Add the masks of `plus` and subtract those of `minus`, in place, modulo the word size.

    Word i of a mask is the i-th little-endian word of the keystream.

    Args:
        accumulator: contiguous uint32[d] or uint64[d].
        plus: 16-byte seeds.
        minus: 16-byte seeds.
    """
    streams = [(_keystream(seed), np.add) for seed in plus]
    streams += [(_keystream(seed), np.subtract) for seed in minus]
    width = accumulator.itemsize
    buffer = bytearray(min(_CHUNK, accumulator.nbytes) + 15)  # update_into wants a block more
    words = np.frombuffer(
        buffer, dtype=accumulator.dtype.newbyteorder("<"), count=(len(buffer) - 15) // width
    )
    step = _CHUNK // width
    for start in range(0, accumulator.size, step):
        part = accumulator[start : start + step]
        zeros, mask = _ZEROS[: part.nbytes], words[: part.size]
        for stream, apply in streams:
            stream.update_into(zeros, buffer)
            apply(part, mask, out=part)


def _keystream(seed: bytes, counter: bytes = bytes(16)):  # noqa: ANN202 - cryptography's context type is private to it
    return Cipher(algorithms.AES128(seed), modes.CTR(counter)).encryptor()
