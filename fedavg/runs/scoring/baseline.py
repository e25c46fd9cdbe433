"""The plan that a protected run is compared with: the same training without protection."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from fedavg.encoding.fixed_point import FixedPoint
from fedavg.parts import Trait, traits_of
from fedavg.plan.plan import Budget
from fedavg.sums.plain import InsecurePlain

if TYPE_CHECKING:
    from fedavg.plan.plan import Plan

__all__ = ["unprotected"]

_LEAVES_OUT = {Trait.PARTIAL_VECTOR, Trait.RESIDUAL}


def unprotected(plan: Plan, limit: float) -> Plan:
    """The same training without clipping, noise, masks, compression or personalisation.

    Args:
        plan: plan of the protected run.
        limit: bound on a coordinate of an update, for its encoding.
    """
    return replace(
        plan,
        # 20 bits to nearest are the default without noise.
        encoding=FixedPoint(limit, 20, rounding="nearest"),
        noise=None,
        secure_sum=InsecurePlain(),
        budget=Budget(delta=plan.budget.delta),
        limits=msgspec.structs.replace(plan.limits, max_participations=None),
        clipping=None,
        # Stages that change the training itself stay, so that only the protection differs.
        stages=tuple(stage for stage in plan.stages if not _LEAVES_OUT & traits_of(stage)),
        broadcast="float32",
        personalization=None,
    )
