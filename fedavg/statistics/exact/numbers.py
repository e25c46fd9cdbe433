"""Statistics of numbers out of exact sums, each rounded once; histograms and quantiles out of counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from fedavg.statistics.blocks import OneHot, leaf_of
from fedavg.statistics.exact.digits import GRAIN, exact_product_sum, exact_sum, on_grain
from fedavg.statistics.exact.withheld import FEW, OTHERS
from fedavg.statistics.summary import Figure, Quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedavg.statistics.question import Question
    from fedavg.statistics.silos import SiloRows, Variable

__all__ = [
    "LEAVES",
    "Range",
    "correlation_figure",
    "moment_figures",
    "moment_sums",
    "pair_sums",
    "quantiles_of",
    "roundest",
]

LEAVES = 1024
"""Equal parts of the range in which quantiles are found."""
_DEVIATIONS = 4.0
_FLAT = "does not vary"


def moment_sums(rows: SiloRows, variable: Variable) -> tuple[int, int]:
    """Σx and Σx² of one silo's present cells, in units of 2^-GRAIN and of its square."""
    values = rows.values[variable.name]
    there = on_grain(values[~np.isnan(values)])
    if not len(there):
        return 0, 0
    return exact_sum(there, GRAIN), exact_product_sum(there, there, 2 * GRAIN)


def pair_sums(rows: SiloRows, first: Variable, second: Variable) -> tuple[int, ...]:
    """Σx, Σy, Σx², Σy² and Σxy of one silo's rows that have both cells; units as in `moment_sums`."""
    one, two = rows.values[first.name], rows.values[second.name]
    both = ~np.isnan(one) & ~np.isnan(two)
    if not bool(both.any()):
        return (0,) * 5
    x, y = on_grain(one[both]), on_grain(two[both])
    wide = 2 * GRAIN
    return (
        exact_sum(x, GRAIN),
        exact_sum(y, GRAIN),
        *(exact_product_sum(a, b, wide) for a, b in ((x, x), (y, y), (x, y))),
    )


def moment_figures(count: int, first: int, second: int) -> tuple[Figure, Figure, Figure]:
    """Mean, sample variance and deviation; each the nearest float64 to the exact value, the last within two.

    Args:
        count: n > 0.
        first: Σx, in units of 2^-GRAIN.
        second: Σx², in units of the square of that.
    """
    mean = Figure(float(Fraction(first, count << GRAIN)))
    if count < 2:
        return mean, Figure(None, withheld=FEW), Figure(None, withheld=FEW)
    spread = Fraction(count * second - first * first, (count * (count - 1)) << (2 * GRAIN))
    variance = float(spread)
    return mean, Figure(variance), Figure(math.sqrt(variance))


def correlation_figure(count: int, sums: Sequence[int]) -> Figure:
    """Pearson's correlation, of n and the sums of `pair_sums`."""
    x, y, xx, yy, xy = sums
    spread_x, spread_y, joint = count * xx - x * x, count * yy - y * y, count * xy - x * y
    if not spread_x or not spread_y:
        return Figure(None, withheld=_FLAT)
    squared = Fraction(joint * joint, spread_x * spread_y)
    return Figure(math.copysign(math.sqrt(float(squared)), joint))


@dataclass(frozen=True, slots=True)
class Range:
    """The range of a histogram: the declared bounds, or one that the mean and the deviation give.

    A range of the smallest to the largest number would show the numbers of two people.

    Args:
        low, high: its ends.
        declared: whether all numbers lie inside.
    """

    low: float
    high: float
    declared: bool

    @classmethod
    def of(cls, variable: Variable, mean: float, deviation: float, negative: int) -> Range:
        """The range of a column.

        Args:
            variable: the column.
            mean: its mean.
            deviation: its standard deviation.
            negative: number of rows below zero.
        """
        if variable.bounds is not None:
            return cls(*variable.bounds, declared=True)
        spread = _DEVIATIONS * deviation or max(abs(mean), 1.0) / 2
        low, high = mean - spread, mean + spread
        if not negative:
            low = max(low, 0.0)
        unit = 10.0 ** (math.floor(math.log10(high - low)) - 1)
        return cls(math.floor(low / unit) * unit, math.ceil(high / unit) * unit, declared=False)

    def edges(self, bins: int) -> NDArray[np.float64]:
        """float64[bins + 1]."""
        return np.linspace(self.low, self.high, bins + 1)

    def counted(self, variable: Variable, bins: int) -> OneHot:
        """Counts of the rows below the range, in its bins, and above it."""
        name, low, high = variable.name, self.low, self.high

        def index(rows: SiloRows) -> NDArray[np.int64]:
            values = rows.values[name]
            # A bin is a union of the finest ones, so that both ways of counting agree at its edges.
            place = leaf_of(values, low, high, LEAVES) // (LEAVES // bins) + 1
            place = np.where(values < low, 0, np.where(values > high, bins + 1, place))
            return np.where(np.isnan(values), -1, place)

        return OneHot(f"{name}: {bins} bins", (name,), bins + 2, index)


def quantiles_of(
    counts: NDArray[np.int64], found: Range, question: Question, shown: NDArray[np.bool_]
) -> tuple[Quantile, ...]:
    """Quantiles by the inverse distribution function: the smallest number with a share `level` up to it.

    The interval is the part of the range that holds the quantile for certain, and the value is the roundest
    number in it.  So the value tells nothing of the counts in the part.

    Args:
        counts: int64[LEAVES + 2], of `Range.counted`.
        found: the range.
        question: the levels; a quantile with fewer than `min_people` rows on a side is withheld.
        shown: bool[bins + 2], which counts of the histogram readers have; a quantile that would tell them
            more of the others is withheld.
    """
    present = int(counts.sum())
    reached = np.cumsum(counts)
    edges = found.edges(LEAVES)
    quantiles: list[Quantile] = []
    for level in question.quantiles:
        if min(level, 1 - level) * present < question.min_people:
            quantiles.append(Quantile(level, Figure(None, withheld=FEW)))
            continue
        place = int(np.searchsorted(reached, level * present, side="left"))
        if place in (0, LEAVES + 1):
            quantiles.append(Quantile(level, Figure(None, withheld="beyond the histogram")))
            continue
        if _narrows(counts, place, level * present, shown):
            quantiles.append(Quantile(level, Figure(None, withheld=OTHERS)))
            continue
        low, high = float(edges[place - 1]), float(edges[place])
        quantiles.append(Quantile(level, Figure(roundest(low, high), low, high)))
    return tuple(quantiles)


def _narrows(
    counts: NDArray[np.int64], place: int, wanted: float, shown: NDArray[np.bool_]
) -> bool:
    """Whether the place of a quantile tells a reader more of the withheld counts than their sum does.

    It says that fewer rows than wanted lie in the bins before, and no fewer in those up to its own.  Nothing
    is told if both hold however the withheld rows are spread over the withheld bins.
    """
    bins = len(shown) - 2
    inside = counts[1:-1].reshape(bins, -1).sum(axis=1)
    rows = np.r_[counts[0], inside, counts[-1]]
    own = (place - 1) // (LEAVES // bins) + 1
    seen = np.where(shown, rows, 0)
    withheld = int(rows[~shown].sum())
    before, through = int(seen[:own].sum()), int(seen[: own + 1].sum())
    return withheld > 0 and not (before + withheld < wanted <= through)


def roundest(low: float, high: float) -> float:
    """The number with the fewest digits in an interval that includes its lower end.

    Example:
        >>> roundest(4.0, 4.0156), roundest(24.19, 24.26), roundest(-0.5, 0.5), roundest(1180.0, 1230.0)
        (4.0, 24.2, 0.0, 1200.0)
    """
    if low <= 0 < high:
        return 0.0
    for power in range(math.floor(math.log10(high - low)) + 2, -400, -1):
        digits = max(-power, 0)
        unit = Fraction(10) ** power
        near = float(round(math.ceil(Fraction(low) / unit) * unit, digits))
        if low <= near < high:
            return near
    return low
