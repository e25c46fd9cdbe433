"""Rosters that a server tampers with: substituted keys, made-up clients, clients left out."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import pytest

from secagg import (
    Client,
    Directory,
    Identity,
    LocalProtocolError,
    Params,
    Phase,
    Policy,
    RemoteProtocolError,
    Server,
    TrustServerDirectory,
    UnsafeParametersError,
)
from secagg.crypto.keys import AgreementKey
from secagg.wire.messages import Advertisements
from tests.secagg.support.lab import ANY_OFFER, CONTEXT, Lab


def resign(lab, entry, identity):
    return dataclasses.replace(entry, signature=identity.sign(entry.signed(lab.session)))


def tampered(name, lab):
    """A roster that client 10 gets instead of the honest one."""
    entries = list(lab.message(10).entries)
    stranger = AgreementKey.generate().public
    low = bytes(32)
    if name == "own left out":
        del entries[0]
    elif name == "own altered":
        entries[0] = resign(
            lab, dataclasses.replace(entries[0], mask_key=stranger), lab.identities[10]
        )
    elif name == "id twice":
        entries[1] = dataclasses.replace(entries[1], client_id=10)
    elif name == "one key for two":
        entries[1] = resign(
            lab,
            dataclasses.replace(entries[1], mask_key=entries[2].mask_key),
            lab.identities[20],
        )
    elif name in ("low order", "not canonical"):
        key = low if name == "low order" else (2**255 - 10).to_bytes(32, "little")
        entries[1] = resign(
            lab, dataclasses.replace(entries[1], channel_key=key), lab.identities[20]
        )
    elif name == "too few":
        entries = entries[:3]
    elif name == "sybil":
        sybil = Identity.generate()
        new = dataclasses.replace(
            entries[1], client_id=21, identity=sybil.public, channel_key=stranger
        )
        entries[1] = resign(lab, new, sybil)
    elif name == "man in the middle":
        entries[1] = dataclasses.replace(entries[1], channel_key=stranger)
    elif name == "another identity":
        own = Identity.generate()
        new = dataclasses.replace(entries[1], identity=own.public, channel_key=stranger)
        entries[1] = resign(lab, new, own)
    return lab.encode(Advertisements(tuple(entries)))


ROSTERS = [
    "own left out",
    "own altered",
    "id twice",
    "one key for two",
    "low order",
    "not canonical",
    "too few",
    "sybil",
    "man in the middle",
    "another identity",
]


@pytest.mark.parametrize("name", ROSTERS)
def test_s6_s7_tampered_rosters(name):
    lab = Lab(5).run_to(Phase.SHARE_KEYS)
    client = lab.clients[10]
    with pytest.raises(RemoteProtocolError) as caught:
        client.receive(tampered(name, lab))
    assert caught.value.culprit == (20 if name in ("low order", "not canonical") else "server")
    assert client.phase is Phase.ABORTED
    with pytest.raises(LocalProtocolError):
        client.receive(lab.next_messages[10])


@pytest.mark.parametrize("name", ["man in the middle", "another identity", "sybil"])
def test_s7_mutant_deals_shares_to_the_server(name, monkeypatch):
    lab = Lab(5).run_to(Phase.SHARE_KEYS)
    if name == "man in the middle":
        monkeypatch.setattr(Directory, "verify", lambda *_: True)
    monkeypatch.setattr(Directory, "check", lambda *_: None)
    assert lab.clients[10].receive(tampered(name, lab)) is not None


def test_s7_trusting_the_server_must_be_said_and_is_not_called_malicious():
    identity = Identity.generate()
    for model in ("malicious", "semi-honest"):
        params = Params.for_cohort(5, 1, max_abs=1, threat_model=model)
        offer = Server(params, context=CONTEXT, directory=TrustServerDirectory()).offer()
        arguments = (offer, 1, identity, TrustServerDirectory())
        policy = Policy(allow_semi_honest=True)
        if model == "malicious":
            with pytest.raises(UnsafeParametersError, match="Directory"):
                Client.from_offer(*arguments, context=CONTEXT, policy=policy)
        else:
            Client.from_offer(*arguments, context=CONTEXT, policy=policy)


def knocked(directory, lab):
    """An unknown client contacts the server first; the members still finish their sum."""
    lab.server = Server(lab.params, context=CONTEXT, directory=directory)
    lab.clients = {i: lab.join(i) for i in lab.ids[:4]}
    stranger = Identity.generate()
    alone = Directory({99: stranger.public})
    theirs = Client.from_offer(
        lab.server.offer(), 99, stranger, alone, context=CONTEXT, policy=ANY_OFFER
    )
    with contextlib.suppress(RemoteProtocolError):
        lab.server.receive(99, theirs.start())
    for i, client in lab.clients.items():
        client.set_input(lab.inputs[i])
        lab.server.receive(i, client.start())
    lab.clients[99], lab.next_messages = theirs, lab.server.advance()
    lab.run_to(Phase.DONE)
    return lab.server.result()


def test_s7_a_stranger_is_refused_at_the_server_and_ends_no_session():
    lab = Lab(5, dropout_rate=0.2, corrupt_rate=0.1)
    result = knocked(lab.directory, lab)
    assert list(result.survivors) == lab.ids[:4]
    assert np.array_equal(result.total, lab.total(lab.ids[:4]))


def test_s7_mutant_server_that_knows_nobody_ends_it_at_every_honest_client():
    lab = Lab(5, dropout_rate=0.2, corrupt_rate=0.1)
    with pytest.raises(RemoteProtocolError, match="server"):
        knocked(TrustServerDirectory(), lab)


def test_s7_a_server_must_be_told_whom_it_serves():
    with pytest.raises(TypeError, match="directory"):
        Server(Params.for_cohort(5, 1, max_abs=1), context=CONTEXT)
