"""Events as JSON-ready values and back, strictly: what was not written by this module is refused."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from dp.events import (
    DiscreteGaussianSumEvent,
    Event,
    FailureEvent,
    FixedSizeSampling,
    GaussianEvent,
    NoSampling,
    PoissonSampling,
    RoundedGaussianSumEvent,
    SkellamEvent,
    TruncatedPoissonSampling,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["decode_event", "encode_event"]

_EVENTS = {
    kind.__name__: kind
    for kind in (
        GaussianEvent,
        RoundedGaussianSumEvent,
        SkellamEvent,
        DiscreteGaussianSumEvent,
        FailureEvent,
    )
}
_SAMPLINGS = {
    kind.__name__: kind
    for kind in (NoSampling, PoissonSampling, TruncatedPoissonSampling, FixedSizeSampling)
}


def encode_event(event: Event) -> dict[str, Any]:
    """The event's kind and fields."""
    values: dict[str, Any] = {"kind": type(event).__name__}
    for item in fields(event):
        value = getattr(event, item.name)
        if item.name == "sampling":
            inner = {part.name: getattr(value, part.name) for part in fields(value)}
            value = {"kind": type(value).__name__, **inner}
        values[item.name] = value
    return values


def decode_event(values: Mapping[str, Any]) -> Event:
    """Build the event again, through its own checks.

    Raises:
        KeyError: an unknown kind, or none.
        TypeError: a field too many or too few.
        InvalidParameterError: a value out of range.
    """
    arguments = dict(values)
    kind = _EVENTS[arguments.pop("kind")]
    if "sampling" in arguments:
        inner = dict(arguments["sampling"])
        arguments["sampling"] = _SAMPLINGS[inner.pop("kind")](**inner)
    return kind(**arguments)
