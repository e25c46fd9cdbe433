"""Agreements: what is refused, and that other files give other sums."""

from __future__ import annotations

import msgspec
import pytest

from fedavg import OneShot, SecAgg, errors
from fedavg.adapters.polling import SumAgreement, content_digest
from fedavg.adapters.polling.agreement import _OVER
from fedavg.errors import PlanError, WireFormatError
from fedavg.sums.interface import FIRST_OPENER
from fedavg.sums.sides.others import MemoryJournal
from secagg import Identity, LocalProtocolError, UnsafeParametersError
from secagg.committee import MemberError, SealingKey, card_member
from tests.fedavg.adapters.polling.agreed import (
    CLIENTS,
    LENGTH,
    MEMBERS,
    ONCE,
    SEALING,
    agreement,
)
from tests.hostile.mutants import FOUND, without

KNOWN = {i: who.public for i, who in CLIENTS.items()}
PEOPLE = {j: who.public for j, who in MEMBERS.items()}
CARDS, _, LATER = (tuple(keys[epoch].card for keys in SEALING.values()) for epoch in range(3))
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
        ((ONCE, LENGTH, 9, KNOWN, PEOPLE), PlanError, "no cards of epoch 1"),
        ((ONCE, LENGTH, 9, KNOWN, PEOPLE, LATER), PlanError, "no cards of epoch 1"),
        ((ONCE, LENGTH, 9, KNOWN, PEOPLE, (*CARDS, *LATER)), PlanError, "no cards of epoch 2"),
        ((ONCE, LENGTH, 9, KNOWN, PEOPLE, (*CARDS, LATER[0])), LocalProtocolError, "1 cards were"),
        ((SecAgg(), LENGTH, 9, KNOWN, {}, CARDS), PlanError, "and no members"),
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


def test_rounds_are_of_epochs_and_none_of_them_comes_back():
    agreed, journal = agreement(), MemoryJournal()
    assert agreed.newest_epoch(journal) == 0
    assert [agreed.enter(number, journal) for number in (1, 9, 1, 10, 19, 12)] == [1, 1, 1, 2, 2, 2]
    with pytest.raises(
        errors.LocalProtocolError, match="round 9 is of epoch 1 .* epoch 2: what is"
    ):
        agreed.enter(9, journal)
    assert agreed.newest_epoch(journal) == 2
    assert agreed.enter(29, journal) == 3


def test_a_round_beyond_the_last_epoch_ends_none():
    agreed, journal = agreement(), MemoryJournal()
    with pytest.raises(errors.LocalProtocolError, match="epoch 4, .* for 3 epochs of 10 rounds"):
        agreed.enter(30, journal)
    assert agreed.enter(1, journal) == 1


def test_a_new_file_with_the_same_keys_brings_no_epoch_back():
    """The operator adds a client: the members' keys of epoch 1 are deleted, or stolen, as before."""
    agreed, journal = agreement(), MemoryJournal()
    agreed.enter(10, journal)
    more = msgspec.structs.replace(agreed, clients={**KNOWN, 6: Identity.generate().public})
    with pytest.raises(errors.LocalProtocolError, match="epoch 1"):
        more.enter(1, journal)


def name_fewer_epochs():
    """A new file has the members' first keys again, and not the later ones: what is over stays over."""
    agreed, journal = agreement(), MemoryJournal()
    agreed.enter(10, journal)
    anew = msgspec.structs.replace(agreed, cards=CARDS)
    assert anew.newest_epoch(journal) == 2
    with pytest.raises(errors.LocalProtocolError, match="round 1 is of epoch 1 .* which is over"):
        anew.enter(1, journal)


def name_one_key_again():
    """One member has a new identity, and the cards of all others are those of before."""
    agreed, journal, who = agreement(), MemoryJournal(), Identity.generate()
    agreed.enter(10, journal)
    fresh = [SealingKey.generate(who, 0, epoch=epoch).card for epoch in (1, 2, 3)]
    others = [card for card in agreed.cards if card_member(card)]
    people = {**PEOPLE, 0: who.public}
    anew = msgspec.structs.replace(agreed, members=people, cards=(*fresh, *others))
    with pytest.raises(errors.LocalProtocolError, match="round 1 is of epoch 1 .* which is over"):
        anew.enter(1, journal)
    assert anew.enter(10, journal) == 2


@pytest.mark.parametrize("attack", [name_fewer_epochs, name_one_key_again])
def test_a_new_file_with_some_of_the_keys_brings_no_epoch_back(attack):
    attack()


@pytest.mark.parametrize("attack", [name_fewer_epochs, name_one_key_again])
def test_mutant_that_knows_sets_of_keys_alone(attack, monkeypatch):
    without(monkeypatch, SumAgreement, "enter", "journal.add(_OVER + card)", "pass")
    with pytest.raises(FOUND):
        attack()


def test_new_keys_of_the_same_members_begin_at_their_first_epoch():
    agreed, journal = agreement(), MemoryJournal()
    agreed.enter(29, journal)
    fresh = tuple(
        SealingKey.generate(who, j, epoch=epoch).card
        for j, who in MEMBERS.items()
        for epoch in (1, 2)
    )
    anew = msgspec.structs.replace(agreed, cards=fresh)
    assert (anew.newest_epoch(journal), anew.enter(1, journal)) == (0, 1)


def test_a_record_that_was_broken_off_is_finished():
    """A process ended between the facts about the keys of before and that of the epoch."""
    agreed, whole = agreement(), MemoryJournal()

    class Ending(MemoryJournal):
        left = 4

        def add(self, fact):
            self.left -= 1
            if not self.left:
                raise OSError("the process ends")
            return super().add(fact)

    journal = Ending()
    with pytest.raises(OSError, match="ends"):
        agreed.enter(10, journal)
    assert agreed.enter(10, journal) == agreed.enter(10, whole) == 2
    assert all(journal.known(_OVER + card) for card in CARDS)


def test_sums_without_members_have_no_epochs():
    agreed, journal = agreement(members=False), MemoryJournal()
    assert [agreed.enter(number, journal) for number in (1000, 1)] == [0, 0]
    assert agreed.newest_epoch(journal) == 0
