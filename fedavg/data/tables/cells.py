"""The cells of one column in the forms that columns need: numbers, words and dates.

Text is compared without surrounding spaces.  A CSV and a Parquet file of the same table give the same
results.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fedavg.data.tables.columns.date import days_of
from fedavg.errors import DataError, MissingExtraError

try:
    import pyarrow as pa
    import pyarrow.compute
except ModuleNotFoundError as error:
    raise MissingExtraError(
        "tables need the package pyarrow: pip install 'secure-fedavg[data]'"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedavg.data.tables.files import FileFormat
    from fedavg.data.tables.reading import Arrow, Table

__all__ = ["LARGEST", "ArrowCells", "cells_of"]

pc: Any = pyarrow.compute  # its functions are created at run time
_arrow: Any = pa

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_TRAILING = re.compile(r"-?\d+\.0+")
_NOTATIONS = (
    *((".", ","), (",", "."), (",", ""), (".", " "), (",", " "), (".", "'"), (".", "’")),
    *((".", "\u00a0"), (",", "\u00a0"), (".", "\u202f"), (",", "\u202f")),
)  # signs of decimals and thousands, the most usual ones first
_NEARLY = 0.9  # share of the cells that have to be numbers in another notation
LARGEST = 1e30  # a few squares of such numbers still fit in single precision
_MICROSECONDS = 86_400e6  # microseconds of a day


def cells_of(table: Table, heading: str, markers: Sequence[str]) -> ArrowCells:
    """The cells of one column.

    Args:
        table: the table, as read.
        heading: heading of one of its columns.
        markers: texts that mark a missing cell.

    Raises:
        DataError: the column holds lists, structures or bytes.
    """
    return ArrowCells(heading, table.columns[heading], tuple(markers), table.file)


class ArrowCells:
    """Cells over an arrow array; see `columns.interface.Cells`.

    Args:
        heading: name of the column.
        array: texts, numbers, booleans, dates or times.
        markers: texts that mark a missing cell.
        file: format of the file, which says how numbers are written.

    Raises:
        DataError: the array holds anything else.
    """

    def __init__(
        self,
        heading: str,
        array: Arrow,
        markers: tuple[str, ...],
        file: FileFormat,
    ) -> None:
        self._heading = heading
        self._array = _plain(array, heading)
        self._markers = markers
        self._file = file

    def __len__(self) -> int:
        return len(self._array)

    @property
    def heading(self) -> str:
        """The column's name."""
        return self._heading

    @property
    def temporal(self) -> bool:
        """Whether the file stores the cells as dates."""
        return bool(_arrow.types.is_temporal(self._array.type))

    @property
    def numeric(self) -> bool:
        """Whether the file stores the cells as numbers."""
        kind = self._array.type
        return bool(_arrow.types.is_integer(kind) or _arrow.types.is_floating(kind))

    @property
    def boolean(self) -> bool:
        """Whether the file stores the cells as booleans."""
        return bool(_arrow.types.is_boolean(self._array.type))

    def take(self, rows: NDArray[np.int64]) -> ArrowCells:
        """The cells of some rows."""
        part = pc.take(self._array, _arrow.array(rows))
        return ArrowCells(self._heading, part, self._markers, self._file)

    @cached_property
    def _text(self) -> Arrow:
        """The cells as trimmed text; null where the file has no value."""
        kind = self._array.type
        if _arrow.types.is_string(kind):
            # Surrounding spaces mean nothing, and some programs write them.
            return pc.utf8_trim_whitespace(self._array)
        if self.boolean:
            return pc.if_else(self._array, "True", "False")
        text = pc.cast(self._array, _arrow.string())
        # Nine zeros behind each second say how precisely the file stores moments, and nothing else.
        return pc.replace_substring_regex(text, r"\.0+$", "") if self.temporal else text

    @property
    def missing(self) -> NDArray[np.bool_]:
        """bool[n], True where a cell is missing."""
        return self._missing

    @cached_property
    def _missing(self) -> NDArray[np.bool_]:
        absent = pc.is_null(self._array, nan_is_null=True)
        numbers = [number for marker in self._markers if (number := _as_number(marker)) is not None]
        # A column of numbers has no words, so markers that are numbers are compared as numbers.
        if self.numeric:
            if numbers:
                absent = pc.or_(absent, pc.is_in(self._doubles(), value_set=_arrow.array(numbers)))
            return _flags(absent)
        if self._markers:
            marked = pc.is_in(self._text, value_set=_arrow.array(self._markers, _arrow.string()))
            absent = pc.or_(absent, pc.fill_null(marked, False))
        return _flags(absent)

    def numbers(self, strip: str = "") -> NDArray[np.float64]:
        """float64[n], NaN where a cell is missing or is no number within ±1e30.

        Args:
            strip: characters to remove from both ends of a text.
        """
        if self.numeric or self.boolean:
            doubles = self._doubles()
        else:
            doubles = _parsed(self._text, strip, self._file.point, self._file.thousands)
        values = np.array(doubles.to_numpy(zero_copy_only=False), np.float64)
        # Numbers beyond this limit would overflow single precision when they are squared.
        values[self.missing | ~(np.abs(values) <= LARGEST)] = np.nan
        return values

    def notation(self, strip: str = "") -> dict[str, str] | None:
        """Another way of writing numbers, in which nearly all cells are numbers; None where there is none.

        Args:
            strip: characters to remove from both ends of a text.

        Returns:
            The settings `decimal` and `thousands` of a `FileFormat` that differ from those of the file.
        """
        if self.numeric or self.boolean or self.temporal:
            return None
        # Each different text is parsed once, since columns repeat their words.
        codes, words = self.words()
        counts = np.bincount(codes[codes >= 0], minlength=len(words))
        text = _arrow.array(words, _arrow.string())
        own = (self._file.point, self._file.thousands)

        def reads(signs: tuple[str, str]) -> bool:
            valid = pc.is_valid(_parsed(text, strip, *signs)).to_numpy(zero_copy_only=False)
            return bool(counts[valid].sum() >= _NEARLY * counts.sum())

        other = next((signs for signs in _NOTATIONS if reads(signs)), None)
        # Numbers in the file's own notation need no other.
        if not len(words) or reads(own) or other is None:
            return None
        names = ("decimal", "thousands")
        return {name: new for name, old, new in zip(names, own, other, strict=True) if new != old}

    def words(self) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """int64[n], the index of each cell's text, −1 where missing, and the distinct texts, sorted."""
        text = pc.if_else(_arrow.array(self.missing), None, self._text)
        coded = pc.dictionary_encode(text)
        found: list[str] = coded.dictionary.to_pylist()
        # Sorted words make codes independent of the order of the rows.
        order = sorted(range(len(found)), key=found.__getitem__)
        place = np.empty(len(found) + 1, np.int64)
        place[order] = np.arange(len(found))
        place[-1] = -1
        codes = pc.fill_null(coded.indices, len(found)).to_numpy(zero_copy_only=False)
        return place[codes.astype(np.int64)], _whole(tuple(found[at] for at in order))

    def moments(self, pattern: str) -> NDArray[np.float64]:
        """float64[n], days since 1970-01-01; NaN where a cell is missing or does not match the pattern."""
        if self.temporal:
            micro = pc.cast(pc.cast(self._array, _arrow.timestamp("us")), _arrow.int64())
            values = np.array(pc.cast(micro, _arrow.float64()).to_numpy(zero_copy_only=False))
            return values / _MICROSECONDS
        codes, words = self.words()
        days = np.array([*(days_of(word, pattern) for word in words), np.nan])
        return days[codes]

    def shown(self, row: int) -> str:
        """One cell as text, for a message."""
        return str(self._text[row].as_py())

    def _doubles(self) -> Arrow:
        """The numbers of a column of numbers or booleans; null where missing."""
        if self._array.type == _arrow.float32():
            # 0.1 in 32 bits differs from the 0.1 of a CSV file, but its shortest text is the same.
            return pc.cast(pc.cast(self._array, _arrow.string()), _arrow.float64())
        if _arrow.types.is_boolean(self._array.type):
            return pc.cast(pc.cast(self._array, _arrow.int8()), _arrow.float64())
        return pc.cast(self._array, _arrow.float64(), safe=False)


def _plain(array: Arrow, heading: str) -> Arrow:
    """Convert the array types that store text, numbers, booleans or moments to one type each."""
    types = _arrow.types
    kind = array.type
    if types.is_dictionary(kind):
        array = pc.cast(array, kind.value_type)
        kind = array.type
    if types.is_null(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return pc.cast(array, _arrow.string())
    if types.is_decimal(kind):
        return pc.cast(array, _arrow.float64())
    if types.is_float16(kind):
        return pc.cast(array, _arrow.float32())
    if types.is_time(kind) or types.is_duration(kind):
        text = pc.cast(array, _arrow.string())
        return pc.replace_substring_regex(text, pattern=r"\.0+$", replacement="")
    known = (
        types.is_string,
        types.is_integer,
        types.is_floating,
        types.is_boolean,
        types.is_temporal,
    )
    if not any(test(kind) for test in known):
        raise DataError(
            f"column {heading!r} holds {kind}, which is no number, text or date: leave it out of the file"
        )
    return array


def _parsed(text: Arrow, strip: str, decimal: str, thousands: str) -> Arrow:
    if strip:
        text = pc.utf8_trim(text, characters=strip + " ")
    if thousands:
        point, group = re.escape(decimal), re.escape(thousands)
        # Only complete groups of three are numbers with thousands; "1,5" is something else.
        grouped = pc.match_substring_regex(
            text, f"^[+-]?[0-9]{{1,3}}({group}[0-9]{{3}})+({point}[0-9]*)?$"
        )
        text = pc.if_else(grouped, pc.replace_substring(text, thousands, ""), text)
    if decimal != ".":
        # A point has no meaning in such a file, so a cell with a point is no number.
        text = pc.if_else(pc.match_substring(text, "."), None, text)
        text = pc.replace_substring(text, decimal, ".")
    matched = pc.match_substring_regex(text, _NUMBER)
    return pc.cast(pc.if_else(matched, text, None), _arrow.float64())


def _whole(words: tuple[str, ...]) -> tuple[str, ...]:
    """Whole numbers without the ".0" that some programs write, unless two words would become equal."""
    if not any(_TRAILING.fullmatch(word) for word in words):
        return words
    short = tuple(word.split(".")[0] if _TRAILING.fullmatch(word) else word for word in words)
    numeric = all(_as_number(word) is not None for word in words)
    return short if numeric and len(set(short)) == len(words) else words


def _flags(array: Arrow) -> NDArray[np.bool_]:
    return np.asarray(array.to_numpy(zero_copy_only=False), np.bool_)


def _as_number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
