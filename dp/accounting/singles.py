"""What the releases of a run say one by one, from closed forms: bounds that need no mesh, and always hold.

A run costs at least as much as any release that some data attain, since the others can be dropped.  Its δ is
at most the sum of the releases' total variations, which are their own δ at ε = 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dp.losses.outward import ULP, exp_bounds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dp.losses.outward import ExactCurve
    from dp.losses.pairs import Pair

    Pairs = tuple[tuple[Pair, int], ...]

__all__ = ["least_delta", "least_epsilon", "most_delta"]


def most_delta(pairs: Pairs) -> float:
    """A bound on δ at every ε ≥ 0; 1 where a pair has no closed form."""
    curves = [(pair.exact, count) for pair, count in pairs]
    sums = (
        1.0 if curve is None else count * exp_bounds(*curve.log_delta_bounds(0.0))[1] * (1 + ULP)
        for curve, count in curves
    )
    return min(math.fsum(sums), 1.0)


def least_delta(pairs: Pairs, epsilon: float) -> float:
    """A bound on δ at this ε from below."""
    found = (exp_bounds(*curve.log_delta_bounds(epsilon))[0] for curve in _attained(pairs))
    return max(found, default=0.0)


def least_epsilon(pairs: Pairs, log_delta: float) -> float:
    """A bound on ε at this log δ from below."""
    return max((curve.epsilon_bounds(log_delta)[0] for curve in _attained(pairs)), default=0.0)


def _attained(pairs: Pairs) -> Iterator[ExactCurve]:
    for pair, _ in pairs:
        attained = pair.attained
        curve = None if attained is None else attained.exact
        if curve is not None:
            yield curve
