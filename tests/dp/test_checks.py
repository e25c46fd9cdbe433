"""The door for arguments: exact type, then value; NumPy scalars are numbers; plain numbers come out."""

from __future__ import annotations

import math
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp import InvalidParameterError, NonFiniteError, checks
from dp.checks import Checks


class Named(IntEnum):
    TWO = 2


class Half(float):
    pass


REALS = {
    "finite": checks.finite,
    "at_least": lambda name, value: checks.at_least(name, value, 0),
    "positive": checks.positive,
    "positive_or_infinite": checks.positive_or_infinite,
    "fraction": checks.fraction,
    "positive_fraction": checks.positive_fraction,
    "fraction_below_one": checks.fraction_below_one,
    "proper_fraction": checks.proper_fraction,
}
NO_NUMBERS = [
    True,
    np.True_,
    "0.5",
    b"1",
    None,
    0.5j,
    np.complex128(0.5),
    [0.5],
    (0.5,),
    np.array(0.5),
    np.array([0.5]),
    np.ma.masked,
    np.ma.array(0.5, mask=True),
    np.timedelta64(1, "s"),
    np.datetime64(1, "s"),
    np.str_("1"),
    Decimal("0.5"),
    Fraction(1, 2),
    Named.TWO,
    Half(0.5),
    {},
]


@pytest.mark.parametrize("check", REALS.values(), ids=REALS)
@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_is_no_number_is_refused_by_type(check, value):
    with pytest.raises(InvalidParameterError, match="rate must be a number"):
        check("rate", value)


@pytest.mark.parametrize("value", [*NO_NUMBERS, 2.0, np.float64(2.0)], ids=repr)
def test_what_is_no_integer_is_refused_by_type(value):
    with pytest.raises(InvalidParameterError, match="rounds must be an int"):
        checks.whole("rounds", value)


@pytest.mark.parametrize("check", REALS.values(), ids=REALS)
@pytest.mark.parametrize("kind", [float, np.float16, np.float32, np.float64, np.longdouble])
def test_every_kind_of_float_comes_out_as_a_float_of_the_same_value(check, kind):
    result = check("rate", kind(0.5))
    assert type(result) is float
    assert result == 0.5


@given(st.integers(1, 127), st.sampled_from(np.typecodes["AllInteger"]))
def test_every_kind_of_integer_comes_out_as_an_int_of_the_same_value(number, code):
    result = checks.whole("rounds", np.dtype(code).type(number))
    assert type(result) is int
    assert result == number
    assert type(checks.positive("rounds", np.dtype(code).type(number))) is float


@pytest.mark.parametrize("check", REALS.values(), ids=REALS)
def test_nan_and_infinity_are_refused_as_such(check):
    for value in (math.nan, -math.inf, np.float32("nan"), np.float64("-inf")):
        with pytest.raises(NonFiniteError):
            check("rate", value)
    if check is not checks.positive_or_infinite:
        with pytest.raises(NonFiniteError):
            check("rate", math.inf)


def test_infinity_may_stand_for_no_limit():
    assert checks.positive_or_infinite("epsilon", np.float32("inf")) == math.inf


@pytest.mark.parametrize(
    ("check", "inside", "outside"),
    [
        (checks.positive, [5e-324, 1e308], [0, -0.0, -1]),
        (checks.positive_or_infinite, [1, math.inf], [0, -1]),
        (checks.fraction, [0, 1, 0.5], [-5e-324, 1 + 1e-15, 2]),
        (checks.positive_fraction, [5e-324, 1], [0, 1.1]),
        (checks.fraction_below_one, [0, 1 - 1e-16], [1, -1e-9]),
        (checks.proper_fraction, [5e-324, 1 - 1e-16], [0, 1]),
        (lambda name, value: checks.whole(name, value, 0), [0, 10**30], [-1]),
    ],
)
def test_ranges_end_where_they_say(check, inside, outside):
    for value in inside:
        assert check("x", value) == value
    for value in outside:
        with pytest.raises(InvalidParameterError, match="^x must"):
            check("x", value)


def test_numbers_that_a_float_cannot_hold_are_refused():
    with pytest.raises(InvalidParameterError, match="range"):
        checks.finite("epsilon", 10**400)
    with pytest.raises(InvalidParameterError, match="digits"):
        checks.finite("epsilon", 2**53 + 1)
    third = np.longdouble(1) / 3
    if third != float(third):  # where longdouble is longer than a float
        with pytest.raises(InvalidParameterError, match="digits"):
            checks.finite("epsilon", third)


def test_a_package_raises_its_own_errors():
    ours = Checks(KeyError, LookupError)
    with pytest.raises(KeyError):
        ours.proper_fraction("delta", 1)
    with pytest.raises(LookupError):
        ours.finite("delta", math.nan)


@pytest.mark.parametrize(
    "value",
    [
        np.ma.array([1.0, 2.0], mask=[False, True]),
        np.ma.array([1.0, 2.0]),
        np.matrix([[1.0, 2.0]]),
        np.array([1.0, 2.0]).view(np.recarray),
        np.array([1, "a"], dtype=object),
        np.array([1.0, 2.0], dtype=object),
        np.array(["1"]),
        np.array([1j]),
        np.array([True]),
        np.array([1], dtype="m8[s]"),
        np.zeros(2, dtype=[("a", float)]),
        [[1.0], [2.0, 3.0]],
        [1.0, "2"],
        [None],
        "12",
        b"12",
        1.0,
        {1.0: 2.0},
        memoryview(b"12"),
    ],
    ids=lambda value: type(value).__name__ + str(getattr(value, "dtype", "")),
)
def test_arrays_in_disguise_are_refused(value):
    with pytest.raises(InvalidParameterError, match="scores"):
        checks.real_array("scores", value)


def test_arrays_of_any_layout_are_exact(tmp_path):
    expected = np.arange(6.0)
    mapped = np.memmap(tmp_path / "scores", dtype=">f8", mode="w+", shape=6)
    mapped[:] = expected
    for value in (
        expected,
        list(range(6)),
        tuple(expected),
        expected.astype(">f4"),
        expected.astype(np.float16),
        expected.astype(np.longdouble),
        expected.astype(np.uint8),
        expected.astype(">i8"),
        np.repeat(expected, 2)[::2],
        mapped,
    ):
        found = checks.real_array("scores", value)
        assert type(found) is np.ndarray
        assert found.dtype == np.float64
        assert found.dtype.isnative
        assert np.array_equal(found, expected)


def test_entries_that_a_float64_cannot_hold_are_refused():
    for kind, value in (("i8", 2**53 + 1), ("i8", -(2**53) - 1), ("u8", 2**64 - 1)):
        with pytest.raises(InvalidParameterError, match="digits"):
            checks.real_array("scores", np.array([value, 0], dtype=kind))
    third = np.longdouble(1) / 3
    if third != float(third):
        with pytest.raises(InvalidParameterError, match="digits"):
            checks.real_array("scores", np.array([third]))


def test_nan_passes_where_the_caller_decides():
    assert np.isnan(checks.real_array("scores", np.array([np.nan, np.inf]))).tolist() == [
        True,
        False,
    ]


def test_booleans_where_booleans_are_meant():
    assert checks.plain_array("coins", [True, False], "b").dtype == bool
    with pytest.raises(InvalidParameterError, match="coins must hold booleans"):
        checks.plain_array("coins", np.array([1, 0]), "b")
    with pytest.raises(InvalidParameterError, match="fill its gaps"):
        checks.plain_array("coins", np.ma.array([True, False], mask=[True, False]), "b")
