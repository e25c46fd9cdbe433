"""Recorded sessions: the package makes their bytes again, and a second reader makes the same of them."""

from __future__ import annotations

import json

import pytest

from secagg import SecAggError, requirements
from secagg.wire.codec import decode
from tests.secagg.support import make_vectors
from tests.secagg.support.second.params import LOCAL, derived, ring_bits
from tests.secagg.support.second.reader import Reader, keystream
from tests.secagg.support.second.wire import Refused, read, write

VECTORS = json.loads(make_vectors.PATH.read_text(encoding="utf-8"))
CASES = VECTORS["sessions"]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])


def test_the_generator_writes_the_file_as_it_stands():
    text = make_vectors.written(make_vectors.build())
    assert make_vectors.PATH.read_text(encoding="utf-8") == text
    assert len(text) < 1_500_000


@each_case
@pytest.mark.parametrize("step", ["offer", "keys", "dealt", "forwarded", "inputs", "consistency"])
def test_a_second_reader_makes_the_same_messages(case, step):
    getattr(Reader(case), f"check_{step}")()


@each_case
def test_a_second_reader_finds_the_same_sum(case):
    assert Reader(case).total() == case["total"]


@each_case
def test_the_sum_is_the_inputs(case):
    half = 2 ** (case["offered"]["ring_bits"] - 1)
    columns = zip(*(case["inputs"][str(i)] for i in case["survivors"]), strict=True)
    assert [(sum(x) + half) % (2 * half) - half for x in columns] == case["total"]


@each_case
def test_a_second_reader_derives_the_same_values(case):
    reader, found = Reader(case), case["derived"]
    first = reader.ids[0]
    assert found["session"] == reader.session.hex()
    assert found["roster_root"] == reader.root.hex()
    assert found["ring_order"] == reader.order
    assert found["partner_root"] == reader.partner_root.hex()
    speaker = min(reader.answers["unmask"])
    assert found["signed"] == {
        "speaker": speaker,
        "advertise": reader.advertise_digest(speaker).hex(),
        "dealt": reader.dealt_digest(speaker).hex(),
        "opened": reader.opened_digest(speaker).hex(),
        "input": reader.input_digest(speaker).hex(),
        "masked vector": reader.vector_digest(speaker).hex(),
        "survivors": reader.survivors_digest().hex(),
        "unmask": reader.unmask_digest(speaker).hex(),
    }
    for client, value in found["self"].items():
        seed = reader.self_seed(int(client), reader.secrets[int(client)]["self"])
        assert value == {"seed": seed.hex(), "mask": keystream(seed, 4, reader.bits)}
    assert list(map(int, found["pairs"])) == [
        i for i in reader.around(first) if i in reader.answers["share_keys"]
    ]
    for name, value in found["pairs"].items():
        other = int(name)
        seed = reader.pair_seed(reader.secrets[first]["mask"], first, other)
        assert value == {
            "key_to": reader.channel_key(first, other).hex(),
            "key_from": reader.channel_key(other, first).hex(),
            "seed": seed.hex(),
            "mask": keystream(seed, 4, reader.bits),
            "shares_from": b"".join(reader.opened(other, first)).hex(),
        }


@each_case
def test_a_second_derivation_gives_the_same_parameters(case):
    params, offered = Reader(case).params, case["offered"]
    names = ("threshold", "degree", "min_survivors", "quorum", "min_roster")
    rates = params["delta"], params["gamma"], params["model"]
    assert dict(zip(names, derived(params["n"], *rates), strict=True)) == {
        name: offered[name] for name in names
    }
    for name in names[:3]:
        assert params[name] == offered[name]
    if params["bounded"]:
        assert params["b"] == ring_bits(params["n"], params["max_abs"])


@pytest.mark.parametrize("model", ["malicious", "semi-honest", "malicious-local"])
def test_a_second_derivation_agrees_on_other_cohorts(model):
    number = ("malicious", "semi-honest", "malicious-local").index(model)
    for n in (9, 20, 50, 100):
        for rates in ((0.1, 0.1), (0.05, 0.02), (0.3, 0.0)):
            try:
                ours = requirements(n, *rates, model)
            except SecAggError:
                assert number == LOCAL  # the others are feasible at all of these
                continue
            fields = (ours.threshold, ours.degree, ours.min_survivors, ours.quorum, ours.min_roster)
            assert derived(n, *rates, number) == fields


@each_case
def test_the_second_reader_writes_what_it_reads(case):
    for _, _, _, data in case["messages"]:
        if not data.startswith("sha256:"):
            message = bytes.fromhex(data)
            assert write(*read(message)) == message


@pytest.mark.parametrize("refusal", VECTORS["refused"], ids=lambda r: r["name"])
def test_the_second_reader_refuses_the_same_bytes(refusal):
    """Offers of unsafe or too large parameters are messages to it: it only reads."""
    listed = refusal["bytes"]
    message = bytes.fromhex(listed[-1] if isinstance(listed, list) else listed)
    taken = taken_by_reader(message, chunk=refusal["at"] == "chunk")
    assert taken == (refusal["alone"] != "WireFormatError")


@each_case
def test_both_readers_agree_on_damage(case):
    """Each byte of the first message of each kind, one bit turned: both refuse, or neither does."""
    seen = {}
    for _, _, _, data in case["messages"]:
        if not data.startswith("sha256:"):
            seen.setdefault(bytes.fromhex(data)[6], bytes.fromhex(data))
    for kind, message in seen.items():
        step = 1 + len(message) // 300
        for at in range(0, len(message), step):
            bad = bytearray(message)
            bad[at] ^= 1 << (at + kind) % 8
            assert taken_by_package(bytes(bad)) == taken_by_reader(bytes(bad), chunk=False), (
                kind,
                at,
            )


def taken_by_package(data):
    try:
        decode(data)
    except SecAggError as error:
        return type(error).__name__ != "WireFormatError"  # parameters: read, and then refused
    return True


def taken_by_reader(data, *, chunk):
    try:
        message = read(data)
    except Refused:
        return False
    assert write(*message) == data
    return (message[1] == "chunk") == chunk
