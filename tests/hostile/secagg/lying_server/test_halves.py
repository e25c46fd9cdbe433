"""Of two shares of a partner one can be given: the other is gone once a client has signed who survives."""

from __future__ import annotations

import numpy as np
import pytest

import secagg.roles.client.client
import secagg.roles.client.participation
from secagg import Phase
from secagg.crypto.ephemeral import Ephemeral
from secagg.crypto.shamir import SHARE_SIZE
from secagg.wire.codec import decode
from tests.hostile import mutants
from tests.hostile.secagg.lying_server.test_server import ask_twice, without
from tests.secagg.support.lab import Lab

DROPS_HALVES = "self.held = {}"
VICTIM = 20


def keeping_both(monkeypatch):
    mutants.without(monkeypatch, Ephemeral, "settle", DROPS_HALVES, "pass")


def answering_twice(monkeypatch):
    """Clients that sign again after they have given their shares, for any server that asks."""
    forward = secagg.roles.client.participation.next_phase
    monkeypatch.setattr(
        secagg.roles.client.participation,
        "next_phase",
        lambda phase: Phase.CONSISTENCY if phase is Phase.UNMASK else forward(phase),
    )
    monkeypatch.setattr(secagg.roles.client.client, "check_quorum", lambda *_: None)


def test_s1_mutant_that_answers_twice_and_keeps_both_loses_its_vector(monkeypatch):
    lab = Lab(5)
    answering_twice(monkeypatch)
    keeping_both(monkeypatch)
    assert np.array_equal(ask_twice(lab, VICTIM), lab.inputs[VICTIM])


def test_s1_who_answers_twice_has_nothing_left_to_give(monkeypatch):
    lab = Lab(5).run_to(Phase.UNMASK)
    answering_twice(monkeypatch)
    for i, message in lab.next_messages.items():
        if i == VICTIM:
            continue
        client = lab.clients[i]
        first = decode(client.receive(message))[1].shares
        client.receive(lab.encode(without(lab, VICTIM)))
        second = decode(client.receive(message))[1].shares
        assert len(first) == 5
        assert list(second) == list(first[:1])  # its own, as before


def signs(lab):
    """Client 10 signs that 30 is not in the sum."""
    lab.run_to(Phase.CONSISTENCY, silent={30: Phase.MASKED_INPUT})
    secrets = lab.clients[10]._secrets
    both = secrets.held
    lab.clients[10].receive(lab.next_messages[10])
    assert secrets.due == {
        place: shares[SHARE_SIZE:] if lab.ids[place] == 30 else shares[:SHARE_SIZE]
        for place, shares in both.items()
    }
    assert not secrets.held


def test_s1_signing_leaves_one_share_of_each_partner():
    signs(Lab(5))


def test_s1_mutant_that_keeps_both_shares(monkeypatch):
    keeping_both(monkeypatch)
    with pytest.raises(AssertionError):
        signs(Lab(5))
