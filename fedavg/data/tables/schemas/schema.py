"""A schema: the kind of each column of a table, the target, and the rows' owners; all of it is public.

This module reads a schema from TOML; `fedavg.data.tables.schemas.propose` proposes one from a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

import fedavg.data.tables.columns  # noqa: F401 # pyright: ignore[reportUnusedImport] - registers all
from fedavg.data.tables.files import FileFormat
from fedavg.errors import ConfigError, DataError
from fedavg.parts import registered, union
from fedavg.parts.nearest import explained, offered

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fedavg.data.tables.columns.interface import Column

__all__ = [
    "MARKERS",
    "Schema",
    "TaskName",
    "check_headings",
    "column_from",
    "read_schema",
    "schema_from",
]

MARKERS = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "#N/A", "?")
"""Texts that mark a missing cell in every column, unless a schema names others."""

TaskName = Literal["auto", "classes", "numbers", "multi-label"]


class Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Description of the columns of a table.

    Args:
        target: heading of the column to predict, or of several.
        client: heading of the column that names the owner of each row; "" for none.
        group: heading of a column whose equal rows stay together when test rows are held out, such as a
            person.
        weight: heading of a column with the weights of the rows.
        time: heading of a column with the date of each row, by which later rows can be held out; "" for none.
            It is no role: a model reads the column as its kind says.
        task: kind of the target, if its column is not described: "classes", "numbers" or "multi-label".
        declared: whether everything in the schema is public knowledge.  A schema proposed from rows says
            false, and is refused under noise until a person has read it and set true.
        markers: texts that mark a missing cell in every column.
        file: format of a text file.
        columns: description of each column, by heading; see `fedavg.data.tables.columns`.

    Example:
        >>> raw = {"target": "sick", "client": "ward", "columns": {"age": {"kind": "number"}}}
        >>> schema = schema_from(raw, "patients.toml")
        >>> schema.roles, list(schema.read)
        ({'sick': 'target', 'ward': 'client'}, ['age'])
        >>> schema_from({"traget": "sick"}, "patients.toml")
        Traceback (most recent call last):
        fedavg.errors.ConfigError: patients.toml: unknown key 'traget'. Do you mean 'target'?
    """

    target: str | tuple[str, ...] = ""
    client: str = ""
    group: str = ""
    weight: str = ""
    time: str = ""
    task: TaskName = "auto"
    declared: bool = True
    markers: tuple[str, ...] = MARKERS
    file: FileFormat = FileFormat()
    columns: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])

    @property
    def targets(self) -> tuple[str, ...]:
        """The headings of the columns to predict."""
        if isinstance(self.target, str):
            return (self.target,) if self.target else ()
        return self.target

    @property
    def roles(self) -> dict[str, str]:
        """The headings of columns with a role (target, client, group or weight), and the roles."""
        roles = {"client": self.client, "group": self.group, "weight": self.weight}
        found = dict.fromkeys(self.targets, "target")
        return found | {heading: role for role, heading in roles.items() if heading}

    @property
    def read(self) -> dict[str, Column]:
        """The columns that a model may read, which are those without a role."""
        # A model that reads the target would learn to copy it.
        return {name: column for name, column in self.columns.items() if name not in self.roles}


def schema_from(raw: Mapping[str, object], where: str) -> Schema:
    """A schema from decoded TOML.

    Args:
        raw: the decoded tables.
        where: name of the file in messages.

    Raises:
        ConfigError: a key or kind is unknown (the message names the most similar one), or a value is wrong.

    Example:
        >>> schema_from({"target": "sick", "columns": {"age": {"kind": "number"}}}, "t.toml").targets
        ('sick',)
    """
    columns = raw.get("columns", {})
    if not isinstance(columns, dict):
        raise ConfigError(f"{where}: columns must be a table, with a table for each column")
    found = {
        str(name): column_from(column, f"{where}: columns.{name}")
        for name, column in columns.items()
    }
    rest = {key: value for key, value in raw.items() if key != "columns"}
    try:
        schema = msgspec.convert(rest, Schema)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {explained(str(error), Schema)}") from error
    return msgspec.structs.replace(schema, columns=found)


def column_from(raw: object, where: str) -> Column:
    """A column from its decoded table; a column object is returned unchanged.

    Raises:
        ConfigError: a kind or key is unknown, or a value is wrong.
    """
    kinds = registered("column")
    # Schemas made in Python hold columns already.
    if isinstance(raw, tuple(kinds.values())):
        return raw  # type: ignore[return-value] - every registered column has the members of Column
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: a column is a table such as {{kind = 'number'}}, not {raw!r}")
    kind = raw.get("kind")
    if kind not in kinds:
        said = "kind is missing" if kind is None else f"there is no kind {kind!r}"
        raise ConfigError(f"{where}: {said}; {offered(kind, kinds)}")
    try:
        column: Column = msgspec.convert(raw, union("column"))
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {explained(str(error), kinds[str(kind)])}") from error
    return column


def plain_column(column: Any) -> dict[str, Any]:  # noqa: ANN401 - any registered column
    """One column as a table, without settings that have their default.

    Example:
        >>> from fedavg.data.tables.columns import Number
        >>> plain_column(Number(bounds=(0, 9)))
        {'kind': 'number', 'bounds': (0.0, 9.0)}
    """
    raw: dict[str, Any] = msgspec.to_builtins(column)
    defaults = {
        field.name: field.default
        for field in msgspec.structs.fields(column)
        if field.default is not msgspec.NODEFAULT
    }
    return {
        key: value
        for key, value in raw.items()
        # The kind is always written, since a table without it cannot be read.
        if key == "kind" or (value is not None and value != defaults.get(key, msgspec.NODEFAULT))
    }


def read_schema(path: Path) -> Schema:
    """Read a schema from a TOML file, such as `fedavg data schema` writes.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or is no schema.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the schema {path}: {error.strerror}") from error
    try:
        raw = msgspec.toml.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no valid TOML: {error}") from error
    return schema_from(raw, str(path))


def check_headings(schema: Schema, headings: tuple[str, ...], name: str) -> None:
    """Refuse a schema with a heading that the table does not have, or with two roles for one column.

    Raises:
        DataError: the message names the heading and the most similar one in the table.
    """
    parts = [*schema.targets, schema.client, schema.group, schema.weight]
    for heading in (*parts, schema.time, *schema.columns):
        if heading and heading not in headings:
            raise DataError(f"{name} has no column {heading!r}; {offered(heading, headings)}")
    twice = sorted({heading for heading in parts if heading and parts.count(heading) > 1})
    if twice:
        raise DataError(
            f"column {twice[0]!r} is named for two of target, client, group and weight: each needs a column "
            "of its own"
        )
