"""The smallest noise multiplier whose certified ε fits a target."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dp._checks import fraction, positive, whole
from dp.accounting.accountant import Accountant
from dp.errors import InvalidParameterError
from dp.events import FailureEvent, GaussianEvent, NeighboringRelation

if TYPE_CHECKING:
    from collections.abc import Callable

    from dp.events import Sampling

    Excess = Callable[[float], float]

__all__ = ["calibrate_noise_multiplier"]

_TOLERANCE = 1e-5
_LARGEST = 1e7


def calibrate_noise_multiplier(
    epsilon: float,
    delta: float,
    *,
    sampling: Sampling,
    steps: int,
    relation: NeighboringRelation = NeighboringRelation.ADD_REMOVE,
    failure_probability: float = 0.0,
) -> float:
    """Return a noise multiplier, within 1e-5 of the smallest, whose certified upper ε is ≤ `epsilon`.

    Args:
        epsilon: target, > 0.
        delta: target, in (0, 1).
        sampling: how each cohort is drawn.
        steps: releases of Gaussian noise.
        relation: what two neighbouring data sets are.
        failure_probability: of anything outside the theorems, over the whole run.

    Raises:
        InvalidParameterError: no noise reaches the target, or a parameter is out of range.
        UnsupportedEventError: no theorem covers the sampling.

    Example:
        >>> from dp import NoSampling
        >>> round(calibrate_noise_multiplier(1.0, 1e-5, sampling=NoSampling(), steps=1), 3)
        3.731
    """
    positive("epsilon", epsilon)
    fraction("delta", positive("delta", delta))
    whole("steps", steps)
    fraction("failure_probability", failure_probability)

    def excess(multiplier: float) -> float:
        run = Accountant(relation).compose(GaussianEvent(multiplier, sampling), steps)
        if failure_probability > 0:
            run = run.compose(FailureEvent(failure_probability))
        if run.quick_epsilon(delta) <= epsilon / 4:
            return math.log(0.25)  # far enough on the safe side to need no finer answer
        high = run.epsilon(delta).high
        return math.log(max(high, 1e-300) / epsilon)

    low, high = _bracket(excess)
    return _refine(excess, low, high)


def _bracket(excess: Excess) -> tuple[tuple[float, float], tuple[float, float]]:
    """Two multipliers a factor of two apart with the target between them, and their excesses."""
    multiplier = 1.0
    value = excess(multiplier)
    factor = 2.0 if value > 0 else 0.5
    while True:
        following = multiplier * factor
        if following > _LARGEST:
            raise InvalidParameterError(
                "no noise reaches this target: the failure probability, or sampling, exceeds delta"
            )
        if following < 1 / _LARGEST:
            return (following, math.inf), (multiplier, value)
        nearer = excess(following)
        if (nearer > 0) != (value > 0):
            pair = (multiplier, value), (following, nearer)
            return pair if value > 0 else (pair[1], pair[0])
        multiplier, value = following, nearer


def _refine(excess: Excess, low: tuple[float, float], high: tuple[float, float]) -> float:
    """Regula falsi in logarithms, falling back to bisection; `high` always fits the target."""
    for step in range(60):
        a, b = math.log(low[0]), math.log(high[0])
        if b - a <= _TOLERANCE:
            break
        middle = (a + b) / 2
        if step % 3 < 2 and math.isfinite(low[1]) and low[1] - high[1] > 0:
            middle = a + (b - a) * low[1] / (low[1] - high[1])
            # aim a little to the far side of the near end, so that both ends move
            nudge = 0.3 * _TOLERANCE
            middle = middle + nudge if step % 3 == 0 else middle - nudge
            middle = min(max(middle, a + nudge), b - nudge)
        point = math.exp(middle)
        value = excess(point)
        if value > 0:
            low = (point, value)
        else:
            high = (point, value)
    return high[0]
