"""Plans as bytes: worker processes and checkpoints rebuild a plan from names and numbers, never from code."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import msgspec

from fedavg.clipping import AdaptiveClipping
from fedavg.cohort import FixedCohort, PoissonCohort
from fedavg.compression import RandomK
from fedavg.encoding import FixedPoint
from fedavg.errors import PlanError
from fedavg.layer_blocks import LayerBlocks
from fedavg.local_training import LocalTraining
from fedavg.noise import (
    CentralGaussian,
    DistributedDiscreteGaussian,
    DistributedGaussian,
    DistributedSkellam,
)
from fedavg.personalization import Ditto, FedRep, FineTune
from fedavg.plan import Budget, Plan
from fedavg.quantised import Quantised
from fedavg.rolling_blocks import RollingBlocks
from fedavg.schedule import Schedule
from fedavg.selective import Selective
from fedavg.sensitivity import SensitivityMap
from fedavg.server_optim import (
    AveragedIterates,
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedMomentum,
    FedYogi,
)
from fedavg.sum_he import Bfv, Ckks
from fedavg.sum_masked_he import EncryptedSecAgg
from fedavg.sum_plain import InsecurePlain
from fedavg.sum_secagg import SecAgg

__all__ = ["plan_from_bytes", "plan_to_bytes"]

_TYPES: dict[str, type[Any]] = {
    part.__name__: part
    for part in (
        AdaptiveClipping,
        AveragedIterates,
        Bfv,
        Budget,
        CentralGaussian,
        Ckks,
        DistributedDiscreteGaussian,
        DistributedGaussian,
        DistributedSkellam,
        Ditto,
        EncryptedSecAgg,
        FedAdagrad,
        FedAdam,
        FedAvg,
        FedMomentum,
        FedRep,
        FedYogi,
        FineTune,
        FixedCohort,
        FixedPoint,
        InsecurePlain,
        LayerBlocks,
        LocalTraining,
        Plan,
        PoissonCohort,
        Schedule,
        Quantised,
        RandomK,
        RollingBlocks,
        SecAgg,
        Selective,
        SensitivityMap,
    )
}


def _to_builtins(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        name = type(value).__name__
        if _TYPES.get(name) is not type(value):
            raise PlanError(
                f"{name} is not one of the built-in parts, so its plan cannot be sent to worker "
                "processes: run with workers=0"
            )
        parts = {part.name: _to_builtins(getattr(value, part.name)) for part in fields(value)}
        return {"type": name, **parts}
    return value


def _from_builtins(value: object) -> Any:  # noqa: ANN401 - any part of a plan
    if isinstance(value, list):
        return tuple(_from_builtins(part) for part in value)
    if not isinstance(value, dict):
        return value
    parts: dict[str, object] = {str(key): part for key, part in value.items()}
    kind = _TYPES.get(str(parts.pop("type", "")))
    if kind is None:
        raise PlanError("these bytes hold no plan")
    return kind(**{key: _from_builtins(part) for key, part in parts.items()})


def plan_to_bytes(plan: Plan) -> bytes:
    """Return a plan's bytes.

    Raises:
        PlanError: a part that is not built in.
    """
    return msgspec.msgpack.encode(_to_builtins(plan))


def plan_from_bytes(data: bytes) -> Plan:
    """Rebuild a plan; every part validates itself again.

    Raises:
        PlanError: bytes that hold no plan.
    """
    try:
        plan = _from_builtins(msgspec.msgpack.decode(data))
    except (msgspec.MsgspecError, TypeError) as error:
        raise PlanError("these bytes hold no plan") from error
    if not isinstance(plan, Plan):
        raise PlanError("these bytes hold no plan")
    return plan
