"""The facts that a client records in its journal, and what a journal may answer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import secagg.roles.client.joining
from secagg import Identity, LocalProtocolError, Phase, StateError
from secagg.roles.client.joining import allow_answers, claim_answer
from secagg.session.state import CLIENT_AWAITS
from tests.hostile.mutants import FOUND
from tests.secagg.roles.client.test_suspended import WHO, Memory, at, fresh, resumed

SESSIONS = bytes(32), bytes(31) + b"\1"
ME = Identity.generate()


def clients():
    """Each differs from another one in its identity, its id or its session alone."""
    identities = ME, Identity.generate()
    return list(itertools.product(identities, (0, 1, 256, 2**32 - 1), SESSIONS))


def test_each_client_of_a_journal_answers_each_phase_once():
    """One person's devices may share a journal, and an identity may have another id in each federation."""
    journal = Memory()
    everybody = clients()
    for who in everybody:
        allow_answers(journal, who)
    for who in everybody:
        for phase in CLIENT_AWAITS:
            claim_answer(journal, who, phase)
    for who in everybody:
        for phase in CLIENT_AWAITS:
            with pytest.raises(StateError, match=f"answered phase {phase.name} before"):
                claim_answer(journal, who, phase)
    assert len(journal) == 2 * len(everybody) * len(CLIENT_AWAITS)


def test_that_one_client_was_suspended_says_nothing_of_another():
    first, *others = clients()
    for who in others:
        journal = Memory()
        allow_answers(journal, first)
        with pytest.raises(StateError, match="does not know that this client was suspended"):
            claim_answer(journal, who, Phase.UNMASK)


@pytest.mark.parametrize(
    "fact",
    [
        lambda what, who: what + who[0].public + who[2],
        lambda what, who: what + who[0].public + who[1].to_bytes(4, "little"),
        lambda what, who: what + who[1].to_bytes(4, "little") + who[2],
        lambda what, who: what + who[0].public + bytes([who[1] % 256]) + who[2],
    ],
    ids=["without id", "without session", "without identity", "with a part of the id"],
)
def test_mutants_whose_facts_name_less_are_found(fact, monkeypatch):
    monkeypatch.setattr(secagg.roles.client.joining, "_fact", fact)
    with pytest.raises(StateError):
        test_each_client_of_a_journal_answers_each_phase_once()
    with pytest.raises(FOUND):
        test_that_one_client_was_suspended_says_nothing_of_another()


WRONG = [1, 0, None, "True", b"\1", np.int64(1)]


class Telling(Memory):
    """A journal whose answers a test may replace."""

    told: object = ...

    def add(self, fact, /):
        new = super().add(fact)
        return new if self.told is ... else self.told


@pytest.mark.parametrize("told", WRONG)
def test_a_journal_answers_with_true_or_false(told):
    """None, of an `add` that returns nothing, must not let every copy of a state answer."""
    journal = Telling()
    lab, state = at(Phase.UNMASK, journal)
    journal.told = told
    with pytest.raises(
        LocalProtocolError, match="nothing is answered: what journal.add returns must be"
    ):
        resumed(lab, state, journal).receive(lab.next_messages[WHO])
    other = Telling()
    lab = fresh(other).run_to(Phase.UNMASK)
    other.told = told
    with pytest.raises(
        LocalProtocolError, match="nothing is suspended: what journal.add returns must be"
    ):
        lab.clients[WHO].suspend()


def test_a_truth_value_of_numpy_is_an_answer():
    journal = Telling()
    lab, state = at(Phase.UNMASK, journal)
    journal.told = np.False_
    with pytest.raises(StateError):
        resumed(lab, state, journal).receive(lab.next_messages[WHO])


@pytest.mark.parametrize("told", [1, 0])
def test_mutant_that_takes_anything_for_an_answer(told, monkeypatch):
    monkeypatch.setattr(secagg.roles.client.joining, "boolean", lambda _, value: bool(value))
    with pytest.raises((*FOUND, StateError)):
        test_a_journal_answers_with_true_or_false(told)
