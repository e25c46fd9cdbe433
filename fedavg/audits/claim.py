"""A plan's claim in the forms that an audit tests: its privacy curve, and those at other noise."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from scipy.optimize import brentq

from dp import Accountant, DpError, gaussian_epsilon
from dp.audit import ProfileCurve, refutes
from fedavg.errors import PlanError

if TYPE_CHECKING:
    from fedavg.plan.resolution import ResolvedPlan

__all__ = ["claimed_curve", "epsilon_added", "family_bound", "gaussian_like", "profile"]

_PARTS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0, 1.25, 1.5)  # multiples of the claimed ε
_LEAST_MU, _LARGEST_MU = 0.05, 20.0
_WIDEST = 32.0  # largest factor by which the noise is varied, in both directions


def profile(resolution: ResolvedPlan) -> ProfileCurve:
    """The claimed curve: certified upper δ at several ε, over all rounds.

    Raises:
        PlanError: the plan has no noise.
    """
    event = resolution.release_event()
    if event is None:
        raise PlanError("without noise there is no epsilon to audit: choose a noise")
    run = Accountant().compose(event, resolution.num_rounds)
    run = run.compose(resolution.failure(), resolution.num_rounds)
    return claimed_curve(run, resolution.plan.budget.delta)[0]


def claimed_curve(run: Accountant, delta: float) -> tuple[ProfileCurve, float]:
    """The curve of an account, as certified upper δ at several ε, and the ε that it claims at one δ.

    Raises:
        PlanError: the ε is infinite.
    """
    claimed = run.epsilon(delta).high
    # An infinite claim cannot be refuted, so an audit of it would say nothing.
    if not math.isfinite(claimed):
        raise PlanError("this plan claims nothing: its epsilon is infinite at this delta")
    points = tuple((part * claimed, run.delta(part * claimed).high) for part in _PARTS)
    return ProfileCurve(points), claimed


def _at_noise(resolution: ResolvedPlan, multiplier: float) -> ResolvedPlan:
    noise = resolution.plan.noise
    if noise is None:
        raise PlanError("without noise there is no epsilon to audit: choose a noise")
    plan = replace(resolution.plan, noise=noise.at(multiplier))
    return replace(resolution, plan=plan)


def epsilon_added(resolution: ResolvedPlan) -> float:
    """ε for the noise as it is added; the claim leaves out what drop-outs and colluders could remove."""
    claimed, added = resolution.noise_multiplier or 0.0, resolution.noise_multiplier_added or 0.0
    if added <= claimed:
        return resolution.epsilon_at_end()
    return _at_noise(resolution, added).epsilon_at_end()


def gaussian_like(epsilon: float, delta: float) -> float:
    """The μ of a Gaussian mechanism with this ε, limited to what canaries can measure; for planning only."""
    # Beyond these ends canaries cannot tell mechanisms apart, so a rough number is enough for planning.
    ends = [gaussian_epsilon(1 / mu, delta) for mu in (_LEAST_MU, _LARGEST_MU)]
    if not ends[0] < epsilon < ends[1]:
        return _LEAST_MU if epsilon <= ends[0] else _LARGEST_MU
    return float(
        brentq(
            lambda mu: gaussian_epsilon(1 / mu, delta) - epsilon, _LEAST_MU, _LARGEST_MU, xtol=1e-3
        )
    )


def family_bound(
    resolution: ResolvedPlan, canaries: int, guesses: int, correct: int, tau: float
) -> float:
    """The largest claimed ε, over other noise strengths in the same plan, that the guesses refute.

    Args:
        resolution: the audited plan.
        canaries: number of canaries.
        guesses: number of guesses.
        correct: number of correct guesses.
        tau: probability of a wrong refutation.

    Returns:
        The ε, to 1 % in the noise; 0 if not even 32 times the noise is refuted.
    """
    base = resolution.noise_multiplier or 0.0

    # More noise makes a smaller claim, which is easier to refute.
    def refuted(scale: float) -> bool:
        try:
            curve = profile(_at_noise(resolution, base * scale))
        except (DpError, PlanError):  # so little noise makes no claim that could be refuted
            return False
        return refutes(canaries, guesses, correct, curve, tau)

    # The search is over factors, so the middle is the geometric mean.
    low, high = 1.0, 1.0  # `low` is not refuted, `high` is
    if refuted(1.0):
        while low > 1 / _WIDEST and refuted(low):
            low, high = low / 2, low
    else:
        while not refuted(high):
            low, high = high, 2 * high
            if high > _WIDEST:
                return 0.0
    while high > 1.01 * low:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if refuted(middle) else (middle, high)
    return _at_noise(resolution, base * high).epsilon_at_end()
