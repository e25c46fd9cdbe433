"""Clients of one process share a directory, which checks one roster once: each other roster is checked."""

from __future__ import annotations

from dataclasses import replace

import pytest

import secagg.session.roster
from secagg import Directory, Identity, Phase, RemoteProtocolError
from secagg.crypto.keys import AgreementKey
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
        "keys": replace(last, mask_key=AgreementKey.generate().public),
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


# A check of one client's neighbours is no check of another's ------------------------------------------


def _forged_at(lab, place, which):
    entries = list(lab.message(10).entries)
    changed = {
        "identity": {"identity": Identity.generate().public},
        "keys": {
            "mask_key": entries[place].mask_key[:-1] + bytes([entries[place].mask_key[-1] ^ 1])
        },
    }[which]
    entries[place] = replace(entries[place], **changed)
    return lab.encode(Advertisements(tuple(entries)))


def _lies_to_one(lab, which):
    """A roster with a lie about a neighbour of client 20 that is none of client 10's."""
    for place in range(2, len(lab.ids)):
        message = _forged_at(lab, place, which)
        roster = secagg.session.roster.Roster.of(message, lab.params, lab.session)
        if place in roster.neighbours(1) and place not in roster.neighbours(0):
            return message
    raise AssertionError("no roster of that kind among these")


def _lab_of(model):
    rates = {"dropout_rate": 0.1, "corrupt_rate": 0.0}
    return Lab(40, **rates, threat_model=model).run_to(Phase.SHARE_KEYS)


@pytest.mark.parametrize(
    ("model", "which"),
    [("malicious-local", "identity"), ("malicious-local", "keys"), ("semi-honest", "keys")],
)
def test_a_lie_about_anothers_neighbour_only_is_found_by_that_one(model, which):
    lab = _lab_of(model)
    lie = _lies_to_one(lab, which)
    assert lab.clients[10].receive(lie)  # it has nothing to do with that client
    with pytest.raises(RemoteProtocolError, match=LIES[which]):
        lab.clients[20].receive(lie)


def _mutated(monkeypatch, check, instead):
    mutant = without(monkeypatch, secagg.session.roster, "check_roster", check, instead)
    monkeypatch.setattr(secagg.roles.client.client, "check_roster", mutant)


def test_the_mutant_that_remembers_one_clients_neighbours_for_all(monkeypatch):
    check = "_check_identities(roster, neighbours, directory)"
    once = f"directory.once(_KNOWN + name, lambda: {check})"
    _mutated(monkeypatch, check, once)
    with pytest.raises(FOUND):
        test_a_lie_about_anothers_neighbour_only_is_found_by_that_one("malicious-local", "identity")


@pytest.mark.parametrize("model", ["malicious-local", "semi-honest"])
def test_the_mutant_that_remembers_one_place_for_all(model, monkeypatch):
    _mutated(monkeypatch, '_SIGNED + name + place.to_bytes(4, "little")', "_SIGNED + name")
    with pytest.raises(FOUND):
        test_a_lie_about_anothers_neighbour_only_is_found_by_that_one(model, "keys")


@pytest.mark.parametrize("which", LIES)
def test_the_mutant_that_remembers_what_was_refused(which, monkeypatch):
    fact = "if fact not in self._facts:"
    without(monkeypatch, Directory, "once", fact, f"{fact}\n        _remember(self._facts, fact)")
    with pytest.raises(FOUND):
        test_a_roster_that_was_refused_is_refused_again(which)
