"""Where a composition's δ meets a given one, from few readings: each of them can take milliseconds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dp.composition.compose import Composed
    from dp.composition.spectrum import Spectrum

    Point = tuple[float, float]

__all__ = ["last_above", "least"]

_NEIGHBOURS = 1e-11
"""Relative distance of two ε that are not told apart."""


def least(composed: Composed | Spectrum, log_delta: float, floor: float) -> float:
    """The smallest ε ≥ floor, up to rounding, with an upper bound of at most the target; infinite if none."""

    def value(epsilon: float) -> float:
        return _or(composed.log_delta_high(epsilon) - log_delta, math.inf)

    at_floor = value(floor)
    if at_floor <= 0:
        return floor
    low, reach = (floor, at_floor), composed.reach
    high = max(composed.centre, floor) + 1e-12
    while (found := value(high)) > 0:
        if high > composed.end:
            return math.inf
        low, high, reach = (high, found), high + reach, 2 * reach
    return _between(value, low, (high, found))[1]


def last_above(composed: Composed | Spectrum, log_delta: float, high: float) -> float:
    """An ε below `high` with δ still above the target, close to the last such ε; 0 if none is found."""

    def value(epsilon: float) -> float:
        return _or(composed.log_delta_low(epsilon) - log_delta, -math.inf)

    reach, end = 1e-6 * high, (high, value(high))
    low = high
    while not (found := value(low)) > 0:
        if low == 0:
            return 0.0
        end, low, reach = (low, found), max(low - reach, 0.0), 4 * reach
    return _between(value, (low, found), end)[0]


def _or(value: float, unknown: float) -> float:
    """What is no number must not pass for a bound, on either side."""
    return unknown if math.isnan(value) else value


def _between(value: Callable[[float], float], low: Point, high: Point) -> tuple[float, float]:
    """Two neighbouring ε, with the function above 0 at the first one and at most 0 at the second.

    The function is nearly straight, so that a line through both ends finds the next point. A step that does
    not halve the interval is followed by one that does.

    Args:
        value: the function, which need not fall everywhere.
        low: an ε and the function there, above 0.
        high: a larger ε and the function there, at most 0.
    """
    straight = True
    while high[0] - low[0] > _NEIGHBOURS * high[0]:
        width = high[0] - low[0]
        middle = low[0] + width / 2
        if straight and math.isfinite(low[1]) and math.isfinite(high[1]):
            line = low[0] + width * low[1] / (low[1] - high[1])
            # a little beyond the zero, towards the further end, which then comes near
            line += math.copysign(0.3 * _NEIGHBOURS * high[0], middle - line)
            middle = line if low[0] < line < high[0] else middle
        found = middle, value(middle)
        low, high = (found, high) if found[1] > 0 else (low, found)
        straight = not straight or high[0] - low[0] <= width / 2
    return low[0], high[0]
