"""The format of a table's file: separator, decimal sign, encoding and compression.

Properties that are not declared are detected in the first part of the file, and reported.  pyarrow reads the
rows (`fedavg.data.tables.reading`).
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from typing import TYPE_CHECKING, BinaryIO, cast

import msgspec

from fedavg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["SUFFIXES", "FileFormat", "file_advice", "is_table", "sniffed", "unpacked"]

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_TEXT = (".csv", ".tsv", ".tab", ".txt")
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".lz4")
_PARQUET = (".parquet", ".pq")
SUFFIXES = (*_TEXT, *_PARQUET)
_SAMPLE = 1 << 18
_COMMA_DECIMAL = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+")
_POINT_DECIMAL = re.compile(r"[+-]?\d*\.\d+")
_POINT_THOUSANDS = re.compile(r"[+-]?\d{1,3}(\.\d{3})+(,\d+)?")
_COMMA_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_UNGROUPED = re.compile(r"[+-]?\d{4,}[.,]\d{3}|[+-]?\d+,\d{1,2}")
_OTHER = {".": ",", ",": "."}  # the decimal sign beside one between thousands
_TO_ONE = (
    20  # cells that group digits for each one that contradicts it, which is then reported as odd
)
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)*|[.,]\d+)")


class FileFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Format of a text file of rows; a property that is "" is detected in the file.

    Args:
        separator: character between cells.
        decimal: decimal sign, "." or ",".
        thousands: sign that groups digits, such as "," in 1,234.5.
        encoding: an encoding that Python knows, such as "cp1252".
        quote: character around cells that contain a separator or a line break.
        skip: number of lines before the headings.
        headings: names of the columns, for a file without a line of headings.
    """

    separator: str = ""
    decimal: str = ""
    thousands: str = ""
    encoding: str = ""
    quote: str = '"'
    skip: int = 0
    headings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.separator) > 1 or len(self.quote) != 1:
            raise ValueError(
                "separator and quote must be one character each, not "
                f"{self.separator!r} and {self.quote!r}"
            )
        if self.decimal not in ("", ".", ","):
            raise ValueError(f"decimal must be '.' or ',', not {self.decimal!r}")
        # An open decimal sign is found in the file, and is another one than that between thousands.
        if self.thousands and self.thousands == self.decimal:
            raise ValueError(
                f"thousands and decimal must be different signs, and both are {self.thousands!r}"
            )
        if self.skip < 0:
            raise ValueError(f"skip must be a number of lines, 0 or more, not {self.skip}")
        # The encoding is checked here, since a wrong name would only fail in the middle of a file.
        if self.encoding:
            try:
                codecs.lookup(self.encoding)
            except LookupError:
                raise ValueError(f"there is no encoding {self.encoding!r}") from None

    @property
    def point(self) -> str:
        """The decimal sign; where none is declared, the one that is not between thousands."""
        return self.decimal or _OTHER.get(self.thousands, ".")


def file_advice(settings: Mapping[str, str]) -> str:
    """The remedy for a column whose numbers the file writes in another way.

    Args:
        settings: the fields `decimal` and `thousands` of a `FileFormat` with which the cells are numbers.

    Example:
        >>> file_advice({"thousands": ","}).partition(": ")[2]
        'say [data] file = { thousands = "," } ([file] in a schema)'
    """
    said = {"decimal": "{!r} as decimal sign", "thousands": "{!r} between thousands"}
    words = " and ".join(said[name].format(sign) for name, sign in settings.items() if sign)
    table = ", ".join(f"{name} = {json.dumps(sign)}" for name, sign in settings.items())
    return (
        f"its cells are numbers with {words}: say [data] file = {{ {table} }} ([file] in a schema)"
    )


def is_table(path: Path) -> bool:
    """Whether the suffix of a path is one of a table.

    Example:
        >>> from pathlib import Path
        >>> is_table(Path("loans.csv.gz")), is_table(Path("loans.npz"))
        (True, False)
    """
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in SUFFIXES


def is_parquet(path: Path) -> bool:
    """Whether the first bytes of a file are those of Parquet; its suffix is not used."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1" or path.suffix.lower() in _PARQUET


def _zip(path: Path) -> BinaryIO:
    import zipfile  # noqa: PLC0415 - for such files only

    archive = zipfile.ZipFile(path)
    # Archives made on a Mac hold folders of attributes beside the table.
    names = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
    if len(names) != 1:
        raise DataError(
            f"{path} holds {len(names)} files ({', '.join(names[:4])}): unpack the table first"
        )
    return cast("BinaryIO", archive.open(names[0]))


def _gzip(path: Path) -> BinaryIO:
    import gzip  # noqa: PLC0415 - for such files only

    return cast("BinaryIO", gzip.open(path))


def _bzip2(path: Path) -> BinaryIO:
    import bz2  # noqa: PLC0415 - for such files only

    return cast("BinaryIO", bz2.open(path))


def _xz(path: Path) -> BinaryIO:
    import lzma  # noqa: PLC0415 - for such files only

    return cast("BinaryIO", lzma.open(path))


def _arrow(path: Path, kind: str) -> BinaryIO:
    import pyarrow as pa  # noqa: PLC0415 - an optional package

    return cast("BinaryIO", pa.input_stream(str(path), compression=kind))


_MAGIC: dict[bytes, tuple[str, Callable[[Path], BinaryIO]]] = {
    b"\x1f\x8b": ("gzip", _gzip),
    b"BZh": ("bzip2", _bzip2),
    b"\xfd7zXZ\x00": ("xz", _xz),
    b"PK\x03\x04": ("zip", _zip),
    b"\x28\xb5\x2f\xfd": ("zstd", lambda path: _arrow(path, "zstd")),
    b"\x04\x22\x4d\x18": ("lz4", lambda path: _arrow(path, "lz4")),
}


def unpacked(path: Path) -> tuple[BinaryIO, str]:
    """Open a file for reading its bytes, and decompress it if its first bytes show a compression.

    Returns:
        The open file, and the name of its compression, or "".

    Raises:
        DataError: the file is an archive of several files.
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        head = file.read(8)
    # The first bytes decide, because suffixes are often wrong.
    for magic, (name, open_it) in _MAGIC.items():
        if head.startswith(magic):
            return open_it(path), name
    return path.open("rb"), ""


def sniffed(path: Path, declared: FileFormat) -> tuple[FileFormat, tuple[str, ...], str]:
    """Detect the properties of a format that are not declared, from the file itself.

    The encoding is detected from all bytes, and the rest from the first quarter of a megabyte.

    Args:
        path: a text file of rows, compressed or not.
        declared: the declared properties.

    Returns:
        The completed format (thousands may stay empty), the headings, and a sentence that describes the
        format.

    Raises:
        DataError: the file is empty, or its first line holds no headings.
    """
    file, packing = unpacked(path)
    with file:
        encoding = declared.encoding or _encoding(file)
    file, _ = unpacked(path)
    with file:
        sample = file.read(_SAMPLE)
        whole = len(sample) < _SAMPLE
    text = codecs.getincrementaldecoder(encoding)("replace").decode(sample)
    text = text.lstrip("\ufeff")
    lines = io.StringIO(text, newline=None).readlines()[declared.skip :]
    # The last line of a sample may be cut, so it is not used.
    text = "".join(lines if whole or len(lines) < 2 else lines[:-1])
    if not text.strip():
        raise DataError(f"{path} holds no rows: the file is empty, or [data] file skips all of it")
    separator = declared.separator or _separator(text, declared.quote)
    rows = list(_records(text, separator, declared.quote))
    headings = declared.headings or tuple(rows[0])
    cells = [cell.strip() for row in rows[0 if declared.headings else 1 :] for cell in row]
    decimal, thousands = _signs(cells, separator, declared)
    found = msgspec.structs.replace(
        declared, separator=separator, decimal=decimal, thousands=thousands, encoding=encoding
    )
    if not declared.headings:
        _check_headings(path, rows)
    return found, headings, _said(path, found, packing) + _doubt(cells, found, declared)


def _said(path: Path, found: FileFormat, packing: str) -> str:
    parts = [
        f"{_SEPARATORS.get(found.separator, repr(found.separator))} between cells",
        f"decimal {'comma' if found.decimal == ',' else 'point'}",
    ]
    if found.thousands:
        parts.append(f"{found.thousands!r} between thousands")
    parts.append(found.encoding)
    if packing:
        parts.append(packing)
    return f"{path.name}: {', '.join(parts)}"


def _doubt(cells: list[str], found: FileFormat, declared: FileFormat) -> str:
    """What to say where each sign stands before three digits, so that 1,234 may be 1.234 or 1234."""
    if declared.decimal or found.separator == ",":
        return ""  # where commas separate cells, points are decimal signs
    sign, other = found.decimal, "." if found.decimal == "," else ","
    signed = [cell for cell in cells if _NUMBER.fullmatch(cell) and sign in cell]
    grouped = re.compile(rf"[+-]?[1-9]\d{{0,2}}{re.escape(sign)}\d{{3}}")
    if not signed or not all(grouped.fullmatch(cell) for cell in signed):
        return ""
    first, joined = signed[0], signed[0].replace(sign, "")
    return (
        f"; {first} is read as {first.replace(sign, '.')}: if it means {joined}, say [data] file = "
        f'{{ decimal = "{other}", thousands = "{sign}" }}'
    )


def _encoding(file: BinaryIO) -> str:
    """UTF-8 if all bytes are valid; UTF-16 by its mark; otherwise Windows' Western code page, or Latin-1."""
    head = file.read(4)
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    # UTF-8 rejects most other encodings; a Western code page accepts nearly every byte, so it comes second.
    decoders = {name: codecs.getincrementaldecoder(name)() for name in ("utf-8", "cp1252")}
    block = head
    while decoders:
        for name in list(decoders):
            try:
                decoders[name].decode(block, final=not block)
            except UnicodeDecodeError:
                del decoders[name]
        if not block:
            break
        block = file.read(1 << 20)
    return next(iter(decoders), "latin-1")


def _records(text: str, separator: str, quote: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=separator, quotechar=quote)
    try:
        return [row for row in reader if row]
    except csv.Error as error:
        raise DataError(f"cannot read the first rows: {error}") from error


def _separator(text: str, quote: str) -> str:
    """The candidate that gives most records as many cells as the headings, and more than one cell."""
    best, score = ",", (0.0, 0)
    for candidate in _SEPARATORS:
        try:
            rows = _records(text, candidate, quote)
        except DataError:
            continue
        width = len(rows[0]) if rows else 0
        if width < 2:
            continue
        alike = sum(len(row) == width for row in rows) / len(rows)
        if (alike, width) > score:
            # The number of alike records decides first, and the number of cells only between equals.
            best, score = candidate, (alike, width)
    return best


def _signs(cells: list[str], separator: str, declared: FileFormat) -> tuple[str, str]:
    """The decimal sign, and the sign between thousands."""
    decimal, thousands = declared.decimal or _OTHER.get(declared.thousands, ""), declared.thousands
    if not decimal:
        commas = sum(_COMMA_DECIMAL.fullmatch(cell) is not None for cell in cells)
        points = sum(
            _POINT_DECIMAL.fullmatch(cell) is not None and _POINT_THOUSANDS.fullmatch(cell) is None
            for cell in cells
        )
        # Where commas separate cells, a decimal comma would need quotes, so points are assumed.
        decimal = "," if separator != "," and commas > points else "."
    if not thousands:
        pattern = _POINT_THOUSANDS if decimal == "," else _COMMA_THOUSANDS
        grouped = sum(pattern.fullmatch(cell) is not None for cell in cells)
        # Beside a decimal comma nothing contradicts groups; beside a point, such numbers do.
        broken = sum(_UNGROUPED.fullmatch(cell) is not None for cell in cells) * (decimal == ".")
        if grouped > _TO_ONE * broken:
            thousands = "." if decimal == "," else ","
    return decimal, thousands


def _check_headings(path: Path, rows: list[list[str]]) -> None:
    """Refuse a first line of numbers, which is a row and would be lost as headings."""
    first = [cell.strip() for cell in rows[0] if cell.strip()]
    if len(rows) > 1 and first and all(_NUMBER.fullmatch(cell) for cell in first):
        raise DataError(
            f"{path}: the first line holds numbers ({', '.join(first[:3])} …), no headings: give "
            '[data.file] headings = ["…", …]'
        )
