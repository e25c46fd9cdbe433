"""A part out of the table that a configuration or a caller gives of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from fedavg.errors import ConfigError
from fedavg.parts.nearest import explained, offered
from fedavg.parts.registry import registered, union

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedavg.parts.registry import Family

__all__ = ["part_of_table"]


def part_of_table(family: Family, given: Mapping[str, object], what: str) -> Any:  # noqa: ANN401 - a part of that family
    """The registered part that a table with its name and its fields describes.

    Args:
        family: of the part.
        given: the table; the key of the name is `kind`, or `type` where `kind` is a member of the parts.
        what: its name in messages.

    Raises:
        ConfigError: no name, one that is not registered, or a field that the part does not have; the message
            lists those that there are.
    """
    try:
        return msgspec.convert(dict(given), union(family))
    except msgspec.ValidationError as error:
        raise ConfigError(f"{what}: {_explained(family, given, str(error))}") from error


def _explained(family: Family, given: Mapping[str, object], message: str) -> str:
    kinds = registered(family)
    # A family may name its kinds under another key.
    key = next(iter(kinds.values())).__struct_config__.tag_field or "kind"
    kind = given.get(key)
    if kind not in kinds:
        said = f"{key} is missing" if kind is None else f"there is no {key} {kind!r}"
        return f"{said}; {offered(kind, kinds)}"
    unknown = re.search(r"unknown field `([^`]+)`", message)
    if unknown is None:
        return explained(message, kinds[str(kind)])
    fields = kinds[str(kind)].__struct_fields__
    return f"{kind!r} has no field {unknown[1]!r}; {offered(unknown[1], fields, lead='its fields are')}"
