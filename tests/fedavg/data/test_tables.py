"""Tables: what a cell becomes, what is public about a column, and what is refused in which words."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.data import tables
from fedavg.data.tables import Column, TableOptions, encode_table, read_table
from fedavg.data.tasks import load_task
from fedavg.errors import DataError

TEXT = "age,city,plan,sick\n31,Rome,a,no\n54,Oslo,b,yes\n47,Rome,c,no\n60,Bern,a,yes\n"


def _write(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_with_measurements_declared_and_hashed_categories(tmp_path):
    options = TableOptions(
        target="sick", vocabulary={"plan": ["a", "b"]}, bounds={"age": (0, 100)}, buckets=7
    )
    table = encode_table(read_table(_write(tmp_path, TEXT)), options)
    assert table.columns == (Column("age", bounds=(0, 100)), Column("city", 7), Column("plan", 3))
    assert table.features[:, 0].tolist() == [31, 54, 47, 60]
    assert table.features[:, 2].tolist() == [0, 1, 2, 0]  # c is in no vocabulary: the last number
    city = table.features[:, 1]
    assert city[0] == city[2]
    assert set(city.tolist()) <= set(range(7))
    assert table.classes == ("no", "yes")
    assert table.labels.tolist() == [0, 1, 0, 1]
    assert table.owners is None


def test_buckets_depend_on_the_cell_alone():
    """Known answers of BLAKE2b with the person string, so that clients of all versions agree."""
    assert [tables._bucket(word, 16) for word in ("Rome", "Oslo", "")] == KNOWN_BUCKETS
    one = {"c": np.array(["x", "Rome"]), "y": np.array(["0", "1"])}
    two = {"c": np.array(["Rome", "z"]), "y": np.array(["0", "1"])}
    options = TableOptions(target="y")
    assert encode_table(one, options).features[1] == encode_table(two, options).features[0]


KNOWN_BUCKETS = [13, 2, 14]


def test_owners_and_classes_are_numbered_in_the_order_of_their_values():
    columns = {
        "x": np.array(["1", "2", "3"]),
        "bank": np.array(["9", "10", "9"]),
        "y": np.array([2, 1, 2]),
    }
    table = encode_table(columns, TableOptions(target="y", client="bank"))
    assert table.owners.tolist() == [0, 1, 0]  # as numbers: 9 before 10
    assert table.labels.tolist() == [1, 0, 1]
    assert [column.name for column in table.columns] == ["x"]


def test_parquet_reads_as_the_same_csv_does(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="the data extra brings pyarrow")
    from pyarrow import parquet

    columns = {
        "age": [31, 54, 47, 60],
        "city": ["Rome", "Oslo", "Rome", "Bern"],
        "plan": ["a", "b", "c", "a"],
        "sick": ["no", "yes", "no", "yes"],
    }
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    options = TableOptions(target="sick", client="plan")
    one = encode_table(read_table(tmp_path / "t.parquet"), options)
    two = encode_table(read_table(_write(tmp_path, TEXT)), options)
    assert (one.features == two.features).all()
    assert one.columns == two.columns
    assert one.owners.tolist() == two.owners.tolist()


def test_missing_cells_of_parquet_are_missing(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="the data extra brings pyarrow")
    from pyarrow import parquet

    table = pa.table({"x": [1.0, None], "c": ["a", None], "y": ["0", "1"]})
    parquet.write_table(table, tmp_path / "t.parquet")
    columns = read_table(tmp_path / "t.parquet")
    assert columns["c"].tolist() == ["a", ""]
    with pytest.raises(DataError, match="'x' has 1 cells that are missing"):
        encode_table(columns, TableOptions(target="y"))


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install 'secure-fedavg\[data\]'"):
        read_table(_write(tmp_path, "", "t.parquet"))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no rows"),
        ("a,b\n", "no rows"),
        ("a,a\n1,2\n", "heading twice"),
        ("a,b\n1,2\n3\n", "record 3 has 1 cells under 2 headings"),
        ('a,b\n"1,2\n', "cannot read"),
    ],
)
def test_what_is_no_csv(tmp_path, text, word):
    with pytest.raises(DataError, match=word):
        read_table(_write(tmp_path, text))


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(DataError, match="UTF-8"):
        read_table(tmp_path / "b.csv")
    pytest.importorskip("pyarrow", reason="the data extra brings pyarrow")
    with pytest.raises(DataError, match="as Parquet"):
        read_table(_write(tmp_path, "PAR1 not really", "b.parquet"))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({}, "needs .data. target, the column with the classes: there are age, city"),
        ({"target": "ill"}, "no column 'ill': there are age, city"),
        ({"target": "sick", "client": "bank"}, "no column 'bank'"),
        ({"target": "sick", "bounds": {"agee": (0, 1)}}, "no column 'agee'"),
        ({"target": "sick", "bounds": {"city": (0, 1)}}, "holds text"),
        ({"target": "sick", "bounds": {"age": (1, 0)}}, "low < high"),
        ({"target": "sick", "bounds": {"age": (0, float("inf"))}}, "low < high"),
        (
            {"target": "sick", "bounds": {"age": (0, 1)}, "vocabulary": {"age": ["31"]}},
            "either a vocabulary or bounds",
        ),
        ({"target": "sick", "vocabulary": {"plan": []}}, "vocabulary of 'plan'"),
        ({"target": "sick", "vocabulary": {"plan": ["a", "a"]}}, "vocabulary of 'plan'"),
        ({"target": "sick", "buckets": 1}, "two buckets"),
    ],
)
def test_options_that_do_not_fit_the_table(tmp_path, options, word):
    columns = read_table(_write(tmp_path, TEXT))
    with pytest.raises(DataError, match=word):
        encode_table(columns, TableOptions(**options))


@pytest.mark.parametrize("cell", ["", "nan", "inf"])
def test_measurements_with_gaps_are_refused(tmp_path, cell):
    path = _write(tmp_path, f"x,y\n1,a\n{cell},b\n")
    with pytest.raises(DataError, match="'x' has 1 cells that are missing, NaN or infinite"):
        encode_table(read_table(path), TableOptions(target="y"))


def test_a_target_needs_classes():
    columns = {"x": np.arange(2000.0), "y": np.arange(2000.0), "z": np.zeros(2000)}
    with pytest.raises(DataError, match="2000 different values"):
        encode_table(columns, TableOptions(target="y"))
    with pytest.raises(DataError, match="1 different values"):
        encode_table(columns, TableOptions(target="z"))
    with pytest.raises(DataError, match="no column besides"):
        encode_table({"y": np.array([0, 1])}, TableOptions(target="y"))


@settings(deadline=None, max_examples=60)
@given(text=st.text(st.sampled_from('ab1,.\n" é-'), max_size=60))
def test_any_csv_is_read_or_refused(tmp_path_factory, text):
    path = _write(tmp_path_factory.mktemp("csv"), text)
    try:
        columns = read_table(path)
        table = encode_table(columns, TableOptions(target=next(iter(columns))))
    except DataError:
        return
    assert np.isfinite(table.features).all()
    assert table.labels.max() == len(table.classes) - 1


def test_a_task_from_a_csv_keeps_owners_of_training_rows_only(tmp_path):
    rows = [f"{i % 7},{'abc'[i % 3]},{i % 2}" for i in range(60)]
    path = _write(tmp_path, "x,bank,y\n" + "\n".join(rows) + "\n")
    task = load_task(path, table=TableOptions(target="y", client="bank"), seed=1)
    assert task.columns == (Column("x"),)
    assert task.owners.shape == (48,)
    assert len(task.test) == 12
    assert set(task.owners.tolist()) == {0, 1, 2}
    pairs = {(i % 7, i % 2, i % 3) for i in range(60)}
    seen = zip(task.train.features[:, 0], task.train.labels, task.owners, strict=True)
    assert {(int(x), int(y), int(k)) for x, y, k in seen} <= pairs


def test_target_and_client_are_of_tables_only():
    with pytest.raises(DataError, match=r"no \.csv or \.parquet"):
        load_task("digits", table=TableOptions(target="y"))
