"""Plans as bytes: one canonical form, for a plan's digest and for the worker processes that rebuild it.

A part is written as its name and its fields (`fedavg.parts`), with the keys in order; a number that is
declared as a float is always written as one.  So equal plans have equal bytes, and a field that a class does
not print still counts.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import msgspec

from fedavg.errors import ConfigError, PlanError
from fedavg.optimizers.local import LocalTraining
from fedavg.parts import (
    Part,
    check_registered,
    family_of,
    load_plugins,
    modules_of,
    nested,
    union,
)
from fedavg.plan import catalogue
from fedavg.plan.plan import FAMILY_OF, Budget, Limits, Plan

__all__ = ["canonical", "plan_from_bytes", "plan_to_bytes"]

_VALUES: dict[str, type[Part]] = {
    "local_training": LocalTraining,
    "budget": Budget,
    "limits": Limits,
}
OURS = catalogue.OURS  # imported so that every part of ours can be read
_ENCODER = msgspec.msgpack.Encoder(order="deterministic")


def canonical(plan: Plan) -> bytes:
    """The bytes that stand for a plan's parts in its digest.

    Raises:
        PlanError: a part that is not registered, or holds what cannot be written.
    """
    parts = {field.name: getattr(plan, field.name) for field in fields(plan)}
    for part in _chosen(plan):
        check_registered(part)
    return _encode(parts)


def _chosen(plan: Plan) -> list[object]:
    """The registered parts of a plan."""
    parts = [getattr(plan, name) for name in FAMILY_OF]
    return [part for part in (*parts, *plan.stages) if part is not None]


def _encode(value: object) -> bytes:
    try:
        return _ENCODER.encode(value)
    except (TypeError, msgspec.MsgspecError) as error:
        raise PlanError(f"a part of the plan has a field that cannot be written: {error}") from None


class _Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    modules: tuple[str, ...]
    parts: dict[str, Any]


def plan_to_bytes(plan: Plan) -> bytes:
    """Return a plan's canonical bytes.

    Raises:
        PlanError: a part that is not registered, or that another process cannot import.
    """
    parts = {field.name: getattr(plan, field.name) for field in fields(plan)}
    # a loss, a step or a loop of one's own
    inside = [part for part in nested(plan.local_training) if family_of(part) is not None]
    return _encode(_Wire(modules_of([*_chosen(plan), *inside]), parts))


def plan_from_bytes(data: bytes) -> Plan:
    """Rebuild a plan; every part validates itself again.

    Raises:
        PlanError: bytes that hold no plan, or parts of modules that cannot be imported here.
    """
    try:
        wire = msgspec.msgpack.decode(data, type=_Wire)
        load_plugins(wire.modules)
        return Plan(**{name: _part(name, value) for name, value in wire.parts.items()})
    except (msgspec.MsgspecError, TypeError) as error:
        raise PlanError(f"these bytes hold no plan: {error}") from error
    except ConfigError as error:
        raise PlanError(str(error)) from error


def _part(name: str, value: Any) -> Any:  # noqa: ANN401 - any field of a plan
    if value is None:
        return None
    if name == "stages":
        return tuple(msgspec.convert(stage, union("stage")) for stage in value)
    if name in FAMILY_OF:
        return msgspec.convert(value, union(FAMILY_OF[name]))
    kind = _VALUES.get(name)
    return value if kind is None else msgspec.convert(value, kind)
