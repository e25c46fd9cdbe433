"""One budget for several federations: charged before each release, refused early, never half charged."""

from __future__ import annotations

import math

import pytest

from dp import (
    Accountant,
    BudgetExhaustedError,
    FixedSizeSampling,
    GaussianEvent,
    Ledger,
    NeighboringRelation,
    SharedLedger,
)
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.errors import ConfigError
from fedavg.federation import shared as module
from fedavg.federation.shared import SharedBudget, charge_failure, charge_round
from fedavg.plan.plan import Budget
from fedavg.privacy.noise import CentralGaussian
from fedavg.sums.plain import InsecurePlain
from tests.e2e.small import federation

PRIVATE = {
    "encoding": FixedPoint(1.0, 16),
    "noise": CentralGaussian(4.0),
    "budget": Budget(math.inf, 1e-5),
}
ROUNDS = 3


BARE = {"encoding": FixedPoint(1.0, 16, rounding="nearest"), "budget": Budget(math.inf, 1e-5)}


def federate(changes=None, shared=None):
    changes = PRIVATE if changes is None else changes
    return federation(InsecurePlain(), n=20, changes=changes, shared=shared)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "budget.json"
    SharedLedger.create(path, Ledger(50.0, 1e-5))
    return path


def test_two_runs_cost_what_their_releases_cost_together(path):
    for label in ("first", "second"):
        run = federate(shared=SharedBudget(path, label))
        assert len(list(run.run(ROUNDS))) == ROUNDS
        own = run.ledger.spent().high
        assert SharedLedger(path).read().spent_by(label).high == pytest.approx(own)
    ledger = SharedLedger(path).read()
    event = run.resolve(ROUNDS).release_event()
    assert dict(ledger.accountant.counts)[event] == 2 * ROUNDS
    assert own < ledger.spent().high < 2 * own
    together = Accountant().compose(event, 2 * ROUNDS).epsilon(1e-5)
    assert ledger.spent().high == pytest.approx(together.high, rel=1e-3)


def test_a_run_ends_where_the_shared_budget_ends(path, tmp_path):
    resolution = federate().resolve(ROUNDS)
    limit = Ledger(math.inf, 1e-5)
    limit.charge(resolution.failure(), ROUNDS)
    limit.charge(resolution.release_event(), 2)
    small = tmp_path / "small.json"
    SharedLedger.create(small, Ledger(limit.spent().high * 1.001, 1e-5))
    budget = SharedBudget(small, "run")
    assert budget.check(resolution) == 2
    assert SharedLedger(small).read().history == ()  # asking costs nothing
    run = federate(shared=budget)
    assert len(list(run.run(ROUNDS))) == 2
    assert run.stopped == "budget"
    assert len(run.ledger.history) == 3
    with pytest.raises(ConfigError, match=r"no room for a single round"):
        budget.check(resolution)
    assert SharedBudget(path, "run").check(resolution) == ROUNDS


def test_a_runs_own_end_charges_nobody_else(path):
    event = GaussianEvent(4.0)
    own = Ledger(Accountant().compose(event).epsilon(1e-5).high * 1.001, 1e-5)
    budget = SharedBudget(path, "run")
    assert charge_round(own, budget, event) is True
    assert charge_round(own, budget, event) is False
    assert len(budget.read().history) == 1
    assert charge_round(Ledger(9.0, 1e-5), None, event) is True


def test_the_shared_ledger_is_charged_before_the_runs_own(path, monkeypatch):
    """What breaks off between them has cost too much there, never too little."""
    own, budget = Ledger(50.0, 1e-5), SharedBudget(path, "run")

    def crash(_self, _event, _count=1, **_label):
        raise RuntimeError("killed")

    monkeypatch.setattr(Ledger, "charge", crash)
    monkeypatch.setattr(SharedLedger, "charge", lambda *_args, **_label: None)
    with pytest.raises(RuntimeError):
        charge_round(own, budget, GaussianEvent(4.0))
    monkeypatch.undo()
    monkeypatch.setattr(SharedBudget, "charge", crash)
    with pytest.raises(RuntimeError):
        charge_round(own, budget, GaussianEvent(4.0))
    assert own.history == ()


def test_mutant_that_charges_its_own_first_forgets_a_release(path, monkeypatch):
    """The same crash between the two: the release is in the run's ledger, and not in the shared one."""

    def own_first(ledger, shared, event):
        ledger.charge(event)
        shared.charge(event)

    def crash(_self, _event, _count=1):
        raise RuntimeError("killed")

    own, budget = Ledger(50.0, 1e-5), SharedBudget(path, "run")
    monkeypatch.setattr(module, "charge_round", own_first)
    monkeypatch.setattr(SharedBudget, "charge", crash)
    with pytest.raises(RuntimeError):
        module.charge_round(own, budget, GaussianEvent(4.0))
    assert len(own.history) == 1
    assert budget.read().history == ()


def test_failures_are_charged_once_a_run(path):
    resolution, budget = federate().resolve(ROUNDS), SharedBudget(path, "run")
    own = Ledger(50.0, 1e-5)
    charge_failure(own, budget, resolution)
    charge_failure(own, budget, resolution)  # as after a restart
    assert len(own.history) == len(budget.read().history) == 1
    tiny = Ledger(1e-9, 1e-300)
    with pytest.raises(BudgetExhaustedError):
        charge_failure(tiny, budget, resolution)
    assert len(budget.read().history) == 1


def test_runs_without_noise_charge_no_ledger(path):
    resolution = federate(BARE).resolve(ROUNDS)
    with pytest.raises(ConfigError, match=r"privacy\.ledger counts what noise costs"):
        SharedBudget(path, "run").check(resolution)
    own = Ledger(50.0, 1e-5)
    charge_failure(own, None, resolution)
    assert own.history == ()


def test_what_is_no_ledger_for_runs_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(ConfigError, match="fedavg ledger create"):
        SharedBudget(tmp_path / "none.json", "run")
    (tmp_path / "text.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be used"):
        SharedBudget(tmp_path / "text.json", "run")
    with pytest.raises(ConfigError, match="cannot be used"):
        SharedBudget(tmp_path, "run")
    other = tmp_path / "other.json"
    SharedLedger.create(other, Ledger(1.0, 1e-5, relation=NeighboringRelation.REPLACE_ONE))
    with pytest.raises(ConfigError, match="REPLACE_ONE"):
        SharedBudget(other, "run")
    undrawn, enrolled = tmp_path / "undrawn.json", tmp_path / "enrolled.json"
    for place in (undrawn, enrolled):
        ledger = Ledger(9.0, 1e-5)
        ledger.charge(GaussianEvent(3.0, FixedSizeSampling(5, 20, enrolled=place is enrolled)))
        SharedLedger.create(place, ledger)
    with pytest.raises(ConfigError, match="make a ledger of its own for runs"):
        SharedBudget(undrawn, "run")
    assert SharedBudget(enrolled, "run").path == enrolled


def test_a_ledger_that_goes_away_stops_the_run_before_the_release(path):
    budget, own = SharedBudget(path, "run"), Ledger(50.0, 1e-5)
    path.unlink()
    with pytest.raises(ConfigError, match="nothing is released"):
        charge_round(own, budget, GaussianEvent(4.0))
    assert own.history == ()
    with pytest.raises(ConfigError, match="cannot be read"):
        budget.status()
