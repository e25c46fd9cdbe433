"""Closed forms between two floats: arguments are moved outward by more than rounding can have moved them.

A relative error of δ alone would not do.  Where ε is next to 0, or a difference of large numbers decides δ,
the last digits of the arguments change the first ones of the answer.
"""

from __future__ import annotations

import math
from typing import Protocol

__all__ = ["ARGUMENT", "ULP", "ExactCurve", "between", "exp_bounds", "margin", "quotient_up"]

ULP = 4 * 2.0**-52
"""Relative error of a few operations on floats."""
ARGUMENT = 16 * 2.0**-52
"""Relative distance by which an argument that took some operations to compute is moved outward."""
_RESULT = 1e-12
"""Relative error of a root that was searched for, and of what is computed from it."""
_TINY = math.ulp(0.0)


class ExactCurve(Protocol):
    """A pair's δ(ε) in closed form, for one release and the worse of both orders, for ε ≥ 0."""

    def log_delta(self, epsilon: float) -> float:
        """Log δ at this ε."""
        ...

    def epsilon(self, log_delta: float) -> float:
        """The smallest ε ≥ 0 at this log δ."""
        ...

    def log_delta_bounds(self, epsilon: float) -> tuple[float, float]:
        """Log δ at this ε ≥ 0 from both sides, if parameters err by a few units in the last place."""
        ...

    def epsilon_bounds(self, log_delta: float) -> tuple[float, float]:
        """The smallest ε ≥ 0 at this log δ, likewise."""
        ...


def margin(log_delta: float, relative: float) -> float:
    """What log δ may be wrong by, if δ, or 1 − δ where that is smaller, has this relative error."""
    size = abs(log_delta)
    return relative * min(1.0, size) + ULP * size


def between(low: float, high: float) -> tuple[float, float]:
    """Both ends of a bracket of ε, further apart by the error of a root."""
    return max(low * (1 - _RESULT), 0.0), high * (1 + _RESULT)


def exp_bounds(low: float, high: float) -> tuple[float, float]:
    """Two logarithms' exponentials, rounded down and up; the upper one is at most 1, and never 0.

    Example:
        >>> exp_bounds(-2000.0, -1000.0)  # the upper one is not 0, only smaller than any float
        (0.0, 1e-323)
    """
    least = math.exp(low) * (1 - ULP) - 2 * _TINY
    most = math.exp(high) * (1 + ULP) + 2 * _TINY if high < 0 else 1.0
    return max(least, 0.0), min(most, 1.0)


def quotient_up(a: float, b: float) -> float:
    """The least float that is at least a/b, for positive numbers.

    Example:
        >>> 1 / 3 == 0.3333333333333333, quotient_up(1.0, 3.0)
        (True, 0.33333333333333337)
    """
    found = a / b
    (top, bottom), (x, y), (u, v) = (number.as_integer_ratio() for number in (found, a, b))
    return math.nextafter(found, math.inf) if top * y * u < x * v * bottom else found
