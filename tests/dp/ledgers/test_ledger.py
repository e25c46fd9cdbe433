"""The ledger refuses before anything changes, and survives a round trip."""

from __future__ import annotations

import json
import math
import threading

import pytest

from dp import (
    BudgetExhaustedError,
    DiscreteGaussianSumEvent,
    FailureEvent,
    FixedSizeSampling,
    GaussianEvent,
    InvalidParameterError,
    Ledger,
    NeighboringRelation,
    NonFiniteError,
    NoSampling,
    PoissonSampling,
    RoundedGaussianSumEvent,
    SkellamEvent,
    TruncatedPoissonSampling,
    UnsupportedEventError,
)

ROUND = GaussianEvent(1.3, PoissonSampling(0.15))


def test_a_run_of_forty_rounds_fits_its_certified_budget_only():
    ledger = Ledger(4.38, 1e-5)
    for _ in range(40):
        assert not ledger.would_exceed(ROUND)
        ledger.charge(ROUND)
    assert 4.36 < ledger.spent().low <= ledger.spent().high <= 4.38
    assert ledger.spent().low <= ledger.upper_spent() <= 4.38
    assert 0 <= ledger.remaining() < 0.02
    before = ledger.state_dict()
    assert ledger.would_exceed(ROUND)
    with pytest.raises(BudgetExhaustedError, match=r"4\.38"):
        ledger.charge(ROUND)
    assert ledger.state_dict() == before


def test_refused_event_changes_nothing():
    ledger = Ledger(4.0, 1e-5)
    ledger.charge(ROUND)
    before = ledger.state_dict()
    with pytest.raises(UnsupportedEventError):
        ledger.charge("round")
    with pytest.raises(InvalidParameterError):
        ledger.charge(ROUND, 0)
    with pytest.raises(BudgetExhaustedError):
        ledger.charge(GaussianEvent(0.0))
    with pytest.raises(BudgetExhaustedError):
        ledger.charge(FailureEvent(1e-3))
    assert ledger.state_dict() == before


def test_equal_events_are_grouped():
    ledger = Ledger(math.inf, 1e-5)
    for _ in range(3):
        ledger.charge(ROUND)
        ledger.charge(FailureEvent(1e-12))
    assert [entry["count"] for entry in ledger.state_dict()["events"]] == [3, 3]


def test_unlimited_budget_only_keeps_track():
    ledger = Ledger(math.inf, 1e-5)
    ledger.charge(GaussianEvent(0.0))
    assert ledger.spent().high == math.inf
    assert not ledger.would_exceed(GaussianEvent(0.01), 1000)
    assert ledger.remaining() == math.inf


def test_state_round_trip_keeps_every_kind_of_event():
    ledger = Ledger(math.inf, 1e-6)
    sums = {"local_stddev": 3.5, "shares": 9, "dimension": 11}
    norms = {"l2_sensitivity": 7.0, "l1_sensitivity": 20.0}
    ledger.charge(GaussianEvent(1.1, FixedSizeSampling(3, 30)), 2)
    ledger.charge(GaussianEvent(1.1, FixedSizeSampling(3, 30, enrolled=True)))
    ledger.charge(RoundedGaussianSumEvent(1.2, **sums, sampling=PoissonSampling(0.1)))
    ledger.charge(SkellamEvent(1.3, **norms, sampling=TruncatedPoissonSampling(0.1, 90, 50)))
    ledger.charge(DiscreteGaussianSumEvent(1.4, **sums, **norms, sampling=NoSampling()))
    ledger.charge(FailureEvent(1e-20), 5)
    state = json.loads(json.dumps(ledger.state_dict(), allow_nan=False))
    restored = Ledger.from_state_dict(state)
    assert restored.state_dict() == ledger.state_dict()
    assert restored.accountant == ledger.accountant
    assert restored.spent() == ledger.spent()


def test_fixed_cohorts_of_older_files_are_those_whose_absent_clients_are_not_drawn():
    ledger = Ledger(math.inf, 1e-6)
    ledger.charge(GaussianEvent(1.1, FixedSizeSampling(3, 30)))
    state = json.loads(json.dumps(ledger.state_dict(), allow_nan=False))
    assert state["events"][0]["event"]["sampling"].pop("enrolled") is False
    assert Ledger.from_state_dict(state).accountant == ledger.accountant


def test_restored_ledger_still_refuses():
    ledger = Ledger(2.0, 1e-5, relation=NeighboringRelation.REPLACE_ONE)
    ledger.charge(GaussianEvent(6.0))
    restored = Ledger.from_state_dict(ledger.state_dict())
    assert restored.accountant.relation is NeighboringRelation.REPLACE_ONE
    with pytest.raises(BudgetExhaustedError):
        restored.charge(GaussianEvent(6.0), 2)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": 4},
        {"history": [[0, 1]]},
        {"history": [[0]]},
        {"history": None},
        {"extra": 1},
        {"relation": "friends"},
        {"delta": None},
        {"epsilon": math.nan},
        {"epsilon": -1.0},
        {"events": [{"event": {"kind": "Unknown"}, "count": 1}]},
        {
            "events": [
                {"event": {"kind": "GaussianEvent", "noise_multiplier": 1.0, "x": 2}, "count": 1}
            ]
        },
        {"events": [{"event": {"kind": "GaussianEvent", "noise_multiplier": -1.0}, "count": 1}]},
        {"events": [{"event": {"kind": "FailureEvent", "probability": 0.1}, "count": -1}]},
        {"events": [{"event": {"kind": "FailureEvent", "probability": 0.1}, "count": 1.5}]},
        {"events": 3},
        {"events": [3]},
    ],
)
def test_foreign_states_are_refused(change):
    state = {**Ledger(1.0, 1e-5).state_dict(), **change}
    with pytest.raises(InvalidParameterError):
        Ledger.from_state_dict(state)


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_budgets_are_finite_or_unlimited(bad):
    with pytest.raises(NonFiniteError):
        Ledger(bad, 1e-5)


def test_budgets_are_in_range():
    for epsilon, delta in [(0.0, 1e-5), (-1.0, 1e-5), (1.0, 0.0), (1.0, 1.0), (1.0, math.inf)]:
        with pytest.raises(InvalidParameterError):
            Ledger(epsilon, delta)


def test_two_racing_rounds_cannot_both_take_the_last_charge():
    """Sixteen threads, room for ten charges."""
    ledger = Ledger(gaussian_budget(10), 1e-5)
    refused = []

    def race() -> None:
        try:
            ledger.charge(GaussianEvent(5.0))
        except BudgetExhaustedError as error:
            refused.append(error)

    threads = [threading.Thread(target=race) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 6
    assert ledger.state_dict()["events"][0]["count"] == 10


def gaussian_budget(count: int) -> float:
    from dp import gaussian_epsilon

    return gaussian_epsilon(5.0 / math.sqrt(count), 1e-5) * 1.0001


def test_the_upper_side_alone_is_0_before_the_first_charge():
    assert Ledger(1.0, 1e-5).upper_spent() == 0.0
