"""Preprocessing: statistics or public bounds, missing cells filled as the schema says, names for inputs."""

import numpy as np
import pytest

from fedavg.data.tables.columns.interface import Field
from fedavg.data.tables.preprocessing import (
    Preprocessor,
    fitted_preprocessor,
    public_preprocessor,
)
from fedavg.data.tables.statistics import summed_statistics
from fedavg.errors import DataError, PlanError
from fedavg.sums.plain import InsecurePlain

CITY = Field("city", categories=("a", "b", "other"), named=2)


def _fitted(values, *fields):
    clients = dict(enumerate(np.array_split(np.array(values, float), 3)))
    return fitted_preprocessor(fields, summed_statistics(clients, fields, InsecurePlain(), seed=0))


def test_measurements_are_standardised_and_categories_indicated():
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(50, 9, 90), rng.integers(0, 2, 90), np.full(90, 7)], axis=1)
    fitted = _fitted(values, Field("x"), CITY, Field("flat"))
    inputs = fitted.apply(values)
    assert fitted.names == ("x", "city = a", "city = b", "flat")  # nobody has another word
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs[:, 0].mean(), 0, atol=1e-5)
    np.testing.assert_allclose(inputs[:, 0].std(), 1, rtol=1e-4)
    assert (inputs[:, 1:3].sum(1) == 1).all()
    assert not inputs[:, 3].any()  # what does not vary says nothing


@pytest.mark.parametrize(
    ("policy", "fill", "value"),
    [
        ("mean", None, 3.0),
        ("median", None, 2.0),
        ("auto", None, 2.0),
        ("constant", 8.0, 8.0),
    ],
)
def test_missing_measurements_become_what_the_policy_says(policy, fill, value):
    values = [[1.0], [2.0], [6.0], [np.nan], [1.0], [5.0]]
    fitted = _fitted(values, Field("x", missing=policy, fill=fill, indicator=True))
    assert fitted.fill[0] == pytest.approx(value, rel=1e-9)
    inputs = fitted.apply(np.array([[np.nan], [value]]))
    assert inputs[0, 0] == inputs[1, 0]
    assert inputs[:, 1].tolist() == [1, 0]
    assert fitted.names == ("x", "x missing")
    assert f"x: 1 missing cells of 6 rows of 3 clients become {value:g}" in fitted.notes[0]


@pytest.mark.parametrize(
    ("policy", "fill", "word"),
    [("auto", None, "other"), ("most_frequent", None, "b"), ("constant", 0.0, "a")],
)
def test_missing_categories_become_what_the_policy_says(policy, fill, word):
    field = Field("c", categories=("a", "b", "other"), named=2, missing=policy, fill=fill)
    fitted = _fitted([[0.0], [1.0], [1.0], [np.nan], [1.0], [0.0]], field)
    filled = fitted.apply(np.array([[np.nan]]))[0]
    assert [name for name, on in zip(fitted.names, filled, strict=True) if on] == [f"c = {word}"]
    assert repr(word) in fitted.notes[0]


def test_without_an_other_category_a_missing_cell_belongs_to_none():
    field = Field("c", categories=("a", "b"), named=2)
    fitted = _fitted([[0.0], [1.0], [np.nan]], field)
    assert fitted.apply(np.array([[np.nan]])).tolist() == [[0, 0]]
    assert "no category" in fitted.notes[0]


def test_booleans_become_minus_one_and_one_and_the_commoner_fills():
    field = Field("f", bounds=(0.0, 1.0), fixed=True, missing="most_frequent")
    fitted = _fitted([[0.0], [1.0], [1.0], [np.nan], [1.0], [1.0]], field)
    assert fitted.apply(np.array([[0.0], [1.0], [np.nan]])).ravel().tolist() == [-1, 1, 1]


def test_a_column_that_nobody_filled_is_zero():
    fitted = _fitted(
        [[np.nan, 1.0], [np.nan, 2.0], [np.nan, 4.0]], Field("x", missing="mean"), Field("y")
    )
    assert not fitted.apply(np.array([[np.nan, 1.0], [3.0, 2.0]]))[:, 0].any()


def test_public_bounds_look_at_no_row():
    public = public_preprocessor([Field("x", bounds=(0.0, 10.0)), CITY])
    values = np.array([[5, 0], [10, 2], [0, 1], [np.nan, np.nan]])
    expected = [[0, 1, 0, 0], [1, 0, 0, 1], [-1, 0, 1, 0], [0, 0, 0, 1]]
    assert public.apply(values).tolist() == expected
    assert public.names == ("x", "city = a", "city = b", "city = other")
    assert public.notes == ()


def test_under_differential_privacy_what_is_not_public_is_refused_by_name():
    with pytest.raises(PlanError, match="scale of income, rate must be public"):
        public_preprocessor([Field("income"), Field("rate"), CITY])
    for policy in ("mean", "median"):
        with pytest.raises(PlanError, match="missing cells of x cannot be filled"):
            public_preprocessor([Field("x", bounds=(0.0, 1.0), missing=policy)])
    commonest = Field("c", categories=("a", "b"), named=2, missing="most_frequent")
    with pytest.raises(PlanError, match="missing cells of c"):
        public_preprocessor([commonest])


def test_a_declared_constant_is_public():
    fields = [Field("x", bounds=(0.0, 10.0), missing="constant", fill=10.0)]
    assert public_preprocessor(fields).apply(np.array([[np.nan]])).tolist() == [[1.0]]


def test_rows_of_another_table_and_what_is_no_preprocessor():
    public = public_preprocessor([CITY])
    with pytest.raises(DataError, match="another table"):
        public.apply(np.zeros((2, 2)))
    one = np.ones(1)
    with pytest.raises(DataError, match="scales"):
        Preprocessor((CITY,), one, one, 0 * one, ((),))
    with pytest.raises(DataError, match="one entry"):
        Preprocessor((CITY,), one, one, one, ())
