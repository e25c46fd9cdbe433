"""What a run's releases say one by one, from closed forms: bounds that need no mesh, and always hold.

Above, two neighbours' outputs can be drawn so that they differ in no release with probability ∏(1 − v), v the
total variations, which are the releases' own δ at ε = 0.  Below, an observer may look at one release, or at
whether any of n alike shows the client: with S the set that is best at ε' in one of them, P(S) ≥ δ₁(ε') and
Q(S) ≤ e^(−ε'), so that δ(ε) ≥ 1 − (1 − δ₁(ε'))ⁿ − n·e^(ε − ε').
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from dp.losses.outward import ULP, exp_bounds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dp.losses.outward import ExactCurve
    from dp.losses.pairs import Pair

    Pairs = tuple[tuple[Pair, int], ...]

__all__ = ["least_delta", "least_epsilon", "most_delta"]

_ROUNDING = 1e-12
_TAIL = 1e-290
"""Mass that no bound on a pair's masses needs to hold for."""
_ROOMS = (2.0, 5.0, 10.0, 20.0, 40.0)
"""How far ε' is above ε + log n."""
_PARTS = (0.3, 1e-3, 1e-6)
"""What n·e^(ε − ε') may be of δ, or of 1 − δ where that is smaller."""


def most_delta(pairs: Pairs) -> float:
    """A bound on δ at every ε ≥ 0."""
    log_same = 0.0
    for pair, count in pairs:
        curve = pair.exact
        known = None if curve is None else exp_bounds(*curve.log_delta_bounds(0.0))[1]
        variation = _variation(pair) if known is None else known
        if variation >= 1:
            return 1.0
        log_same += count * math.log1p(-variation)
    return min(-math.expm1(log_same * (1 + _ROUNDING)) * (1 + ULP), 1.0)


def least_delta(pairs: Pairs, epsilon: float) -> float:
    """A bound on δ at this ε from below, of pairs that are attained."""
    best = 0.0
    for curve, count in _known(pairs):
        best = max(best, exp_bounds(*curve.log_delta_bounds(epsilon))[0])
        for room in _ROOMS if count > 1 else ():
            further = epsilon + math.log(count) + room
            one = exp_bounds(*curve.log_delta_bounds(further))[0]
            # as far as `further` is from ε in floats
            seen_by_chance = count * math.exp(epsilon - further) * (1 + _ROUNDING)
            best = max(best, _any(one, count) * (1 - _ROUNDING) - seen_by_chance)
    return best


def least_epsilon(pairs: Pairs, log_delta: float) -> float:
    """A bound on ε at this log δ, below 0, from below, of pairs that are attained."""
    delta, best = math.exp(log_delta), 0.0
    for curve, count in _known(pairs):
        best = max(best, curve.epsilon_bounds(log_delta)[0])
        for part in _PARTS if count > 1 else ():
            extra = part * min(delta, 1 - delta)
            one = -math.expm1(math.log1p(-(delta + extra)) / count) * (1 + _ROUNDING)
            if not 0 < one < 1 or extra == 0:
                continue
            further = curve.epsilon_bounds(math.log(one))[0]
            fall = (math.log(count) - math.log(extra)) * (1 + _ROUNDING)
            best = max(best, further * (1 - ULP) - fall)
    return best


def _variation(pair: Pair) -> float:
    """A bound on P(L > 0) − Q(L > 0), which is the same in either order of the pair.

    Where a loss is wrong by w about 0, so is the boundary: masses at losses up to w are in the wrong part,
    of which P and Q differ by w times their mass.
    """
    first, second = pair.cells(np.array([-math.inf, 0.0, math.inf]), removing=True)
    p, q = float(first[1]), float(second[1])
    wrong = float(pair.loss_rounding(np.zeros(1), _TAIL)[0])
    return p - q + pair.rounding(_TAIL) * (p + q) + 4 * wrong + _TAIL


def _any(one: float, count: int) -> float:
    """1 − (1 − one)^count."""
    return -math.expm1(count * math.log1p(-one)) if one < 1 else 1.0


def _known(pairs: Pairs) -> Iterator[tuple[ExactCurve, int]]:
    for pair, count in pairs:
        if pair.exact is not None:
            yield pair.exact, count
