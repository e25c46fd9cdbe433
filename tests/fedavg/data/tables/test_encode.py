"""Encoding of cells: values that are kept, rows that are left out with a note, and refusals by row."""

import msgspec
import numpy as np
import pandas as pd
import pytest

from fedavg.data.dataset import CLASSES, MULTI_LABEL, NUMBERS
from fedavg.data.tables.columns import Boolean, Category, Date, Identifier, Number
from fedavg.data.tables.encode import encode
from fedavg.data.tables.reading import read_table
from fedavg.data.tables.schemas.propose import propose
from fedavg.data.tables.schemas.schema import Schema, column_from
from fedavg.errors import DataError
from tests.fedavg.support.tables import table

COLUMNS = {
    "id": Identifier(),
    "age": Number(bounds=(0, 100)),
    "plan": Category(categories=("a", "b")),
    "sick": Boolean(values=("no", "yes")),
}
CELLS = {
    "id": ["p1", "p2", "p3", "p4"],
    "age": ["31", "154", "", "60"],
    "plan": ["a", "c", "b", "a"],
    "sick": ["no", "yes", "no", "yes"],
}


def _rows(cells=None, *, private=False, **given):
    schema = Schema(**({"target": "sick", "columns": COLUMNS} | given))
    return encode(table(**(CELLS | (cells or {}))), schema, private=private)


def test_every_column_becomes_its_fields_in_order():
    rows = _rows()
    assert [field.name for field in rows.fields] == ["age", "plan"]
    np.testing.assert_array_equal(rows.values, [[31, 0], [100, 2], [np.nan, 1], [60, 0]])
    assert rows.kind == CLASSES
    assert rows.labels.tolist() == [0, 1, 0, 1]
    assert rows.label_names == ("no", "yes")
    assert rows.owners[1] == ("",)
    assert len(rows.notes) == 2  # one value clamped, one word outside


def test_rows_without_a_label_or_an_owner_are_left_out_and_counted():
    cells = {"sick": ["no", "", "no", "yes"], "ward": ["9", "10", "", "9"]}
    rows = _rows(cells, client="ward", columns=COLUMNS)
    assert rows.labels.tolist() == [0, 1]
    assert rows.owners[0].tolist() == [0, 0]
    assert rows.owners[1] == ("9", "10")  # as numbers: 9 before 10
    assert "1 of 4 rows hold nothing to be predicted, and are left out" in rows.notes
    assert "1 of 4 rows do not say whose they are, and are left out" in rows.notes


def test_rows_are_dropped_where_the_policy_says_so():
    columns = COLUMNS | {"age": Number(missing="drop")}
    rows = _rows(columns=columns)
    assert rows.values[:, 0].tolist() == [31, 154, 60]
    assert "1 of 4 rows miss 'age', and are left out" in rows.notes


def test_odd_cells_are_refused_with_their_rows_and_the_remedy():
    with pytest.raises(
        DataError,
        match=r"column 'age': 'x' in row 2 is not a number.*markers = \[\"x\"\] \}; or.*another kind",
    ):
        _rows({"age": ["31", "x", "47", "60"]})
    with pytest.raises(DataError, match="'a' in row 1, 'b' in row 2, 'c' in row 3 and 1 more are"):
        _rows({"age": list("abcd")})
    with pytest.raises(DataError, match="column 'sick': 'maybe' in row 4"):
        _rows({"sick": ["no", "yes", "no", "maybe"]})


def test_the_remedy_for_odd_cells_is_a_line_of_a_configuration():
    """All words at once, with the settings that the column has: the line replaces its description."""
    columns = COLUMNS | {"age": Number(bounds=(0, 99), strip="%", indicator=True)}
    cells = {"age": ["31", "k. A.", 'n"b', "k. A."]}
    with pytest.raises(DataError) as refused:
        _rows(cells, columns=columns)
    said = str(refused.value).split("say [data] ")[1].split("; or give")[0]
    data = msgspec.toml.decode(f"[data]\n{said}")["data"]
    age = column_from(data["columns"]["age"], "age")
    assert age == msgspec.structs.replace(columns["age"], markers=("k. A.", 'n"b'))
    assert _rows(cells, columns=COLUMNS | {"age": age}).values[:, 0].tolist()[0] == 31


def test_under_noise_odd_cells_count_as_missing_and_are_said():
    """A refusal would depend on a row."""
    rows = _rows({"age": ["31", "x", "47", "60"], "sick": ["no", "yes", "so", "no"]}, private=True)
    np.testing.assert_array_equal(rows.values[:, 0], [31, np.nan, 60])
    assert any("'x' in row 2: not a number" in note for note in rows.notes)
    assert any("'so' in row 3" in note for note in rows.notes)


def test_markers_of_a_column_and_of_the_table():
    columns = COLUMNS | {"age": Number(markers=("x",))}
    rows = _rows({"age": ["31", "x", "-", "60"]}, columns=columns, markers=("-",))
    assert np.isnan(rows.values[:, 0]).tolist() == [False, True, True, False]


def test_numbers_are_predicted_as_numbers_with_units_and_bounds():
    columns = COLUMNS | {"age": Number(bounds=(0, 200), unit="years")}
    rows = _rows(target="age", columns=columns)
    assert rows.kind == NUMBERS
    assert rows.labels.tolist() == [[31], [154], [60]]
    assert rows.label_names == ("age [years]",)
    assert rows.label_bounds == ((0, 200),)
    assert [field.name for field in rows.fields] == ["plan", "sick"]


def test_several_targets_are_numbers_or_labels_of_one_example():
    cells = {"age": ["1", "2", "3", "4"], "two": ["5", "6", "7", "8"]}
    columns = COLUMNS | {"two": Number()}
    numbers = _rows(cells, target=("two", "age"), columns=columns)
    assert numbers.labels.tolist() == [[5, 1], [6, 2], [7, 3], [8, 4]]
    assert numbers.label_names == ("two", "age")
    tags = _rows(
        {"ill": ["1", "0", "1", "1"]}, target=("sick", "ill"), columns=COLUMNS | {"ill": Boolean()}
    )
    assert tags.kind == MULTI_LABEL
    assert tags.labels.tolist() == [[0, 1], [1, 0], [0, 1], [1, 1]]
    with pytest.raises(DataError, match="are of several kinds"):
        _rows(cells, target=("two", "sick"), columns=columns)


def test_groups_and_weights():
    cells = {"person": ["x", "y", "x", ""], "w": ["1", "0.5", "2", "0"]}
    rows = _rows(cells, group="person", weight="w")
    assert rows.groups[0].tolist() == [0, 1, 0, -1]
    assert rows.weights.tolist() == [1, 0.5, 2, 0]
    with pytest.raises(DataError, match="column 'w' of weights: '-1' in row 2"):
        _rows(cells | {"w": ["1", "-1", "2", "0"]}, weight="w")
    with pytest.raises(DataError, match="'' in row 4"):
        _rows(cells | {"w": ["1", "1", "2", ""]}, weight="w")


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (
            {"target": ""},
            "needs .data. target, the name of the column to predict; the columns are id, age",
        ),
        ({"target": "ill"}, "no column 'ill'"),
        ({"target": "id"}, "declared as an identifier"),
        ({"columns": {"sick": Boolean()}}, "no column is left for a model"),
        ({"columns": {"age": Number()}}, "does not say what the target 'sick' is"),
    ],
)
def test_schemas_that_do_not_fit(given, word):
    with pytest.raises(DataError, match=word):
        _rows(**given)


def test_no_row_left_says_why():
    with pytest.raises(DataError, match="no row is left; 4 of 4 rows hold nothing"):
        _rows({"sick": [""] * 4})


def _frame(seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "row": np.arange(60),
            "x": rng.standard_normal(60),
            "n": np.where(rng.random(60) < 0.2, np.nan, rng.integers(0, 5, 60)),
            "word": rng.choice(["a", "b", None], 60),
            "flag": rng.random(60) < 0.5,
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 99, 60), "D"),
            "y": rng.choice(["no", "yes"], 60),
        }
    )


def _both(tmp_path, frame, name="t"):
    frame.to_csv(tmp_path / f"{name}.csv", index=False)
    frame.to_parquet(tmp_path / f"{name}.parquet", index=False)
    for suffix in ("csv", "parquet"):
        read = read_table(tmp_path / f"{name}.{suffix}")
        yield encode(read, propose(read, Schema(target="y")).schema)


def test_csv_and_parquet_of_one_table_give_one_result(tmp_path):
    one, two = _both(tmp_path, _frame())
    np.testing.assert_array_equal(one.values, two.values)
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_array_equal(one.contents, two.contents)
    assert one.fields == two.fields
    assert one.label_names == two.label_names


def test_what_stands_in_a_row_is_hashed_whatever_the_order_and_the_schema(tmp_path):
    """So that runs under other schemas are scored on the same rows."""
    frame = _frame()
    rows, _ = _both(tmp_path, frame)
    shuffled = frame.sample(frac=1, random_state=1)
    order = shuffled["row"].to_numpy()
    moved = shuffled.assign(row=np.arange(60))[["y", "day", "x", "row", "n", "word", "flag"]]
    other, _ = _both(tmp_path, moved, "moved")
    np.testing.assert_array_equal(rows.contents[order], other.contents)
    read = read_table(tmp_path / "t.csv")
    few = Schema(target="y", columns={"x": Number(bounds=(0, 1)), "y": Boolean()})
    np.testing.assert_array_equal(encode(read, few).contents, rows.contents)
    assert len(set(rows.contents.tolist())) == 60


def test_dates_become_several_fields():
    columns = {"d": Date(parts=("days", "month")), "sick": Boolean()}
    rows = encode(
        table(d=["1970-01-02", "", "1970-03-01", "1970-02-01"], sick=CELLS["sick"]),
        Schema(target="sick", columns=columns),
    )
    assert [field.name for field in rows.fields] == ["d days", "d month"]
    np.testing.assert_array_equal(rows.values, [[1, 0], [np.nan, np.nan], [59, 2], [31, 1]])


def test_a_row_that_goes_changes_no_other_rows_hash_although_a_column_numbers_them():
    columns = {
        "row": Identifier(),
        "x": Number(bounds=(0, 9)),
        "who": Identifier(),
        "y": Boolean(),
    }
    schema = Schema(target="y", client="who", columns=columns)
    cells = {"x": list("12345678"), "who": list("aabbccdd"), "y": ["no", "yes"] * 4}
    whole = encode(table(row=list("01234567"), **cells), schema, private=True)
    without = {name: words[2:] for name, words in cells.items()}
    for numbers in ("012345", "234567"):  # numbered anew, and as they were
        less = encode(table(row=list(numbers), **without), schema, private=True)
        np.testing.assert_array_equal(less.contents, whole.contents[2:])
