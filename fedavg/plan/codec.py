"""Plans as bytes: one canonical form, for a plan's digest and for worker processes that rebuild the plan.

A part is written as its name and its fields (`fedavg.parts`), with sorted keys.  A number that is declared as
a float is always written as a float.  Equal plans therefore have equal bytes, and the digest covers even
fields that a class does not print.
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
OURS = catalogue.OURS  # the import registers every part of this package, so that it can be decoded
_ENCODER = msgspec.msgpack.Encoder(order="deterministic")


def canonical(plan: Plan) -> bytes:
    """The canonical bytes of a plan's parts, as used in its digest.

    Raises:
        PlanError: a part is not registered, or has a field that cannot be written.
    """
    parts = {field.name: getattr(plan, field.name) for field in fields(plan)}
    for part in _chosen(plan):
        # A part without a registered name could not be told from another one in the digest.
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
        PlanError: a part is not registered, or another process cannot import it.
    """
    parts = {field.name: getattr(plan, field.name) for field in fields(plan)}
    # a user's own loss, step or loop
    inside = [part for part in nested(plan.local_training) if family_of(part) is not None]
    return _encode(_Wire(modules_of([*_chosen(plan), *inside]), parts))


def plan_from_bytes(data: bytes) -> Plan:
    """Rebuild a plan; every part validates itself again.

    Raises:
        PlanError: the bytes hold no plan, or parts of modules that cannot be imported here.
    """
    try:
        wire = msgspec.msgpack.decode(data, type=_Wire)
        # Modules come first: decoding looks up the parts that they register.
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
