"""Reading a table into silos, and what a silo's rows never do."""

import copy
import pickle

import numpy as np
import pytest

from fedavg.data.tables.columns import Boolean, Category, Date, Identifier, Number, Text
from fedavg.data.tables.schemas.schema import Schema
from fedavg.errors import DataError
from fedavg.statistics import Person, Record, SiloRows, Silos, Variable, read_silos
from tests.fedavg.support.tables import table


def _read(schema, unit=None, *, private=False, **columns):
    return read_silos(table(**columns), schema, "site", unit or Record(), private=private)


def test_every_kind_of_column_becomes_numbers_or_words():
    schema = Schema(
        columns={
            "age": Number(bounds=(0, 100)),
            "sick": Boolean(),
            "ward": Category(categories=("x", "y")),
            "day": Date(parts=("days", "month")),
            "name": Identifier(),
            "note": Text(buckets=2),
        }
    )
    silos = _read(
        schema,
        site=["a", "b", "a"],
        age=["31", "", "140"],
        sick=["yes", "no", ""],
        ward=["x", "z", "y"],
        day=["2026-01-31", "", "2026-02-01"],
        name=["q", "r", "s"],
        note=["cough", "cough fever", ""],
    )
    kinds = {variable.name: variable for variable in silos.variables}
    assert kinds["age"].bounds == (0, 100)
    assert kinds["sick"].categories == ("no", "yes")
    assert kinds["ward"].categories == ("x", "y", "other")
    assert kinds["day days"].measured
    assert len(kinds["day month"].categories) == 12
    assert kinds["note # 0"].categories == ("no", "yes")
    assert "name" not in kinds
    first, second = silos.rows
    assert first.values["age"].tolist() == [31, 140]  # counted beyond the bounds, and not clamped
    assert np.isnan(second.values["age"]).all()
    assert first.values["sick"][0] == 1
    assert second.values["ward"].tolist() == [2]


def test_numbers_beyond_their_bounds_are_clamped_under_noise():
    schema = Schema(
        columns={"age": Number(bounds=(0, 100)), "day": Date(bounds=("1970-01-02", "1970-01-03"))}
    )
    columns = {"site": ["a", "a"], "age": ["-5", "140"], "day": ["1970-01-01", "1970-01-03"]}
    for private, ages, days in ((True, [0, 100], [1, 2]), (False, [-5, 140], [0, 2])):
        (rows,) = _read(schema, private=private, **columns).rows
        assert rows.values["age"].tolist() == ages
        assert rows.values["day days"].tolist() == days


def test_rows_without_a_silo_or_a_person_are_left_out():
    schema = Schema(columns={"x": Number()})
    columns = {"site": ["a", "", "b", "a"], "who": ["1", "2", "", "1"], "x": ["1", "2", "3", "4"]}
    assert [len(rows) for rows in _read(schema, **columns).rows] == [2, 1]
    silos = _read(schema, Person("who"), **columns)
    assert [len(rows) for rows in silos.rows] == [2, 0]
    assert len(np.unique(silos.rows[0].people)) == 1


def test_roles_are_no_statistics():
    schema = Schema(columns={"x": Number(), "who": Category(categories=("1", "2"))})
    silos = _read(schema, Person("who"), site=["a", "b"], who=["1", "2"], x=["1", "2"])
    assert [variable.name for variable in silos.variables] == ["x"]


def test_a_wrong_cell_is_refused_without_noise_and_missing_under_noise():
    schema = Schema(columns={"x": Number()})
    with pytest.raises(DataError, match="'many' in row 2"):
        _read(schema, site=["a", "a"], x=["1", "many"])
    silos = _read(schema, private=True, site=["a", "a"], x=["1", "many"])
    assert np.isnan(silos.rows[0].values["x"]).tolist() == [False, True]


@pytest.mark.parametrize(
    ("unit", "said"),
    [(Person("nobody"), "no column 'nobody'"), (Person("site"), "both the silo and the person")],
)
def test_a_unit_that_no_column_names_is_refused(unit, said):
    with pytest.raises(DataError, match=said):
        _read(Schema(columns={"x": Number()}), unit, site=["a"], x=["1"])


def test_a_table_without_a_described_column_is_refused():
    with pytest.raises(DataError, match="no column"):
        _read(Schema(), site=["a"], x=["1"])


def test_the_rows_of_a_silo_are_not_shown_copied_to_files_or_pickled():
    rows = SiloRows({"x": np.array([31.0])}, np.array([7]))
    assert "31" not in f"{rows!r} {rows}"
    for leak in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="private"):
            leak(rows)


@pytest.mark.parametrize(
    ("values", "variable", "said"),
    [
        (np.array([np.inf]), Variable("x"), "within ±1e"),
        (np.array([1e31]), Variable("x"), "within ±1e"),
        (np.array([2.0]), Variable("x", ("a", "b")), "codes"),
        (np.array([0.5]), Variable("x", ("a", "b")), "codes"),
        (np.array([1.0, 2.0]), Variable("x"), "one value for each row"),
        (np.ma.masked_array([1.0], [True]), Variable("x"), "plain NumPy array"),
        (np.array([1]), Variable("x"), "real numbers"),
    ],
)
def test_values_that_a_column_cannot_hold_are_refused(values, variable, said):
    with pytest.raises(DataError, match=said):
        Silos((variable,), (SiloRows({"x": values}, np.array([0])),), ("a",), Record())


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "x", "categories": ("a",), "bounds": (0, 1)},
        {"name": "x", "bounds": (1, 1)},
        {"name": "x", "bounds": (0, np.inf)},
        {"name": "x", "bounds": (-1e308, 1e308)},
    ],
)
def test_a_column_that_contradicts_itself_is_refused(wrong):
    with pytest.raises(DataError):
        Variable(**wrong)


def test_rows_as_units_have_numbers_of_their_own():
    rows = SiloRows({"x": np.zeros(3)}, np.array([1, 2, 1]))
    with pytest.raises(DataError, match="every row is a unit of its own"):
        Silos((Variable("x"),), (rows,), ("a",), Record())
    assert Silos((Variable("x"),), (rows,), ("a",), Person("p")).unit.name == "person"


def test_columns_are_chosen_by_name():
    silos = Silos(
        (Variable("x"), Variable("y")),
        (SiloRows({"x": np.zeros(1), "y": np.zeros(1)}, np.zeros(1, np.int64)),),
        ("a",),
        Record(),
    )
    assert [variable.name for variable in silos.chosen(("y",)).variables] == ["y"]
    with pytest.raises(DataError, match="no column 'z'"):
        silos.chosen(("z",))
