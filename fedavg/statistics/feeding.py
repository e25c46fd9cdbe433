"""A schema for training out of statistics: bounds from quantiles, and the words as they were declared.

Training under noise scales numbers by public bounds.  Noisy quantiles are public once their release is
charged, so bounds that they give need no further budget.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec
import tomli_w

from fedavg.data.loading.schema_choice import plain_columns
from fedavg.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fedavg.data.tables.schemas.schema import Schema
    from fedavg.statistics.summary import ColumnSummary, Summary

__all__ = ["fed_schema", "with_bounds"]

_DIGITS = 2


def with_bounds(schema: Schema, summary: Summary) -> Schema:
    """The schema with the bounds of its numbers drawn in to the outermost quantiles, rounded outwards.

    A column without such quantiles, or whose cells are read in another form (a logarithm, days), keeps its
    own.  Bounds of exact sums are statistics that no ledger counts, so the schema is then not declared.

    Args:
        schema: the schema of the statistics.
        summary: the statistics.
    """
    columns = dict(schema.columns)
    for heading, column in schema.columns.items():
        found = next((own for own in summary.columns if own.name == heading), None)
        if found is not None and found.measured:
            columns[heading] = _drawn_in(column, found)
    return msgspec.structs.replace(
        schema, columns=columns, declared=schema.declared and summary.protection is not None
    )


def _drawn_in(column: Any, found: ColumnSummary) -> Any:  # noqa: ANN401 - any registered column
    shown = [quantile.figure for quantile in found.quantiles if quantile.figure.value is not None]
    if len(shown) < 2 or "bounds" not in column.__struct_fields__:
        return column
    first, last = shown[0], shown[-1]
    low, high = first.low, last.high
    if low is None or high is None or not low < high:
        return column
    unit = 10.0 ** (math.floor(math.log10(high - low)) + 1 - _DIGITS)
    bounds = math.floor(low / unit) * unit, math.ceil(high / unit) * unit
    declared: tuple[float, float] | None = getattr(column, "bounds", None)
    if declared is not None:
        bounds = max(bounds[0], declared[0]), min(bounds[1], declared[1])
    rounded = tuple(float(f"{bound:.12g}") for bound in bounds)
    return msgspec.structs.replace(column, bounds=rounded)


def fed_schema(
    path: Path, schema: Schema, summary: Summary, *, owner: str, headings: Iterable[str]
) -> None:
    """Write the schema that training reads; its target is for the reader to name.

    Columns of the table without statistics are ignored: training under noise refuses a table with a column
    that its schema does not name.

    Args:
        path: path of the file, which is replaced if it exists.
        schema: the schema of the statistics.
        summary: the statistics.
        owner: heading of the column that names the unit or the silo of each row: the client of a run.
        headings: headings of the table.

    Raises:
        OSError: the file cannot be written.
    """
    fed = with_bounds(schema, summary)
    noted = "under noise, and charged" if summary.protection is not None else "exactly"
    head = (
        f"# Written by 'fedavg stats': statistics over {summary.silos} silos, taken {noted}.\n"
        "# Name the column that is predicted (target). Bounds are outer quantiles, rounded outwards.\n"
    )
    raw: dict[str, object] = {"target": "", "client": owner}
    file = {key: value for key, value in msgspec.to_builtins(fed.file).items() if value}
    raw |= {"declared": fed.declared, "markers": list(fed.markers), "file": file}
    rest = (name for name in headings if name != owner and name not in fed.columns)
    raw |= {"columns": plain_columns(fed) | {name: {"kind": "ignored"} for name in rest}}
    replace_file(path, (head + tomli_w.dumps(raw)).encode())
