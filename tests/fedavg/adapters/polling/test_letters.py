"""Letters: any bytes are a letter or a typed error."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedavg.adapters.polling import Letter
from fedavg.errors import WireFormatError

COUNTS = st.integers(0, 2**32 - 1)


@pytest.mark.hypothesis
@given(COUNTS, COUNTS, st.lists(st.binary(max_size=40), min_size=1, max_size=4))
def test_letters_come_back_as_they_were(number, stage, messages):
    letter = Letter(number, stage, tuple(messages))
    assert Letter.from_bytes(letter.to_bytes()) == letter


@pytest.mark.hypothesis
@given(st.binary(max_size=80))
def test_any_bytes_are_a_letter_or_a_typed_error(data):
    try:
        letter = Letter.from_bytes(data)
    except WireFormatError:
        return
    assert letter.messages


@pytest.mark.parametrize(
    "fields",
    [
        (1, 0, []),
        (-1, 0, [b"m"]),
        (2**32, 0, [b"m"]),
        (1, 2**32, [b"m"]),
        (1, 0, ["text"]),
        (1, 0, [b"m"], 7),
        (1, 0),
        (1, 0.0, [b"m"]),
        (True, 0, [b"m"]),
    ],
)
def test_other_fields_are_refused(fields):
    with pytest.raises(WireFormatError, match="no question and no answer"):
        Letter.from_bytes(msgspec.msgpack.encode(fields))


def test_deep_nesting_and_truncation_are_refused():
    data = Letter(1, 0, (b"message",)).to_bytes()
    for cut in range(len(data)):
        with pytest.raises(WireFormatError):
            Letter.from_bytes(data[:cut])
    with pytest.raises(WireFormatError):
        Letter.from_bytes(b"\x91" * 100_000)
    with pytest.raises(WireFormatError):
        Letter.from_bytes(data + b"\0")


def test_a_letter_prints_sizes_and_no_content():
    assert repr(Letter(3, 1, (b"secret", b"x"))) == "Letter(3.1: 6 B, 1 B)"
