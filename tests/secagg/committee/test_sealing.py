"""Committees whose members are each in an epoch of their own, and some of them without a key."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest

from secagg import (
    Directory,
    Identity,
    LocalProtocolError,
    TrustServerDirectory,
    UnsafeParametersError,
)
from secagg.committee import (
    Collector,
    Committee,
    CommitteeParams,
    Contributor,
    Member,
    MemberError,
    SealingKey,
    sealing,
)
from secagg.crypto.keys import acceptable_agreement_key
from tests.hostile.mutants import FOUND, without

WHO = {i: Identity.generate() for i in range(7)}
PEOPLE = Directory({i: one.public for i, one in WHO.items()})
MEMBERS = Directory({i: WHO[i].public for i in range(5)})
KEYS = [SealingKey.generate(WHO[i], i, epoch=10 * i + 3) for i in range(5)]
CARDS = [key.card for key in KEYS]
PARAMS = CommitteeParams.for_committee(
    5, corrupt=0, absent=1, vector_length=4, max_clients=7, max_abs=9, min_clients=3
)


class Memory(set):
    def add(self, fact):
        new = fact not in self
        super().add(fact)
        return new


def test_epochs_are_the_members_own():
    committee = Committee(MEMBERS, CARDS, epoch=None)
    assert committee.epochs == (3, 13, 23, 33, 43)
    assert committee.epoch == 43
    with pytest.raises(MemberError, match="has a card of epoch 13, not of 3"):
        Committee(MEMBERS, CARDS, epoch=3)


@pytest.mark.parametrize("missing", range(5))
def test_one_that_may_be_absent_may_lack_a_card(missing):
    cards = [card for at, card in enumerate(CARDS) if at != missing]
    committee = Committee(MEMBERS, cards, epoch=None, absent=1)
    assert committee.epochs[missing] is None
    assert acceptable_agreement_key(committee.sealing[missing])
    with pytest.raises(LocalProtocolError, match="4 cards were given for 5 members"):
        Committee(MEMBERS, cards, epoch=None)
    with pytest.raises(LocalProtocolError, match="each member needs one, and 1 may lack it"):
        Committee(MEMBERS, cards[1:], epoch=None, absent=1)


def test_a_sum_does_without_the_member_that_lacks_a_card():
    committee, context = Committee(MEMBERS, CARDS[1:], epoch=None, absent=1), b"round 1, n = 7"
    server = Collector(PARAMS, committee, PEOPLE, context=context)
    for i, who in WHO.items():
        client = Contributor(PARAMS, i, who, committee, context=context)
        server.receive(i, client.contribute(np.full(4, i), message_digest=bytes(32)))
    members = {
        j: Member(PARAMS, j, WHO[j], KEYS[j], committee, PEOPLE, context=context, journal=Memory())
        for j in range(1, 5)
    }
    while asked := server.advance():
        for j in set(asked) & set(members):
            server.receive_member(j, members[j].receive(asked[j]))
    assert server.result().total.tolist() == [21] * 4
    assert [member.answered for member in members.values()] == [True] * 4
    with pytest.raises(LocalProtocolError, match="another identity or sealing key"):
        Member(PARAMS, 0, WHO[0], KEYS[0], committee, PEOPLE, context=context, journal=Memory())


def names():
    """Committees that differ in one thing have different names."""
    newer = SealingKey.from_private_bytes(KEYS[0].private_bytes(), WHO[0], 0, epoch=99).card
    given = [
        Committee(MEMBERS, CARDS, epoch=None),
        Committee(MEMBERS, CARDS[1:], epoch=None, absent=1),
        Committee(MEMBERS, CARDS[:-1], epoch=None, absent=1),
        Committee(MEMBERS, [newer, *CARDS[1:]], epoch=None),  # the same key under another epoch
        Committee(
            MEMBERS, [SealingKey.generate(WHO[i], i, epoch=3).card for i in range(5)], epoch=3
        ),
    ]
    assert len({committee.root for committee in given}) == len(given)


def test_a_committee_is_named_by_its_keys_and_their_epochs():
    names()


def test_mutant_whose_name_has_no_epochs(monkeypatch):
    without(monkeypatch, Committee, "_root", "at, of is not None, of or 0", "at, True, 0")
    with pytest.raises(FOUND):
        names()


def tagged(label, *parts):
    hashed = hashlib.sha256(b"secagg v2 " + label + b"\0")
    for part in parts:
        hashed.update(struct.pack("<Q", len(part)) + part)
    return hashed.digest()


def written_anew():
    """docs/protocol.md, "Messages of a committee", with none of the package's code: key and name."""
    committee = Committee(MEMBERS, CARDS[1:], epoch=None, absent=1)
    identities = [WHO[i].public for i in range(5)]
    tries = (
        tagged(b"no sealing key", struct.pack("<II", 0, attempt), identities[0])
        for attempt in range(200)
    )
    cleared = (key[:-1] + bytes([key[-1] & 0x7F]) for key in tries)
    keys = [next(filter(acceptable_agreement_key, cleared)), *(key.public for key in KEYS[1:])]
    assert committee.sealing == tuple(keys)
    epochs = [(0, 0), *((1, key.epoch) for key in KEYS[1:])]
    entries = b"".join(
        struct.pack("<IBI", i, *epochs[i]) + identities[i] + keys[i] for i in range(5)
    )
    assert committee.root == tagged(b"committee of epochs", entries)
    last = Committee(MEMBERS, CARDS[:-1], epoch=None, absent=1).sealing[-1]
    assert last[:31] == tagged(b"no sealing key", struct.pack("<II", 4, 0), identities[4])[:31]


def test_a_committee_of_epochs_is_what_the_page_says():
    written_anew()


def test_mutant_whose_keys_of_nobody_name_no_member(monkeypatch):
    named = 'struct.pack("<II", member_id, attempt)'
    without(monkeypatch, sealing, "_nobodys", named, 'struct.pack("<II", 0, attempt)')
    with pytest.raises(FOUND):
        written_anew()


def test_nobody_may_be_absent_where_all_share_an_epoch():
    cards = [SealingKey.generate(WHO[i], i, epoch=3).card for i in range(5)]
    with pytest.raises(LocalProtocolError, match="4 cards were given for 5 members"):
        Committee(MEMBERS, cards[1:], epoch=3, absent=1)


def test_one_epoch_has_the_name_that_it_had():
    """Its bytes are those of the recorded sessions: `epoch=None` is another kind of committee."""
    cards = [SealingKey.generate(WHO[i], i, epoch=3).card for i in range(5)]
    assert Committee(MEMBERS, cards, epoch=3).root != Committee(MEMBERS, cards, epoch=None).root


def test_two_cards_and_odd_arguments():
    with pytest.raises(LocalProtocolError, match="two cards in one epoch"):
        Committee(MEMBERS, [*CARDS, CARDS[0]], epoch=None)
    with pytest.raises(LocalProtocolError, match="absent"):
        Committee(MEMBERS, CARDS, epoch=None, absent=True)
    with pytest.raises(UnsafeParametersError, match="members"):
        Committee(TrustServerDirectory(), CARDS, epoch=None)
