"""Partners that a server lies about, and clients that somebody tries to have twice."""

from __future__ import annotations

import copy
import os
import pickle

import pytest

import secagg.roles.client.client
from secagg import LocalProtocolError, Phase, RemoteProtocolError
from secagg.crypto.keys import AgreementKey
from secagg.session.roster import pair_seed, self_seed
from secagg.wire.codec import decode
from secagg.wire.messages import ForwardedShares, Partners
from tests.secagg.support.lab import Lab


def withhold(lab):
    """Client 10 never gets the shares of client 20, and is then told that 20 is a partner."""
    lab.run_to(Phase.CHECK_SHARES)
    forwarded = lab.message(10).envelopes
    lab.clients[10].receive(lab.encode(ForwardedShares((None, *forwarded[1:]))))
    return lab.clients[10].receive(lab.encode(Partners(b"\1" * 5)))


def test_s3_edges_cannot_be_cut_one_by_one():
    """A server that withholds the shares between two partners loses the inputs of both."""
    with pytest.raises(RemoteProtocolError, match="client 20 in"):
        withhold(Lab(5))


def test_s3_mutant_masks_with_whom_the_server_likes(monkeypatch):
    monkeypatch.setattr(secagg.roles.client.client, "check_partners", lambda *_: None)
    monkeypatch.setattr(secagg.roles.client.client, "partners_of", lambda *_: (2, 3, 4))
    assert withhold(Lab(5)) is not None


def partner_lies():
    return {
        "without this client": lambda: b"\0\1\1\1\1\0",
        "roster of fewer": lambda: b"\1" * 5,
        "roster of more": lambda: b"\1" * 7,
        "too few": lambda: b"\1\1\1" + b"\0" * 3,
        "one that dealt nothing": lambda: b"\1" * 6,
    }


@pytest.mark.parametrize("name", partner_lies())
def test_s3_lies_about_the_partners(name):
    lab = Lab(6, dropout_rate=0.3).run_to(Phase.MASKED_INPUT, silent={60: Phase.SHARE_KEYS})
    message = lab.encode(Partners(partner_lies()[name]()))
    with pytest.raises(RemoteProtocolError) as caught:
        lab.clients[10].receive(message)
    assert caught.value.culprit == "server"
    assert lab.clients[10].phase is Phase.ABORTED


@pytest.mark.parametrize("name", partner_lies())
def test_s3_mutant_masks_all_the_same(name, monkeypatch):
    monkeypatch.setattr(secagg.roles.client.client, "check_partners", lambda *_: None)
    monkeypatch.setattr(secagg.roles.client.client, "partners_of", lambda *_: (1, 2, 3, 4))
    lab = Lab(6, dropout_rate=0.3).run_to(Phase.MASKED_INPUT, silent={60: Phase.SHARE_KEYS})
    assert lab.clients[10].receive(lab.encode(Partners(partner_lies()[name]()))) is not None


def two_sets_of_partners(lab):
    """Client 10 is told other partners than the rest; what is left of its input's masks."""
    lab.run_to(Phase.MASKED_INPUT)
    fewer = Partners(b"\1\1\1\1\0")
    reply = decode(lab.clients[10].receive(lab.encode(fewer)))[1]
    lab.server.receive(10, lab.signed(reply))  # this server takes what it knows not to fit
    for i in lab.ids[1:]:
        lab.answer(i)
    lab.next_messages = lab.server.advance()
    return lab


def test_s2_other_partners_make_another_survivor_set():
    lab = two_sets_of_partners(Lab(5))
    with pytest.raises(RemoteProtocolError, match="no partner"):
        lab.clients[10].receive(lab.next_messages[10])
    for i in lab.ids[1:]:
        lab.answer(i)
    request = lab.server.advance()
    assert all(position for position, _ in decode(request[20])[1].signatures)


def test_s2_masks_under_other_partners_do_not_cancel():
    """Even the masks between clients that are partners in both sets."""
    lab = two_sets_of_partners(Lab(5))
    own, theirs = lab.clients[10]._partner_root, lab.clients[20]._partner_root
    key = AgreementKey.generate()
    assert own != theirs
    assert pair_seed(lab.roster, own, key, 0, 1) != pair_seed(lab.roster, theirs, key, 0, 1)
    assert self_seed(lab.roster, own, bytes(32), 0) != self_seed(lab.roster, theirs, bytes(32), 0)


# S10: one object, one session, one process -------------------------------------------------------------


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, pickle.dumps])
def test_s10_a_client_cannot_be_copied(make):
    client = Lab(5).clients[10]
    with pytest.raises(LocalProtocolError, match="copied or pickled"):
        make(client)


def test_s10_a_client_stays_in_its_process(monkeypatch):
    lab = Lab(5).run_to(Phase.SHARE_KEYS)
    client, own = lab.clients[10], os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: own + 1)
    with pytest.raises(LocalProtocolError, match="fork"):
        client.receive(lab.next_messages[10])
    monkeypatch.undo()
    assert client.receive(lab.next_messages[10])


def test_s10_two_processes_after_a_fork_do_not_both_answer():
    lab = Lab(5).run_to(Phase.SHARE_KEYS)
    child = os.fork()
    if not child:  # pragma: no cover - in the child
        try:
            lab.clients[10].receive(lab.next_messages[10])
        except LocalProtocolError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
