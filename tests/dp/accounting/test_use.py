"""An accountant from which a composition was dropped does not answer; every way of using one does."""

from __future__ import annotations

import copy
import gc

import pytest

from dp import (
    Accountant,
    GaussianEvent,
    Ledger,
    PoissonSampling,
    UnassignedCompositionError,
    UnsupportedEventError,
)
from dp.accounting.use import Use

RELEASE = GaussianEvent(0.5, PoissonSampling(0.1))
DELTA = 1e-5
QUESTIONS = {
    "epsilon": lambda run: run.epsilon(DELTA),
    "upper_epsilon": lambda run: run.upper_epsilon(DELTA),
    "quick_epsilon": lambda run: run.quick_epsilon(DELTA),
    "delta": lambda run: run.delta(1.0),
}
ask = pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)


def drop(run, event=RELEASE, count=1000):
    """What a habit from accountants that change in place does: the result is lost."""
    run.compose(event, count)
    gc.collect()  # other interpreters free objects later


@ask
def test_compose_as_a_statement_gives_no_answer(ask):
    run = Accountant()
    drop(run)
    with pytest.raises(UnassignedCompositionError, match=r"accountant = accountant\.compose"):
        ask(run)


@ask
def test_a_statement_after_an_assignment_gives_no_answer(ask):
    run = Accountant().compose(RELEASE)
    ask(run)
    drop(run)
    for _ in range(2):  # and goes on giving none
        with pytest.raises(UnassignedCompositionError, match=r"GaussianEvent.*1000 times"):
            ask(run)


@ask
def test_what_is_assigned_answers(ask):
    run = Accountant()
    for _ in range(3):
        run = run.compose(RELEASE)
        assert ask(run) == ask(Accountant().compose(RELEASE, run.counts[0][1]))


def test_the_right_answer_is_there_after_all():
    run = Accountant().compose(RELEASE)
    drop(run)
    run = run.compose(RELEASE, 1000)
    assert run.epsilon(DELTA) == Accountant().compose(RELEASE, 1001).epsilon(DELTA)


def test_what_if_questions_are_used():
    run = Accountant().compose(RELEASE)
    while run.compose(RELEASE).epsilon(DELTA).high < 20:
        run = run.compose(RELEASE)
    assert run.epsilon(DELTA).high < 20


def test_before_and_after_both_answer():
    before = Accountant().compose(RELEASE)
    after = before.compose(RELEASE)
    assert before.epsilon(DELTA).high < after.epsilon(DELTA).high


def test_what_is_composed_further_was_used():
    run = Accountant().compose(RELEASE)
    longer = run.compose(RELEASE).compose(RELEASE)
    assert run.epsilon(DELTA).high < longer.epsilon(DELTA).high


def test_a_loss_two_steps_on_is_known_to_the_one_that_lost_it():
    run = Accountant().compose(RELEASE)
    longer = run.compose(RELEASE)
    drop(longer)
    assert run.epsilon(DELTA).high > 0
    with pytest.raises(UnassignedCompositionError):
        longer.epsilon(DELTA)


def test_a_refused_event_is_no_loss():
    run = Accountant().compose(RELEASE)
    with pytest.raises(UnsupportedEventError):
        run.compose("round")
    with pytest.raises(UnsupportedEventError):
        run.check("round")
    run.check(RELEASE)
    assert run.epsilon(DELTA).high > 0


def test_copies_are_the_accountant_itself():
    run = Accountant().compose(RELEASE)
    for made in (copy.copy(run), copy.deepcopy(run), copy.deepcopy([run])[0]):
        assert made is run


def test_equality_and_hash_do_not_tell_what_was_asked():
    run, other = Accountant().compose(RELEASE), Accountant().compose(RELEASE)
    run.epsilon(DELTA)
    assert run == other
    assert hash(run) == hash(other)
    assert "_use" not in repr(run)


def test_a_ledger_never_loses_count_of_its_own():
    ledger = Ledger(100.0, DELTA)
    ledger.charge(RELEASE)
    drop(ledger.accountant)
    ledger.would_exceed(RELEASE)
    Ledger(float("inf"), DELTA).would_exceed(RELEASE)
    ledger.charge(RELEASE)
    assert ledger.spent() == Accountant().compose(RELEASE, 2).epsilon(DELTA)
    unlimited = Ledger(float("inf"), DELTA)
    unlimited.charge(RELEASE)
    unlimited.would_exceed(RELEASE)
    assert unlimited.spent() == Accountant().compose(RELEASE).epsilon(DELTA)


def test_mutant_that_does_not_look_answers_for_less_than_was_released(monkeypatch):
    monkeypatch.setattr(Use, "ask", lambda _self, *, empty: None)
    run = Accountant()
    drop(run)
    assert run.epsilon(DELTA).high == 0
    run = Accountant().compose(RELEASE)
    drop(run)
    assert run.epsilon(DELTA).high < Accountant().compose(RELEASE, 1001).epsilon(DELTA).low / 5
