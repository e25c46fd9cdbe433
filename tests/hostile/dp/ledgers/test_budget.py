"""D8: budgets that are passed, raced, or fed with NaN; each defence is shown to matter."""

from __future__ import annotations

import math
import threading

import pytest

from dp import (
    Accountant,
    BudgetExhaustedError,
    GaussianEvent,
    InvalidParameterError,
    Ledger,
    NonFiniteError,
    PoissonSampling,
)

ROUND = GaussianEvent(1.3, PoissonSampling(0.15))


def drain(ledger: Ledger, limit: int) -> int:
    """Charges until the ledger refuses."""
    for done in range(limit):
        try:
            ledger.charge(ROUND)
        except BudgetExhaustedError:
            return done
    return limit


def test_budget_is_hard():
    ledger = Ledger(1.5, 1e-5)
    done = drain(ledger, 20)
    assert 0 < done < 20
    assert ledger.spent().high <= 1.5
    assert ledger.state_dict()["events"][0]["count"] == done


def test_mutant_without_the_check_spends_on(monkeypatch):
    monkeypatch.setattr(Ledger, "_over", lambda _self, _accountant: False)
    ledger = Ledger(1.5, 1e-5)
    assert drain(ledger, 20) == 20
    assert ledger.spent().high > 1.5


def test_nan_epsilon_is_never_within_budget(monkeypatch):
    """FLIP PR 833: `nan > budget` is False, so the comparison must be the other way round."""

    class Broken:
        low = high = math.nan

    monkeypatch.setattr(Accountant, "quick_epsilon", lambda _self, _delta: math.nan)
    monkeypatch.setattr(Accountant, "epsilon", lambda _self, _delta: Broken)
    ledger = Ledger(1.5, 1e-5)
    with pytest.raises(NonFiniteError):
        ledger.charge(ROUND)
    assert ledger.state_dict()["events"] == []
    # the mutant that compares the naive way accepts NaN
    monkeypatch.setattr(Ledger, "_over", lambda self, a: a.epsilon(1e-5).high > self.epsilon)
    ledger.charge(ROUND)
    assert ledger.state_dict()["events"][0]["count"] == 1


def test_epsilon_is_never_negative():
    """Opacus PR 844: large δ or tiny releases must not give credit."""
    for event in (GaussianEvent(1e6), GaussianEvent(1e5, PoissonSampling(1e-6))):
        for delta in (1e-12, 0.3, 0.99, 1.0):
            bracket = Accountant().compose(event).epsilon(delta)
            assert 0 <= bracket.low <= bracket.high
            assert Accountant().compose(event).quick_epsilon(delta) >= 0


def test_very_small_costs_add_up():
    """10⁹ releases of almost nothing are not nothing."""
    event = GaussianEvent(1e4)
    assert Accountant().compose(event, 10**9).epsilon(1e-5).high > 10
    ledger = Ledger(1.0, 1e-5)
    with pytest.raises(BudgetExhaustedError):
        ledger.charge(event, 10**9)


def test_non_private_release_is_infinite():
    assert Accountant().compose(GaussianEvent(0.0)).epsilon(1e-5).high == math.inf
    with pytest.raises(BudgetExhaustedError):
        Ledger(1e9, 1e-5).charge(GaussianEvent(0.0))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1.0])
def test_bad_numbers_stop_at_the_door(bad):
    with pytest.raises(InvalidParameterError):
        GaussianEvent(bad)
    with pytest.raises(InvalidParameterError):
        PoissonSampling(bad)
    with pytest.raises(InvalidParameterError):
        Ledger(1.0, bad)
    with pytest.raises(InvalidParameterError):
        Ledger(bad if bad != math.inf else math.nan, 1e-5)


def test_mutant_without_the_door_lets_nan_in(monkeypatch):
    monkeypatch.setattr("dp.events.gaussian.check_noise_multiplier", lambda value: value)
    assert math.isnan(GaussianEvent(math.nan).noise_multiplier)


class Stalled(Ledger):
    """A ledger whose check takes long enough that all racers are inside of it."""

    __slots__ = ("barrier", "entered")

    def _over(self, accountant: Accountant) -> bool:
        result = super()._over(accountant)
        self.entered.append(1)
        if self.barrier is not None:
            self.barrier.wait(timeout=10)
        return result


class NoLock:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


def race(ledger: Stalled) -> int:
    refused = []

    def run() -> None:
        try:
            ledger.charge(GaussianEvent(5.0))
        except BudgetExhaustedError:
            refused.append(1)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(refused)


def racing_ledger() -> Stalled:
    ledger = Stalled(1.0, 1e-5)  # room for one release, not for two
    ledger.entered, ledger.barrier = [], None
    return ledger


def test_two_rounds_racing():
    assert race(racing_ledger()) == 1


def test_mutant_without_the_lock_lets_both_through():
    ledger = racing_ledger()
    ledger._lock = NoLock()
    ledger.barrier = threading.Barrier(2)
    assert race(ledger) == 0
    assert len(ledger.entered) == 2
