"""Conversion of an argument to a loss: from a value, a name, an import path, or a function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedavg.errors import ConfigError
from fedavg.losses import classification, regression
from fedavg.losses.imported import ImportedLoss
from fedavg.parts import Part, check_registered, named
from fedavg.parts.imports import function_path
from fedavg.parts.tables import part_of_table

__all__ = ["loss_of"]

OURS = (classification, regression)
"""The modules that register losses."""


def loss_of(given: object) -> Any:  # noqa: ANN401 - a `Loss`, whose class the registry knows
    """Convert an argument to a loss.

    Args:
        given: a registered value such as ``Focal(gamma=2.0)``; a name such as "mse"; a mapping with a `kind`
            and its fields, as in a configuration; an import path "package.module:function"; or a function
            with an import path.  None stays None: the loss then follows from the kind of the labels.

    Raises:
        ConfigError: a name or field is unknown, a value is invalid, or a function has no import path.

    Example:
        >>> loss_of("huber"), loss_of({"kind": "huber", "delta": 2.0}), loss_of(None)
        (Huber(delta=1.0), Huber(delta=2.0), None)
    """
    if given is None:
        return None
    if isinstance(given, str):
        return ImportedLoss(given) if ":" in given else _by_name(given)
    if isinstance(given, Mapping):
        return part_of_table("loss", given, "loss")
    if isinstance(given, Part):
        check_registered(given)
        return given
    return ImportedLoss(function_path(given, "loss"))


def _by_name(name: str) -> Part:
    try:
        return named("loss", name)()
    except TypeError as error:
        raise ConfigError(f"loss {name!r} needs its fields: {error}") from error
