"""The codec is canonical in both directions and bounded, and refuses other bytes with WireFormatError."""

from __future__ import annotations

import struct
import tracemalloc
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import (
    CapacityError,
    Params,
    RemoteProtocolError,
    UnsafeParametersError,
    WireFormatError,
    masked_vector,
    message_kind,
)
from secagg.crypto import ring
from secagg.params import degrees, derivation
from secagg.session.state import CLIENT_AWAITS, SERVER_AWAITS
from secagg.wire.codec import Kind, decode, decode_chunk, encode, encode_chunk, header
from secagg.wire.messages import (
    ENVELOPE_SIZE,
    AdvertiseKeys,
    Advertisements,
    ConsistencySignature,
    ForwardedShares,
    MaskedInput,
    Offer,
    Partners,
    ShareKeys,
    SharesOpened,
    Signatures,
    Survivors,
    UnmaskShares,
)
from tests.secagg.support.lab import Lab

SESSION = bytes(range(32))
IDS = st.integers(0, 2**32 - 1)
MEMBERS = st.lists(st.booleans(), max_size=20).map(bytes)
FLAGS = st.lists(st.booleans(), max_size=20).map(tuple)


def raw(size):
    return st.binary(min_size=size, max_size=size)


ENVELOPE = st.integers(0, 255).map(lambda b: bytes([b]) * ENVELOPE_SIZE)
ENTRY = st.builds(AdvertiseKeys, IDS, raw(32), raw(32), raw(32), raw(64))


@st.composite
def unmask(draw):
    return UnmaskShares(draw(IDS), draw(raw(64)), tuple(draw(st.lists(raw(34), max_size=20))))


@st.composite
def masked(draw):
    bits = draw(st.integers(2, 62))
    words = draw(st.lists(st.integers(0, 2**bits - 1), min_size=1, max_size=20))
    packed = ring.pack(np.array(words, dtype=ring.ring_dtype(bits)), bits)
    partners = draw(st.sampled_from([b"", bytes(64)]))
    return MaskedInput(draw(IDS), len(words), bits, partners, draw(raw(64)), packed)


MESSAGES = st.one_of(
    st.builds(Offer, st.just(Params.for_cohort(20, 7, max_abs=5)), raw(32)),
    ENTRY,
    st.lists(ENTRY, max_size=4, unique_by=lambda e: e.client_id).map(
        lambda entries: Advertisements(tuple(sorted(entries, key=lambda e: e.client_id)))
    ),
    st.builds(ShareKeys, IDS, raw(32), raw(64), st.lists(ENVELOPE, max_size=4).map(tuple)),
    st.lists(st.one_of(st.none(), ENVELOPE), max_size=9).map(lambda e: ForwardedShares(tuple(e))),
    masked(),
    st.builds(SharesOpened, IDS, raw(64), FLAGS),
    st.builds(Partners, MEMBERS),
    st.builds(Survivors, MEMBERS, st.lists(raw(64), max_size=4).map(tuple)),
    st.builds(ConsistencySignature, IDS, raw(64)),
    st.dictionaries(st.integers(0, 500), raw(64), max_size=4).map(
        lambda d: Signatures(tuple(sorted(d.items())))
    ),
    unmask(),
)


def peak_of(call):
    """What a call gives, and the most memory it had taken at a time."""
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def no_other_error(data):
    """Decode what may be no message; the second encoding must be the first."""
    try:
        session, message = decode(data)
    except (WireFormatError, UnsafeParametersError, CapacityError):
        return
    assert encode(message, session) == data


@given(message=MESSAGES)
@settings(max_examples=150, deadline=None)
def test_round_trip(message):
    data = encode(message, SESSION)
    assert decode(data) == (SESSION, message)


@given(message=MESSAGES, data=st.data())
@settings(max_examples=300, deadline=None)
def test_damage_is_refused_or_another_canonical_message(message, data):
    good = encode(message, SESSION)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))
    no_other_error(bytes(bad))
    for short_or_long in (good[:at], good + data.draw(st.binary(min_size=1, max_size=3))):
        with pytest.raises((WireFormatError, UnsafeParametersError, CapacityError)):
            decode(short_or_long)


@given(kind=st.sampled_from(Kind), body=st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_noise_behind_a_good_header(kind, body):
    no_other_error(header(kind, SESSION) + body)


@given(data=st.binary(max_size=120))
@settings(max_examples=100, deadline=None)
def test_noise(data):
    for reader in (decode, message_kind, masked_vector, decode_chunk):
        with pytest.raises(WireFormatError):
            reader(data)


@pytest.mark.parametrize("kind", [k for k in Kind if k is not Kind.CHUNK])
def test_length_bombs_allocate_nothing(kind):
    bomb = header(kind, SESSION) + b"\xff" * 64
    _, peak = peak_of(lambda: no_other_error(bomb))
    assert peak < 100_000


ENTRIES = tuple(AdvertiseKeys(i, bytes(32), bytes(32), bytes(32), bytes(64)) for i in range(3000))
LARGE = [
    Advertisements(ENTRIES),
    ShareKeys(1, bytes(32), bytes(64), (bytes(ENVELOPE_SIZE),) * 3000),
    ForwardedShares((bytes(ENVELOPE_SIZE),) * 3000),
    SharesOpened(1, bytes(64), (True,) * 10_000),
    Partners(b"\1" * 10_000),
    MaskedInput(1, 100_000, 23, b"", bytes(64), bytes(287_500)),
    Survivors(b"\1" * 10_000, (bytes(64),) * 3000),
    Signatures(tuple((i, bytes(64)) for i in range(3000))),
    UnmaskShares(1, bytes(64), (bytes(34),) * 10_000),
]


@pytest.mark.parametrize("message", LARGE, ids=lambda m: type(m).__name__)
def test_decoding_takes_at_most_twice_what_the_message_takes(message):
    """Beyond 96 KiB, that is, which flags of the largest session may take."""
    data = encode(message, SESSION)
    decode(data)  # what a process keeps once
    decoded, peak = peak_of(lambda: decode(data))
    assert decoded[0] == SESSION
    assert peak <= 2 * len(data) + 96 * 1024


@pytest.mark.parametrize("message", LARGE, ids=lambda m: type(m).__name__)
def test_a_role_takes_no_more_to_refuse_it(message):
    """The receiver of such a message in a session of five."""
    lab = Lab(5)
    kind = Kind(encode(message, SESSION)[6])
    by_client = kind in SERVER_AWAITS.values()
    phases = SERVER_AWAITS if by_client else CLIENT_AWAITS
    lab.run_to(next(phase for phase, awaited in phases.items() if awaited is kind))
    if by_client:
        message = replace(message, client_id=10)
    data, take = lab.encode(message), lab.clients[10].receive
    if by_client:
        take = partial(lab.server.receive, 10)

    def refuse():
        with pytest.raises(RemoteProtocolError):
            take(data)

    _, peak = peak_of(refuse)
    assert peak <= 2 * len(data) + 192 * 1024


@pytest.mark.parametrize("message", LARGE, ids=lambda m: type(m).__name__)
def test_bytes_after_the_end_are_refused(message):
    data = encode(message, SESSION)
    for bad in (data + b"\0", data[:-1]):
        with pytest.raises(WireFormatError):
            decode(bad)


@pytest.mark.parametrize("place", [0, 4, 5, 7])
def test_other_magic_version_suite_or_reserved_byte(place):
    data = bytearray(encode(Survivors(b"\1"), SESSION))
    data[place] ^= 2
    with pytest.raises(WireFormatError):
        decode(bytes(data))


LAYOUT = struct.Struct("<IIBBQIIIddB")


def offer(*, n=5, rates=(0.1, 0.1), model=0, sizes=(3, 4, 3)):
    body = LAYOUT.pack(n, 5, 16, 0, 0, *sizes, *rates, model)
    return header(Kind.OFFER, SESSION) + body + bytes(32)


DEAR = [
    offer(n=10_000, rates=(0.1, 0.1), model=2),
    offer(n=10_000, rates=(0.3, 0.3), model=2),
    offer(n=5, rates=(0.3, 0.1), model=2),
    offer(n=9_999, rates=(0.4, 0.2), model=1),
    offer(n=2_000, rates=(0.3, 0.2)),
    offer(n=2_000, rates=(0.7, 0.2)),
]


@pytest.mark.parametrize("data", DEAR)
def test_offers_that_cannot_be_cost_no_search_for_others(data, monkeypatch):
    """For a caller of our own, `requirements` names a remedy: up to seconds, and a table of 2^20."""

    def search(*_):
        raise AssertionError("searched for a remedy")

    def refuse():
        with pytest.raises(UnsafeParametersError):
            decode(data)

    monkeypatch.setattr(derivation, "smallest_from_here", search)
    derivation._derive.cache_clear()
    degrees._log_factorials.cache_clear()
    _, peak = peak_of(refuse)
    assert peak <= 512 * 1024


def test_mutant_that_searches_is_seen(monkeypatch):
    monkeypatch.setattr("secagg.params.params.feasible", lambda *_: True)
    with pytest.raises(AssertionError, match="remedy"):
        test_offers_that_cannot_be_cost_no_search_for_others(DEAR[2], monkeypatch)


def test_a_rate_of_minus_zero_is_no_second_encoding():
    params = Params.for_cohort(5, 5, ring_bits=16, dropout_rate=-0.0, corrupt_rate=-0.0)
    sizes = params.threshold, params.degree, params.min_survivors
    good, bad = (offer(rates=(zero, 0.0), sizes=sizes) for zero in (0.0, -0.0))
    assert good != bad
    assert decode(good)[1].params == params
    assert params.to_bytes() == good[40:-32]
    with pytest.raises(WireFormatError, match="canonical"):
        decode(bad)


@pytest.mark.parametrize("message", LARGE, ids=lambda m: type(m).__name__)
def test_chunks_take_at_most_twice_what_the_message_takes(message):
    data = encode(message, SESSION)
    chunk = encode_chunk(SESSION, 0, 2, data)
    decode_chunk(chunk)
    decoded, peak = peak_of(lambda: decode_chunk(chunk))
    assert decoded == (SESSION, 0, 2, data)
    assert peak <= 2 * len(chunk)


def test_lists_out_of_order():
    entry = AdvertiseKeys(5, bytes(32), bytes(32), bytes(32), bytes(64))
    for message in (
        Advertisements((entry, entry)),
        Signatures(((3, bytes(64)), (1, bytes(64)))),
        Signatures(((3, bytes(64)), (3, bytes(64)))),
    ):
        with pytest.raises(WireFormatError, match="ascending"):
            decode(encode(message, SESSION))


def test_only_a_masked_input_has_a_vector():
    with pytest.raises(WireFormatError, match="masked-input"):
        masked_vector(encode(Survivors(b"\1"), SESSION))


def test_chunks():
    assert decode_chunk(encode_chunk(SESSION, 1, 2, b"xy")) == (SESSION, 1, 2, b"xy")
    for bad in (encode_chunk(SESSION, 2, 2, b"x"), encode_chunk(SESSION, 0, 1, b"")):
        with pytest.raises(WireFormatError):
            decode_chunk(bad)
    with pytest.raises(WireFormatError, match="chunk"):
        decode(encode_chunk(SESSION, 0, 1, b"x"))
