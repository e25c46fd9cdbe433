"""The schema of a table for statistics: proposed from the rows, or under noise declared and complete."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fedavg.data.loading.schema_choice import declared_schema
from fedavg.data.settings import DataConfig
from fedavg.data.tables.reading import read_table
from fedavg.data.tables.schemas.file import schema_text
from fedavg.data.tables.schemas.propose import propose
from fedavg.errors import ConfigError, DataError
from fedavg.files import replace_file
from fedavg.parts.nearest import offered

if TYPE_CHECKING:
    from fedavg.data.tables.reading import Table
    from fedavg.data.tables.schemas.propose import Proposal
    from fedavg.data.tables.schemas.schema import Schema

__all__ = ["Described", "table_and_schema"]

_NAMED = 5


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """A table with the kinds of its columns.

    Args:
        table: the table, as read.
        schema: of the columns that are asked about.
        proposal: the whole schema with its reasons, which were read off the rows.
        wanted: headings that are asked about, including those without statistics.
    """

    table: Table
    schema: Schema
    proposal: Proposal
    wanted: tuple[str, ...]


def table_and_schema(
    path: Path,
    *,
    client: str,
    person: str = "",
    schema: str = "",
    columns: tuple[str, ...] = (),
    leave_out: tuple[str, ...] = (),
    private: bool,
) -> Described:
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
            raise DataError(f"{table.name} has no column {name!r}; {offered(name, table.columns)}")
    for name in (own for own in columns if own in roles):
        what = "silo" if name == client else "person"
        raise DataError(f"column {name!r} names the {what} of each row, and has no statistics")
    if private:
        _refuse_undeclared(proposal, given, wanted, path, schema)
    found = {name: own for name, own in proposal.schema.columns.items() if name in wanted}
    if not found:
        raise DataError(f"{table.name}: no column is left to take statistics of")
    # A caller that names a column asks for its statistics: leaving it out would need a look at the result.
    bare = [name for name in columns if name in found and not found[name].fields(name)]
    if bare:
        raise DataError(_no_statistics(proposal, bare[0], table.name))
    # Columns that nobody asks about were proposed from the rows, and say nothing of the others.
    declared = given.declared and set(found) <= set(given.columns)
    own = msgspec.structs.replace(
        proposal.schema, columns=found, target="", weight="", declared=declared
    )
    return Described(table, own, proposal, tuple(wanted))


def _no_statistics(proposal: Proposal, heading: str, name: str) -> str:
    """Why a column has no statistics, and what to do."""
    (finding,) = (own for own in proposal.findings if own.heading == heading)
    # Advice is written for a run's configuration, and statistics have a schema only.
    steps = (
        "; ".join(finding.advice).replace("[data] file", "in a --schema file, file")
        or "describe it in a schema (fedavg data schema writes one)"
    )
    return f"{name}: no statistics of column {heading!r} ({finding.why}): {steps}"


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
            replace_file(file, _to_complete(proposal, wanted).encode())
        except OSError as error:
            raise ConfigError(f"cannot write {file.absolute()}: {error.strerror}") from error
        handed = f"complete {file}, which has been written for this table, and give --schema {file}"
    raise ConfigError(
        f"{path.name}: under noise the kinds of columns, their words and their bounds are public and have to "
        f"be declared. Not declared: {'; '.join(reasons)}. To go on, {handed}; or ask without --epsilon for "
        "exact sums"
    )


def _to_complete(proposal: Proposal, wanted: list[str]) -> str:
    """The text of a schema of the columns that are asked about; statistics predict none."""
    findings = tuple(own for own in proposal.findings if own.role or own.heading in wanted)
    columns = {name: own for name, own in proposal.schema.columns.items() if name in wanted}
    schema = msgspec.structs.replace(proposal.schema, columns=columns)
    asked = replace(proposal, schema=schema, findings=findings, problems=())
    return schema_text(asked, private=True)
