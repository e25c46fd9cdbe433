"""S24: a suspended client of which copies exist, and that a server wants to hear twice."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading

import numpy as np
import pytest

import fedavg
import secagg.roles.client.joining
import secagg.roles.client.participation
import secagg.roles.client.suspended
from secagg import (
    Client,
    InternalError,
    LocalProtocolError,
    Phase,
    Policy,
    StateError,
    UnsafeParametersError,
)
from secagg.roles.client.participation import Participation
from secagg.wire.codec import decode, encode
from secagg.wire.messages import Survivors
from tests.hostile.mutants import FOUND, without
from tests.secagg.roles.client.test_suspended import BETWEEN, WHO, Memory, fresh, resumed
from tests.secagg.support.lab import CONTEXT


def answers(lab, states, journal, messages):
    """What clients answer that are resumed from states, one after the other."""
    found = []
    for state, message in zip(states, messages, strict=True):
        with contextlib.suppress(StateError):
            found.append(resumed(lab, state, journal).receive(message))
    return found


def suspended_at(phase, journal):
    lab = fresh(journal).run_to(phase)
    return lab, lab.clients[WHO].suspend()


@pytest.mark.parametrize("phase", BETWEEN)
def test_s24_a_state_and_its_copy_answer_once(phase):
    journal = Memory()
    lab, state = suspended_at(phase, journal)
    assert len(answers(lab, [state] * 3, journal, [lab.next_messages[WHO]] * 3)) == 1


def test_s24_two_sets_are_never_signed():
    """A server that tells two sets to two copies would get both kinds of shares of the client in question."""
    journal = Memory()
    lab, state = suspended_at(Phase.CONSISTENCY, journal)
    session, everybody = decode(lab.next_messages[WHO])
    assert isinstance(everybody, Survivors)
    fewer = encode(Survivors(everybody.members[:-1] + b"\0"), session)
    signed = answers(lab, [state, state], journal, [lab.next_messages[WHO], fewer])
    assert len(signed) == 1


def test_s24_the_second_set_would_be_answered_by_a_client_of_its_own():
    """The attack above is one: each set alone is signed."""
    for last in (b"\0", b"\1"):
        journal = Memory()
        lab, state = suspended_at(Phase.CONSISTENCY, journal)
        session, everybody = decode(lab.next_messages[WHO])
        told = encode(Survivors(everybody.members[:-1] + last), session)
        assert len(answers(lab, [state], journal, [told])) == 1


def test_s24_states_of_a_whole_session_answer_nothing_after_it():
    journal, states = Memory(), {}
    lab = fresh(journal)
    while lab.server.phase is not Phase.DONE:
        for i in lab.next_messages or lab.ids:
            if i == WHO and lab.server.phase in BETWEEN:
                states[lab.server.phase] = lab.clients[i].suspend(), lab.next_messages[i]
                lab.clients[i] = resumed(lab, states[lab.server.phase][0], journal)
            lab.answer(i)
        lab.next_messages = lab.server.advance()
    assert np.array_equal(lab.server.result().total, lab.total(lab.ids))
    assert set(states) == set(BETWEEN)
    for state, message in states.values():
        assert answers(lab, [state], journal, [message]) == []


def test_s24_a_claim_comes_before_the_answer(monkeypatch):
    """A process that is killed while it makes an answer may have sent it: nothing is answered again."""
    journal = Memory()
    lab, state = suspended_at(Phase.UNMASK, journal)
    with monkeypatch.context() as killed:
        killed.setattr(secagg.roles.client.participation, "encode", _fails)
        with pytest.raises(InternalError):
            resumed(lab, state, journal).receive(lab.next_messages[WHO])
    assert answers(lab, [state], journal, [lab.next_messages[WHO]]) == []


def _fails(*_):
    raise MemoryError


def _answer_at(barrier, found, path, lab, state, message):
    client = resumed(lab, state, fedavg.FileJournal(path))
    barrier.wait()
    try:
        found.put(len(client.receive(message)))
    except StateError:
        found.put(0)


class _Found(list):
    put = list.append


def _raced(tmp_path, start, barrier, found):
    path = tmp_path / "once"
    lab, state = suspended_at(Phase.UNMASK, fedavg.FileJournal(path))
    given = barrier, found, path, lab, state, lab.next_messages[WHO]
    racers = [start(target=_answer_at, args=given) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)


def test_s24_of_four_threads_one_answers(tmp_path):
    found = _Found()
    _raced(tmp_path, threading.Thread, threading.Barrier(4), found)
    assert sorted(map(bool, found)) == [False, False, False, True]


def test_s24_of_four_processes_one_answers(tmp_path):
    """Forked ones: each resumes the state for itself, over a journal of its own on the one file."""
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    _raced(tmp_path, fork.Process, fork.Barrier(4), queue)
    found = [queue.get(timeout=60) for _ in range(4)]
    assert sorted(map(bool, found)) == [False, False, False, True]


@pytest.mark.parametrize("phase", BETWEEN)
def test_s24_a_journal_that_does_not_know_the_client_is_refused(phase):
    """An empty journal beside a state would let each copy answer once for each such journal."""
    lab, state = suspended_at(phase, Memory())
    assert answers(lab, [state], Memory(), [lab.next_messages[WHO]]) == []


def test_s24_a_journal_that_was_asked_about_one_phase_answers_no_other():
    """A question leaves a record in a journal, which must not pass for the client's own later."""
    journal, strange, states = Memory(), Memory(), []
    lab = fresh(journal)
    while lab.server.phase is not Phase.DONE:
        for i in lab.next_messages or lab.ids:
            if i == WHO and lab.server.phase in BETWEEN:
                states.append((lab.clients[i].suspend(), lab.next_messages[i]))
                lab.clients[i] = resumed(lab, states[-1][0], journal)
            lab.answer(i)
        lab.next_messages = lab.server.advance()
    for state, message in [*states, *reversed(states)]:
        assert answers(lab, [state], strange, [message]) == []


def test_s24_a_client_whose_journal_fails_stays_in_memory():
    class Full(Memory):
        full = False

        def add(self, fact, /):
            if self.full:
                raise OSError("disk full")
            return super().add(fact)

    journal = Full()
    lab = fresh(journal).run_to(Phase.CHECK_SHARES)
    journal.full = True
    with pytest.raises(LocalProtocolError, match="nothing is suspended: disk full"):
        lab.clients[WHO].suspend()
    journal.full = False
    state = lab.clients[WHO].suspend()
    assert len(answers(lab, [state], journal, [lab.next_messages[WHO]])) == 1


@pytest.mark.parametrize("phase", BETWEEN)
def test_s24_a_state_holds_no_more_than_its_phase_needs(phase):
    """No input, seed or mask key once the input was masked; one kind of share once a set was signed."""
    journal = Memory()
    lab, state = suspended_at(phase, journal)
    secrets = resumed(lab, state, journal)._secrets
    masked = phase in (Phase.CONSISTENCY, Phase.UNMASK)
    assert masked == (secrets.input is None) == (secrets.seed is None) == (secrets.mask is None)
    assert bool(secrets.due) == (phase is Phase.UNMASK)
    assert not (secrets.due and secrets.held)


@pytest.mark.parametrize("phase", BETWEEN)
def test_s24_no_secret_shows_in_a_state(phase):
    """Neither the input, nor a key, seed or share is readable in the bytes."""
    journal = Memory()
    lab = fresh(journal).run_to(phase)
    secrets = lab.clients[WHO]._secrets
    hidden = [secrets.own_share, *secrets.held.values(), *secrets.due.values()]
    hidden += [secret for secret in (secrets.seed,) if secret is not None]
    hidden += [key.private_bytes() for key in (secrets.mask, secrets.channel) if key is not None]
    hidden += [] if secrets.input is None else [secrets.input.tobytes()]
    hidden += [lab.identities[WHO].private_bytes()]
    state = lab.clients[WHO].suspend()
    assert not any(secret in state for secret in hidden if secret)


# Mutants ------------------------------------------------------------------------------------------------


def test_s24_mutant_without_a_claim_answers_twice(monkeypatch, tmp_path):
    monkeypatch.setattr(secagg.roles.client.participation, "claim_answer", lambda *_: None)
    for attack in (
        lambda: test_s24_a_state_and_its_copy_answer_once(Phase.UNMASK),
        test_s24_two_sets_are_never_signed,
        test_s24_states_of_a_whole_session_answer_nothing_after_it,
        lambda: test_s24_of_four_threads_one_answers(tmp_path),
        lambda: test_s24_of_four_processes_one_answers(tmp_path),
    ):
        with pytest.raises(FOUND):
            attack()


def test_s24_mutant_that_ignores_the_journals_answer_signs_two_sets(monkeypatch):
    mutant = without(
        monkeypatch,
        secagg.roles.client.joining,
        "claim_answer",
        'not _added(journal, _of_phase(b"secagg answers", who, phase), what)',
    )
    monkeypatch.setattr(secagg.roles.client.participation, "claim_answer", mutant)
    with pytest.raises(FOUND):
        test_s24_two_sets_are_never_signed()


def test_s24_mutant_that_claims_for_all_phases_at_once_cannot_go_on(monkeypatch):
    """One claim a session would not do either: a client answers five messages."""
    kind = 'CLIENT_AWAITS[phase].to_bytes(1, "little")'
    without(monkeypatch, secagg.roles.client.joining, "_of_phase", kind, 'b""')
    with pytest.raises(StateError):
        test_s24_states_of_a_whole_session_answer_nothing_after_it()


def test_s24_mutant_that_claims_after_the_answer_gives_it_twice(monkeypatch):
    claim = "claim_answer(present(self._journal), self._who(secrets), self._phase)"
    without(monkeypatch, Participation, "_acting", claim, "pass")
    later = Participation._acting

    def acting(self, step, secrets):
        who = self._who(secrets), self._phase
        data = later(self, step, secrets)
        if self._resumed:
            secagg.roles.client.joining.claim_answer(self._journal, *who)
        return data

    monkeypatch.setattr(Participation, "_acting", acting)
    with pytest.raises(FOUND):
        test_s24_a_claim_comes_before_the_answer(monkeypatch)


def test_s24_mutant_that_takes_any_journal_answers(monkeypatch):
    mutant = without(
        monkeypatch,
        secagg.roles.client.joining,
        "claim_answer",
        '_added(journal, _of_phase(b"secagg suspended", who, phase), what)',
    )
    monkeypatch.setattr(secagg.roles.client.participation, "claim_answer", mutant)
    with pytest.raises(FOUND):
        test_s24_a_journal_that_does_not_know_the_client_is_refused(Phase.UNMASK)


def test_s24_mutant_that_asks_for_the_joining_learns_it_from_the_question(monkeypatch):
    """One fact for all phases: the refusal of the first state records what the second one needs."""
    one = '_of_phase(b"secagg suspended", who, phase)'
    asked = without(monkeypatch, secagg.roles.client.joining, "claim_answer", one, 'b"once"')
    monkeypatch.setattr(secagg.roles.client.participation, "claim_answer", asked)
    told = without(monkeypatch, secagg.roles.client.joining, "allow_answers", one, 'b"once"')
    monkeypatch.setattr(secagg.roles.client.participation, "allow_answers", told)
    with pytest.raises(FOUND):
        test_s24_a_journal_that_was_asked_about_one_phase_answers_no_other()


def test_s24_a_state_that_is_put_away_again_teaches_a_journal_nothing():
    """Only the client that never was a state tells a journal that it is suspended."""
    journal, strange = Memory(), Memory()
    lab, state = suspended_at(Phase.UNMASK, journal)
    again = resumed(lab, state, strange).suspend()
    assert answers(lab, [again, state], strange, [lab.next_messages[WHO]] * 2) == []
    assert len(answers(lab, [state], journal, [lab.next_messages[WHO]])) == 1


def test_s24_mutant_whose_states_teach_any_journal_answers_twice(monkeypatch):
    without(monkeypatch, Participation, "suspend", "not self._resumed", "True")
    with pytest.raises(FOUND):
        test_s24_a_state_that_is_put_away_again_teaches_a_journal_nothing()


def test_s24_each_state_has_a_key_of_its_own():
    """The nonce is fixed: two plain texts under one key would show their difference."""
    journal = Memory()
    lab, state = suspended_at(Phase.CHECK_SHARES, journal)
    salts = {state[44:76]}
    for _ in range(9):
        state = resumed(lab, state, journal).suspend()
        salts.add(state[44:76])
    assert len(salts) == 10


def test_s24_mutant_with_one_salt_has_one_key(monkeypatch):
    monkeypatch.setattr(secagg.roles.client.suspended, "entropy", bytes)
    with pytest.raises(FOUND):
        test_s24_each_state_has_a_key_of_its_own()


def test_s24_a_resumed_client_keeps_its_own_floors():
    """A policy that the session does not meet is refused at the resume, as at the offer."""
    journal = Memory()
    lab, state = suspended_at(Phase.UNMASK, journal)
    me = lab.identities[WHO]
    with pytest.raises(UnsafeParametersError):
        Client.resume(
            state,
            WHO,
            me,
            lab.directory,
            context=CONTEXT,
            journal=journal,
            policy=Policy(min_survivors=1000),
        )
