"""Settings by dotted key, for every form of configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from fedavg.config.builders.parts import check_name
from fedavg.errors import ConfigError
from fedavg.parts.nearest import explained

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedavg.studies.trials.interface import Form, Settings

__all__ = ["dotted", "flatten", "nested", "required", "typed", "usual"]


def flatten(config: msgspec.Struct) -> Settings:
    """All settings of a configuration by dotted key, in its order.

    Example:
        >>> from fedavg.config.settings import Config
        >>> flatten(Config())["privacy.noise"]
        'gaussian'
    """
    return dotted(msgspec.to_builtins(config))


def dotted(tables: Mapping[str, Any]) -> Settings:
    """Dotted keys of a table of tables, or of a table with dotted keys.

    Example:
        >>> dotted({"rounds": 3, "local": {"lr": 0.5}, "data.name": "digits"})
        {'rounds': 3, 'local.lr': 0.5, 'data.name': 'digits'}
    """
    found: Settings = {}
    for key, value in tables.items():
        if isinstance(value, dict) and "." not in key:
            found |= {f"{key}.{inner}": part for inner, part in value.items()}
        else:
            found[key] = value
    return found


def nested(settings: Settings) -> dict[str, object]:
    """A table of tables from dotted keys.

    Example:
        >>> nested({"rounds": 3, "local.lr": 0.5})
        {'rounds': 3, 'local': {'lr': 0.5}}
    """
    found: dict[str, object] = {}
    tables: dict[str, dict[str, object]] = {}
    for key, value in settings.items():
        table, _, name = key.rpartition(".")
        if table:
            tables.setdefault(table, {})[name] = value
        else:
            found[key] = value
    return found | tables


def usual(form: Form) -> Settings:
    """The values of settings that are left out, in the order of the configuration.

    Example:
        >>> from fedavg.studies.trials.records import RECORDS
        >>> usual(RECORDS)["records.epsilon"]
        3.0
    """
    return flatten(form.trial(dict(form.example)).config)


def required(root: type[msgspec.Struct]) -> frozenset[str]:
    """The tables without which there is no configuration of this form."""
    return frozenset(field.name for field in msgspec.structs.fields(root) if field.required)


def typed(form: Form, key: str, value: object) -> object:
    """Check a key and the type of one of its values.

    Args:
        form: the form of the configuration.
        key: dotted key.
        value: value from a file.

    Raises:
        ConfigError: the key does not exist (the nearest valid one is named), or the value has another type.
    """
    table, _, name = key.rpartition(".")
    tables = {field.name: field.type for field in msgspec.structs.fields(form.root)}
    owner = form.root if not table else tables.get(table)
    fields: dict[str, Any] = {}
    if isinstance(owner, type) and issubclass(owner, msgspec.Struct):
        fields = {field.name: field.type for field in msgspec.structs.fields(owner)}
    if name not in fields:
        form.trial({**form.example, key: value})  # refuses the key with a message
        raise ConfigError(f"unknown key {key!r}")
    try:
        found = msgspec.convert(value, fields[name])
    except msgspec.ValidationError as error:
        raise ConfigError(f"{key}: {explained(str(error), fields[name])}") from error
    check_name(key, found)
    return found
