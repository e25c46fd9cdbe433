"""Cells in the forms that columns ask for, alike from text and from what Parquet stores."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from fedavg.data.tables.cells import cells_of
from fedavg.data.tables.files import FileFormat
from fedavg.data.tables.reading import read_table
from fedavg.data.tables.schemas.schema import MARKERS
from fedavg.errors import DataError
from tests.fedavg.support.tables import cells


@pytest.mark.parametrize("marker", MARKERS)
def test_every_marker_is_missing_and_never_a_category(marker):
    column = cells(["1", marker, "2"])
    assert column.missing.tolist() == [False, True, False]
    np.testing.assert_array_equal(column.numbers(), [1, np.nan, 2])
    assert column.words()[1] == ("1", "2")


def test_markers_of_numbers_are_compared_as_numbers():
    stored = cells([1, -1, 3, None], kind=pa.int64(), markers=("-1",))
    assert stored.missing.tolist() == [False, True, False, True]
    text = cells(["1", "-1", "3", ""], markers=("", "-1"))
    np.testing.assert_array_equal(stored.numbers(), text.numbers())


def test_decimal_commas_and_thousands():
    column = cells(["1.234,5", "0,5", "1.5", "x"], decimal=",", thousands=".")
    np.testing.assert_array_equal(column.numbers(), [1234.5, 0.5, np.nan, np.nan])
    plain = cells(["1,234.5", "12,34", "1,234,567"], decimal=".", thousands=",")
    np.testing.assert_array_equal(plain.numbers(), [1234.5, np.nan, 1234567])


def test_words_are_numbered_in_order_and_missing_ones_are_not():
    codes, words = cells(["b", " a ", "", "b"]).words()
    assert words == ("a", "b")
    assert codes.tolist() == [1, 0, -1, 1]


def test_whole_numbers_lose_their_point_where_no_two_become_one():
    assert cells(["1.0", "2.0", "10"]).words()[1] == ("1", "10", "2")
    assert cells(["1.0", "1"]).words()[1] == ("1", "1.0")
    assert cells(["2.0", "beta"]).words()[1] == ("2.0", "beta")


def test_some_cells_and_one_as_text():
    column = cells(["a", "b", ""])
    assert column.take(np.array([2, 0])).missing.tolist() == [True, False]
    assert column.shown(1) == "b"
    assert len(column) == 3


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.int64()), pa.struct([("a", pa.int64())]), pa.binary()],
    ids=str,
)
def test_what_is_no_cell_is_refused_with_its_type(kind):
    with pytest.raises(DataError, match="leave it out"):
        cells([None], kind=kind)


FRAMES = {
    "numbers": pd.DataFrame({"c": [1.0, 2.5, None, -3e20, 0.1]}),
    "single precision": pd.DataFrame({"c": np.array([0.1, 2.5, 1e20, -7], np.float32)}),
    "whole": pd.DataFrame({"c": [1, 2, 3]}),
    "whole with gaps": pd.DataFrame({"c": [1.0, None, 3.0]}),
    "text": pd.DataFrame({"c": ["a", None, "b ", "Ä,;\n"]}),
    "true": pd.DataFrame({"c": [True, False, True]}),
    "dictionary": pd.DataFrame({"c": pd.Categorical(["x", "y", None])}),
    "dates": pd.DataFrame({"c": pd.to_datetime(["2020-02-29", "1969-12-31", None])}),
    "moments": pd.DataFrame({"c": pd.to_datetime(["2020-02-29 12:30", None, "2021-01-01 00:00"])}),
}


@pytest.mark.parametrize("name", FRAMES)
def test_csv_and_parquet_of_one_frame_are_alike(tmp_path, name):
    frame = FRAMES[name]
    frame = frame.assign(
        z=1
    )  # a row of nothing but a missing cell would be a blank line of the CSV
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    ours, theirs = (
        cells_of(read_table(tmp_path / file), "c", MARKERS) for file in ("t.csv", "t.parquet")
    )
    np.testing.assert_array_equal(ours.missing, theirs.missing)
    if name != "true":
        np.testing.assert_array_equal(ours.numbers(), theirs.numbers())
    np.testing.assert_array_equal(ours.moments("iso"), theirs.moments("iso"))
    if "date" not in name and "moment" not in name and name != "single precision":
        assert ours.words()[1] == theirs.words()[1] or name == "numbers"
        np.testing.assert_array_equal(ours.words()[0] >= 0, theirs.words()[0] >= 0)


def test_every_way_to_store_text_and_numbers_is_read(tmp_path):
    kinds = {
        "large": pa.array(["a", None], pa.large_string()),
        "view": pa.array(["a", None], pa.string_view()),
        "nothing": pa.nulls(2),
        "decimal": pa.array([None, 1], pa.decimal128(5, 2)),
        "half": pa.array(np.array([1, 2], np.float16)),
        "clock": pa.array([1, None], pa.time32("s")),
        "unsigned": pa.array([1, None], pa.uint64()),
    }
    parquet.write_table(pa.table(kinds), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    found = {name: cells_of(table, name, MARKERS) for name in kinds}
    assert found["large"].words()[1] == found["view"].words()[1] == ("a",)
    assert found["nothing"].missing.all()
    np.testing.assert_array_equal(found["decimal"].numbers(), [np.nan, 1])
    assert found["half"].numbers().tolist() == [1, 2]
    assert found["clock"].words()[1] == ("00:00:01",)
    np.testing.assert_array_equal(found["unsigned"].numbers(), [1, np.nan])


@given(st.lists(st.floats(allow_nan=False, width=32), min_size=1, max_size=6))
def test_single_precision_is_what_its_shortest_text_says(numbers):
    stored = cells(numbers, kind=pa.float32(), markers=())
    text = cells([str(np.float32(number)) for number in numbers], markers=())
    np.testing.assert_array_equal(stored.numbers(), text.numbers())


def test_a_format_without_a_decimal_sign_means_a_point():
    assert cells(["1.5"], decimal=FileFormat().decimal).numbers().tolist() == [1.5]


def test_moments_are_shown_without_zeros_behind_the_second(tmp_path):
    """Parquet stores nanoseconds; a file of texts has the same words, and so its rows have the same hash."""
    moments = pd.to_datetime(["2020-02-29 12:30", "2021-01-01T00:00:07.250"], format="ISO8601")
    pd.DataFrame({"c": moments}).to_parquet(tmp_path / "t.parquet")
    column = cells_of(read_table(tmp_path / "t.parquet"), "c", ())
    assert column.words()[1][0] == "2020-02-29 12:30:00"
    assert column.shown(1).startswith("2021-01-01 00:00:07.25")
