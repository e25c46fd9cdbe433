"""What every registered part has to do: be told apart by its fields, and come back from bytes."""

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
        AssertionError: it does not hold.
    """
    if not holds:
        raise AssertionError(what)


def check_travels(field: Literal["secure_sum", "noise", "stages"], value: object) -> None:
    """A plan with the part has an identity, and worker processes can rebuild it.

    Args:
        field: the plan's field that it fills.
        value: the part, or a tuple of stages.

    Raises:
        AssertionError: another plan comes back.
        PlanError: a class that is not registered, or fields that cannot be written.
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
    back = plan_from_bytes(plan_to_bytes(plan))
    require(back == plan, f"{value!r} comes back from its bytes as {getattr(back, field)!r}")
    require(canonical(back) == canonical(plan), f"{value!r} has two identities")
