"""The smallest noise multiplier whose certified ε fits a target."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scipy.optimize import brentq

from dp.accounting.accountant import Accountant
from dp.checks import fraction, positive, proper_fraction, whole
from dp.errors import InvalidParameterError
from dp.events import FailureEvent, GaussianEvent, NeighboringRelation
from dp.losses import gaussian

if TYPE_CHECKING:
    from collections.abc import Callable

    from dp.events import Sampling

    Excess = Callable[[float], float]

__all__ = ["calibrate_noise_multiplier"]

_TOLERANCE = 1e-4
_EXACT = 1e-8
"""The search ends where the upper ε is this much below the target, relatively, within as much."""
_LARGEST = 1e7
_BEYOND = 1e30
"""Larger budgets allow the least noise that is searched for."""
_STEPS = 80
_SLOPE = 1.3
"""About −d log ε / d log z."""


def calibrate_noise_multiplier(
    epsilon: float,
    delta: float,
    *,
    sampling: Sampling,
    steps: int,
    relation: NeighboringRelation = NeighboringRelation.ADD_REMOVE,
    failure_probability: float = 0.0,
) -> float:
    """Return a noise multiplier whose certified upper ε is ≤ `epsilon`.

    It is ≥ 0.999·`epsilon` too, where a multiplier from 1e-7 to 1e7 reaches that. It may be less where ε
    jumps, as it does towards 0 for a target below about 1e-9.

    Args:
        epsilon: target ε, > 0.
        delta: target δ, in (0, 1).
        sampling: sampling scheme of each cohort.
        steps: number of releases of Gaussian noise.
        relation: neighbouring relation of data sets.
        failure_probability: probability of events outside the theorems, over the whole run.

    Raises:
        InvalidParameterError: no noise reaches the target, or a parameter is out of range.
        UnsupportedEventError: no theorem covers the sampling.

    Example:
        >>> from dp import NoSampling
        >>> round(calibrate_noise_multiplier(1.0, 1e-5, sampling=NoSampling(), steps=1), 2)
        3.73
    """
    epsilon, delta = positive("epsilon", epsilon), proper_fraction("delta", delta)
    steps = whole("steps", steps)
    failure_probability = fraction("failure_probability", failure_probability)

    # invalid parameters are refused by name before the search
    Accountant(relation).check(GaussianEvent(1.0, sampling))

    def run(log_multiplier: float) -> Accountant:
        event = GaussianEvent(math.exp(log_multiplier), sampling)
        spent = Accountant(relation).compose(event, steps)
        if failure_probability > 0:
            spent = spent.compose(FailureEvent(failure_probability))
        return spent

    def excess(log_multiplier: float) -> float:
        high = run(log_multiplier).upper_epsilon(delta)
        # The aim is a little below the target, so that no point within the tolerance is above it.
        return math.log(max(high, 1e-300) / epsilon) + 1.2 * tolerance

    # Releases without sampling have a closed form; others are known up to the mesh.
    exact = sampling.gaussian(1.0, relation).precision is not None
    tolerance = _EXACT if exact else _TOLERANCE
    point = _solve(excess, _start(epsilon, delta, sampling, steps, relation), tolerance)
    # The search used the upper side alone; the value that users see is checked here.
    while run(point).epsilon(delta).high > epsilon:
        point += tolerance / 2
    return math.exp(point)


def _start(
    epsilon: float, delta: float, sampling: Sampling, steps: int, relation: NeighboringRelation
) -> float:
    """Log of the multiplier by the central limit theorem: one Gaussian with the summed variances."""
    if delta == 1:
        return 0.0
    epsilon = min(epsilon, _BEYOND)  # the root below is sought by steps of equal length
    log_delta = math.log(delta)
    most = math.sqrt(2 * epsilon) + math.sqrt(-2 * log_delta) + 40.0
    mu = float(brentq(lambda m: gaussian.log_delta(epsilon, m) - log_delta, 1e-12, most))

    def lacking(log_multiplier: float) -> float:
        spread = sampling.gaussian(math.exp(log_multiplier), relation).spread
        return math.log(spread * math.sqrt(steps) / mu)

    # the standard deviation of the loss falls as the noise grows
    low, high = -math.log(_LARGEST), math.log(_LARGEST)
    if lacking(high) >= 0 or lacking(low) <= 0:
        return high if lacking(high) >= 0 else low
    return float(brentq(lacking, low, high, xtol=1e-3))


def _solve(excess: Excess, start: float, tolerance: float) -> float:
    """A point where |excess| ≤ tolerance; at a jump, the end with enough noise.

    It uses secants through the last two points, as long as they stay between a point with too little noise
    and one with enough, and halving otherwise.
    """
    limit = math.log(_LARGEST)
    point = min(max(start, -limit), limit)
    noisy, quiet = -math.inf, math.inf  # largest point with too little noise, smallest with enough
    last: tuple[float, float] | None = None
    for _ in range(_STEPS):
        value = excess(point)
        if abs(value) <= tolerance:
            return point
        noisy, quiet = (point, quiet) if value > 0 else (noisy, point)
        # Where ε jumps, no point is within the tolerance, and the search ends at the jump.
        if quiet - noisy < 1e-10:
            break
        following = _following((point, value), last)
        last = (point, value)
        if not noisy < following < quiet:
            # Both ends are known, or the step went beyond the only known one.
            following = (noisy + quiet) / 2
        if following > limit:
            raise InvalidParameterError(
                "no noise reaches this target: the failure probability, or sampling, exceeds delta"
            )
        if following < -limit:
            break
        point = following
    if math.isinf(quiet):
        raise InvalidParameterError("no noise multiplier fits this target")
    return quiet


def _following(this: tuple[float, float], last: tuple[float, float] | None) -> float:
    """The secant's zero, at most a factor of 4 away; a typical slope replaces one that is impossible."""
    point, value = this
    slope = -_SLOPE
    if last is not None and math.isfinite(last[1]) and math.isfinite(value):
        slope = min((value - last[1]) / (point - last[0]), -0.2)
    step = -value / slope
    return point + min(max(step, -math.log(4)), math.log(4))
