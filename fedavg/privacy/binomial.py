"""Tails and quantiles of a binomial law, from the incomplete beta function.

`scipy.stats` has them too, from the same function, but takes half a second to load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scipy.special import betainc, betaincc

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["at_most", "least_leaving", "least_reaching", "more_than"]


def at_most(k: int, trials: int, rate: float) -> float:
    """P[Bin(trials, rate) ≤ k].

    Example:
        >>> at_most(0, 2, 0.5), at_most(-1, 2, 0.5), at_most(2, 2, 0.5)
        (0.25, 0.0, 1.0)
    """
    if not 0 <= k < trials:
        return float(k >= trials)
    return float(betaincc(k + 1, trials - k, rate))


def more_than(k: int, trials: int, rate: float) -> float:
    """P[Bin(trials, rate) > k], also where it is far below the last digit of 1.

    Example:
        >>> more_than(1, 2, 0.5), more_than(2, 2, 0.5), f"{more_than(99, 100, 1e-3):.3g}"
        (0.25, 0.0, '1e-300')
    """
    if not 0 <= k < trials:
        return float(k < 0)
    return float(betainc(k + 1, trials - k, rate))


def least_reaching(mass: float, trials: int, rate: float) -> int:
    """The smallest k with P[Bin(trials, rate) ≤ k] ≥ mass.

    Example:
        >>> least_reaching(0.25, 2, 0.5), least_reaching(0.26, 2, 0.5)
        (0, 1)
    """
    return _first(lambda k: at_most(k, trials, rate) >= mass, trials)


def least_leaving(mass: float, trials: int, rate: float) -> int:
    """The smallest k with P[Bin(trials, rate) > k] ≤ mass.

    Example:
        >>> least_leaving(0.25, 2, 0.5), least_leaving(0.24, 2, 0.5)
        (1, 2)
    """
    return _first(lambda k: more_than(k, trials, rate) <= mass, trials)


def _first(holds: Callable[[int], bool], most: int) -> int:
    """The smallest k ≥ 0 from which on a condition holds; it holds at `most`."""
    low, high = -1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
