"""Calibration: the smallest noise that a privacy budget allows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from dp import DpError
from fedavg.errors import GridError, PlanError
from fedavg.plan.feasibility import check_drawable
from fedavg.plan.resolution import resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedavg.plan.plan import Plan

__all__ = ["calibrated"]

_LEAST, _MOST = 1e-3, 1e6
_WIDTH = 1e-4
_STEPS = 100
_TINY = 1e-300


class _End(NamedTuple):
    """A noise multiplier, and log(ε ÷ budget) at it."""

    at: float
    over: float


def calibrated(
    plan: Plan, *, num_clients: int, vector_length: int, num_rounds: int, largest_client: int = 1
) -> Plan:
    """Return the plan with the smallest noise multiplier that its budget allows for all rounds.

    Args:
        plan: a plan with a finite budget and a noise of any strength.
        num_clients: see `resolve`.
        vector_length: see `resolve`.
        num_rounds: see `resolve`.
        largest_client: see `resolve`.

    Raises:
        PlanError: the plan has no noise or no finite budget.

    Example:
        >>> import fedavg
        >>> parts = fedavg.PoissonCohort(1.0), fedavg.FixedPoint(1.0, 4), fedavg.CentralGaussian(1.0)
        >>> training = fedavg.LocalTraining(), fedavg.FedAvg()
        >>> plan = fedavg.Plan(*parts, fedavg.InsecurePlain(), *training, fedavg.Budget(epsilon=2.0))
        >>> found = calibrated(plan, num_clients=50, vector_length=9, num_rounds=10)
        >>> round(found.noise.noise_multiplier, 2)
        6.31
    """
    noise = plan.noise
    if noise is None or not math.isfinite(plan.budget.epsilon):
        raise PlanError("calibration needs a noise and a finite epsilon")

    at_one = resolve(
        replace(plan, noise=noise.at(1.0)),
        num_clients=num_clients,
        vector_length=vector_length,
        num_rounds=num_rounds,
        largest_client=largest_client,
    )

    def over(multiplier: float) -> float:
        """log(ε ÷ budget) at this strength; the other derived numbers do not depend on it."""
        tried = replace(at_one, plan=replace(plan, noise=noise.at(multiplier)))
        try:
            if multiplier < 1:
                check_drawable(tried)
            return math.log(max(tried.epsilon_at_end(), _TINY) / plan.budget.epsilon)
        except (DpError, GridError):  # on this grid the shares would be below two units, say
            if multiplier >= 1:
                raise
            return math.inf

    ends = _bracketed(over, plan.budget.epsilon)
    return replace(plan, noise=noise.at(_root(over, *ends)))


def _bracketed(over: Callable[[float], float], epsilon: float) -> tuple[_End, _End]:
    """Two multipliers a factor of two apart, of which the larger one keeps within the budget."""
    low, high = _End(0.5, math.inf), _End(1.0, over(1.0))
    if high.over <= 0:
        low = _End(0.5, over(0.5))
    while low.over <= 0 and low.at > _LEAST:
        low, high = _End(low.at / 2, over(low.at / 2)), low
    while high.over > 0:
        low, high = high, _End(2 * high.at, over(2 * high.at))
        if high.at > _MOST:
            raise PlanError(f"epsilon={epsilon} is out of reach with this cohort and delta")
    return (low if low.over > 0 else _End(low.at, math.inf)), high


def _root(over: Callable[[float], float], low: _End, high: _End) -> float:
    """The smaller end within a relative 1e-4 that keeps within the budget.

    log ε is nearly linear in the log of the multiplier, so that a secant hits the root almost at once, and a
    step of nearly the tolerance beyond it closes the bracket. Every third step halves the bracket instead.
    """
    for step in range(_STEPS):
        if high.at - low.at <= _WIDTH * high.at:
            break
        least, most = math.log(low.at), math.log(high.at)
        if math.isfinite(low.over) and step % 3 < 2:
            place = least + (most - least) * low.over / (low.over - high.over)
            place = min(max(place + 0.4 * _WIDTH, least + 0.1 * _WIDTH), most - 0.1 * _WIDTH)
        else:
            place = (least + most) / 2
        for at in (math.exp(place), None):
            multiplier = at or high.at * (1 - 0.9 * _WIDTH)
            if not low.at < multiplier < high.at:
                break
            found = _End(multiplier, over(multiplier))
            if found.over > 0:
                low = found
                break
            high = found
    return high.at
