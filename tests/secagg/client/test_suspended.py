"""A client that is suspended between two phases, and resumed elsewhere, answers as a resident one does."""

from __future__ import annotations

import numpy as np
import pytest

import fedavg
from secagg import Client, LocalProtocolError, Phase, StateError
from secagg.testing import deterministic_entropy
from tests.secagg.support.lab import ANY_OFFER, CONTEXT, Lab

WHO = 20
BETWEEN = (
    Phase.SHARE_KEYS,
    Phase.CHECK_SHARES,
    Phase.MASKED_INPUT,
    Phase.CONSISTENCY,
    Phase.UNMASK,
)


class Memory(set):
    def add(self, fact, /):
        new = fact not in self
        super().add(fact)
        return new


def resumed(lab, state, journal, **other):
    given = {"client_id": WHO, "identity": lab.identities[WHO], "context": CONTEXT} | other
    return Client.resume(state, directory=lab.directory, journal=journal, policy=ANY_OFFER, **given)


def fresh(journal):
    """A lab whose client WHO has a journal."""
    lab = Lab.__new__(Lab)
    join = Lab.join
    try:
        Lab.join = lambda self, i, **k: join(self, i, **k, journal=journal if i == WHO else None)
        lab.__init__(5)
    finally:
        Lab.join = join
    return lab


def at(phase, journal):
    lab = fresh(journal).run_to(phase)
    return lab, lab.clients[WHO].suspend()


def played(suspending, journal):
    """The client's messages of a whole session."""
    with deterministic_entropy(b"one session"):
        lab = fresh(journal)
        while lab.server.phase is not Phase.DONE:
            for i in lab.next_messages or lab.ids:
                if i == WHO and suspending and lab.server.phase in BETWEEN:
                    client = lab.clients[i]
                    salted = deterministic_entropy(lab.server.phase.value.encode())
                    with salted:
                        state = client.suspend()
                    lab.clients[i] = resumed(lab, state, journal)
                lab.answer(i)
            lab.next_messages = lab.server.advance()
    assert np.array_equal(lab.server.result().total, lab.total(lab.ids))
    return {phase: data for (phase, i), data in lab.sent.items() if i == WHO}


def test_a_resumed_client_sends_what_a_resident_one_sends(tmp_path):
    there = played(True, fedavg.FileJournal(tmp_path / "once"))
    assert there == played(False, Memory())
    assert len(there) == 6


@pytest.mark.parametrize("phase", BETWEEN)
def test_of_two_resumes_of_one_state_one_answers(phase):
    journal = Memory()
    lab, state = at(phase, journal)
    first, second = resumed(lab, state, journal), resumed(lab, state, journal)
    lab.server.receive(WHO, first.receive(lab.next_messages[WHO]))
    with pytest.raises(StateError, match="answered phase"):
        second.receive(lab.next_messages[WHO])
    with pytest.raises(LocalProtocolError, match="ABORTED"):
        second.receive(lab.next_messages[WHO])


@pytest.mark.parametrize("phase", BETWEEN)
def test_a_state_of_somebody_else_or_altered_is_refused(phase):
    journal = Memory()
    lab, state = at(phase, journal)
    for place in range(len(state)):
        bad = bytearray(state)
        bad[place] ^= 1
        with pytest.raises(StateError):
            resumed(lab, bytes(bad), journal)
    for cut in range(len(state)):
        with pytest.raises(StateError):
            resumed(lab, state[:cut], journal)
    for other in (
        {"client_id": 30},
        {"identity": lab.identities[30]},
        {"context": b"another"},
    ):
        with pytest.raises(StateError):
            resumed(lab, state, journal, **other)


def test_a_suspended_client_answers_no_more_and_needs_a_journal():
    lab, _ = at(Phase.SHARE_KEYS, Memory())
    with pytest.raises(LocalProtocolError, match="was suspended"):
        lab.clients[WHO].receive(lab.next_messages[WHO])
    with pytest.raises(LocalProtocolError, match="needs a journal"):
        lab.clients[10].suspend()


@pytest.mark.parametrize("phase", BETWEEN)
def test_another_journal_is_noticed_and_stays_noticed(phase):
    lab, state = at(phase, Memory())
    empty = Memory()
    for _ in range(2):
        with pytest.raises(StateError):
            resumed(lab, state, empty).receive(lab.next_messages[WHO])
