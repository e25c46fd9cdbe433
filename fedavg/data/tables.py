"""Tables: CSV and Parquet files, and the numbers that a row becomes before any statistic is known.

A text cell becomes the number of a public category: its place in a declared vocabulary, or a bucket of a
public hash.  Both are functions of the cell alone, so that clients agree on them without meeting.
"""

from __future__ import annotations

import csv
import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fedavg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Column", "EncodedTable", "TableOptions", "encode_table", "read_table"]

_MOST_CLASSES = 1000


@dataclass(frozen=True, slots=True)
class Column:
    """What is publicly known of one column.

    Args:
        name: its heading.
        categories: how many categories its numbers name; 0 for a column of measurements.
        bounds: public range of a column of measurements, or None.

    Raises:
        DataError: bounds that are no range, or bounds of categories.
    """

    name: str
    categories: int = 0
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.categories < 0 or (self.categories and self.bounds):
            raise DataError(f"column {self.name!r} has either categories or bounds")
        if self.bounds is not None:
            low, high = self.bounds
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise DataError(
                    f"bounds of column {self.name!r} need low < high, not {low} … {high}"
                )


@dataclass(frozen=True, slots=True)
class TableOptions:
    """How to read a table; all of it is public.

    Args:
        target: heading of the column with the classes.
        client: heading of the column that says whose row it is; "" for none.
        bounds: ranges of columns of measurements, known beforehand.
        vocabulary: the categories of a column, known beforehand; what is missing there counts as one more.
        buckets: of the public hash, for text columns without a vocabulary.

    Raises:
        DataError: fewer than two buckets, an empty or repeating vocabulary.
    """

    target: str = ""
    client: str = ""
    bounds: Mapping[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )
    vocabulary: Mapping[str, list[str]] = field(default_factory=dict[str, list[str]])
    buckets: int = 16

    def __post_init__(self) -> None:
        if self.buckets < 2:
            raise DataError(f"a hash needs two buckets or more, not {self.buckets}")
        for name, words in self.vocabulary.items():
            if not words or len(set(words)) != len(words):
                raise DataError(f"the vocabulary of {name!r} is empty or names a category twice")


@dataclass(frozen=True, slots=True, eq=False)
class EncodedTable:
    """A table as numbers.

    Args:
        features: float64[n, c]: measurements as they are, categories by number.
        labels: int64[n], counted from 0.
        owners: int64[n]: whose row it is, counted from 0; None without such a column.
        columns: of the features.
        classes: the target's values, in the order of the labels.
    """

    features: NDArray[np.float64]
    labels: NDArray[np.int64]
    owners: NDArray[np.int64] | None
    columns: tuple[Column, ...]
    classes: tuple[str, ...]


def read_table(path: Path) -> dict[str, NDArray[np.generic]]:
    """Read the columns of a .csv or .parquet file; the cells of a CSV stay text.

    Args:
        path: the file; a CSV is UTF-8, with headings in its first line.

    Raises:
        DataError: a missing, damaged or ragged file, headings twice, or Parquet without pyarrow.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    columns = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    if not columns or not len(next(iter(columns.values()))):
        raise DataError(f"{path} holds no rows")
    return columns


def _read_csv(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file, strict=True) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path} as CSV in UTF-8: {error}") from error
    if len(rows) < 2:
        raise DataError(f"{path} holds no rows below its headings")
    names = [name.strip() for name in rows[0]]
    if len(set(names)) != len(names):
        raise DataError(f"{path} has a heading twice: {', '.join(names)}")
    ragged = next((i for i, row in enumerate(rows) if len(row) != len(names)), None)
    if ragged is not None:
        raise DataError(
            f"{path}: record {ragged + 1} has {len(rows[ragged])} cells under {len(names)} headings"
        )
    cells = np.char.strip(np.array(rows[1:], np.str_))
    return dict(zip(names, cells.T, strict=True))


def _read_parquet(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        from pyarrow import ArrowException, parquet  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise DataError(
            f"{path} needs the package pyarrow: pip install 'secure-fedavg[data]'"
        ) from error
    try:
        table = parquet.read_table(path)
        names = [str(name) for name in table.column_names]
        arrays = [np.asarray(column.to_numpy()) for column in table.columns]
    except (ArrowException, OSError, ValueError, TypeError) as error:
        raise DataError(f"cannot read {path} as Parquet: {error}") from error
    if len(set(names)) != len(names):
        raise DataError(f"{path} has a heading twice: {', '.join(names)}")
    return {
        name: array if array.dtype.kind in "fiub" else _text(array)
        for name, array in zip(names, arrays, strict=True)
    }


def _text(array: NDArray[np.generic]) -> NDArray[np.str_]:
    """Text of any cells, as a CSV would hold it: nothing for a missing one."""
    missing = np.equal(array, np.array(None, object)) if array.dtype.kind == "O" else None
    text = array.astype(np.str_)
    return text if missing is None else np.where(missing, "", text)


def encode_table(columns: Mapping[str, NDArray[np.generic]], options: TableOptions) -> EncodedTable:
    """Turn the columns into numbers, cell by cell.

    Classes and owners are numbered in the order of their values; that these exist is public.

    Args:
        columns: arrays of one length, by heading.
        options: which column is what.

    Raises:
        DataError: a heading that is not there, missing cells among measurements, a target without classes.

    Example:
        >>> table = {"age": np.array(["31", "54"]), "sick": np.array(["no", "yes"])}
        >>> encoded = encode_table(table, TableOptions(target="sick"))
        >>> encoded.features.tolist(), encoded.labels.tolist(), encoded.classes
        ([[31.0], [54.0]], [0, 1], ('no', 'yes'))
    """
    if not options.target:
        raise DataError(
            f"a table needs [data] target, the column with the classes: {_known(columns)}"
        )
    named = {options.target, *options.bounds, *options.vocabulary}
    named |= {options.client} if options.client else set()
    for name in sorted(named):
        if name not in columns:
            raise DataError(f"the table has no column {name!r}: {_known(columns)}")
    classes, labels = _numbered(columns[options.target], options.target)
    if not 2 <= len(classes) <= _MOST_CLASSES:
        raise DataError(
            f"target {options.target!r} has {len(classes)} different values; a classification needs "
            f"from 2 to {_MOST_CLASSES} classes"
        )
    owners = None
    if options.client:
        _, owners = _numbered(columns[options.client], options.client)
    rest = [name for name in columns if name not in {options.target, options.client}]
    if not rest:
        raise DataError("the table has no column besides target and client")
    encoded = [_encode(name, columns[name], options) for name in rest]
    return EncodedTable(
        np.stack([numbers for _, numbers in encoded], axis=1),
        labels,
        owners,
        tuple(column for column, _ in encoded),
        classes,
    )


def _known(columns: Mapping[str, object]) -> str:
    return f"there are {', '.join(columns)}"


def _numbered(cells: NDArray[np.generic], name: str) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    _refuse_missing(cells, name)
    numbers = _as_numbers(cells)
    values, places = np.unique(cells if numbers is None else numbers, return_inverse=True)
    return tuple(str(value) for value in values), places.astype(np.int64)


def _refuse_missing(cells: NDArray[np.generic], name: str) -> None:
    numbers = _as_numbers(cells)
    missing = ~np.isfinite(numbers) if numbers is not None else cells == ""
    count = int(np.count_nonzero(missing))
    if count:
        raise DataError(
            f"column {name!r} has {count} cells that are missing, NaN or infinite: fill or drop those "
            "rows first"
        )


def _as_numbers(cells: NDArray[np.generic]) -> NDArray[np.float64] | None:
    """Return float64[n] with NaN for empty cells, or None for text."""
    if cells.dtype.kind in "fiub":
        return cells.astype(np.float64)
    empty = cells == ""
    if bool(empty.all()):
        return None
    try:
        return np.where(empty, "nan", cells).astype(np.float64)
    except ValueError:
        return None


def _encode(
    name: str, cells: NDArray[np.generic], options: TableOptions
) -> tuple[Column, NDArray[np.float64]]:
    if name in options.vocabulary:
        if name in options.bounds:
            raise DataError(f"column {name!r} has either a vocabulary or bounds, not both")
        words = options.vocabulary[name]
        place = {word: index for index, word in enumerate(words)}
        codes = _by_value(cells, lambda word: place.get(word, len(words)))
        return Column(name, categories=len(words) + 1), codes
    numbers = _as_numbers(cells)
    if numbers is not None:
        _refuse_missing(cells, name)
        return Column(name, bounds=options.bounds.get(name)), numbers
    if name in options.bounds:
        raise DataError(f"column {name!r} holds text, so that its bounds mean nothing")
    codes = _by_value(cells, lambda word: _bucket(word, options.buckets))
    return Column(name, categories=options.buckets), codes


def _by_value(cells: NDArray[np.generic], number: Callable[[str], int]) -> NDArray[np.float64]:
    values, places = np.unique(cells.astype(np.str_), return_inverse=True)
    return np.array([number(str(value)) for value in values], np.float64)[places]


def _bucket(word: str, buckets: int) -> int:
    digest = hashlib.blake2b(word.encode(), digest_size=8, person=b"fedavg table").digest()
    return int.from_bytes(digest, "big") % buckets
