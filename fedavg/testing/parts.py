"""Requirements on every registered part: its fields identify it, and it can be rebuilt from bytes."""

from __future__ import annotations

from typing import Any, Literal

from fedavg.encoding.fixed_point import FixedPoint
from fedavg.optimizers.local import LocalTraining
from fedavg.optimizers.server import FedAvg
from fedavg.parts import check_registered
from fedavg.plan.codec import canonical, plan_from_bytes, plan_to_bytes
from fedavg.plan.plan import Plan
from fedavg.privacy.sampling import PoissonCohort
from fedavg.sums.plain import InsecurePlain

__all__ = ["check_travels", "require"]


def require(holds: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Fail a test, under ``python -O`` as well.

    Raises:
        AssertionError: the condition does not hold.
    """
    if not holds:
        raise AssertionError(what)


def check_travels(field: Literal["secure_sum", "noise", "stages"], value: object) -> None:
    """Check that a plan with the part has a digest, and that worker processes can rebuild it.

    Args:
        field: field of the plan that holds the part.
        value: the part, or a tuple of stages.

    Raises:
        AssertionError: the rebuilt plan is another one.
        PlanError: the class is not registered, or a field cannot be written.
    """
    for part in value if isinstance(value, tuple) else (value,):
        check_registered(part)
    fields: dict[str, Any] = {
        "cohort": PoissonCohort(1.0),
        "encoding": FixedPoint(1.0, 20, rounding="stochastic" if field == "noise" else "nearest"),
        "noise": None,
        "secure_sum": InsecurePlain(),
        "local_training": LocalTraining(),
        "server_optimizer": FedAvg(),
    }
    fields[field] = value
    plan = Plan(**fields)
    # A part that loses a field on the way would give workers another plan.
    back = plan_from_bytes(plan_to_bytes(plan))
    require(back == plan, f"{value!r} is rebuilt from its bytes as {getattr(back, field)!r}")
    require(canonical(back) == canonical(plan), f"{value!r} has two canonical forms")
