"""S17: an attacker between a client and the server who sends messages in the client's name.

Every message of a client is signed, so what is altered or made up is refused.  The server then counts the
client as silent, as anyone can bring about who cuts a wire; it names nobody, and no total is false.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from secagg import Phase, RemoteProtocolError
from secagg.roles.server import admission
from secagg.wire.codec import decode, encode
from tests.hostile.mutants import FOUND, without
from tests.secagg.support.lab import Lab

VICTIM = 10


def lab_of():
    return Lab(10, dropout_rate=0.2, corrupt_rate=0.1)


def turned(data):
    return bytes([data[0] ^ 4]) + data[1:]


def accuses(message):
    """Kind 5: the victim says of an honest neighbour that its shares did not open."""
    return dataclasses.replace(message, opened=(False, *message.opened[1:]))


def adds(message):
    """Kind 7: another vector, which shifts the total by four."""
    return dataclasses.replace(message, packed=turned(message.packed))


def spoils_its_own(message):
    """Kind 11: another share of the victim's own seed, for which no commitment exists."""
    own, *others = message.shares
    return dataclasses.replace(message, shares=(turned(own), *others))


def spoils_another(message):
    own, first, *others = message.shares
    return dataclasses.replace(message, shares=(own, turned(first), *others))


ALTERED = {
    "5: a receipt that accuses": (Phase.CHECK_SHARES, accuses),
    "7: another vector": (Phase.MASKED_INPUT, adds),
    "11: another own share": (Phase.UNMASK, spoils_its_own),
    "11: another's share": (Phase.UNMASK, spoils_another),
}


def speaks(lab, phase, forge, *, first):
    """A session in which somebody replaces the victim's message, or sends one before it does."""
    lab.run_to(phase)
    for i in lab.ids:
        reply = lab.reply(i)
        if i == VICTIM:
            session, message = decode(reply)
            forged = encode(forge(message), session)
            with pytest.raises(RemoteProtocolError, match="signature does not hold"):
                lab.server.receive(i, forged)
            if not first:
                continue
        lab.server.receive(i, reply)
    lab.next_messages = lab.server.advance()
    return lab.run_to(Phase.DONE)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("name", ALTERED)
def test_s17_altered_messages_are_refused_and_nobody_is_named(name, first):
    """Refused, the victim counts as silent; its own message, if that comes too, is taken."""
    phase, forge = ALTERED[name]
    lab = lab_of()
    result = speaks(lab, phase, forge, first=first).server.result()
    early = phase is not Phase.UNMASK and not first
    assert result.survivors == tuple(i for i in lab.ids if not (early and i == VICTIM))
    assert np.array_equal(result.total, lab.total(result.survivors))


def unsigned(monkeypatch):
    """A server that asks for no signature on what it adds, settles by, or rebuilds from."""
    without(
        monkeypatch,
        admission,
        "_check_signature",
        "not directory.verify(identity, message.signature, signed)",
    )


@pytest.mark.parametrize("name", ALTERED)
def test_s17_mutant_server_takes_them(name, monkeypatch):
    unsigned(monkeypatch)
    with pytest.raises(FOUND):
        test_s17_altered_messages_are_refused_and_nobody_is_named(name, first=False)


def taken(phase, forge):
    """What comes of it at a server that takes the forged message."""
    lab = lab_of().run_to(phase)
    for i in lab.ids:
        reply = lab.reply(i)
        if i == VICTIM:
            session, message = decode(reply)
            reply = encode(forge(message), session)
        lab.server.receive(i, reply)
    lab.next_messages = lab.server.advance()
    lab.run_to(Phase.DONE)
    return lab


def test_s17_mutant_gives_a_false_total_over_all(monkeypatch):
    """Why the vector is signed: without a signature no party notices the change."""
    unsigned(monkeypatch)
    lab = taken(Phase.MASKED_INPUT, adds)
    assert lab.server.result().survivors == tuple(lab.ids)
    assert not np.array_equal(lab.server.result().total, lab.total(lab.ids))


def test_s17_mutant_leaves_an_honest_client_out(monkeypatch):
    unsigned(monkeypatch)
    lab = taken(Phase.CHECK_SHARES, accuses)
    assert len(lab.server.result().survivors) == len(lab.ids) - 1
