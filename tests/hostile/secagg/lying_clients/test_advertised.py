"""Keys in another client's name: what a message says counts only once its signature holds (S17)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from secagg import Client, Directory, Identity, Params, RemoteProtocolError, Server
from secagg.wire.codec import decode, encode

N, CONTEXT = 10, b"round 1"


@pytest.fixture
def session():
    params = Params.for_cohort(N, 2, max_abs=100)
    identities = {i: Identity.generate() for i in range(N)}
    directory = Directory({i: identity.public for i, identity in identities.items()})
    server = Server(params, context=CONTEXT, directory=directory)
    offer = server.offer()
    return server, [
        Client.from_offer(offer, i, identities[i], directory, context=CONTEXT) for i in range(N)
    ]


FORGED = {
    "low order": lambda victim, _: replace(victim, mask_key=bytes(32)),
    "taken": lambda victim, other: replace(victim, mask_key=other.mask_key),
    "one key twice": lambda victim, _: replace(victim, mask_key=victim.channel_key),
}


def forged(session, name):
    """Message 1 of client 0 as somebody rewrote it, and as it was; client 1 has advertised its own."""
    server, clients = session
    first, second = (clients[i].start() for i in (0, 1))
    server.receive(1, second)
    own_session, victim = decode(first)
    wrong = FORGED[name](victim, decode(second)[1])
    return encode(wrong, own_session), first


@pytest.mark.parametrize("name", sorted(FORGED))
def test_s17_no_client_is_said_to_have_sent_keys_that_it_did_not_sign(session, name):
    server, _ = session
    wrong, right = forged(session, name)
    with pytest.raises(RemoteProtocolError, match="a signature that does not hold"):
        server.receive(0, wrong)
    server.receive(
        0, right
    )  # what was refused took nothing: the client's own message is still welcome


@pytest.mark.parametrize("name", sorted(FORGED))
def test_s17_mutant_that_does_not_check_the_signature_first_blames_for_the_keys(
    session, name, monkeypatch
):
    server, _ = session
    wrong, _ = forged(session, name)
    monkeypatch.setattr(Directory, "verify", lambda *_: True)
    with pytest.raises(RemoteProtocolError, match=r"low order|taken already"):
        server.receive(0, wrong)
