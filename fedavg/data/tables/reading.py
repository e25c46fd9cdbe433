"""Reading of a file of rows by pyarrow: every column in its stored type, the cells of a CSV as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from fedavg.data.tables.files import FileFormat, is_parquet, sniffed, unpacked
from fedavg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Arrow", "Table", "read_table", "table_of"]

Arrow: TypeAlias = Any
"""An object of pyarrow, which has no types.  pyarrow is optional, so it is imported when a table is read."""

_BLOCK = 1 << 24  # bytes of the longest record that can be read
_NEEDED = "reading a table needs the package pyarrow: pip install 'secure-fedavg[data]'"


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The columns of a file, as read.

    Args:
        name: name of the file in messages.
        columns: an arrow array of length `rows` for each heading, in the order of the file.
        rows: number of rows.
        file: format of the file.
        notes: sentences about the detected format.
    """

    name: str
    columns: Mapping[str, Arrow]
    rows: int
    file: FileFormat
    notes: tuple[str, ...] = ()


def read_table(path: Path, file: FileFormat | None = None) -> Table:
    """Read a CSV, TSV or Parquet file, compressed or not.

    Args:
        path: path of the file.
        file: format of a text file; undeclared properties are detected in the file.

    Raises:
        DataError: the file is missing, damaged or ragged, a heading occurs twice, or pyarrow is not
            installed.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    try:
        from pyarrow import ArrowException  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise DataError(f"{path}: {_NEEDED}") from error
    declared = file or FileFormat()
    try:
        if is_parquet(path):
            return _checked(path, _read_parquet(path), declared, ())
        found, headings, said = sniffed(path, declared)
        return _checked(path, _read_text(path, found, headings), found, (said,))
    except (ArrowException, OSError, EOFError, UnicodeError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    except Exception as error:  # zlib, lzma and zipfile raise their own types on damaged files
        if isinstance(error, DataError):
            raise
        raise DataError(f"cannot read {path}: it is damaged ({error})") from error


def table_of(name: str, columns: Mapping[str, NDArray[np.generic]]) -> Table:
    """A table from arrays in memory.

    Args:
        name: name of the table in messages.
        columns: arrays of equal length, by heading.

    Raises:
        DataError: pyarrow is not installed, or the arrays are no columns.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise DataError(f"{name}: {_NEEDED}") from error
    arrays = {heading: pa.array(values) for heading, values in columns.items()}
    if len({len(array) for array in arrays.values()}) != 1:
        raise DataError(
            f"{name}: the columns have different lengths, but a table has one cell for each row"
        )
    return Table(name, arrays, len(next(iter(arrays.values()))), FileFormat(decimal="."))


def _checked(
    path: Path,
    table: Arrow,
    file: FileFormat,
    notes: tuple[str, ...],
) -> Table:
    names = [str(name).strip() for name in table.column_names]
    blank = [place for place, name in enumerate(names) if not name]
    for place in blank:  # R and pandas write row names under an empty heading
        names[place] = "(unnamed)" if len(blank) == 1 else f"(unnamed {place + 1})"
    _refuse_twice(path, names)
    if not table.num_rows:
        raise DataError(f"{path} holds no rows: there is nothing below the headings")
    columns = {
        name: column.combine_chunks() for name, column in zip(names, table.columns, strict=True)
    }
    return Table(path.name, columns, int(table.num_rows), file, notes)


def _refuse_twice(path: Path, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{path} has a heading twice: {', '.join(twice)}; rename one, so that each can be meant"
        )


def _read_parquet(path: Path) -> Arrow:
    from pyarrow import parquet  # noqa: PLC0415 - an optional package

    return parquet.ParquetFile(path).read()


def _read_text(path: Path, found: FileFormat, headings: tuple[str, ...]) -> Arrow:
    import pyarrow as pa  # noqa: PLC0415 - an optional package
    from pyarrow import csv  # noqa: PLC0415 - as above

    # The check comes first, since pyarrow reads columns by number and would not notice.
    _refuse_twice(path, [name.strip() for name in headings if name.strip()])
    ragged: list[Arrow] = []

    def note(row: Arrow) -> str:
        ragged.append(row)
        # Rows of another length are collected and reported together.
        return "skip"

    # Blank headings may occur several times, so columns are read with their numbers as names.
    names = [str(number) for number in range(len(headings))]
    file, _ = unpacked(path)
    with file:
        table = csv.read_csv(
            pa.PythonFile(file, "r"),
            read_options=csv.ReadOptions(
                use_threads=False,  # with threads, pyarrow does not number the rows that do not fit
                block_size=_BLOCK,
                column_names=names,
                skip_rows=found.skip,
                skip_rows_after_names=0 if found.headings else 1,
                encoding=found.encoding,
            ),
            parse_options=csv.ParseOptions(
                delimiter=found.separator,
                quote_char=found.quote,
                # Texts may contain line breaks within quotes.
                newlines_in_values=True,
                invalid_row_handler=note,
            ),
            # All cells are read as text, because pyarrow's own guesses depend on the rows of a block.
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    if ragged:
        first = ragged[0]
        raise DataError(
            f"{path}: row {first.number - found.skip - (0 if found.headings else 1)} has "
            f"{first.actual_columns} cells under {first.expected_columns} headings"
            f"{_more(len(ragged))}: {first.text[:60]!r}"
        )
    return table.rename_columns(list(headings))


def _more(count: int) -> str:
    return f", and {count - 1:,} more rows do not fit" if count > 1 else ""
