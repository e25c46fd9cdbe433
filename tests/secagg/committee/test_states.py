"""Every message at every time: taken where the tables say so, refused elsewhere, changing nothing."""

from __future__ import annotations

import copy
import pickle
import traceback

import numpy as np
import pytest

from secagg import (
    Aborted,
    Directory,
    Identity,
    InternalError,
    LocalProtocolError,
    RemoteProtocolError,
    TrustServerDirectory,
    UnsafeParametersError,
    WireFormatError,
)
from secagg.committee import Collector, Committee, Contributor, Member, MemberError, SealingKey
from secagg.committee import CommitteePhase as Phase
from secagg.committee.collector.phases import AWAITS, next_phase
from secagg.committee.sealing import _CARD, _HEAD, _carded
from secagg.committee.wire.codec import decode
from secagg.committee.wire.messages import Kind
from tests.secagg.committee.support.lab import DIGEST, Facts, Lab, small

OPEN = tuple(AWAITS)
SENT = {Phase.REPORT: Kind.DELIVERY, Phase.SIGN: Kind.PROPOSAL, Phase.ANSWER: Kind.REQUEST}


def everything():
    """One honest message of each kind, by the session they are of."""
    lab = Lab()
    said = {Kind.CONTRIBUTION: lab.contribution(4)}
    for i in range(4):
        lab.server.receive(i, lab.contribution(i))
    lab.server.receive(4, said[Kind.CONTRIBUTION])
    messages = lab.server.advance()
    while lab.server.phase is not Phase.DONE:
        phase = lab.server.phase
        said[SENT[phase]] = messages[3]
        said[AWAITS[phase]] = lab.members[3].receive(messages[3])
        lab.server.receive_member(3, said[AWAITS[phase]])
        lab.ask({j: m for j, m in messages.items() if j != 3})
        messages = lab.server.advance()
    return lab, said


@pytest.fixture(scope="module")
def session():
    return everything()


def at(session, phase):
    """A fresh collector of the same session in some phase, with the messages that began it."""
    lab, said = session
    server, sent = lab.collector(), {}
    for i in range(4):
        server.receive(i, lab.contribution(i))
    if phase is Phase.CONTRIBUTE:
        return server, sent
    server.receive(4, said[Kind.CONTRIBUTION])
    members = {j: lab.member(j, journal=Facts()) for j in lab.identities}
    while server.phase is not phase:
        sent = server.advance()
        if server.phase is phase:
            break
        for j, message in sent.items():
            server.receive_member(j, members[j].receive(message))
    return server, sent


def seen(server):
    """What a refusal must leave alone."""
    return (
        server.phase, server.survivors, server.answers, server.opened, server.dropped_members,
        dict(server._accepted), dict(server._received), server._live, server._asked,
    )  # fmt: skip


def test_the_table_has_every_open_phase():
    assert next_phase(Phase.CONTRIBUTE) is Phase.REPORT
    assert {*OPEN, Phase.DONE, Phase.ABORTED} == set(Phase)
    assert len(set(AWAITS.values()) | set(SENT.values())) == len(Kind)


@pytest.mark.parametrize("phase", [*OPEN, Phase.DONE])
@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("door", ["client", "member"])
def test_the_collector_takes_what_the_table_says(session, phase, kind, door):
    server, _ = at(session, phase)
    before, message = seen(server), session[1][kind]
    receive = server.receive if door == "client" else server.receive_member
    sender = 4 if door == "client" else 3
    fits = (door == "client") == (phase is Phase.CONTRIBUTE)
    if AWAITS.get(phase) is kind and fits:
        if kind is Kind.CONTRIBUTION:
            receive(sender, message)
            assert seen(server) != before
            with pytest.raises(RemoteProtocolError, match="twice"):
                receive(sender, message)
            return
        # Of another run of the session: other contributions, so the signature covers something else.
        with pytest.raises(MemberError, match="did not sign"):
            receive(sender, message)
    else:
        with pytest.raises((LocalProtocolError, RemoteProtocolError)):
            receive(sender, message)
    assert seen(server) == before


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("asked", [None, *SENT])
def test_a_member_answers_what_members_are_sent(kind, asked):
    """In one object: a delivery first, then a proposal, then a request; each once."""
    lab, said = everything()
    member, order = lab.member(3, journal=Facts()), [*SENT.values()]
    for before in order[: order.index(SENT[asked]) + 1] if asked else []:
        member.receive(said[before])
    done = order.index(SENT[asked]) + 1 if asked else 0
    if kind in order and (order.index(kind) == done or (kind is Kind.PROPOSAL and done == 0)):
        assert decode(member.receive(said[kind]), lab.params)[0] == lab.session
    elif kind is Kind.DELIVERY and done == 0:
        member.receive(said[kind])
    else:
        with pytest.raises((RemoteProtocolError, LocalProtocolError)):
            member.receive(said[kind])


@pytest.mark.parametrize("phase", [Phase.DONE, Phase.ABORTED])
def test_after_the_end_nothing_is_taken(session, phase):
    server, _ = at(session, Phase.DONE if phase is Phase.DONE else Phase.SIGN)
    if phase is Phase.ABORTED:
        with pytest.raises(Aborted):
            server.advance()
    for call in (
        server.advance,
        lambda: server.receive(4, session[1][Kind.CONTRIBUTION]),
        lambda: server.receive_member(3, session[1][Kind.ANSWER]),
    ):
        with pytest.raises(LocalProtocolError, match=phase.name):
            call()


@pytest.mark.parametrize("phase", OPEN[:-1])
def test_there_is_no_result_before_the_end(session, phase):
    server, _ = at(session, phase)
    with pytest.raises(LocalProtocolError, match="no sum"):
        server.result()


def test_strangers_are_refused_by_name():
    lab = Lab()
    outsider = Lab(first=50)
    for sender, message in ((77, lab.contribution(0)), (0, outsider.contribution(50))):
        with pytest.raises(RemoteProtocolError) as refusal:
            lab.server.receive(sender, message)
        assert refusal.value.culprit == sender
    lab.until(Phase.REPORT)
    with pytest.raises(LocalProtocolError, match="member 77"):
        lab.server.receive_member(77, b"")


def test_more_clients_than_planned_are_refused():
    lab = Lab(small(n=4), n=6)
    for i in range(4):
        lab.server.receive(i, lab.contribution(i))
    with pytest.raises(RemoteProtocolError, match="all places"):
        lab.server.receive(4, lab.contribution(4))
    assert lab.finish().survivors == (0, 1, 2, 3)


def test_a_call_within_a_call_is_refused():
    lab = Lab()
    member, raised = lab.member(3), []

    class Nested(Facts):
        def add(self, fact):
            try:
                member.receive(b"")
            except LocalProtocolError as error:
                raised.append(str(error))
            return super().add(fact)

    member._journal = Nested()
    messages = lab.until(Phase.SIGN)
    member.receive(messages[3])
    assert len(raised) == 1
    assert "at work on another call" in raised[0]


# The doors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Contributor, Member, Collector])
@pytest.mark.parametrize("fault", ["params", "committee", "context", "empty context", "size"])
def test_arguments_of_another_type_are_refused(kind, fault):
    lab = Lab()
    given = {
        "params": lab.params, "committee": lab.committee, "clients": lab.clients,
        "context": lab.context, "client_id": 0, "identity": lab.people[0], "member_id": 3,
        "sealing_key": lab.keys[3], "journal": Facts(),
    }  # fmt: skip
    if kind is Member:
        given["identity"] = lab.identities[3]
    given |= {
        "params": {"params": 7},
        "committee": {"committee": lab.clients},
        "context": {"context": "round 1"},
        "empty context": {"context": b""},
        "size": {"params": small(8)},
    }[fault]
    names = {
        Contributor: ("params", "client_id", "identity", "committee", "context"),
        Member: (
            "params", "member_id", "identity", "sealing_key", "committee", "clients", "context",
            "journal",
        ),
        Collector: ("params", "committee", "clients", "context"),
    }[kind]  # fmt: skip
    with pytest.raises(LocalProtocolError):
        kind(**{name: given[name] for name in names})


def test_directories_that_believe_the_server_are_refused():
    lab = Lab()
    with pytest.raises(UnsafeParametersError, match="clients believes the server"):
        Collector(lab.params, lab.committee, TrustServerDirectory(), context=lab.context)
    with pytest.raises(UnsafeParametersError, match="members believes the server"):
        Committee(TrustServerDirectory(), [], epoch=1)


@pytest.mark.parametrize("fault", ["identity", "sealing key", "member"])
def test_a_members_keys_are_its_own(fault):
    lab = Lab()
    which = {"identity": (3, 4, 3), "sealing key": (3, 3, 4), "member": (4, 3, 3)}[fault]
    member, identity, key = which
    with pytest.raises(LocalProtocolError, match="another identity or sealing key"):
        Member(
            lab.params, member, lab.identities[identity], lab.keys[key], lab.committee, lab.clients,
            context=lab.context, journal=Facts(),
        )  # fmt: skip


# The committee and its keys -----------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["epoch", "forged", "another's", "low order"])
def test_a_false_card_names_its_member(fault):
    who = {i: Identity.generate() for i in range(3)}
    known = Directory({i: it.public for i, it in who.items()})
    cards = [SealingKey.generate(it, i, epoch=1).card for i, it in who.items()]
    cards[1] = {
        "epoch": SealingKey.generate(who[1], 1, epoch=2).card,
        "forged": cards[1][:-1] + bytes([cards[1][-1] ^ 1]),
        "another's": SealingKey.generate(who[2], 1, epoch=1).card,
        "low order": low_order(who[1]),
    }[fault]
    with pytest.raises(MemberError) as refusal:
        Committee(known, cards, epoch=1)
    assert refusal.value.culprit == 1


def low_order(identity):
    signature = identity.sign(_carded(1, 1, bytes(32)))
    return _CARD.pack(*_HEAD, 1, 1, bytes(32), signature)


@pytest.mark.parametrize("fault", ["twice", "stranger", "short", "one key", "type", "missing"])
def test_cards_that_cannot_be(fault):
    who = {i: Identity.generate() for i in range(3)}
    known = Directory({i: it.public for i, it in who.items()})
    keys = {i: SealingKey.generate(it, i, epoch=1) for i, it in who.items()}
    cards = [key.card for key in keys.values()]
    copied = SealingKey.from_private_bytes(keys[0].private_bytes(), who[1], 1, epoch=1)
    cards += {
        "twice": [cards[0]],
        "stranger": [SealingKey.generate(who[0], 9, epoch=1).card],
        "short": [cards[0][:-1]],
        "one key": [],
        "type": ["card"],
        "missing": [],
    }[fault]
    if fault == "missing":
        del cards[2]
    if fault == "one key":
        cards[1] = copied.card
    with pytest.raises(LocalProtocolError):
        Committee(known, cards, epoch=1)


def test_another_committee_is_another_session():
    lab, other = Lab(), Lab()
    assert lab.committee.session(lab.params, b"x") != other.committee.session(lab.params, b"x")
    assert lab.committee.session(lab.params, b"x") != lab.committee.session(small(floor=4), b"x")


def test_an_erased_key_opens_nothing_that_was_sealed_before():
    lab = Lab().contribute()
    sent = lab.server.advance()
    lab.keys[3].erase()
    with pytest.raises(LocalProtocolError, match="erased"):
        lab.members[3].receive(sent[3])
    again = SealingKey.generate(lab.identities[3], 3, epoch=2)
    lab.keys[3] = again
    with pytest.raises(LocalProtocolError, match="another identity or sealing key"):
        lab.member(3)


@pytest.mark.parametrize("epoch", [-1, 2**32, True, 1.0, None])
def test_epochs_have_32_bits(epoch):
    with pytest.raises(LocalProtocolError, match="epoch"):
        SealingKey.generate(Identity.generate(), 1, epoch=epoch)


@pytest.mark.parametrize("data", [b"", bytes(31), "x", None])
def test_a_private_sealing_key_has_32_bytes(data):
    with pytest.raises(LocalProtocolError):
        SealingKey.from_private_bytes(data, Identity.generate(), 1, epoch=1)


# Secrets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["contributor", "member", "key"])
def test_secrets_are_neither_printed_nor_copied(name):
    lab = Lab()
    held = {"contributor": lab.contributor(0), "member": lab.members[3], "key": lab.keys[3]}[name]
    assert "redacted" in repr(held)
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="holds keys"):
            leak(held)


def test_shares_are_dropped_as_they_are_used():
    lab = Lab()
    messages = lab.until(Phase.ANSWER)
    member = lab.members[3]
    assert len(member._held) == 5
    member.receive(messages[3])
    assert not member._held


def frames(error):
    return [dict(frame.f_locals) for frame, _ in traceback.walk_tb(error.__traceback__)][1:]


def test_no_exception_refers_to_a_secret():
    """A failure below the checks ends in an error whose frames hold nothing."""
    lab = Lab().contribute()
    sent = lab.server.advance()
    lab.members[3]._sealing_key = None
    with pytest.raises(InternalError) as failure:
        lab.members[3].receive(sent[3])
    assert all(not held or "failure" not in held for held in frames(failure.value))
    one = lab.contributor(0)
    one._identity = None
    with pytest.raises(InternalError) as failure:
        one.contribute(lab.inputs[0], message_digest=DIGEST)
    values = [value for held in frames(failure.value) for value in held.values()]
    assert not any(isinstance(value, (np.ndarray, bytes)) for value in values)


def test_an_interrupted_collector_has_ended(monkeypatch):
    lab = Lab()
    message = lab.contribution(0)

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Directory, "verify", stopped)
    with pytest.raises(KeyboardInterrupt):
        lab.server.receive(0, message)
    assert lab.server.phase is Phase.ABORTED
    assert not lab.server._accepted


def test_any_bytes_are_a_message_or_refused():
    lab = Lab()
    rng = np.random.default_rng(2)
    for size in (0, 1, 39, 40, 41, 172, 500):
        for head in (b"", b"SAGC\1\1\1\0", b"SAGC\1\1\2\0", b"SAGC\1\1\6\0"):
            data = head + rng.bytes(size)
            with pytest.raises(WireFormatError):
                decode(data, lab.params)
            with pytest.raises(RemoteProtocolError):
                lab.members[3].receive(data)
            with pytest.raises(RemoteProtocolError):
                lab.server.receive(0, data)
