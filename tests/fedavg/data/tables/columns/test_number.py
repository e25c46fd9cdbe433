"""Columns of numbers: bounds are kept and counted, odd cells are found, labels stay numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedavg.data.dataset import NUMBERS
from fedavg.data.tables.columns import Number
from fedavg.errors import PlanError, SchemaError
from tests.fedavg.support.tables import cells


def test_numbers_are_read_and_missing_ones_are_nan():
    encoded = Number().encode(cells(["1", " 2.5 ", "", "NA", "-3e2"]))
    np.testing.assert_array_equal(encoded.arrays[0], [1, 2.5, np.nan, np.nan, -300])
    assert not encoded.odd.any()
    assert encoded.notes == ()


def test_one_odd_cell_is_odd_and_the_others_stay_numbers():
    encoded = Number().encode(cells(["1", "abc", "3", "1e400", "2e30"]))
    assert encoded.odd.tolist() == [False, True, False, True, True]
    assert encoded.arrays[0][[0, 2]].tolist() == [1, 3]
    assert "a number" in encoded.wanted


def test_values_beyond_the_bounds_are_clamped_and_counted():
    encoded = Number(bounds=(0, 100)).encode(cells(["65526", "50", "-1", ""], heading="age"))
    np.testing.assert_array_equal(encoded.arrays[0], [100, 50, 0, np.nan])
    assert encoded.notes == ("age: 2 of 3 values lie beyond 0 … 100 and are clamped",)


def test_logarithms_keep_sign_and_order_and_take_the_bounds_with_them():
    column = Number(log=True, bounds=(-10, 1000), fill=99, missing="constant")
    (field,) = column.fields("tsh")
    assert field.name == "log tsh"
    assert field.bounds == pytest.approx((-np.log(11), np.log(1001)))
    assert field.fill == pytest.approx(np.log(100))
    values = column.encode(cells(["-10", "0", "1000"])).arrays[0]
    np.testing.assert_allclose(values, [-np.log(11), 0, np.log(1001)])


def test_signs_around_numbers_are_taken_off_where_the_schema_says_so():
    assert Number(strip="%$").encode(cells(["12 %", "$5"])).arrays[0].tolist() == [12, 5]
    assert Number().encode(cells(["12 %", "$5"])).odd.all()


def test_a_numeric_target_stays_a_number_with_its_bounds():
    labels = Number(bounds=(0, 30)).labels(cells(["5.5", "", "31", "x"], heading="rate"))
    assert labels.kind == NUMBERS
    assert labels.values[[0, 2]].tolist() == [5.5, 30]
    assert labels.known.tolist() == [True, False, True, False]
    assert labels.odd.tolist() == [False, False, False, True]
    assert labels.bounds == (0, 30)
    assert labels.names == ()


def test_what_is_still_to_declare():
    assert Number().undeclared() == "bounds"
    assert not Number(bounds=(0, 1)).undeclared()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"bounds": (1, 0)}, "the lower one first"),
        ({"bounds": (0, float("inf"))}, "the lower one first"),
        ({"missing": "most_frequent"}, "choose one of auto, drop, constant, mean, median"),
        ({"missing": "constant"}, "give both or neither"),
        ({"fill": 3.0}, "give both or neither"),
        ({"missing": "constant", "fill": "none"}, "must be a number"),
    ],
)
def test_numbers_that_contradict_themselves(arguments, word):
    with pytest.raises(SchemaError, match=word):
        Number(**arguments)


def test_a_logarithm_is_not_what_is_predicted():
    with pytest.raises(SchemaError, match="take the logarithm in the file"):
        Number(log=True).labels(cells(["1"]))


def test_arguments_of_another_type_are_refused_by_name():
    with pytest.raises(PlanError, match="unit must be a text"):
        Number(unit=3)
    assert Number(bounds=(np.float32(0), np.int64(2))).bounds == (0.0, 2.0)


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=8))
def test_any_number_is_read_as_it_was_written(numbers):
    texts = [repr(number) for number in numbers]
    assert Number().encode(cells(texts)).arrays[0].tolist() == numbers
