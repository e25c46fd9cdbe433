"""Messages around a secure sum: round trips, canonical form, binding context."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.errors import LocalProtocolError, WireFormatError
from fedavg.protocol.messages import (
    OpenRequest,
    Ready,
    RoundStart,
    SumMessage,
    SumOpen,
    decode,
    encode,
    round_context,
    start_digest,
)

rounds = st.integers(0, 2**40)
attempts = st.integers(0, 3)
messages = st.one_of(
    st.builds(
        RoundStart,
        rounds,
        st.binary(max_size=64),
        st.none() | st.floats(allow_nan=False),
        extras=st.dictionaries(st.text(max_size=8), st.binary(max_size=8), max_size=3),
        attempt=attempts,
        voided=st.lists(rounds, max_size=3).map(tuple),
    ),
    st.builds(Ready, rounds, attempts),
    st.builds(SumOpen, rounds, st.integers(1, 10**6), st.binary(max_size=64), attempts),
    st.builds(
        OpenRequest,
        rounds,
        st.integers(1, 10**6),
        st.binary(min_size=32, max_size=32),
        st.lists(st.binary(max_size=16), max_size=3).map(tuple),
        attempts,
        st.none() | st.integers(0, 99),
    ),
    st.builds(SumMessage, rounds, st.binary(max_size=64), attempts),
)


@given(messages)
@settings(max_examples=200, deadline=None)
def test_decode_inverts_encode(message):
    assert decode(encode(message)) == message


@given(st.binary(max_size=80))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_a_message_or_a_wire_format_error(data):
    try:
        message = decode(data)
    except WireFormatError:
        return
    assert encode(message) == data


@given(messages, st.binary(min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_surplus_bytes_are_refused(message, surplus):
    with pytest.raises(WireFormatError):
        decode(encode(message) + surplus)


def test_non_canonical_integers_are_refused():
    canonical = encode(Ready(3))
    assert canonical.endswith(b"\x03\x00")
    with pytest.raises(WireFormatError):
        decode(canonical[:-2] + b"\xcc\x03\x00")  # msgpack's longer form of 3


def test_the_context_depends_on_plan_round_roster_model_and_attempt():
    base = (b"p" * 32, 1, 10, start_digest(RoundStart(1, b"m")))
    contexts = {
        round_context(*base),
        round_context(b"q" * 32, *base[1:]),
        round_context(base[0], 2, *base[2:]),
        round_context(*base[:2], 11, base[3]),
        round_context(*base[:3], start_digest(RoundStart(1, b"n"))),
        round_context(*base[:3], start_digest(RoundStart(1, b"m", attempt=1))),
        round_context(*base[:3], start_digest(RoundStart(1, b"m", voided=(0,)))),
    }
    assert len(contexts) == 7


def test_impossible_rounds_have_no_context():
    with pytest.raises(LocalProtocolError):
        round_context(b"", -1, 3, b"")
    with pytest.raises(LocalProtocolError):
        round_context(b"", 0, -1, b"")


@pytest.mark.parametrize("length", [(1 << 16) - 1, 1 << 16, 200_000])
@pytest.mark.parametrize("index", [0, 200, 2**40])
def test_long_payloads_have_one_form_too(length, index):
    payload = bytes(length)
    data = encode(SumMessage(index, payload))
    assert decode(data) == SumMessage(index, payload)
    assert encode(SumMessage(index, payload)) == data
    longer = {0: b"\xcc\x00", 200: b"\xcd\x00\xc8", 2**40: None}[index]
    canonical = {0: b"\x00", 200: b"\xcc\xc8"}.get(index, b"")
    begin = len(b"\x94\xa3sum")
    if longer is not None:
        with pytest.raises(WireFormatError, match="non-canonical"):
            decode(data[:begin] + longer + data[begin + len(canonical) :])
    with pytest.raises(WireFormatError, match="non-canonical"):  # an array with a longer head
        decode(b"\xdc\x00\x04" + data[1:])
    with pytest.raises(WireFormatError, match="non-canonical"):  # a name with a longer head
        decode(data[:1] + b"\xd9\x03" + data[2:])
    with pytest.raises(WireFormatError, match="non-canonical"):  # an attempt in a longer form
        decode(data[:-1] + b"\xcc\x00")
    assert decode(encode(SumMessage(index, payload, 300))) == SumMessage(index, payload, 300)


def test_a_start_is_read_once_and_its_digest_is_that_of_its_bytes():
    first = RoundStart(4, b"m" * 100, 0.5)
    data = encode(first)
    again = decode(data)
    assert decode(data) is again
    assert start_digest(again) == start_digest(first) == hashlib.sha256(data).digest()
    other = encode(RoundStart(5, b"m" * 100, 0.5))
    assert start_digest(decode(other)) == hashlib.sha256(other).digest()
    assert start_digest(again) == start_digest(first)
    held = bytearray(data)
    decode(held)
    held[40] ^= 1  # within the model; what can change is read anew
    assert decode(held) != again
