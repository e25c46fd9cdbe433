"""The policies for missing cells, and the statistics that each of them needs.

The statistics are sums over clients (`fedavg.data.tables.statistics`); a policy never sees a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["POLICIES", "FieldFacts", "Policy", "PolicyName"]

PolicyName = Literal["auto", "drop", "constant", "mean", "median", "most_frequent"]


@dataclass(frozen=True, slots=True, eq=False)
class FieldFacts:
    """The known facts about one field when its missing cells are filled.

    Args:
        fill: the declared constant, or None.
        bounds: the declared range, or None.
        summed: whether the statistics below were summed; if not, only public values are used.
        mean, median: statistics of a measurement; NaN if every cell is missing.
        counts: int64[k], rows of each category; () for a measurement.
    """

    fill: float | None
    bounds: tuple[float, float] | None
    summed: bool
    mean: float = np.nan
    median: float = np.nan
    counts: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A way to treat missing cells.

    Args:
        name: name of the policy in schemas.
        public: whether the policy needs only what a schema declares.
        median: whether the policy needs the summed median of a measurement.
        value: computes the replacement: a number, the code of a category, or NaN for no category.
        drops: whether the row is left out instead.
    """

    name: PolicyName
    public: bool
    median: bool
    value: Callable[[FieldFacts], float]
    drops: bool = False


def _middle(facts: FieldFacts) -> float:
    return 0.0 if facts.bounds is None else (facts.bounds[0] + facts.bounds[1]) / 2


def _automatic(facts: FieldFacts) -> float:
    """The median, or the middle of the bounds without statistics; for categories, none of the named ones."""
    if facts.counts is not None:
        return np.nan
    return facts.median if facts.summed else _middle(facts)


def _most_frequent(facts: FieldFacts) -> float:
    if facts.counts is None:  # of a boolean, whose mean is the share of ones
        return float(facts.mean >= 0.5)
    return float(np.argmax(facts.counts))


def _constant(facts: FieldFacts) -> float:
    return np.nan if facts.fill is None else facts.fill


POLICIES: dict[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy("auto", public=True, median=True, value=_automatic),
        Policy("drop", public=True, median=False, value=_constant, drops=True),
        Policy("constant", public=True, median=False, value=_constant),
        Policy("mean", public=False, median=False, value=lambda facts: facts.mean),
        Policy("median", public=False, median=True, value=lambda facts: facts.median),
        Policy("most_frequent", public=False, median=False, value=_most_frequent),
    )
}
