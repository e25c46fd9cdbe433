"""Residues modulo q, computed in place and in bands that stay in the processor's cache.

A new array of half a megabyte costs more in page faults than a pass over it, so no function here creates one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from he.params.capacity import DEGREE, MODULUS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["BAND", "bands", "centre", "fold", "reduce"]

BAND = 4
"""Number of polynomials in a band: 128 kB in 64-bit words."""

_Q = np.uint64(MODULUS)
_HALF = np.uint64(MODULUS // 2)
_BITS = np.uint64(60)
_LOW_BITS = np.uint64((1 << 60) - 1)
_FOLD = np.uint64((1 << 60) - MODULUS)  # 2^60 modulo q


def bands(count: int) -> Iterator[slice]:
    """Slices that cover 0 … count − 1.

    Example:
        >>> list(bands(6))
        [slice(0, 4, None), slice(4, 6, None)]
    """
    for start in range(0, count, BAND):
        yield slice(start, min(start + BAND, count))


def reduce(words: NDArray[np.uint64], *, below: int = 3) -> NDArray[np.uint64]:
    """Reduce words below `below`·q modulo q, in place; a subtraction of q that wraps is not taken.

    Args:
        words: uint64 of any shape, contiguous.
        below: 2 … 15.

    Example:
        >>> reduce(np.array([MODULUS + 5, 2 * MODULUS, 7], np.uint64)).tolist()
        [5, 0, 7]
    """
    flat = words.reshape(-1)
    spare = np.empty(min(flat.size, BAND * DEGREE), np.uint64)
    for start in range(0, flat.size, BAND * DEGREE):
        band = flat[start : start + BAND * DEGREE]
        for _ in range(below - 1):
            np.subtract(band, _Q, out=spare[: band.size])
            np.minimum(band, spare[: band.size], out=band)
    return words


def fold(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Reduce any words modulo q, in place: the four bits above the lowest 60 count 2^60 ≡ 16,383 each.

    Example:
        >>> fold(np.array([5, MODULUS + 5, 2**64 - 1], np.uint64)).tolist()
        [5, 5, 262127]
    """
    high = words >> _BITS
    high *= _FOLD
    words &= _LOW_BITS
    words += high
    return reduce(words, below=2)


def centre(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Reduce words below 2q modulo q and centre them, in place: −(q − 1)/2 … (q − 1)/2.

    Example:
        >>> centre(np.array([3, MODULUS - 3, 2 * MODULUS - 4], np.uint64)).tolist()
        [3, -3, -4]
    """
    # Half of q is added before the reduction and subtracted after it: residues above q/2 become negative.
    words += _HALF
    signed = reduce(words, below=3).view(np.int64)
    signed -= MODULUS // 2
    return signed
