"""The reference of all settings, as a page that is generated from the structs."""

from __future__ import annotations

import inspect
import re
import types
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from fedavg.config.builders.parts import our_names
from fedavg.config.settings import Config

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["reference_text"]

_HEAD = """# Settings

All keys of a configuration, made from the structs that read it (`fedavg.config.reference`). A key that is
left out has the default. One that is *open* is chosen by the data, and a run says what it chose and why, or
it does without, as the text above the table says. An unknown key is an error that names the nearest right
one. `fedavg init FILE` writes a configuration to begin with ([your data](your-data.md)), and each run's
directory holds its own with everything filled in (`config.toml`). Where a key names a part, the names here
are those of ours; a part of your own is one more ([extending](extending.md)).
"""
_SAID = {int: "whole number", float: "number", bool: "true or false", str: "text"}


def reference_text() -> str:
    """The page in Markdown.

    Returns:
        A section a table, in the order of the structs: what it is for, and each key with type and default.
    """
    lines = [_HEAD]
    tables = {"": Config} | {
        name: kind for name, kind in get_type_hints(Config).items() if _is_struct(kind)
    }
    for name, kind in list(tables.items()):
        if name:
            tables |= {f"{name}.{key}": inner for key, inner in _inner(kind)}
    for name, kind in sorted(tables.items(), key=_place(list(tables))):
        lines += [f"## {f'`[{name}]`' if name else 'At the top'}", "", _prose(kind), ""]
        lines += ["| key | type | default |", "|---|---|---|", *_rows(name, kind), ""]
    return "\n".join(lines).rstrip() + "\n"


def _inner(kind: type[msgspec.Struct]) -> list[tuple[str, type[msgspec.Struct]]]:
    """The tables inside a table."""
    return [(key, hint) for key, hint in get_type_hints(kind).items() if _is_struct(hint)]


def _place(names: list[str]) -> Callable[[tuple[str, object]], tuple[int, int]]:
    """A table inside a table comes right after it."""
    return lambda item: (names.index(item[0].split(".")[0]), names.index(item[0]))


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _prose(kind: type) -> str:
    """The docstring; its arguments, if it lists any, as a list."""
    about, _, arguments = inspect.cleandoc(kind.__doc__ or "").partition("\n\nArgs:\n")
    if not arguments:
        return about
    listed = inspect.cleandoc("\n" + arguments)
    return f"{about}\n\n" + re.sub(r"(?m)^(\w+):", r"- `\1`:", listed).replace("\n    ", "\n  ")


def _rows(table: str, kind: type[msgspec.Struct]) -> list[str]:
    hints = get_type_hints(kind)
    return [
        f"| `{field.name}` | {_named(table, field.name) or _type(hints[field.name])} | {_default(field)} |"
        for field in msgspec.structs.fields(kind)
        if not (kind is Config and _is_struct(hints[field.name]))
    ]


def _named(table: str, key: str) -> str:
    """The names of the parts of ours that a key takes; "" for a key that names none."""
    return ", ".join(f'"{name}"' for name in our_names(f"{table}.{key}"))


def _type(hint: Any) -> str:  # noqa: ANN401 - any annotation
    """A type in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(part) for part in inner if part is not type(None))
    if origin in (tuple, list):
        parts = [part for part in inner if part is not Ellipsis]
        if len(parts) > 1:
            return f"[{', '.join(_type(part) for part in parts)}]"
        return f"list of {_type(parts[0])}" if parts else "list"
    if origin is dict or _is_struct(hint):
        return "table"
    return _SAID.get(hint, "any value")


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default_factory is not msgspec.NODEFAULT:
        return "none"
    value = field.default
    if value is None:
        return "*open*"
    if _is_struct(type(value)) or value in ((), ""):
        return "none"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"  # pyright: ignore[reportUnknownArgumentType] - of numbers
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{_quoted(value) if isinstance(value, str) else value}`"


def _quoted(text: str) -> str:
    return f"'{text}'" if '"' in text else f'"{text}"'
