"""Quorums of neighbours: the sum is right or absent, and each defence is missed when it is gone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import secagg.roles.client.client
from secagg import (
    Aborted,
    Identity,
    Params,
    Phase,
    RemoteProtocolError,
    Server,
    TrustServerDirectory,
    UnsafeParametersError,
    simulate,
)
from secagg.crypto.keys import AgreementKey, Directory
from secagg.wire.codec import decode
from secagg.wire.messages import Advertisements, Partners, Signatures
from tests.secagg.support.lab import ANY_OFFER, CONTEXT, Lab
from tests.secagg.test_simulate import PHASES

RATES = {"dropout_rate": 0.1, "corrupt_rate": 0.05, "threat_model": "malicious-local"}


def lab_of(n=24):
    return Lab(n, **RATES)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("n", [16, 40])
def test_drop_outs_at_every_phase(phase, n):
    rng = np.random.default_rng(n)
    inputs = {3 * i: rng.integers(-50, 51, 7) for i in range(n)}
    params = Params.for_cohort(n, 7, max_abs=50, **RATES)
    assert not params.complete
    gone = {0, 3 * n - 3}
    result = simulate(inputs, params, drop={phase: gone})
    late = phase in (Phase.CONSISTENCY, Phase.UNMASK)
    assert set(result.survivors) == set(inputs) - (set() if late else gone)
    assert np.array_equal(result.total, sum(inputs[i] for i in result.survivors))


def test_it_must_be_asked_for_by_name():
    lab = lab_of()
    offer = Server(lab.params, context=CONTEXT, directory=TrustServerDirectory()).offer()
    with pytest.raises(UnsafeParametersError, match="allow_local=True"):
        lab.join(10, offer=offer, policy=dataclasses.replace(ANY_OFFER, allow_local=False))
    assert lab.join(10, offer=offer, policy=ANY_OFFER).params.local


# The roster ------------------------------------------------------------------------------------------


def fakes(lab, *, near):
    """The honest roster for client 10, one entry of which the server made up; None if it is not `near`."""
    entries = list(lab.message(10).entries)
    for place in range(1, len(entries)):
        fake, key = Identity.generate(), AgreementKey.generate().public
        entry = dataclasses.replace(entries[place], identity=fake.public, channel_key=key)
        entry = dataclasses.replace(entry, signature=fake.sign(entry.signed(lab.session)))
        message = lab.encode(Advertisements((*entries[:place], entry, *entries[place + 1 :])))
        roster = secagg.roles.client.client.Roster.of(message, lab.params, lab.session)
        if (place in roster.neighbours(0)) is near:
            return message
    raise AssertionError("no roster of that kind among these")


def test_s7_a_made_up_neighbour_is_refused():
    lab = lab_of().run_to(Phase.SHARE_KEYS)
    with pytest.raises(RemoteProtocolError, match="another identity"):
        lab.clients[10].receive(fakes(lab, near=True))


def test_s7_mutant_deals_it_shares(monkeypatch):
    lab = lab_of().run_to(Phase.SHARE_KEYS)
    monkeypatch.setattr(Directory, "check", lambda *_: None)
    assert lab.clients[10].receive(fakes(lab, near=True)) is not None


def test_s7_a_made_up_stranger_gets_nothing_and_costs_nothing():
    lab = lab_of().run_to(Phase.SHARE_KEYS)
    message = decode(lab.clients[10].receive(fakes(lab, near=False)))[1]
    assert len(message.envelopes) == lab.params.degree


# The inputs of the neighbours ------------------------------------------------------------------------


def altered_survivors(name, lab):
    lab.run_to(Phase.CONSISTENCY)
    honest = lab.message(10)
    signatures = list(honest.signatures)
    other = Partners(b"\1" * (len(lab.ids) - 1) + b"\0").root(lab.session, lab.roster.root)
    neighbour = lab.roster.client_id(lab.roster.neighbours(0)[0])
    unsigned = lab.sent[Phase.MASKED_INPUT, neighbour]
    signed = decode(unsigned)[1].partners_signed(lab.session, other, neighbour)
    if name == "none":
        signatures = []
    elif name == "one less":
        signatures = signatures[:-1]
    elif name == "another's":
        signatures[0] = signatures[1]
    else:  # the neighbour was told other partners
        signatures[0] = lab.identities[neighbour].sign(signed)
    return lab.encode(dataclasses.replace(honest, signatures=signatures))


INPUTS = ["none", "one less", "another's", "other partners"]


@pytest.mark.parametrize("name", INPUTS)
def test_neighbours_inputs_that_are_not_shown(name):
    lab = lab_of()
    with pytest.raises(RemoteProtocolError, match="input") as caught:
        lab.clients[10].receive(altered_survivors(name, lab))
    assert caught.value.culprit == "server"


@pytest.mark.parametrize("name", INPUTS)
def test_mutant_signs_without_seeing_them(name, monkeypatch):
    monkeypatch.setattr(secagg.roles.client.client, "check_inputs", lambda *_: None)
    lab = lab_of()
    assert lab.clients[10].receive(altered_survivors(name, lab)) is not None


def test_too_few_neighbours_in_the_sum_end_it_for_a_client():
    lab = lab_of().run_to(Phase.CONSISTENCY)
    honest = lab.message(10)
    members, around = bytearray(honest.members), lab.roster.neighbours(0)
    left = lab.params.threshold - 2
    for place in around[left:]:
        members[place] = 0
    told = dataclasses.replace(honest, members=bytes(members), signatures=honest.signatures[:left])
    with pytest.raises(Aborted, match="neighbours are in the sum"):
        lab.clients[10].receive(lab.encode(told))


def test_the_server_turns_away_an_input_signed_for_other_partners():
    lab = lab_of().run_to(Phase.MASKED_INPUT)
    message = decode(reply := lab.reply(10))[1]
    for signature in (b"", bytes(64)):
        bad = lab.signed(dataclasses.replace(message, partner_signature=signature))
        with pytest.raises(RemoteProtocolError, match="other partners") as caught:
            lab.server.receive(10, bad)
        assert caught.value.culprit == 10
        assert not lab.server._tally.total.any()
    lab.server.receive(10, reply)


# The quorum ------------------------------------------------------------------------------------------


def quorum(name, lab):
    lab.run_to(Phase.UNMASK)
    honest = list(lab.message(10).signatures)
    positions = lab.roster.positions
    around = {*lab.roster.neighbours(0), 0}
    signed = {positions[i]: decode(lab.sent[Phase.CONSISTENCY, i])[1].signature for i in lab.ids}
    if name == "few":
        honest = honest[:-1]
    elif name == "strangers":
        far = [(p, s) for p, s in signed.items() if p not in around]
        honest = sorted([*honest[: len(honest) - len(far)], *far][: len(honest)])
    else:  # this client's own signature says nothing about its neighbours
        honest = [(0, signed[0]), *honest[1:]]
    return lab.encode(Signatures(tuple(honest)))


@pytest.mark.parametrize(
    ("name", "match"), [("few", "needed"), ("strangers", "no neighbour"), ("own", "no neighbour")]
)
def test_s2_quorums_that_are_none(name, match):
    lab = lab_of()
    with pytest.raises(RemoteProtocolError, match=match) as caught:
        lab.clients[10].receive(quorum(name, lab))
    assert caught.value.culprit == "server"


@pytest.mark.parametrize("name", ["few", "strangers", "own"])
def test_s2_mutant_gives_its_shares(name, monkeypatch):
    monkeypatch.setattr(secagg.roles.client.client, "check_quorum", lambda *_: None)
    lab = lab_of()
    assert lab.clients[10].receive(quorum(name, lab)) is not None


def test_a_client_without_a_quorum_around_it_is_left_in_the_sum_but_not_asked():
    """Its neighbours that signed are too few; the others still unmask what it gave."""
    lab = lab_of(40).run_to(Phase.CONSISTENCY)
    around = lab.roster.neighbours(0)
    silent = around[: len(around) - lab.params.quorum + 1]
    for i in lab.ids:
        if lab.roster.positions[i] not in silent:
            lab.answer(i)
    lab.next_messages = lab.server.advance()
    assert lab.ids[0] not in lab.next_messages
    with pytest.raises(Aborted):  # so many silent neighbours are beyond the session's rates
        lab.run_to(Phase.DONE)
