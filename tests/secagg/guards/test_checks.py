"""The door for arguments: the exact type, then the value, and what comes out is plain."""

from __future__ import annotations

import decimal
import fractions
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg import CapacityError, LocalProtocolError
from secagg.guards.checks import (
    boolean,
    executor_of,
    instance,
    mapping,
    number,
    octets,
    plain_vector,
    text,
    whole,
)

INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, int]
NO_NUMBERS = [
    None,
    "7",
    b"7",
    True,
    np.True_,
    [7],
    (7,),
    {7},
    np.array(7),
    np.array([7]),
    np.ma.masked,
    np.ma.array(7),
    np.timedelta64(7),
    np.datetime64(7, "s"),
    decimal.Decimal(7),
    fractions.Fraction(7),
    7j,
    np.complex128(7),
    ...,
    int,
]


@pytest.mark.parametrize("kind", INTEGERS)
@given(value=st.integers(0, 127))
def test_integers_of_any_width_are_integers(kind, value):
    assert (whole("n", kind(value)), type(whole("n", kind(value)))) == (value, int)


@pytest.mark.parametrize("value", [*NO_NUMBERS, 7.0, np.float64(7), math.nan], ids=repr)
def test_nothing_else_is_an_integer(value):
    with pytest.raises(LocalProtocolError, match="^n must be an integer, not "):
        whole("n", value)


def test_an_integer_that_cannot_be_printed_is_refused():
    """CPython refuses to print more than 4,300 digits: an error about it must not be another error."""
    assert whole("n", -(1 << 1023)) == -(1 << 1023)
    with pytest.raises(LocalProtocolError, match="number of 20001 bits"):
        whole("n", 1 << 20_000)


@pytest.mark.parametrize("kind", [*INTEGERS, float, np.float16, np.float32, np.float64])
def test_numbers_of_any_kind_are_numbers(kind):
    assert (number("r", kind(1)), type(number("r", kind(1)))) == (1.0, float)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_nothing_else_is_a_number(value):
    with pytest.raises(LocalProtocolError, match="^r must be a number, not "):
        number("r", value)


def test_a_number_beyond_floats_is_infinite_and_the_range_is_the_callers():
    assert number("r", 10**400) == math.inf
    assert math.isnan(number("r", math.nan))


@pytest.mark.parametrize("value", [0, 1, None, "yes", np.int64(1), np.array(True), [True]])
def test_numbers_are_no_booleans(value):
    assert boolean("b", np.True_) is True
    assert boolean("b", False) is False
    with pytest.raises(LocalProtocolError, match="^b must be True or False, not "):
        boolean("b", value)


def test_texts():
    assert type(text("t", np.str_("malicious"))) is str
    for value in (None, b"malicious", 5, ["malicious"]):
        with pytest.raises(LocalProtocolError, match="^t must be a string, not "):
            text("t", value)


def test_octets_are_copied_unless_they_are_bytes():
    given_bytes, buffer = b"abc", bytearray(b"abc")
    taken = octets("o", buffer)
    buffer[:] = b"xyz"
    assert (taken, type(taken)) == (b"abc", bytes)
    assert octets("o", given_bytes) is given_bytes
    assert octets("o", memoryview(b"a-b-c")[::2]) == b"abc"
    assert octets("o", memoryview(np.arange(2, dtype=np.uint16))) == b"\0\0\1\0"
    with pytest.raises(LocalProtocolError, match="^o must be bytes, not a str; encode it$"):
        octets("o", "abc")
    for value in (None, 3, [97], np.arange(3, dtype=np.uint8)):
        with pytest.raises(LocalProtocolError, match="^o must be bytes, not "):
            octets("o", value)


def test_instances_mappings_and_executors():
    assert instance("d", True, int) is True
    with pytest.raises(LocalProtocolError, match="^d must be a dict, not a list$"):
        instance("d", [], dict)
    assert mapping("m", {1: 2}) == [(1, 2)]
    for value in (None, [(1, 2)], {1}, "ab"):
        with pytest.raises(LocalProtocolError, match="^m must be a mapping"):
            mapping("m", value)
    assert executor_of(None) is None
    with pytest.raises(LocalProtocolError, match="^executor must have a method submit"):
        executor_of("threads")


class Disguised(np.ndarray):
    """An array whose operations may mean anything."""


PLAIN = np.array([1, -2, 3], dtype=np.int64)
NO_VECTORS = {
    "list": [1, -2, 3],
    "none": None,
    "scalar": np.int64(3),
    "no dimension": np.array(3),
    "two dimensions": PLAIN[None],
    "longer": np.append(PLAIN, 4),
    "other width": PLAIN.astype(np.int32),
    "unsigned": PLAIN.astype(np.uint64),
    "float": PLAIN.astype(float),
    "bool": PLAIN > 0,
    "object": PLAIN.astype(object),
    "other byte order": PLAIN.astype(">i8"),
    "time": PLAIN.astype("m8[s]"),
    "record": np.zeros(3, [("a", "<i8")]),
    "subclass": PLAIN.view(Disguised),
    "masked": np.ma.array(PLAIN, mask=[0, 1, 0]),
    "masked nowhere": np.ma.array(PLAIN),
    "record array": np.rec.array(np.zeros(3, [("a", "<i8")])),
}


@pytest.mark.parametrize("name", NO_VECTORS)
def test_what_is_no_plain_vector_is_refused_without_its_values(name):
    with pytest.raises(CapacityError, match=r"^the input must be .*int64\[3\]") as caught:
        plain_vector("the input", NO_VECTORS[name], 3, CapacityError)
    assert "-2" not in str(caught.value)


def test_plain_vectors_of_any_memory_are_copied(tmp_path):
    mapped = np.memmap(tmp_path / "x", np.int64, "w+", shape=3)
    mapped[:] = PLAIN
    locked = PLAIN.copy()
    locked.flags.writeable = False
    for vector in (PLAIN, locked, PLAIN[::-1].copy()[::-1], np.repeat(PLAIN, 2)[::2], mapped):
        taken = plain_vector("x", vector, 3)
        assert np.array_equal(taken, PLAIN)
        assert type(taken) is np.ndarray
        assert not np.shares_memory(taken, vector)
