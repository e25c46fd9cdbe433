"""Noisy counts made to agree: the best linear unbiased estimates that fulfil all sums exactly.

The levels of a tree measure the same rows several times, and so do the columns: each divides all rows.  All
of it is processing of the noisy release, which costs no privacy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Estimates", "agreed", "leaves_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """Estimates of some counts, with the covariance that the noise gives them.

    Args:
        values: float64[k].
        covariance: float64[k, k].
    """

    values: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def independent(cls, values: NDArray[np.float64], variance: float) -> Estimates:
        """Counts with independent noise of one variance."""
        return cls(values, variance * np.eye(len(values)))

    def beside(self, other: Estimates) -> Estimates:
        """Both, with independent noise."""
        mine, theirs = len(self.values), len(other.values)
        covariance = np.zeros((mine + theirs, mine + theirs))
        covariance[:mine, :mine] = self.covariance
        covariance[mine:, mine:] = other.covariance
        return Estimates(np.concatenate([self.values, other.values]), covariance)


def leaves_of(levels: Sequence[NDArray[np.float64]], variances: Sequence[float]) -> Estimates:
    """The counts of a tree's finest bins, by least squares over all its levels.

    Each level is weighed by its precision, so that sums of neighbouring bins are as precise as the levels
    above make them (Hay et al. 2010).

    Args:
        levels: counts of each level; every level's number of bins is that of the last one ÷ a power of two.
        variances: noise of one count, by level.

    Example:
        >>> root, leaves = np.array([10.0]), np.array([4.0, 4.0])
        >>> leaves_of([root, leaves], [1.0, 1.0]).values.round(3).tolist()
        [4.667, 4.667]
    """
    finest = len(levels[-1])
    precision = np.zeros((finest, finest))
    weighted = np.zeros(finest)
    for counts, variance in zip(levels, variances, strict=True):
        parts = finest // len(counts)
        # Bins of one parent see the same count, so they share a block of the precision.
        precision += np.kron(np.eye(len(counts)), np.ones((parts, parts))) / variance
        weighted += np.repeat(counts, parts) / variance
    covariance = np.linalg.inv(precision).astype(np.float64)
    return Estimates(covariance @ weighted, covariance)


def agreed(estimates: Sequence[Estimates], sums: NDArray[np.float64]) -> list[Estimates]:
    """Move independent groups of estimates as little as their covariances allow, until all sums hold.

    Args:
        estimates: groups with independent noise; together k counts.
        sums: float64[m, k], the rows A of the conditions A·x = 0.

    Returns:
        The groups with A·x = 0, each with its new covariance.

    Example:
        >>> whole = Estimates.independent(np.array([10.0]), 1.0)
        >>> parts = Estimates.independent(np.array([4.0, 4.0]), 1.0)
        >>> found = agreed([whole, parts], np.array([[1.0, -1.0, -1.0]]))
        >>> [group.values.round(3).tolist() for group in found]
        [[9.333], [4.667, 4.667]]
    """
    ends = np.cumsum([len(group.values) for group in estimates])
    places = [slice(end - len(g.values), end) for end, g in zip(ends, estimates, strict=True)]
    # C·Aᵀ by groups: the covariance of all counts together is never built.
    spread = np.concatenate(
        [
            group.covariance @ sums[:, place].T
            for group, place in zip(estimates, places, strict=True)
        ]
    )
    values = np.concatenate([group.values for group in estimates])
    # Some conditions follow from others, and a pseudo-inverse takes each only once.
    solved = np.linalg.pinv(sums @ spread, hermitian=True)
    moved = values - spread @ (solved @ (sums @ values))
    return [
        Estimates(moved[place], group.covariance - spread[place] @ solved @ spread[place].T)
        for group, place in zip(estimates, places, strict=True)
    ]
