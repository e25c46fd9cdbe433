"""Calibration: the smallest noise that a privacy budget allows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from dp import DpError
from fedavg.errors import PlanError
from fedavg.plan.resolution import resolve

if TYPE_CHECKING:
    from fedavg.plan.plan import Plan

__all__ = ["calibrated"]

_LEAST = 1e-3


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

    def spent(multiplier: float) -> float:
        candidate = replace(plan, noise=noise.at(multiplier))
        return resolve(
            candidate,
            num_clients=num_clients,
            vector_length=vector_length,
            num_rounds=num_rounds,
            largest_client=largest_client,
        ).epsilon_at_end()

    def affordable(multiplier: float) -> bool:
        try:
            return spent(multiplier) <= plan.budget.epsilon
        except DpError:  # on this grid the shares would be below two units, which no theorem covers
            return False

    low, high = 0.5, 1.0
    while spent(high) > plan.budget.epsilon:
        low, high = high, high * 2
        if high > 1e6:
            raise PlanError(
                f"epsilon={plan.budget.epsilon} is out of reach with this cohort and delta"
            )
    while low > _LEAST and affordable(low):
        low, high = low / 2, low
    # The upper end is returned, so the budget is kept although the search stops early.
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if affordable(middle) else (middle, high)
    return replace(plan, noise=noise.at(high))
