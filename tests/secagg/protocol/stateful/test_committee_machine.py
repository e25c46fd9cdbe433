"""A committee under random schedules: members that fall silent, lie, restart and repeat; clients that cheat.

What holds after every step: at most one set is ever signed by a member in the context, a refusal changes
nothing, nobody honest is convicted, and a result is the sum over its survivors.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from secagg import Aborted, LocalProtocolError, RemoteProtocolError
from secagg.committee import CommitteePhase as Phase
from secagg.committee.collector.admission import Accepted
from secagg.committee.wire.codec import packed_sums, sums_of
from secagg.committee.wire.messages import Answer, Endorsement
from tests.secagg.committee.support.lab import Lab, small

MEMBERS, CLIENTS = 8, 6
LIAR = 0
"""The corrupt member; c = 1."""
CHEATS = frozenset({0, 1})
"""Clients that may send rubbish."""
OPEN = (Phase.CONTRIBUTE, Phase.REPORT, Phase.SIGN, Phase.ANSWER)


def refused(receive, sender, message):
    """Whom a refusal names; None if there is none."""
    try:
        receive(sender, message)
    except RemoteProtocolError as refusal:
        return refusal.culprit
    return None


class CommitteeMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.lab = Lab(small(MEMBERS, 1, 1, 4, CLIENTS))
        self.sent, self.replies, self.old = {}, {}, []
        self.endorsed = {j: set() for j in range(MEMBERS)}
        self.cheated = set()

    @property
    def phase(self):
        return self.lab.server.phase

    def in_phase(self, *phases):
        return self.phase in phases

    @precondition(lambda self: self.in_phase(Phase.CONTRIBUTE))
    @rule(client=st.integers(0, CLIENTS - 1), cheat=st.booleans())
    def contribute(self, client, cheat):
        lab, known = self.lab, set(self.lab.server._accepted)
        message = lab.contribution(client)
        if cheat and client in CHEATS:
            content = lab.read(message)
            rubbish = (bytes(lab.params.envelope_size),) * (MEMBERS - 3)
            content = replace(content, envelopes=rubbish + content.envelopes[-3:])
            name = Accepted.of(content, lab.session).name
            message = lab.write(replace(content, signature=lab.people[client].sign(name)))
        culprit = refused(lab.server.receive, client, message)
        assert culprit == (client if client in known else None)
        assert set(lab.server._accepted) == known | {client}
        if culprit is None and cheat and client in CHEATS:
            self.cheated.add(client)
        self.old.append(message)

    @precondition(lambda self: self.in_phase(*OPEN[1:]))
    @rule(member=st.integers(0, MEMBERS - 1))
    def answer(self, member):
        if member not in self.sent:
            return
        try:
            reply = self.lab.members[member].receive(self.sent[member])
        except (RemoteProtocolError, LocalProtocolError):
            return  # asked before, or its shares were lost
        self.old.append(reply)
        content = self.lab.read(reply)
        if isinstance(content, Endorsement):
            self.endorsed[member].add(content.signature)
        self.give(member, reply)

    @precondition(lambda self: self.in_phase(Phase.ANSWER))
    @rule(shift=st.integers(1, 4000))
    def lie(self, shift):
        """The corrupt member shifts its sums, and signs that."""
        lab = self.lab
        if LIAR not in self.sent:
            return
        try:
            answer = lab.read(lab.members[LIAR].receive(self.sent[LIAR]))
        except (RemoteProtocolError, LocalProtocolError):
            return
        sums = (sums_of(lab.params, answer) + shift) % np.array(lab.params.moduli)[:, None]
        packed = packed_sums(lab.params, sums)
        statement = Answer.signed(lab.session, lab.server._set, LIAR, packed)
        signed = lab.identities[LIAR].sign(statement)
        self.give(LIAR, lab.write(Answer(LIAR, signed, packed)))

    def give(self, member, reply):
        known = dict(self.lab.server._received)
        culprit = refused(self.lab.server.receive_member, member, reply)
        assert culprit in (None, member)
        assert culprit is None or self.lab.server._received == known

    @rule(member=st.integers(0, MEMBERS - 1))
    def restart(self, member):
        self.lab.members[member] = self.lab.member(member)

    @rule(data=st.data(), member=st.integers(0, MEMBERS - 1))
    def replay(self, data, member):
        """Any old message, to a member and in a member's name: taken once, or refused."""
        if not self.old:
            return
        message = data.draw(st.sampled_from(self.old))
        for receive in (self.lab.members[member].receive, lambda m: self.give(member, m)):
            try:
                receive(message)
            except (RemoteProtocolError, LocalProtocolError):
                continue

    @precondition(lambda self: self.in_phase(*OPEN))
    @rule()
    def advance(self):
        before, self.sent = self.phase, {}
        with contextlib.suppress(Aborted):
            self.sent = self.lab.server.advance()
        assert OPEN.index(before) < [*Phase].index(self.phase)

    @invariant()
    def nobody_signs_twice(self):
        assert all(len(signatures) <= 1 for signatures in self.endorsed.values())

    @invariant()
    def nobody_honest_is_named(self):
        assert {found.client_id for found in self.lab.server.convictions} <= self.cheated

    @invariant()
    def requests_count_as_opened(self):
        assert self.lab.server.opened == (self.lab.server._asked > 0)

    @invariant()
    def a_result_is_right(self):
        if self.phase is Phase.DONE:
            result = self.lab.server.result()
            assert not set(result.survivors) & self.cheated
            assert len(result.survivors) >= self.lab.params.min_clients
            assert np.array_equal(result.total, self.lab.total(result.survivors))


TestCommittee = CommitteeMachine.TestCase
TestCommittee.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)


def test_a_whole_session_is_within_the_machines_reach():
    machine = CommitteeMachine()
    for client in range(CLIENTS):
        machine.contribute(client, cheat=client == 1)
    while machine.phase in OPEN:
        machine.advance()
        for member in sorted(machine.sent):
            if machine.phase is Phase.ANSWER and member == LIAR:
                machine.lie(7)
            machine.answer(member)
    machine.a_result_is_right()
    assert machine.phase is Phase.DONE
    assert machine.lab.server.result().survivors == (0, 2, 3, 4, 5)
