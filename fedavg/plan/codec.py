"""Plans as bytes: worker processes and checkpoints rebuild a plan from names and numbers, never from code."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import msgspec

from fedavg.algorithms.blocks.layers import LayerBlocks
from fedavg.algorithms.blocks.rolling import RollingBlocks
from fedavg.algorithms.personal import Ditto, FedRep, FineTune
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.encoding.quantised import Quantised
from fedavg.encoding.random_k import RandomK
from fedavg.errors import PlanError
from fedavg.optimizers.local import LocalTraining
from fedavg.optimizers.schedule import Schedule
from fedavg.optimizers.server import (
    AveragedIterates,
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedMomentum,
    FedYogi,
)
from fedavg.plan.plan import Budget, Plan
from fedavg.privacy.clipping import AdaptiveClipping
from fedavg.privacy.noise import (
    CentralGaussian,
    DistributedDiscreteGaussian,
    DistributedGaussian,
    DistributedSkellam,
)
from fedavg.privacy.sampling import FixedCohort, PoissonCohort
from fedavg.sums.encrypted import Bfv, Ckks
from fedavg.sums.masked import SecAgg
from fedavg.sums.masked_encrypted import EncryptedSecAgg
from fedavg.sums.plain import InsecurePlain
from fedavg.sums.selective.map import SensitivityMap
from fedavg.sums.selective.sum import Selective

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
