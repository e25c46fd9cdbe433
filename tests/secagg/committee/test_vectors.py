"""Recorded sessions: the package writes them again, and so does a reader with none of its code."""

from __future__ import annotations

import json

import numpy as np
import pytest

from secagg import WireFormatError
from secagg.committee import CommitteeParams
from secagg.committee.wire.codec import decode, encode
from tests.secagg.committee.make_vectors import PATH, build, written
from tests.secagg.committee.support import second_reader
from tests.secagg.committee.support.second_reader import (
    Reader,
    Refused,
    interpolate,
    opened_by,
    replay,
)

TEXT = PATH.read_text(encoding="utf-8")
VECTORS = json.loads(TEXT)


def unhexed(case):
    """A session with bytes in the place of hexadecimal digits."""
    members = [
        one | {key: bytes.fromhex(one[key]) for key in ("identity", "sealing", "card")}
        for one in case["members"]
    ]
    clients = [
        one | {key: bytes.fromhex(one[key]) for key in ("identity", "message")}
        for one in case["clients"]
    ]
    plain = {key: bytes.fromhex(case[key]) for key in ("params", "context")}
    return case | plain | {"members": members, "clients": clients}


CASES = [pytest.param(unhexed(case), id=case["title"]) for case in VECTORS["sessions"]]


def test_the_package_writes_the_same_bytes():
    assert written(build()) == TEXT


@pytest.mark.parametrize("case", CASES)
def test_a_second_reader_computes_every_message(case):
    _, found, total = replay(case)
    recorded = {(j, kind): bytes.fromhex(message) for j, kind, message in case["messages"]}
    assert {place: found[place] for place in recorded} == recorded
    assert total == case["total"]
    inputs = [one["input"] for one in case["clients"] if one["id"] in case["set"]]
    assert total == np.sum(inputs, axis=0).tolist()


@pytest.mark.parametrize("case", CASES)
def test_shares_are_what_the_page_says(case):
    """Every opened share lies on the polynomial that has the input at −1 … −k."""
    reader = Reader(case["params"])
    root = second_reader.committee_of(case)
    session = second_reader.tagged(b"committee session", case["params"], root, case["context"])
    heads, envelopes, _ = second_reader.contributions(reader, case, session)
    shares = opened_by(reader, case, session, heads, envelopes)
    for index, head in enumerate(heads):
        (client,) = [one for one in case["clients"] if one["id"] == head["id"]]
        opened = [j for j in range(reader.m) if shares[j][index] is not None]
        broken = case["broken"].get(str(head["id"]), [])
        assert opened == [j for j in range(reader.m) if j not in broken]
        for prime, p in enumerate(reader.primes):
            for row in range(reader.width):
                values = {j + 1: shares[j][index][prime][row] for j in opened}
                known = dict(list(values.items())[: reader.rebuild])
                if len(known) < reader.rebuild:
                    continue
                assert all(interpolate(known, x, p) == value for x, value in values.items())
                for slot in range(reader.k if row < reader.blocks else 0):
                    place = row * reader.k + slot
                    expected = client["input"][place] if place < reader.d else 0
                    assert interpolate(known, -1 - slot, p) == expected % p


def every_message():
    for case in VECTORS["sessions"]:
        params = bytes.fromhex(case["params"])
        for one in case["clients"]:
            yield params, bytes.fromhex(one["message"])
        for _, _, message in case["messages"]:
            yield params, bytes.fromhex(message)


def test_all_messages_are_read_and_written_by_both():
    for params, data in every_message():
        session, content = decode(data, CommitteeParams.from_bytes(params))
        assert encode(content, session) == data
        assert Reader(params).read(data)[0] == session


def test_the_parameters_are_what_the_page_says():
    for case in VECTORS["sessions"]:
        data = bytes.fromhex(case["params"])
        params, reader = CommitteeParams.from_bytes(data), Reader(data)
        ours = (params.packing, params.rebuild, params.quorum, list(params.moduli), params.bits)
        assert ours == (reader.k, reader.rebuild, reader.quorum, reader.primes, reader.bits)
        sizes = (params.blocks, params.checks, params.residues, params.envelope_size)
        assert sizes == (reader.blocks, reader.checks, reader.residues, reader.envelope)


@pytest.mark.parametrize(("why", "data"), VECTORS["refused"])
def test_what_no_reader_takes(why, data):
    params = bytes.fromhex(VECTORS["sessions"][0]["params"])
    with pytest.raises(WireFormatError):
        decode(bytes.fromhex(data), CommitteeParams.from_bytes(params))
    with pytest.raises(Refused):
        Reader(params).read(bytes.fromhex(data))


def test_damage_is_refused_by_both_or_by_none():
    """Four thousand changes of recorded messages, drawn from a public seed."""
    rng = np.random.default_rng(15)
    messages = [*every_message()]
    refused = 0
    for _ in range(4000):
        params, data = messages[rng.integers(len(messages))]
        data = bytearray(data)
        for _ in range(rng.integers(1, 3)):
            at = int(rng.integers(0, len(data))) if rng.random() < 0.5 else int(rng.integers(0, 48))
            data[at] = int(rng.integers(256))
        if rng.random() < 0.1:
            del data[int(rng.integers(len(data))) :]
        try:
            session, content = decode(bytes(data), CommitteeParams.from_bytes(params))
        except WireFormatError:
            refused += 1
            with pytest.raises(Refused):
                Reader(params).read(bytes(data))
            continue
        assert encode(content, session) == data
        assert Reader(params).read(bytes(data))[0] == session
    assert 500 < refused < 3500
