"""Reading of files of rows: accepted files, and refusals whose message names the row."""

import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from fedavg.data.tables.cells import cells_of
from fedavg.data.tables.files import FileFormat
from fedavg.data.tables.reading import read_table, table_of
from fedavg.errors import DataError
from tests.fedavg.support.tables import write


def _texts(table, name):
    return table.columns[name].to_pylist()


def test_cells_of_a_csv_stay_text_and_are_in_order(tmp_path):
    table = read_table(write(tmp_path / "t.csv", "id,x\n007,1.50\n 08 ,NA\n,\n"))
    assert _texts(table, "id") == ["007", " 08 ", ""]
    assert _texts(table, "x") == ["1.50", "NA", ""]
    assert table.rows == 3


def test_quoted_separators_quotes_and_line_breaks(tmp_path):
    text = 'a,b\n"x,y","one\ntwo"\n"say ""no""",z\n'
    table = read_table(write(tmp_path / "t.csv", text))
    assert _texts(table, "a") == ["x,y", 'say "no"']
    assert _texts(table, "b") == ["one\ntwo", "z"]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_endings_and_blank_lines(tmp_path, ending):
    text = ending.join(["a,b", "1,2", "", "3,4", ""])
    assert _texts(read_table(write(tmp_path / "t.csv", text)), "b") == ["2", "4"]


def test_headings_with_line_breaks_and_lines_before_them(tmp_path):
    path = write(tmp_path / "t.csv", 'made by hand\na,"b\nc"\n1,2\n')
    table = read_table(path, FileFormat(skip=1))
    assert list(table.columns) == ["a", "b\nc"]
    assert table.rows == 1


def test_a_file_without_headings_is_given_some(tmp_path):
    path = write(tmp_path / "t.csv", "1,2\n3,4\n")
    table = read_table(path, FileFormat(headings=("x", "y")))
    assert _texts(table, "y") == ["2", "4"]


def test_empty_headings_get_a_name(tmp_path):
    one = read_table(write(tmp_path / "one.csv", ",x\n1,2\n"))
    assert list(one.columns) == ["(unnamed)", "x"]
    two = read_table(write(tmp_path / "two.csv", ",x,\n1,2,3\n"))
    assert list(two.columns) == ["(unnamed 1)", "x", "(unnamed 3)"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no rows"),
        ("a,b\n", "no rows"),
        ("a,a\n1,2\n", "heading twice: a"),
        ("a, a \n1,2\n", "heading twice: a"),
        ("a,b\n1,2\n3\n", "row 2 has 1 cells under 2 headings: '3'"),
        ("a,b\n1,2\n3,4\n5,6,7\n8\n", "row 3 has 3 cells under 2 headings, and 1 more rows"),
    ],
)
def test_what_is_no_csv(tmp_path, text, word):
    with pytest.raises(DataError, match=word):
        read_table(write(tmp_path / "t.csv", text))


def test_rows_are_counted_below_the_headings_whatever_stands_above(tmp_path):
    path = write(tmp_path / "t.csv", "one\ntwo\na,b\n1,2\n3\n")
    with pytest.raises(DataError, match="row 2 has 1 cells"):
        read_table(path, FileFormat(skip=2))
    path = write(tmp_path / "u.csv", "1,2\n3\n")
    with pytest.raises(DataError, match="row 2 has 1 cells"):
        read_table(path, FileFormat(headings=("a", "b")))


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "g.csv.gz").write_bytes(b"\x1f\x8b not gzip at all")
    with pytest.raises(DataError, match="cannot read"):
        read_table(tmp_path / "g.csv.gz")
    (tmp_path / "p.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match="cannot read"):
        read_table(tmp_path / "p.parquet")


def test_tables_without_pyarrow_name_the_extra(tmp_path, monkeypatch):
    path = write(tmp_path / "t.csv", "a,b\n1,2\n")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install 'secure-fedavg\[data\]'"):
        read_table(path)
    with pytest.raises(DataError, match=r"pip install 'secure-fedavg\[data\]'"):
        table_of("t", {"a": np.zeros(1)})


def test_parquet_is_read_whatever_its_name(tmp_path):
    parquet.write_table(pa.table({"a": [1, 2]}), tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv").columns["a"].to_pylist() == [1, 2]


def test_arrays_in_memory_are_a_table():
    table = table_of("t", {"a": np.array([1.5, 2]), "b": np.array(["x", "y"])})
    assert cells_of(table, "b", ()).words()[1] == ("x", "y")
    with pytest.raises(DataError, match="different lengths"):
        table_of("t", {"a": np.zeros(1), "b": np.zeros(2)})


@settings(deadline=None, max_examples=100)
@given(text=st.text(st.sampled_from('ab1,;.\n" é-\t'), max_size=60))
def test_any_csv_is_read_or_refused(tmp_path_factory, text):
    """What Python's own reader makes of a file that is read is what stands in the columns."""
    path = write(tmp_path_factory.mktemp("csv") / "t.csv", text)
    try:
        table = read_table(path)
    except DataError:
        return
    assert table.rows > 0
    assert all(len(column) == table.rows for column in table.columns.values())
