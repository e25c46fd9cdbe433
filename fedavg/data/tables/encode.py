"""Conversion of a table's cells to numbers, by its schema: fields, labels, owners and weights.

Every cell is read alone, so a client can convert its own rows without any others. Lossy steps are counted and
reported in notes; wrong cells are refused with the numbers of their rows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fedavg.data.dataset import CLASSES, MULTI_LABEL, NUMBERS
from fedavg.data.partitions.split import mixed, words_hash
from fedavg.data.tables.cells import cells_of
from fedavg.data.tables.columns.date import ISO, Date, days_of
from fedavg.data.tables.columns.number import WANTED
from fedavg.data.tables.columns.policies import POLICIES
from fedavg.data.tables.files import file_advice
from fedavg.data.tables.schemas.schema import MARKERS, check_headings, plain_column
from fedavg.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedavg.data.dataset import TargetKind
    from fedavg.data.tables.cells import ArrowCells
    from fedavg.data.tables.columns.interface import Column, Field, Labels
    from fedavg.data.tables.reading import Table
    from fedavg.data.tables.schemas.schema import Schema

__all__ = ["Rows", "encode"]

_SHOWN = 3
_TOLD = 12  # different wrong cells in a remedy


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The rows of a table as numbers, before any statistics are known.

    Args:
        fields: descriptions of the columns of `values`.
        values: float64[n, f]: unscaled measurements, codes of categories, NaN where missing.
        kind: kind of the labels.
        labels: int64[n] of classes, float64[n, k] of numbers, or int8[n, k] of several labels.
        label_names: names of the classes or of the outputs.
        label_bounds: bounds of the outputs, if these are numbers; an entry is None without bounds.
        owners: int64[n], the owner of each row, and the owners' names; all 0 and one name without owners.
        groups: int64[n], the group of each row, and the groups' names; None without a group column.
        weights: float64[n], or None.
        moments: float64[n], the date of each row in days since 1970-01-01; None without a column of times.
        contents: uint64[n], a hash of each row's content in the file.
        notes: descriptions of lossy steps, with counts.
    """

    fields: tuple[Field, ...]
    values: NDArray[np.float64]
    kind: TargetKind
    labels: NDArray[Any]
    label_names: tuple[str, ...]
    label_bounds: tuple[tuple[float, float] | None, ...]
    owners: tuple[NDArray[np.int64], tuple[str, ...]]
    groups: tuple[NDArray[np.int64], tuple[str, ...]] | None
    weights: NDArray[np.float64] | None
    moments: NDArray[np.float64] | None
    contents: NDArray[np.uint64]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)


def encode(table: Table, schema: Schema, *, private: bool = False) -> Rows:
    """Convert the cells to numbers.

    Args:
        table: the table, as read.
        schema: a schema that describes every column.
        private: whether noise protects the rows.  A cell that its column cannot hold then counts as missing,
            since an error would reveal something about the rows.

    Raises:
        DataError: the table lacks a heading, a column cannot hold a cell, no column is read or predicted, or
            no row is left.

    Example:
        >>> from fedavg.data.tables.columns import Boolean, Number
        >>> from fedavg.data.tables.reading import table_of
        >>> from fedavg.data.tables.schemas.schema import Schema
        >>> table = table_of("t", {"age": np.array(["31", "54"]), "sick": np.array(["no", "yes"])})
        >>> rows = encode(table, Schema(target="sick", columns={"age": Number(), "sick": Boolean()}))
        >>> rows.values.tolist(), rows.labels.tolist(), rows.label_names
        ([[31.0], [54.0]], [0, 1], ('no', 'yes'))
    """
    if not schema.targets:
        raise DataError(
            "a table needs [data] target, the name of the column to predict; the columns are "
            f"{', '.join(table.columns)}"
        )
    check_headings(schema, tuple(table.columns), table.name)
    notes: list[str] = []
    kept = np.ones(table.rows, bool)
    # Rows without a label come first; a row that is left out is counted under one reason only.
    labels = [_labels(table, schema, name, notes, private=private) for name in schema.targets]
    known = np.logical_and.reduce([label.known for label in labels])
    _leave_out(kept, ~known, "hold nothing to be predicted", notes)
    fields, arrays = _read(table, schema, kept, notes, private=private)
    if not fields:
        raise DataError(
            f"{table.name}: no column is left for a model to read: in the schema, give one of those that are "
            "left out another kind"
        )
    owners = _numbered(table, schema, schema.client)
    if owners is None:
        # Without a client column all rows belong to one owner, and content alone decides the split.
        owners = np.zeros(table.rows, np.int64), ("",)
    _leave_out(kept, owners[0] < 0, "do not say whose they are", notes)
    moments = _moments(table, schema, notes, private=private)
    if not kept.any():
        raise DataError(f"{table.name}: no row is left; {'; '.join(notes)}")
    groups = _numbered(table, schema, schema.group)
    kind, values, names, bounds = _joined(labels, schema)
    return Rows(
        fields=fields,
        values=np.stack(arrays, axis=1)[kept],
        kind=kind,
        labels=values[kept],
        label_names=names,
        label_bounds=bounds,
        owners=(owners[0][kept], owners[1]),
        groups=None if groups is None else (groups[0][kept], groups[1]),
        weights=_weights(table, schema, kept),
        moments=None if moments is None else moments[kept],
        contents=_contents(table, schema)[kept],
        notes=tuple(notes),
    )


def _cells(table: Table, schema: Schema, name: str) -> ArrowCells:
    column: Column | None = schema.columns.get(name)
    own = () if column is None else column.markers
    return cells_of(table, name, (*schema.markers, *own))


def _leave_out(
    kept: NDArray[np.bool_], without: NDArray[np.bool_], why: str, notes: list[str]
) -> None:
    count = int(np.count_nonzero(kept & without))
    if count:
        notes.append(f"{count:,} of {len(kept):,} rows {why}, and are left out")
    kept &= ~without


def _labels(table: Table, schema: Schema, name: str, notes: list[str], *, private: bool) -> Labels:
    if name not in schema.columns:
        raise DataError(f"the schema does not say what the target {name!r} is: give it a kind")
    cells = _cells(table, schema, name)
    labels: Labels = schema.columns[name].labels(cells)
    # Under noise a wrong cell counts as missing, because a refusal would show that the row exists.
    _refuse_odd(cells, labels.odd, labels.wanted, notes, None if private else schema.columns[name])
    notes.extend(labels.notes)
    return labels


def _read(
    table: Table, schema: Schema, kept: NDArray[np.bool_], notes: list[str], *, private: bool
) -> tuple[tuple[Field, ...], list[NDArray[np.float64]]]:
    fields: list[Field] = []
    arrays: list[NDArray[np.float64]] = []
    for name, column in schema.read.items():
        own = column.fields(name)
        if not own:
            continue
        cells = _cells(table, schema, name)
        encoded = column.encode(cells)
        _refuse_odd(cells, encoded.odd, encoded.wanted, notes, None if private else column)
        notes.extend(encoded.notes)
        gone = np.isnan(encoded.arrays[0])
        # A policy that drops rows does so here, before statistics are taken.
        if POLICIES[own[0].missing].drops:
            _leave_out(kept, gone, f"miss {name!r}", notes)
        fields.extend(own)
        arrays.extend(encoded.arrays)
    return tuple(fields), arrays


def _refuse_odd(
    cells: ArrowCells,
    odd: NDArray[np.bool_],
    wanted: str,
    notes: list[str],
    column: Column | None,
) -> None:
    """Refuse cells of the wrong kind by row; one such cell does not turn a column of numbers into words.

    Args:
        cells: the cells of the column.
        odd: bool[n], True at the cells of the wrong kind.
        wanted: description of a correct cell.
        notes: takes a sentence about the cells under noise.
        column: description of the column; None under noise, where such a cell counts as missing.
    """
    rows = np.flatnonzero(odd)
    if not len(rows):
        return
    shown = ", ".join(f"{cells.shown(int(row))!r} in row {row + 1:,}" for row in rows[:_SHOWN])
    more = f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
    said = f"column {cells.heading!r}: {shown}{more}"
    if column is None:
        notes.append(f"{said}: not {wanted}, so taken for missing")
        return
    refused = (
        f"{said} {'is' if len(rows) == 1 else 'are'} not {wanted} (rows are counted from 1 below the "
        "headings)"
    )
    other = cells.notation(getattr(column, "strip", "")) if wanted == WANTED else None
    if other is not None:
        raise DataError(f"{refused}; {file_advice(other)}")
    # All of them in one answer: each one by itself would take another attempt.
    words = tuple(dict.fromkeys(cells.shown(int(row)) for row in rows))[:_TOLD]
    raise DataError(
        f"{refused}. Correct the file; or, if {'it stands' if len(words) == 1 else 'these stand'} for a "
        f"missing cell, say [data] columns.{_key(cells.heading)} = {_with_markers(column, words)}; or give "
        "the column another kind"
    )


def _with_markers(column: Column, words: tuple[str, ...]) -> str:
    """The column as an inline table of TOML, whose texts and numbers are written as in JSON."""
    plain = {**plain_column(column), "markers": [*column.markers, *words]}
    said = ", ".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in plain.items()
    )
    return f"{{ {said} }}"


def _key(heading: str) -> str:
    plain = heading.replace("_", "").replace("-", "")
    return heading if plain.isascii() and plain.isalnum() else f'"{heading}"'


def _joined(
    labels: list[Labels], schema: Schema
) -> tuple[TargetKind, NDArray[Any], tuple[str, ...], tuple[tuple[float, float] | None, ...]]:
    """Combine the labels of all targets into labels of one kind."""
    bounds = tuple(label.bounds for label in labels)
    if all(label.kind == NUMBERS for label in labels):
        stacked = np.stack([label.values for label in labels], axis=1)
        return NUMBERS, stacked, tuple(map(_titled(schema), schema.targets)), bounds
    if len(labels) == 1:
        return CLASSES, labels[0].values, labels[0].names, ()
    if all(label.boolean for label in labels):
        indicators = np.stack([label.values for label in labels], axis=1).astype(np.int8)
        return MULTI_LABEL, indicators, schema.targets, ()
    raise DataError(
        f"the targets {', '.join(schema.targets)} are of several kinds: predict several numbers, or several "
        "booleans, or one category"
    )


def _titled(schema: Schema) -> Any:  # noqa: ANN401 - a function of a heading
    def titled(name: str) -> str:
        unit = getattr(schema.columns[name], "unit", "")
        return f"{name} [{unit}]" if unit else name

    return titled


def _numbered(
    table: Table, schema: Schema, name: str
) -> tuple[NDArray[np.int64], tuple[str, ...]] | None:
    if not name:
        return None
    codes, words = _cells(table, schema, name).words()
    try:  # numbers sort by value, 9 before 10
        order = np.argsort(np.array(words, np.float64), kind="stable")
    except ValueError:
        return codes, words
    place = np.empty(len(words) + 1, np.int64)
    place[order] = np.arange(len(words))
    place[-1] = -1
    return place[codes], tuple(words[at] for at in order)


def _weights(table: Table, schema: Schema, kept: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    if not schema.weight:
        return None
    cells = _cells(table, schema, schema.weight)
    weights = cells.numbers()
    # `not (weights >= 0)` holds for NaN as well.
    wrong = np.flatnonzero(kept & ~(weights >= 0))
    if len(wrong):
        raise DataError(
            f"column {schema.weight!r} of weights: {cells.shown(int(wrong[0]))!r} in row "
            f"{wrong[0] + 1:,} is no number that is zero or more"
        )
    return weights[kept]


def _moments(
    table: Table, schema: Schema, notes: list[str], *, private: bool
) -> NDArray[np.float64] | None:
    """The date of each row; NaN where it is missing."""
    if not schema.time:
        return None
    cells = _cells(table, schema, schema.time)
    described = schema.columns.get(schema.time, Date())
    pattern = getattr(described, "pattern", ISO)
    moments = cells.moments(pattern)
    written = "2026-01-31" if pattern == ISO else pattern
    odd = np.isnan(moments) & ~cells.missing
    _refuse_odd(cells, odd, f"a date such as {written}", notes, None if private else described)
    return moments


def _contents(table: Table, schema: Schema) -> NDArray[np.uint64]:
    """A hash of each row's content, cell by cell, without the columns that the schema leaves out.

    The hash depends neither on the order of the columns nor on the format of the file.  If the schema
    describes
    every column, as it must under noise, the hash of a row depends on no other row: a column that numbers the
    rows, and whose cells change when another row is removed, is declared an identifier there.
    """
    found = np.zeros(table.rows, np.uint64)
    for name in table.columns:
        column: Column | None = schema.columns.get(name)
        if name not in schema.roles and column is not None and column.left_out:
            continue
        try:
            cells = cells_of(table, name, MARKERS)
        except DataError:  # a column of lists or structures, which no schema can describe
            continue
        numbers = np.full(table.rows, np.nan) if cells.boolean else cells.numbers()
        # A column that numbers the rows would change the hash of every row after one that is removed.
        if name not in schema.roles and column is None and _counts_rows(numbers):
            continue
        hashed = (numbers + 0.0).view(np.uint64)  # −0 becomes 0
        rest = np.flatnonzero(np.isnan(numbers))
        if len(rest):
            codes, words = cells.take(rest).words()
            hashed[rest] = np.append(_of_words(words), np.uint64(1))[codes]
        # The heading is mixed in, so that two columns with exchanged cells differ; the sum ignores their
        # order.
        found += mixed(mixed(hashed) ^ words_hash([name])[0])
    return found


def _of_words(words: tuple[str, ...]) -> NDArray[np.uint64]:
    """Hashes of texts; they are equal for the same date in different notations, and for True and true."""
    days = np.array([days_of(word, ISO) for word in words], np.float64)
    hashed = words_hash([word.lower() for word in words])
    return np.where(np.isnan(days), hashed, mixed((days + 0.0).view(np.uint64)))


def _counts_rows(numbers: NDArray[np.float64]) -> bool:
    """Whether the numbers count the rows, from 0 or from 1."""
    start = numbers[0]
    return start in (0.0, 1.0) and bool(np.array_equal(numbers, start + np.arange(len(numbers))))
