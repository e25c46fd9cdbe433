"""The choice of a table's schema: the declared one, completed from the rows where that is allowed.

Under noise nothing may be derived from the rows: an incomplete schema is refused, and a file to complete is
written.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fedavg.data.settings import WITHOUT_NOISE
from fedavg.data.tables.columns import Category, Ignored, Number
from fedavg.data.tables.files import FileFormat
from fedavg.data.tables.reading import read_table
from fedavg.data.tables.schemas.file import FOR_NOISE, TO_COMPLETE, schema_text
from fedavg.data.tables.schemas.propose import propose
from fedavg.data.tables.schemas.schema import (
    MARKERS,
    Schema,
    column_from,
    plain_column,
    read_schema,
)
from fedavg.errors import ConfigError, DataError
from fedavg.files import replace_file

if TYPE_CHECKING:
    from fedavg.data.settings import DataConfig
    from fedavg.data.tables.reading import Table
    from fedavg.data.tables.schemas.propose import Proposal

__all__ = [
    "chosen",
    "declared_schema",
    "plain_columns",
    "proposed",
    "settled",
]


def declared_schema(data: DataConfig) -> Schema:
    """The schema that a configuration declares: its schema file, overridden by the configuration's own keys.

    Raises:
        ConfigError: the file is no schema, or a column is described twice and differently.
    """
    schema = read_schema(_found(data)) if data.schema else Schema()
    columns = dict(schema.columns)
    for name, raw in data.columns.items():
        columns[name] = column_from(raw, f"data.columns.{name}")
    for name, words in data.vocabulary.items():
        # Two descriptions of one column could contradict each other, and one would win silently.
        _refuse_twice(name, "vocabulary", data)
        table = {"kind": "category", "categories": words}
        columns[name] = column_from(table, f"data.vocabulary.{name}")
    for name, bounds in data.bounds.items():
        _refuse_twice(name, "bounds", data)
        known = columns.get(name, Number())
        raw = {**msgspec.to_builtins(known), "bounds": list(bounds)}
        columns[name] = column_from(raw, f"data.bounds.{name}")
    for name in data.leave_out:
        _refuse_twice(name, "leave_out", data)
        columns[name] = Ignored()
    over: dict[str, Any] = {
        key: value
        for key in ("target", "client", "group", "weight", "time")
        if (value := getattr(data, key))
    }
    over |= {"task": data.task} if data.task != "auto" else {}
    over |= {"markers": data.markers} if data.markers else {}
    over["file"] = _merged(schema.file, data.file)
    # A schema from a file is public only if both the file and the configuration say so.
    declared = schema.declared and data.declared
    return msgspec.structs.replace(schema, **over, columns=columns, declared=declared)


def _merged(file: FileFormat, over: FileFormat) -> FileFormat:
    """A format of which the second one replaces what it says itself."""
    plain = FileFormat()
    names = FileFormat.__struct_fields__
    said = {name: getattr(over, name) for name in names}
    return msgspec.structs.replace(
        file, **{name: value for name, value in said.items() if value != getattr(plain, name)}
    )


def _found(data: DataConfig) -> Path:
    """The path of the schema file: the configured one, relative to the working directory or to the data."""
    path, beside = Path(data.schema), Path(data.name).parent / data.schema
    return path if path.exists() or not beside.exists() else beside


def _refuse_twice(name: str, key: str, data: DataConfig) -> None:
    twice = name in data.columns or (name in data.bounds and name in data.vocabulary)
    if twice:
        raise ConfigError(
            f"column {name!r} is described twice: data.{key} and "
            f"{'data.columns' if name in data.columns else 'the other of bounds and vocabulary'}; keep one"
        )


def proposed(data: DataConfig) -> tuple[Proposal, int]:
    """Read a table and propose its schema, even if some choices are still open.

    Args:
        data: the configuration, which names the file and may declare a part of the schema.

    Returns:
        The proposal, and the number of rows of the table.

    Raises:
        DataError, ConfigError: the file cannot be read, or it does not have a configured column.
    """
    given = declared_schema(data)
    table = read_table(Path(data.name), given.file)
    return propose(table, given), table.rows


def chosen(table: Table, data: DataConfig, *, private: bool) -> Proposal:
    """The schema by which a table is read.

    Args:
        table: the table, as read.
        data: its configuration.
        private: whether only declared properties may be used.

    Returns:
        A proposal; if everything was declared, each of its reasons says so.

    Raises:
        ConfigError: `private` is set and something is not declared; a schema to complete has been written.
        DataError: a choice needs the user's answer, such as the column to predict.
    """
    given = declared_schema(data)
    proposal = propose(table, given)
    if data.buckets:
        proposal = _hashed(proposal, data.buckets)
    # Under noise a kind that was read off the rows is itself a statistic of them.
    if private:
        _refuse_undeclared(proposal, given, table, data)
    if proposal.problems:
        raise DataError(f"{table.name}: {'; '.join(proposal.problems)}")
    return proposal


def _hashed(proposal: Proposal, buckets: int) -> Proposal:
    """Hash the words of columns with too many words for a vocabulary, as the configuration asks."""
    columns = dict(proposal.schema.columns)
    for found in proposal.findings:
        if found.words_too_many and found.column is not None:
            columns[found.heading] = Category(buckets=buckets)
    schema = msgspec.structs.replace(proposal.schema, columns=columns)
    return proposal.with_schema(schema)


def _refuse_undeclared(proposal: Proposal, given: Schema, table: Table, data: DataConfig) -> None:
    reasons: list[str] = []
    unsaid = [name for name in proposal.schema.columns if name not in given.columns]
    if unsaid:
        reasons.append(f"what {_named(unsaid)} {'is' if len(unsaid) == 1 else 'are'}")
    open_ends = {
        f"{what} of {name!r}"
        for name, column in given.columns.items()
        if (what := column.undeclared())
    }
    reasons += sorted(open_ends)
    if given.columns and not given.declared:
        reasons.append(
            "that the schema is public (declared = true), since it was read off the rows"
        )
    if not given.targets:
        reasons.append("which column is predicted")
    if not reasons:
        return
    path, handed = _handed_over(proposal, data)
    raise ConfigError(
        f"{table.name}: under noise, classes, kinds of columns, vocabularies and bounds are public and have "
        f"to be declared. Not declared: {'; '.join(reasons)}. To go on, {handed}, and give [data] schema = "
        f"'{path}'{WITHOUT_NOISE}"
    )


def _handed_over(proposal: Proposal, data: DataConfig) -> tuple[Path, str]:
    """The file to complete and the instruction for the message.

    A file of an earlier hand-over is left as it is, since it may be half complete. So is a schema that marks
    nothing to complete, such as one that was written for runs without noise; another file is then written,
    which includes what the schema declares.

    Raises:
        ConfigError: the file cannot be written.
    """
    stem = Path(data.name).name.split(".")[0]
    own = [_found(data)] if data.schema else []
    # A file with the user's own corrections is never overwritten.
    for path in (*own, Path(f"{stem}.schema.toml"), Path(f"{stem}.noise.schema.toml")):
        if path.exists():
            if _marks(path):
                return path, f"complete {path}, which exists already"
            continue
        if path in own:
            continue
        try:
            # The proposal is written out, so that only what is missing has to be added.
            replace_file(path, schema_text(proposal, private=True).encode())
        except OSError as error:
            raise ConfigError(
                f"under noise the schema of {data.name} has to be declared, and a file to complete cannot be "
                f"written: {path.absolute()}: {error.strerror}"
            ) from error
        return path, f"complete {path}, which has been written for this table"
    path = Path(f"{stem}.noise.schema.toml")
    return path, f"see {path}, which exists already: remove it to get a new one, or complete it"


def _marks(path: Path) -> bool:
    """Whether a schema file was made for runs under noise, and so says what is to be completed."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return TO_COMPLETE in text or FOR_NOISE in text


def _named(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:5]))
    return shown + (f" and {len(names) - 5} more columns" if len(names) > 5 else "")


def plain_columns(schema: Schema) -> dict[str, Any]:
    """The columns as tables of a configuration, without settings that have their default."""
    return {name: plain_column(column) for name, column in schema.columns.items()}


def settled(data: DataConfig, schema: Schema) -> DataConfig:
    """The configuration with its full schema, so that a second run reads the table in the same way."""
    # Everything is written out, so that a resumed run does not read the schema file again.
    return msgspec.structs.replace(
        data,
        schema="",
        target=schema.target,
        client=schema.client,
        group=schema.group,
        weight=schema.weight,
        time=schema.time,
        task=schema.task,
        declared=schema.declared,
        markers=() if schema.markers == MARKERS else schema.markers,
        file=schema.file,
        columns=plain_columns(schema),
        bounds={},
        vocabulary={},
        leave_out=(),
        buckets=0,
    )
