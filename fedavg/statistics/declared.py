"""The schema of a table for statistics: proposed from the rows, or under noise declared and complete."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fedavg.data.schema_choice import declared_schema
from fedavg.data.settings import DataConfig
from fedavg.data.tables.propose import propose
from fedavg.data.tables.reading import read_table
from fedavg.data.tables.schema_file import schema_text
from fedavg.errors import ConfigError, DataError
from fedavg.files import replace_file

if TYPE_CHECKING:
    from fedavg.data.tables.propose import Proposal
    from fedavg.data.tables.reading import Table
    from fedavg.data.tables.schema import Schema

__all__ = ["table_and_schema"]

_NAMED = 5


def table_and_schema(
    path: Path,
    *,
    client: str,
    person: str = "",
    schema: str = "",
    columns: tuple[str, ...] = (),
    leave_out: tuple[str, ...] = (),
    private: bool,
) -> tuple[Table, Schema]:
    """Read a table, and find the kinds of its columns.

    Args:
        path: a CSV, TSV or Parquet file.
        client: heading of the column that names the silo of each row.
        person: heading of the column that names the person of each row, or "".
        schema: path of a schema file, such as `fedavg data schema` writes; "" for none.
        columns: headings to take statistics of; () for all.
        leave_out: headings to leave out.
        private: whether noise will protect the rows, so that everything has to be declared.

    Raises:
        ConfigError: `private` is set and something is not declared; a file to complete has been written.
        DataError: the file cannot be read, or lacks a heading.
    """
    data = DataConfig(
        name=str(path), schema=schema, client=client, group=person, leave_out=leave_out
    )
    given = declared_schema(data)
    table = read_table(path, given.file)
    proposal = propose(table, given)
    roles = {client, person}
    wanted = [name for name in columns or table.columns if name not in roles]
    for name in columns:
        if name not in table.columns:
            raise DataError(
                f"{table.name} has no column {name!r}; there are {', '.join(table.columns)}"
            )
    if private:
        _refuse_undeclared(proposal, given, wanted, path, schema)
    found = {name: own for name, own in proposal.schema.columns.items() if name in wanted}
    if not found:
        raise DataError(f"{table.name}: no column is left to take statistics of")
    return table, msgspec.structs.replace(proposal.schema, columns=found, target="", weight="")


def _refuse_undeclared(
    proposal: Proposal, given: Schema, wanted: list[str], path: Path, schema: str
) -> None:
    """Refuse a schema that leaves anything to the rows.

    Raises:
        ConfigError: the message names what is missing and the file to complete.
    """
    reasons: list[str] = []
    unsaid = [name for name in wanted if name not in given.columns]
    if unsaid:
        more = f" and {len(unsaid) - _NAMED} more columns" if len(unsaid) > _NAMED else ""
        reasons.append(f"what {', '.join(map(repr, unsaid[:_NAMED]))}{more} hold")
    reasons += sorted(
        f"{what} of {name!r}"
        for name, column in given.columns.items()
        if name in wanted and (what := column.undeclared())
    )
    if given.columns and not given.declared:
        reasons.append(
            "that the schema is public (declared = true), since it was read off the rows"
        )
    if not reasons:
        return
    file = Path(schema) if schema else Path(f"{path.name.split('.')[0]}.noise.schema.toml")
    if schema:
        handed = f"complete {file}, or leave columns out"
    elif file.exists():
        handed = f"complete {file}, which exists already, and give --schema {file}"
    else:
        try:
            replace_file(file, schema_text(proposal, private=True).encode())
        except OSError as error:
            raise ConfigError(f"cannot write {file.absolute()}: {error.strerror}") from error
        handed = f"complete {file}, which has been written for this table, and give --schema {file}"
    raise ConfigError(
        f"{path.name}: under noise the kinds of columns, their words and their bounds are public and have to "
        f"be declared. Not declared: {'; '.join(reasons)}. To go on, {handed}; or ask without --epsilon for "
        "exact sums"
    )
