"""Clients of one process share a directory, which checks one roster once: each other roster is checked."""

from __future__ import annotations

from dataclasses import replace

import pytest

import secagg.session.roster
from secagg import Identity, Phase, RemoteProtocolError
from secagg.wire.codec import decode
from secagg.wire.messages import Advertisements
from tests.hostile.mutants import FOUND, without
from tests.secagg.support.lab import Lab


def _another(lab, which):
    """The roster with one client's identity or keys exchanged, for which it did not sign."""
    *others, last = decode(lab.next_messages[10])[1].entries
    stranger = Identity.generate().public
    forged = {
        "identity": replace(last, identity=stranger),
        "keys": replace(last, mask_key=others[0].mask_key[:-1] + b"\1"),
    }[which]
    return lab.encode(Advertisements((*others, forged)))


LIES = {"identity": "another identity", "keys": "forged the keys"}


@pytest.mark.parametrize("which", LIES)
def test_a_roster_is_checked_though_another_was_before(which):
    lab = Lab()
    lab.run_to(Phase.SHARE_KEYS)
    honest = lab.next_messages[10]
    assert lab.clients[10].receive(honest)
    with pytest.raises(RemoteProtocolError, match=LIES[which]):
        lab.clients[20].receive(_another(lab, which))


@pytest.mark.parametrize("which", LIES)
def test_a_roster_that_was_refused_is_refused_again(which):
    lab = Lab()
    lab.run_to(Phase.SHARE_KEYS)
    lie = _another(lab, which)
    for client in (10, 20, 30):
        with pytest.raises(RemoteProtocolError, match=LIES[which]):
            lab.clients[client].receive(lie)


@pytest.mark.parametrize("which", LIES)
def test_the_mutant_that_remembers_no_roots(which, monkeypatch):
    mutant = without(
        monkeypatch,
        secagg.session.roster,
        "check_roster",
        "roster.session + roster.root",
        "roster.session",
    )
    monkeypatch.setattr(secagg.roles.client.client, "check_roster", mutant)
    with pytest.raises(FOUND):
        test_a_roster_is_checked_though_another_was_before(which)
