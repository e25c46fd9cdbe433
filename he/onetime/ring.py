"""Products by a small key in Z_q[x]/(x^N + 1), q a power of two, exact by floating-point transforms.

A coefficient of a is Σ a_l·2^(16l) with limbs a_l in −2^15 … 2^15 − 1. Each limb's polynomial is multiplied
by the key over the integers, by a transform of length N/2 in double precision, and rounded.

The rounding is exact. Percival ("Rapid multiplication modulo the sum and difference of highly composite
numbers", 2003, theorem 5.1) bounds the error of such a product by ‖a‖·‖s‖·((1 + u)^(3k) (1 + u√5)^(3k+1)
(1 + β)^(3k) − 1). Here k = log2(N/2) is the number of steps, u = 2^-53, and β ≤ 2u bounds the error of a
root of unity. The folding multiplies three times more, as one more step would. At N = 8192 the factor is
below 2^-45.3. With ‖a‖ ≤ 2^15·√N the error is below 2^-12 for a client's key (|s| ≤ 21), and below 0.21 for
a sum of keys (|s| < 2^15): always less than one half. No branch and no memory access depends on a key.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from he.secrecy import Secret

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KeyProducts"]

_BAND = 4  # limbs at a time: fewer calls, and 0.25 MB that stays in the cache


class KeyProducts(Secret):
    """Multiplies by one key, or by one sum of keys.

    Args:
        key: int64[N], magnitudes below 2^15.

    Example:
        >>> x = np.zeros(2048, np.int64)
        >>> x[1] = 1
        >>> KeyProducts(x).multiply(np.arange(2048, dtype=np.int16)[None])[0, :3].tolist()
        [-2047, 0, 1]
    """

    __slots__ = ("_key", "_room", "_twist", "_untwist")

    def __init__(self, key: NDArray[np.int64]) -> None:
        self._twist, self._untwist = _twists(len(key))
        # One memory for all transforms: a new one costs more in page faults than a pass over it.
        self._room = np.empty((_BAND, len(key) // 2), np.complex128)
        self._key = self._transformed(key[None]).copy()

    def multiply(self, limbs: NDArray[np.int16]) -> NDArray[np.int64]:
        """The products of the key and of polynomials over the integers, modulo x^N + 1.

        Args:
            limbs: int16[L, N], one polynomial a row.

        Returns:
            int64[L, N], magnitudes up to N·2^15·2^15.
        """
        result = np.empty(limbs.shape, np.int64)
        half = limbs.shape[1] // 2
        for start in range(0, len(limbs), _BAND):
            band = slice(start, start + _BAND)
            values = self._transformed(limbs[band])
            values *= self._key
            np.fft.ifft(values, out=values)
            values *= self._untwist
            np.rint(values.real, out=result[band, :half], casting="unsafe")
            np.rint(values.imag, out=result[band, half:], casting="unsafe")
        return result

    def _transformed(self, polynomials: NDArray[np.signedinteger]) -> NDArray[np.complex128]:
        """The values at half of the roots of x^N + 1, a polynomial a row; the others are conjugates."""
        folded = self._room[: len(polynomials)]
        half = folded.shape[1]
        folded.real, folded.imag = polynomials[:, :half], polynomials[:, half:]
        folded *= self._twist
        return np.fft.fft(folded, out=folded)


@lru_cache(maxsize=3)
def _twists(degree: int) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """exp(iπj/N) for j < N/2, and its inverses: a cyclic product becomes one modulo x^N + 1."""
    twist = np.exp(1j * np.pi * np.arange(degree // 2) / degree)
    return twist, twist.conj()
