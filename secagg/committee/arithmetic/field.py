"""Arithmetic in prime fields below 2^21: exact matrix products, uniform residues, Lagrange's weights.

Residues are int64 in 0 … p − 1.  Products of matrices run in float64, which holds sums of 2^11 products
exactly; longer sums are cut.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from secagg.committee.params.params import MOST_BITS
from secagg.crypto.keys import entropy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["centred", "lagrange", "multiply", "uniform"]

_EXACT = 1 << 53 - 2 * MOST_BITS  # products of two residues that float64 adds without rounding


def multiply(left: NDArray[np.int64], right: NDArray[np.int64], modulus: int) -> NDArray[np.int64]:
    """The product of two matrices of residues, modulo a prime.

    Args:
        left: int64[a, n].
        right: int64[n, b].
        modulus: prime below 2^21.

    Example:
        >>> multiply(np.array([[2, 3]]), np.array([[5], [7]]), 13)
        array([[5]])
    """
    total = np.zeros((left.shape[0], right.shape[1]), dtype=np.int64)
    a, b = left.astype(np.float64), right.astype(np.float64)
    for start in range(0, a.shape[1], _EXACT):
        part = a[:, start : start + _EXACT] @ b[start : start + _EXACT]
        total += part.astype(np.int64) % modulus
    return total % modulus


def uniform(modulus: int, count: int) -> NDArray[np.int64]:
    """Uniform residues from the operating system, by rejection.

    Example:
        >>> bool((uniform(4093, 100) < 4093).all())
        True
    """
    accepted = 2**32 // modulus * modulus
    drawn = np.empty(0, dtype="<u4")
    while drawn.size < count:
        more = np.frombuffer(entropy(4 * (count - drawn.size)), dtype="<u4")
        drawn = np.concatenate([drawn, more[more < accepted]])
    return drawn.astype(np.int64) % modulus


def centred(residues: NDArray[np.int64], modulus: int) -> NDArray[np.int64]:
    """Residues as the numbers of smallest absolute value.

    Example:
        >>> centred(np.array([1, 12]), 13).tolist()
        [1, -1]
    """
    return np.where(residues > modulus // 2, residues - modulus, residues)


@functools.lru_cache(maxsize=16)
def lagrange(known: tuple[int, ...], wanted: tuple[int, ...], modulus: int) -> NDArray[np.int64]:
    """The matrix that takes a polynomial's values at some points to its values at others.

    Args:
        known: distinct points; the polynomial's degree is below their number.
        wanted: points of which none is known.
        modulus: prime; points are its residues.

    Returns:
        int64[wanted, known]; read-only, since it is remembered. Points are public.

    Example:
        >>> lagrange((1, 2), (3,), 13).tolist()  # f(3) = 2·f(2) − f(1)
        [[12, 2]]
    """
    points = np.array(wanted, dtype=np.int64)[:, None]
    distances = (points - np.array(known, dtype=np.int64)) % modulus
    product = np.ones(len(wanted), dtype=np.int64)
    for column in distances.T:
        product = product * column % modulus
    rows = _inverses(distances, modulus) * product[:, None] % modulus
    rows = rows * dual_weights(known, modulus) % modulus
    rows.flags.writeable = False
    return rows


def dual_weights(points: Sequence[int], modulus: int) -> NDArray[np.int64]:
    """1 ÷ Π_{j≠i} (x_i − x_j) for each point: what makes Lagrange's polynomials, and parity checks.

    Example:
        >>> dual_weights([1, 2], 13).tolist()
        [12, 1]
    """
    x = np.array(points, dtype=np.int64)
    product = np.ones(x.size, dtype=np.int64)
    for index, point in enumerate(points):
        distances = (x - point) % modulus
        distances[index] = 1
        product = product * distances % modulus
    return _inverses(product, modulus)


def _inverses(values: NDArray[np.int64], modulus: int) -> NDArray[np.int64]:
    """The inverses of residues that are not zero, by Fermat's theorem."""
    power, square = np.ones_like(values), values
    for bit in reversed(f"{modulus - 2:b}"):
        if bit == "1":
            power = power * square % modulus
        square = square * square % modulus
    return power
