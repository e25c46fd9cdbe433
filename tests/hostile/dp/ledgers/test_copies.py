"""A ledger by copying: a copy would have the whole rest of the budget once more (D12)."""

from __future__ import annotations

import copy
import pickle

import pytest

from dp import Accountant, BudgetExhaustedError, GaussianEvent, InvalidParameterError, Ledger
from tests.hostile.dp.ledgers.test_crashes import in_a_process
from tests.hostile.mutants import FOUND, without

EVENT = GaussianEvent(8.0)
BUDGET = 2.0


def spent(*ledgers: Ledger) -> int:
    """Releases until all are exhausted."""
    done = 0
    for ledger in ledgers:
        try:
            while True:
                ledger.charge(EVENT)
                done += 1
        except BudgetExhaustedError:
            pass
    return done


def epsilon_of(releases: int) -> float:
    return Accountant().compose(EVENT, releases).epsilon(1e-5).high


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, pickle.dumps])
def test_d12_a_ledger_is_not_copied(way):
    ledger = Ledger(BUDGET, 1e-5)
    ledger.charge(EVENT)
    with pytest.raises(InvalidParameterError, match="second budget"):
        way(ledger)
    assert len(ledger.history) == 1
    assert epsilon_of(1 + spent(ledger)) <= BUDGET


def test_d12_mutant_that_may_be_copied_spends_its_budget_twice(monkeypatch):
    monkeypatch.setattr(Ledger, "__reduce__", object.__reduce__)
    ledger = Ledger(BUDGET, 1e-5)
    assert epsilon_of(spent(ledger, copy.copy(ledger))) > 1.4 * BUDGET


def releases_of_a_fork(ledger: Ledger) -> int:
    """Releases until a copy by fork is exhausted; 0 if the copy refuses."""

    def work() -> int:
        try:
            return spent(ledger)
        except InvalidParameterError:
            return 0

    return in_a_process(work)


def test_d12_a_fork_of_a_ledger_spends_nothing():
    """A server that forks its workers gave each of them the whole budget."""
    ledger = Ledger(BUDGET, 1e-5)
    ledger.charge(EVENT)
    assert epsilon_of(1 + releases_of_a_fork(ledger) + spent(ledger)) <= BUDGET
    assert in_a_process(lambda: spent(Ledger(BUDGET, 1e-5))) > 1  # made after the fork


def test_d12_mutant_that_spends_in_a_fork(monkeypatch):
    without(monkeypatch, Ledger, "charge", "self._process != os.getpid()")
    with pytest.raises(FOUND):
        test_d12_a_fork_of_a_ledger_spends_nothing()
