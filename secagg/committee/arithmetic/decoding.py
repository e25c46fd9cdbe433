"""Reed–Solomon decoding: which of some members' values lie on no common polynomial.

Values of polynomials of degree below R at y points are a code of distance y − R + 1.  `locate` finds up to
`radius` false values of many words at once, which are false at the same members.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from secagg.committee.arithmetic.field import dual_weights, multiply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["consistent", "locate"]


def consistent(
    words: NDArray[np.int64], points: Sequence[int], rebuild: int, modulus: int
) -> NDArray[np.bool_]:
    """Whether each word is a polynomial's.

    Args:
        words: int64[n, y], residues.
        points: y distinct points, none zero.
        rebuild: R; the degree is below it.
        modulus: prime.

    Returns:
        bool[n].

    Example:
        >>> consistent(np.array([[5, 7, 9], [5, 7, 8]]), [1, 2, 3], 2, 13).tolist()
        [True, False]
    """
    parity = _parity(tuple(points), rebuild, modulus)
    return np.logical_not(multiply(words, parity.T, modulus).any(axis=1))


def locate(
    words: NDArray[np.int64], points: Sequence[int], rebuild: int, modulus: int, radius: int
) -> frozenset[int] | None:
    """Indices of the points at which some words are false.

    Args:
        words: int64[n, y], residues.
        points: y distinct points, none zero.
        rebuild: R.
        modulus: prime.
        radius: at most (y − R)/2.

    Returns:
        The only set of at most `radius` indices without which each word is a polynomial's, without any index
        that is not needed; None if there is none.

    Example:
        >>> sorted(locate(np.array([[5, 7, 9, 0], [1, 1, 1, 1]]), [1, 2, 3, 4], 2, 13, 1))
        [3]
    """
    false: set[int] = set()
    while True:
        kept = [index for index in range(len(points)) if index not in false]
        good = consistent(words[:, kept], [points[index] for index in kept], rebuild, modulus)
        if good.all():
            return frozenset(false)
        word = words[int(np.argmin(good))]
        # All false indices of a word are found together, so each turn finds another one or ends.
        found = _locate_one(word, points, rebuild, modulus, radius)
        if found is None or found <= false or len(false | found) > radius:
            return None
        false |= found


def _locate_one(
    word: NDArray[np.int64], points: Sequence[int], rebuild: int, modulus: int, radius: int
) -> set[int] | None:
    """The false indices of one word, by Berlekamp and Massey's shortest recurrence of its syndromes."""
    parity = _parity(tuple(points), rebuild, modulus)
    syndromes: list[int] = multiply(parity, word[:, None], modulus)[:, 0].tolist()
    locator = _recurrence(syndromes, modulus)
    if len(locator) - 1 > radius:
        return None
    roots: set[int] = set()
    for index, point in enumerate(points):
        inverse, value = pow(point, -1, modulus), 0
        for coefficient in reversed(locator):
            value = (value * inverse + coefficient) % modulus
        if value == 0:
            roots.add(index)
    if len(roots) != len(locator) - 1:
        return None
    kept = [index for index in range(len(points)) if index not in roots]
    rest = consistent(word[None, kept], [points[index] for index in kept], rebuild, modulus)
    return roots if rest.all() else None


def _recurrence(syndromes: Sequence[int], modulus: int) -> list[int]:
    """Coefficients 1, a₁ … a_L of the shortest recurrence Σ aⱼ·s_{i−j} = 0 (Massey 1969)."""
    current, before, length, gap, scale = [1], [1], 0, 1, 1
    for index in range(len(syndromes)):
        defect = sum(current[j] * syndromes[index - j] for j in range(len(current))) % modulus
        if defect == 0:
            gap += 1
            continue
        factor = defect * pow(scale, -1, modulus) % modulus
        changed = current + [0] * (len(before) + gap - len(current))
        for j, coefficient in enumerate(before):
            changed[j + gap] = (changed[j + gap] - factor * coefficient) % modulus
        if 2 * length <= index:
            before, scale, length, gap = current, defect, index + 1 - length, 1
        else:
            gap += 1
        current = changed
    return (current + [0] * (length + 1 - len(current)))[: length + 1]


# Clients choose which members reject them, and so the points: a larger cache would be theirs to fill. The
# full set of members comes most often; with a thousand of them a matrix takes up to 8 MB.
@functools.lru_cache(maxsize=4)
def _parity(points: tuple[int, ...], rebuild: int, modulus: int) -> NDArray[np.int64]:
    """int64[y − R, y]: the checks that exactly the values of polynomials of degree below R pass."""
    weights = dual_weights(points, modulus)
    rows = np.empty((len(points) - rebuild, len(points)), dtype=np.int64)
    x = np.array(points, dtype=np.int64)
    for row in rows:
        row[:] = weights
        weights = weights * x % modulus
    rows.flags.writeable = False
    return rows
