"""Agreements: what is refused, and that other files give other sums."""

from __future__ import annotations

import msgspec
import pytest

from fedavg import OneShot, SecAgg, errors
from fedavg.adapters.polling import SumAgreement, content_digest
from fedavg.errors import PlanError, WireFormatError
from fedavg.sums.interface import FIRST_OPENER
from secagg import Identity, LocalProtocolError, UnsafeParametersError
from secagg.committee import MemberError
from tests.fedavg.adapters.polling.agreed import CLIENTS, LENGTH, MEMBERS, ONCE, SEALING, agreement

KNOWN = {i: who.public for i, who in CLIENTS.items()}
PEOPLE = {j: who.public for j, who in MEMBERS.items()}
CARDS = tuple(key.card for key in SEALING.values())
FORGED = CARDS[8][:-20] + bytes([CARDS[8][-20] ^ 1]) + CARDS[8][-19:]  # one bit of the signature


@pytest.mark.parametrize("members", [True, False])
def test_the_file_comes_back_as_it_was(members):
    agreed = agreement(members=members)
    again = SumAgreement.from_bytes(agreed.to_bytes())
    assert again == agreed
    assert again.spec(7, b"model") == agreed.spec(7, b"model")


def test_any_other_file_and_any_other_round_is_another_context():
    agreed = agreement()
    stranger = {**KNOWN, 5: Identity.generate().public}
    others = [
        SumAgreement(ONCE, LENGTH + 1, 2**15, KNOWN, PEOPLE, CARDS),
        SumAgreement(ONCE, LENGTH, 2**14, KNOWN, PEOPLE, CARDS),
        SumAgreement(ONCE, LENGTH, 2**15, stranger, PEOPLE, CARDS),
        SumAgreement(
            OneShot(0.1, 0.1, committee=9, corrupt_members=1, absent_members=2),
            LENGTH,
            2**15,
            KNOWN,
            PEOPLE,
            CARDS,
        ),
    ]
    contexts = {one.spec(1, b"").context for one in (agreed, *others)}
    contexts |= {agreed.spec(2, b"").context, agreed.spec(1, b"model").context}
    assert len(contexts) == 7


def test_the_content_of_a_round_is_bytes_and_its_digest_32():
    agreed = agreement()
    assert agreed.spec(3, b"model") == agreed.spec_of(3, content_digest(b"model"))
    for content in (None, "model", bytearray(b"model"), 7):
        with pytest.raises(errors.LocalProtocolError, match="content of a round must be bytes"):
            agreed.spec(3, content)
    for digest in (b"", b"model", bytes(31), bytes(33)):
        with pytest.raises(WireFormatError, match="has 32 bytes, not"):
            agreed.spec_of(3, digest)


def test_addresses_have_clients_and_members_by_name():
    addresses = agreement().addresses
    assert addresses["client-3"] == 3
    assert addresses["member-0"] == FIRST_OPENER
    assert addresses["member-8"] == FIRST_OPENER - 8
    assert len(set(addresses.values())) == 15


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ((ONCE, LENGTH, 9, KNOWN), PlanError, "a committee of 9, and 0 members"),
        ((ONCE, LENGTH, 9, KNOWN, {0: PEOPLE[0]}, CARDS[:1]), PlanError, "9, and 1 members"),
        ((SecAgg(), LENGTH, 9, KNOWN, PEOPLE, CARDS), PlanError, "a committee of 0, and 9 members"),
        ((SecAgg(), 0, 9, KNOWN), PlanError, "at least one coordinate"),
        ((SecAgg(), LENGTH, 9, {0: KNOWN[0]}), UnsafeParametersError, "1 clients|client"),
        ((SecAgg(), LENGTH, 9, {**KNOWN, 1: KNOWN[0]}), LocalProtocolError, "one identity"),
        ((ONCE, LENGTH, 9, KNOWN, PEOPLE, (*CARDS[:8], CARDS[0])), LocalProtocolError, "two cards"),
        (
            (ONCE, LENGTH, 9, KNOWN, PEOPLE, (*CARDS[:8], FORGED)),
            MemberError,
            "did not sign",
        ),
    ],
)
def test_a_file_that_gives_no_sums_is_refused(fields, error, says):
    with pytest.raises(error, match=says):
        SumAgreement(*fields)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[1]", b"\xff", b"[" * 100_000, b'{"secure_sum": {"kind": "plain"}}']
)
def test_other_bytes_are_no_agreement(data):
    with pytest.raises(WireFormatError, match="no agreement"):
        SumAgreement.from_bytes(data)


def test_an_unknown_field_is_refused():
    fields = {**msgspec.json.decode(agreement().to_bytes()), "extra": 1}
    with pytest.raises(WireFormatError, match="extra"):
        SumAgreement.from_bytes(msgspec.json.encode(fields))
