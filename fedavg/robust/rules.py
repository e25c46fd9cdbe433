"""Robust combinations of the means of groups: the coordinate-wise median, and the trimmed mean.

Each group has a secure sum of its own, and the server combines the groups' means. A member that sends
nonsense spoils the sum of its own group, and no other. Let at most b groups be bad, and let the rule
withstand b. Then every coordinate of the result lies between the smallest and the largest value that a good
group has there: at most b values lie below the smallest good one, and both rules look only at values that
have at least b values on either side (Yin, Chen, Ramchandran, Bartlett 2018, arXiv 1803.01498).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from fedavg import checks
from fedavg.errors import PlanError
from fedavg.parts import Part, register

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MedianOfGroups", "RobustMean", "TrimmedMeanOfGroups"]

_FEWEST = 3  # of two groups nobody can tell which one is bad


class RobustMean(Protocol):
    """A rule that combines the means of groups, coordinate by coordinate.

    Example:
        >>> means = np.array([[1.0, 1.0], [2.0, 3.0], [-900.0, 900.0]])  # the last group is bad
        >>> def combined(rule: RobustMean) -> list[float]:
        ...     return rule.combined(means).tolist()
        >>> combined(MedianOfGroups(3)), combined(TrimmedMeanOfGroups(3))
        ([1.0, 3.0], [1.0, 3.0])
    """

    @property
    def kind(self) -> str:
        """Its name in configurations."""
        ...

    @property
    def groups(self) -> int:
        """The number of groups to which members are dealt."""
        ...

    @property
    def fewest(self) -> int:
        """The smallest number of groups whose means are combined; with fewer, there is no result."""
        ...

    def withstood(self, present: int) -> int:
        """The largest number of bad groups among so many that do not move the result beyond the good ones."""
        ...

    def combined(self, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """The combination of float64[groups, d], as float64[d]."""
        ...


@register("robust")
class MedianOfGroups(Part, frozen=True, tag="group-median"):
    """The median of the groups' means in every coordinate; of an even number, the mean of the middle two.

    It withstands fewer than half of the groups. Its noise is up to √(π/2) = 1.25 times that of the mean.

    Args:
        groups: number of groups, at least 3.

    Raises:
        PlanError: there are fewer groups.

    Example:
        >>> rule = MedianOfGroups(5)
        >>> rule.withstood(5), rule.withstood(4), rule.fewest
        (2, 1, 3)
        >>> rule.combined(np.array([[0.0], [1.0], [2.0], [1e9], [-1e9]]))
        array([1.])
    """

    groups: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_groups(self.groups)

    @property
    def kind(self) -> str:
        """Its name in configurations."""
        return "group-median"

    @property
    def fewest(self) -> int:
        """Three: with two groups, the median is their mean."""
        return _FEWEST

    def withstood(self, present: int) -> int:
        """See `RobustMean.withstood`: fewer than half."""
        return (present - 1) // 2

    def combined(self, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `RobustMean.combined`."""
        return np.median(means, axis=0)


@register("robust")
class TrimmedMeanOfGroups(Part, frozen=True, tag="trimmed-mean"):
    """The mean of the groups' means without the largest and the smallest ones, in every coordinate.

    Args:
        groups: number of groups, at least 2·trim + 1.
        trim: number of values that are left out at each end, and of bad groups that are withstood.

    Raises:
        PlanError: there are too few groups.

    Example:
        >>> rule = TrimmedMeanOfGroups(5, trim=1)
        >>> rule.combined(np.array([[0.0], [1.0], [2.0], [3.0], [-1e9]]))
        array([1.])
        >>> TrimmedMeanOfGroups(4, trim=2)
        Traceback (most recent call last):
        fedavg.errors.PlanError: robust.groups=4 leaves no group after trimming 2 at each end: take at least 5
    """

    groups: int
    trim: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_groups(self.groups)
        checks.plan.whole("robust.trim", self.trim)
        if self.groups < self.fewest:
            raise PlanError(
                f"robust.groups={self.groups} leaves no group after trimming {self.trim} at each end: take "
                f"at least {self.fewest}"
            )

    @property
    def kind(self) -> str:
        """Its name in configurations."""
        return "trimmed-mean"

    @property
    def fewest(self) -> int:
        """2·trim + 1."""
        return 2 * self.trim + 1

    def withstood(self, present: int) -> int:
        """See `RobustMean.withstood`: `trim`, for any number of groups that are combined."""
        del present
        return self.trim

    def combined(self, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `RobustMean.combined`."""
        return np.sort(means, axis=0)[self.trim : len(means) - self.trim].mean(axis=0)


def _check_groups(groups: int) -> None:
    if groups < _FEWEST:
        raise PlanError(
            f"robust.groups must be at least {_FEWEST}, not {groups}: of two groups nobody can tell which "
            "one is bad"
        )
