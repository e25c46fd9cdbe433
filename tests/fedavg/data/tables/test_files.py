"""How a file is written is found and said: separator, decimal sign, encoding, compression."""

import bz2
import gzip
import lzma
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from fedavg.data.tables.cells import cells_of
from fedavg.data.tables.files import FileFormat, is_table, sniffed, unpacked
from fedavg.data.tables.reading import read_table
from fedavg.errors import DataError
from tests.fedavg.support.tables import write

GERMAN = "Ort;Größe;Preis\nKöln;1,75;1.200,50\nBonn;1,80;900,00\n"


def test_a_german_file_is_recognised_and_said(tmp_path):
    path = write(tmp_path / "t.csv", GERMAN, encoding="cp1252")
    found, headings, said = sniffed(path, FileFormat())
    assert (found.separator, found.decimal, found.thousands) == (";", ",", ".")
    assert found.encoding == "cp1252"
    assert headings == ("Ort", "Größe", "Preis")
    assert said == ("t.csv: semicolons between cells, decimal comma, '.' between thousands, cp1252")


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("a,b\n1,2\n", ","),
        ("a\tb\n1\t2\n", "\t"),
        ("a|b\n1|2\n", "|"),
        ("a;b\n1,5;2,5\n3,5;4\n", ";"),
        ('a,b\n"x;y;z",2\n"x;y;z",2\n', ","),
        ("one\n1\n2\n", ","),
    ],
)
def test_separators(tmp_path, text, separator):
    found, _, _ = sniffed(write(tmp_path / "t.txt", text), FileFormat())
    assert found.separator == separator


@pytest.mark.parametrize(
    ("text", "decimal", "thousands"),
    [
        ('a,b\n"1,234",x\n', ".", ","),
        ('a,b\n"1,234.5",x\n', ".", ","),
        ("a;b\n1.234;2\n", ".", ""),
        ("a;b\n1.234,5;2\n", ",", "."),
        ("a;b\n0,5;2\n", ",", ""),
        ("a,b\n0.5,2\n", ".", ""),
        ("a,b\n" + '"1,234",x\n' * 30 + '"12,5",x\n', ".", ","),  # one cell is odd, and reported
        ("a,b\n" + '"1,234",x\n' * 10 + '"12,5",x\n', ".", ""),
        ("a;b\n" + "1.234,5;\n" * 10, ",", "."),  # empty cells contradict no grouping
    ],
)
def test_signs_in_numbers(tmp_path, text, decimal, thousands):
    found, _, _ = sniffed(write(tmp_path / "t.csv", text), FileFormat())
    assert (found.decimal, found.thousands) == (decimal, thousands)


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("utf-16", "utf-16"), ("cp1252", "cp1252")],
)
def test_encodings(tmp_path, encoding, name):
    path = write(tmp_path / "t.csv", "a,b\né,1\n", encoding=encoding)
    found, headings, _ = sniffed(path, FileFormat())
    assert found.encoding == name
    assert headings == ("a", "b")


def test_an_encoding_is_judged_by_every_byte(tmp_path):
    text = "a,b\n" + "x,1\n" * 200_000 + "é,1\n"
    path = write(tmp_path / "t.csv", text, encoding="latin-1")
    assert sniffed(path, FileFormat())[0].encoding == "cp1252"


def test_what_is_declared_is_kept(tmp_path):
    declared = FileFormat(separator=";", decimal=".", encoding="latin-1", skip=1)
    path = write(tmp_path / "t.csv", "made by hand\n" + GERMAN, encoding="latin-1")
    found, headings, _ = sniffed(path, declared)
    assert found.separator == ";"
    assert found.decimal == "."
    assert found.encoding == "latin-1"
    assert headings[0] == "Ort"


def test_a_first_line_of_numbers_is_no_headings(tmp_path):
    path = write(tmp_path / "t.csv", "1,2.5\n3,4\n")
    with pytest.raises(DataError, match=r"no headings: give \[data.file\] headings"):
        sniffed(path, FileFormat())
    _, headings, _ = sniffed(path, FileFormat(headings=("x", "y")))
    assert headings == ("x", "y")


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no rows"):
        sniffed(write(tmp_path / "t.csv", " \n"), FileFormat())


@pytest.mark.parametrize("packing", ["gzip", "bzip2", "xz", "zip", "zstd"])
def test_compressed_files_are_told_by_their_bytes(tmp_path, packing):
    path = tmp_path / "t.csv"
    if packing == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("t.csv", GERMAN)
    elif packing == "zstd":
        path.write_bytes(pa.compress(GERMAN.encode(), "zstd", asbytes=True))
    else:
        packed = {"gzip": gzip, "bzip2": bz2, "xz": lzma}[packing].compress(GERMAN.encode())
        path.write_bytes(packed)
    with unpacked(path)[0] as file:
        assert file.read().decode() == GERMAN
    assert packing in sniffed(path, FileFormat())[2]


def test_an_archive_of_several_files_is_refused(tmp_path):
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "a")
        archive.writestr("b.csv", "b")
    with pytest.raises(DataError, match="holds 2 files"):
        unpacked(path)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"separator": "::"}, "one character"),
        ({"decimal": "'"}, "decimal must be"),
        ({"decimal": ",", "thousands": ","}, "different signs, and both are ','"),
        ({"skip": -1}, "number of lines, 0 or more, not -1"),
        ({"encoding": "klingon"}, "no encoding 'klingon'"),
    ],
)
def test_formats_that_mean_nothing(arguments, word):
    with pytest.raises(ValueError, match=word):
        FileFormat(**arguments)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        *(
            ("a.csv", True),
            ("a.TSV", True),
            ("a.csv.gz", True),
            ("a.parquet", True),
            ("a.pq", True),
        ),
        *(("a.npz", False), ("a.gz", False), ("csv", False), ("a.csv.npz", False)),
    ],
)
def test_names_of_tables(name, table):
    assert is_table(Path(name)) is table


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        (
            "a;b\n1,234;2\n7,001;3\n",
            '1,234 is read as 1.234: if it means 1234, say [data] file = { decimal = ".", thousands = "," }',
        ),
        (
            "a;b\n1.234;2\n",
            '1.234 is read as 1.234: if it means 1234, say [data] file = { decimal = ",", thousands = "." }',
        ),
        ("a;b\n1,234;2\n7,01;3\n", ""),  # two digits are no group
        ("a;b\n0,234;2\n", ""),  # no number begins with a group 0
        ("a,b\n1.234,2\n", ""),  # a point beside commas between cells
        ("a;b\n1;2\n", ""),
    ],
)
def test_a_sign_before_three_digits_alone_is_said_to_be_read_as_decimal(tmp_path, text, doubt):
    path = write(tmp_path / "t.csv", text)
    _, _, said = sniffed(path, FileFormat())
    assert said.partition("utf-8")[2] == (f"; {doubt}" if doubt else "")
    decimal = "," if "1,234" in text else "."
    assert "is read as" not in sniffed(path, FileFormat(decimal=decimal))[2]


@pytest.mark.parametrize(
    ("thousands", "decimal", "cell"), [(".", ",", "1.234"), (",", ".", "1,234")]
)
def test_a_sign_between_thousands_decides_the_decimal_sign(tmp_path, thousands, decimal, cell):
    """The remedy names the sign between thousands alone, and cells such as 1.234 would decide otherwise."""
    path = write(tmp_path / "t.txt", f"a;b\n{cell};2\n")
    declared = FileFormat(thousands=thousands)
    assert sniffed(path, declared)[0].decimal == decimal
    column = cells_of(read_table(path, declared), "a", ())
    assert column.numbers().tolist() == [1234]
    assert declared.point == decimal


def test_signs_that_are_both_given_must_differ():
    with pytest.raises(ValueError, match="must be different signs, and both are '.'"):
        FileFormat(thousands=".", decimal=".")
