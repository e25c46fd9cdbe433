"""Events as JSON-ready values and back; values that this module did not write are refused.

Kinds are found by name among the registered ones, and never imported, so that a file cannot choose code to
run.
"""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from dp.checks import is_a
from dp.errors import InvalidParameterError, UnsupportedEventError
from dp.events import (
    DiscreteGaussianSumEvent,
    DiscreteLaplaceEvent,
    Event,
    FailureEvent,
    FixedSizeSampling,
    GaussianEvent,
    LaplaceEvent,
    NoSampling,
    PoissonSampling,
    RenyiEvent,
    RoundedGaussianSumEvent,
    Sampling,
    SkellamEvent,
    TruncatedPoissonSampling,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["decode_event", "encode_event", "register_event"]

Kind = TypeVar("Kind", bound=type[Any])

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        GaussianEvent,
        RoundedGaussianSumEvent,
        SkellamEvent,
        DiscreteGaussianSumEvent,
        LaplaceEvent,
        DiscreteLaplaceEvent,
        RenyiEvent,
        FailureEvent,
        NoSampling,
        PoissonSampling,
        TruncatedPoissonSampling,
        FixedSizeSampling,
    )
}


def register_event(kind: Kind) -> Kind:
    """Allow ledgers to write an event or a sampling of this class to files, and to read it back.

    Args:
        kind: a dataclass whose fields are numbers, strings, lists or enumerations of them, or a sampling.
            When it is read back, its checks get lists and values in place of tuples and members.  Register it
            again in every process that reads such a file.

    Returns:
        The class, so that this can be used as a decorator.

    Raises:
        InvalidParameterError: the class is no dataclass, or another class is registered under its name.

    Example:
        >>> from dataclasses import dataclass
        >>> from dp import Cost, MixturePair
        >>> @register_event
        ... @dataclass(frozen=True)
        ... class TwoSums:
        ...     first: float
        ...     second: float
        ...
        ...     def cost(self, relation):
        ...         return Cost(pairs=(MixturePair(1.0, self.first), MixturePair(1.0, self.second)))
    """
    name = kind.__name__
    if not hasattr(kind, "__dataclass_fields__"):
        raise InvalidParameterError(
            f"{name} must be a dataclass, so that its fields can be written"
        )
    # Files name kinds, so two classes of one name could be read as each other.
    if _KINDS.setdefault(name, kind) is not kind:
        raise InvalidParameterError(f"another class is registered as {name}; choose another name")
    return kind


def encode_event(event: Event) -> dict[str, Any]:
    """The event's kind and fields.

    Raises:
        UnsupportedEventError: its class, or that of its sampling, is not registered.
    """
    return {
        name: _encoded(value) if is_a(value, Sampling) else value
        for name, value in _encoded(event).items()
    }


def _encoded(value: Any) -> dict[str, Any]:  # noqa: ANN401 - a dataclass, which the kinds say
    kind = type(value)
    if _KINDS.get(kind.__name__) is not kind:
        raise UnsupportedEventError(
            f"{kind.__name__} cannot be written to a file: register it with dp.register_event"
        )
    return {
        "kind": kind.__name__,
        **{part.name: _plain(getattr(value, part.name)) for part in fields(kind)},
    }


def _plain(value: Any) -> Any:  # noqa: ANN401 - a field
    """The value in JSON's form: an enumeration's member by its value, a tuple as a list."""
    if isinstance(value, Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def decode_event(values: Mapping[str, Any]) -> Event:
    """Rebuild the event, through its own checks.

    Raises:
        KeyError: the kind is unknown or missing.
        TypeError: a field is missing or superfluous, or the value is no event.
        InvalidParameterError: a value is out of range.
    """
    if not is_a(values, dict):
        raise TypeError(
            f"an event is an object with its kind and fields, not {type(values).__name__}"
        )
    arguments = {
        name: _decoded(value) if is_a(value, dict) else value for name, value in values.items()
    }
    event = _decoded(arguments)
    if not is_a(event, Event):
        raise TypeError(f"{type(event).__name__} is no event")
    return event


def _decoded(values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - an event of any kind
    arguments = dict(values)
    return _KINDS[arguments.pop("kind")](**arguments)
