"""Columns of no and yes keep their meaning, however they are written."""

import numpy as np
import pyarrow as pa
import pytest

from fedavg.data.dataset import CLASSES
from fedavg.data.tables.columns import Boolean
from fedavg.errors import SchemaError
from tests.fedavg.support.tables import cells


@pytest.mark.parametrize(
    ("no", "yes"),
    [
        *(("False", "True"), ("n", "Y"), ("0", "1"), ("f", "t"), ("NO", "yes"), ("off", "on")),
        ("0.0", "1.0"),
    ],
)
def test_no_and_yes_become_zero_and_one(no, yes):
    encoded = Boolean().encode(cells([yes, no, "", "maybe"]))
    np.testing.assert_array_equal(encoded.arrays[0], [1, 0, np.nan, np.nan])
    assert encoded.odd.tolist() == [False, False, False, True]


def test_own_words_in_any_case_and_those_of_a_file_that_knows():
    column = Boolean(values=("absent", "Present"))
    assert column.encode(cells(["present", "Absent"])).arrays[0].tolist() == [1, 0]
    assert column.encode(cells(["yes"])).odd.all()
    stored = cells([True, False, None], kind=pa.bool_())
    np.testing.assert_array_equal(Boolean().encode(stored).arrays[0], [1, 0, np.nan])
    declared = Boolean(values=("false", "true")).encode(stored)
    np.testing.assert_array_equal(declared.arrays[0], [1, 0, np.nan])


def test_words_that_differ_in_case_only_are_told_apart():
    column = Boolean(values=("a", "A"))
    assert column.encode(cells(["A", "a"])).arrays[0].tolist() == [1, 0]


def test_a_boolean_target_has_two_classes_named_by_the_schema():
    labels = Boolean(values=("No", "Yes")).labels(cells(["Yes", "", "No", "so"]))
    assert labels.kind == CLASSES
    assert labels.names == ("No", "Yes")
    assert labels.boolean
    assert labels.values[[0, 2]].tolist() == [1, 0]
    assert labels.known.tolist() == [True, False, True, False]
    assert labels.odd.tolist() == [False, False, False, True]
    assert Boolean().labels(cells(["1"])).names == ("no", "yes")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"values": ("a",)}, "two different words"),
        ({"values": ("a", "a")}, "two different words"),
        ({"missing": "constant", "fill": 2.0}, "between 0 and 1"),
        ({"missing": "constant", "fill": "yes"}, "between 0 and 1"),
    ],
)
def test_booleans_that_contradict_themselves(arguments, word):
    with pytest.raises(SchemaError, match=word):
        Boolean(**arguments)


def test_a_boolean_is_a_number_between_its_bounds_and_needs_no_declaration():
    (field,) = Boolean(missing="constant", fill=1.0, indicator=True).fields("rash")
    assert (field.bounds, field.fixed, field.fill, field.indicator) == ((0, 1), True, 1, True)
    assert not Boolean().undeclared()
