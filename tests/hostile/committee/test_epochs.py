"""Sealing keys that serve for some rounds: stolen later they open no earlier round, and none comes back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import secagg
from fedavg.errors import LocalProtocolError
from fedavg.sums.one_shot import OneShot
from fedavg.sums.one_shot import epochs as module
from fedavg.sums.sides.others import MemoryJournal
from secagg.committee import SealingKey
from secagg.committee.sealing import associated, share_key
from secagg.committee.wire.codec import decode
from secagg.crypto.sealed import open_sealed
from tests.fedavg.contract.sums import IDENTITIES, spec_for
from tests.hostile.mutants import FOUND, without

SUMS = OneShot(committee=4, corrupt_members=0, absent_members=1, epoch_rounds=2)
VECTORS = {client: np.arange(4000) % 25 * client for client in range(1, 5)}


class Run:
    """Four rounds, two in each epoch: everybody's sides, and what the server recorded of client 1."""

    def __init__(self):
        self.specs = [
            replace(spec_for(VECTORS, max_abs=99), round=number, context=b"round %d" % number)
            for number in range(4)
        ]
        given = SUMS.provision(
            self.specs[-1], {client: IDENTITIES[client].public for client in VECTORS}
        )
        self.client_side = SUMS.client_side(given.clients)
        self.server_side = SUMS.server_side(given.server)
        self.members = {at: SUMS.opener_side(material) for at, material in given.openers.items()}
        self.recorded = {}

    def round(self, number):
        """The whole round; the server records the shares of client 1's key."""
        spec = self.specs[number]
        server = self.server_side.session(spec, sorted(VECTORS))
        members = {at: side.session(spec, MemoryJournal()) for at, side in self.members.items()}
        for client, (opening,) in server.open().items():
            session = self.client_side.session(spec, client, IDENTITIES[client], opening)
            session.set_input(VECTORS[client])
            for message in session.start():
                server.receive(client, message)
                if client == 1:
                    self.recorded[number] = message
        outgoing = server.advance()
        while outgoing:
            for at, messages in outgoing.items():
                for reply in members[at].receive(messages):
                    server.receive(at, reply)
            outgoing = server.advance()
        assert np.array_equal(server.result().total, sum(VECTORS.values()))

    def stolen(self):
        """All sealing keys that the members hold at this moment, by the order of the members."""
        for side in self.members.values():
            now = [] if side._key is None or side._key.erased else [side._key.private_bytes()]
            yield [*now, *side._sealing.values()]

    def opened(self, number, stolen):
        """At how many members the thief opens the recorded share of a round's key."""
        numbers = SUMS._way.params(SUMS.key_spec(self.specs[number]))
        session, sent = decode(self.recorded[number], numbers)
        count = 0
        for place, keys in enumerate(stolen):
            about = associated(session, 1, place, sent.message_digest)
            for secret in keys:
                key = SealingKey.from_private_bytes(secret, IDENTITIES[0], place, epoch=1)
                sealed = share_key(key.agree(sent.public), session, sent.public, 1, place)
                count += open_sealed(sealed, sent.envelopes[place], about) is not None
        return count


def steal_later():
    run = Run()
    run.round(0)
    run.round(1)
    # The thief of this epoch reads this epoch: the attack is one that works.
    assert [run.opened(number, run.stolen()) for number in (0, 1)] == [4, 4]
    run.round(2)
    assert run.opened(2, run.stolen()) == 4
    assert [run.opened(number, run.stolen()) for number in (0, 1)] == [0, 0]


def test_v8_keys_that_are_stolen_later_open_no_earlier_epoch():
    steal_later()


def test_v8_mutant_that_keeps_its_keys_opens_earlier_epochs(monkeypatch):
    without(monkeypatch, module.MemberOfEpochs, "_key_of", "if later > epoch", "")
    with pytest.raises(FOUND):
        steal_later()


def hold_the_key_of_an_earlier_sum():
    run = Run()
    run.round(0)
    kept = [side._key for side in run.members.values()]
    run.round(2)
    assert all(key.erased for key in kept), "members of earlier sums still open shares"


def test_v8_a_member_of_an_earlier_sum_loses_its_key_too():
    hold_the_key_of_an_earlier_sum()


def test_v8_mutant_that_only_forgets_its_key(monkeypatch):
    without(monkeypatch, module.MemberOfEpochs, "_key_of", "self._key.erase()", "pass")
    with pytest.raises(FOUND):
        hold_the_key_of_an_earlier_sum()


def replay_an_older_epoch():
    """A server that holds stolen keys of epoch 1 says in epoch 2 that a round of epoch 1 begins."""
    run = Run()
    run.round(2)
    older = replace(run.specs[1], context=b"a new sum under an older key")
    opening = b"ONE1" + older.context
    with pytest.raises(
        LocalProtocolError, match="round 1 is of epoch 1 of the members' sealing keys"
    ):
        run.client_side.session(older, 1, IDENTITIES[1], opening)
    for side in run.members.values():
        with pytest.raises(LocalProtocolError, match="which is over"):
            side.session(older, MemoryJournal())
    run.round(3)  # and the run goes on


def test_v2_a_round_of_an_older_epoch_is_refused_by_clients_and_members():
    replay_an_older_epoch()


def test_v2_mutant_whose_epochs_come_back(monkeypatch):
    without(monkeypatch, module.Epochs, "enter", "epoch < current.epoch")
    with pytest.raises(FOUND):
        replay_an_older_epoch()


def be_late():
    """A sum of epoch 1 begins, and one of epoch 2 overtakes it between its committee and its key."""
    run = Run()
    run.round(0)
    for side in run.members.values():
        side.session(run.specs[2], MemoryJournal())
        with pytest.raises(
            LocalProtocolError, match="epoch 1 of the members' sealing keys is over"
        ):
            side._key_of(1)
    run.round(3)  # the late sum has cost no member its key of this epoch


def test_v2_a_sum_that_is_overtaken_by_a_later_epoch_erases_no_key_of_it():
    be_late()


def test_v2_mutant_whose_late_sums_erase_the_key_of_a_later_epoch(monkeypatch):
    without(monkeypatch, module.MemberOfEpochs, "_key_of", "self._key.epoch > epoch")
    with pytest.raises((*FOUND, LocalProtocolError)):
        be_late()


def test_v2_a_round_beyond_the_last_epoch_ends_no_epoch():
    run = Run()
    run.round(0)
    beyond = replace(run.specs[0], round=4, context=b"beyond")
    for side in run.members.values():
        with pytest.raises(LocalProtocolError, match="made for 2 epochs of 2 rounds"):
            side.session(beyond, MemoryJournal())
    run.round(1)


def test_v2_a_card_of_another_epoch_is_no_card_of_this_one():
    """A server that hands out an older card of a member, signed as it is, has no committee of the epoch."""
    run = Run()
    older, later = (run.members[-2]._epochs._cards[epoch] for epoch in (1, 2))
    cards = [older[0], *later[1:]]
    mixed = module.Epochs(run.members[-2]._epochs._members, cards, rounds=2)
    with pytest.raises(secagg.LocalProtocolError, match="3 cards were given for 4 members"):
        mixed.enter(2)


def test_members_print_no_key_and_are_not_pickled():
    side = next(iter(Run().members.values()))
    assert repr(side) == "MemberOfEpochs(<redacted>)"
    with pytest.raises(TypeError, match="cannot be pickled"):
        side.__reduce__()
