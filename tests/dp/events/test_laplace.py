"""Laplace events: brackets against dp-accounting, pure privacy, sampling, and what is refused."""

from __future__ import annotations

import math

import pytest
from dp_accounting.pld import privacy_loss_distribution as peer

from dp import (
    Accountant,
    Bracket,
    BudgetExhaustedError,
    DiscreteLaplaceEvent,
    FailureEvent,
    FixedSizeSampling,
    GaussianEvent,
    LaplaceEvent,
    Ledger,
    NeighboringRelation,
    NoSampling,
    PoissonSampling,
    TruncatedPoissonSampling,
    UnsupportedEventError,
)

REPLACE = NeighboringRelation.REPLACE_ONE
RUNS = [
    (20.0, 1.0, 40, 1e-5),
    (1.0, 0.01, 500, 1e-5),
    (0.3, 0.1, 20, 1e-6),
    (2.0, 0.5, 100, 1e-10),
    (5.0, 1.0, 300, 1e-5),
    (50.0, 1.0, 5, 1e-9),
]


def sampled(rate):
    return NoSampling() if rate == 1 else PoissonSampling(rate)


def peers_bracket(law, steps, delta):
    """ε of the peer's two estimates; its optimistic one may round to below the truth by its mesh."""
    return [
        law(estimate).self_compose(steps).get_epsilon_for_delta(delta) for estimate in (False, True)
    ]


@pytest.mark.parametrize(("z", "rate", "steps", "delta"), RUNS)
def test_continuous_noise_agrees_with_an_independent_accountant(z, rate, steps, delta):
    ours = Accountant().compose(LaplaceEvent(z, sampled(rate)), steps).epsilon(delta)

    def law(pessimistic):
        return peer.from_laplace_mechanism(
            z,
            pessimistic_estimate=pessimistic,
            value_discretization_interval=1e-4,
            sampling_prob=rate,
        )

    low, high = peers_bracket(law, steps, delta)
    assert ours.low <= high * (1 + 1e-9)
    assert ours.high >= low * (1 - 1e-9)
    assert ours.high <= high * (1 + 2e-4)
    assert ours.width <= 1e-3 * ours.high


@pytest.mark.parametrize(("z", "rate", "steps", "delta"), RUNS)
def test_noise_on_the_grid_agrees_with_an_independent_accountant(z, rate, steps, delta):
    event = DiscreteLaplaceEvent(z, l1_sensitivity=3, sampling=sampled(rate))
    ours = Accountant().compose(event, steps).epsilon(delta)

    def law(pessimistic):
        return peer.from_discrete_laplace_mechanism(
            1 / (3 * z),
            3,
            pessimistic_estimate=pessimistic,
            value_discretization_interval=1e-4,
            sampling_prob=rate,
        )

    low, high = peers_bracket(law, steps, delta)
    assert ours.low <= high * (1 + 1e-9)
    assert ours.high >= low * (1 - 1e-9)
    assert ours.high <= high * (1 + 2e-4)
    assert ours.width <= 1e-3 * ours.high


@pytest.mark.parametrize("steps", [1, 7, 100])
@pytest.mark.parametrize(
    "kind", [LaplaceEvent, lambda z: DiscreteLaplaceEvent(z, l1_sensitivity=4)]
)
def test_plain_releases_are_purely_private(kind, steps):
    run = Accountant().compose(kind(2.0), steps)
    pure = run.epsilon(0.0)
    assert pure.high == pytest.approx(steps / 2)
    assert pure.low > 0.85 * pure.high
    assert run.quick_epsilon(0.0) == pytest.approx(steps / 2)
    assert run.delta(steps / 2) == Bracket(0.0, 0.0)
    for delta in (1e-300, 1e-12, 1e-3):
        assert run.epsilon(delta).low <= run.epsilon(delta).high <= steps / 2 * (1 + 1e-12)


def test_sampling_amplifies_the_pure_epsilon():
    run = Accountant().compose(LaplaceEvent(1.0, PoissonSampling(0.1)))
    assert run.epsilon(0.0).high == pytest.approx(math.log1p(0.1 * math.expm1(1)), rel=1e-9)


def test_one_release_is_known_in_closed_form():
    """δ = 1 − e^((ε − 1/z)/2), as in dp-accounting's LaplacePrivacyLoss."""
    one = Accountant().compose(LaplaceEvent(1.0)).delta(0.4)
    assert one.high == pytest.approx(1 - math.exp((0.4 - 1) / 2), rel=1e-8)
    assert one.width < 1e-8


def test_a_fine_grid_is_as_good_as_the_line():
    line = Accountant().compose(LaplaceEvent(2.0), 10).epsilon(1e-5)
    grid = Accountant().compose(DiscreteLaplaceEvent(2.0, l1_sensitivity=10**6), 10).epsilon(1e-5)
    coarse = Accountant().compose(DiscreteLaplaceEvent(2.0, l1_sensitivity=1), 10).epsilon(1e-5)
    assert grid.high == pytest.approx(line.high, rel=1e-4)
    assert coarse.low > line.high


def test_mixed_runs_cost_more_than_either_part_and_less_than_both():
    laplace, gaussian = (
        LaplaceEvent(5.0, PoissonSampling(0.2)),
        GaussianEvent(2.0, PoissonSampling(0.2)),
    )
    a = Accountant().compose(laplace, 20)
    b = Accountant().compose(gaussian, 20)
    both = a.compose(gaussian, 20)
    whole = both.epsilon(1e-5)
    assert max(a.epsilon(1e-5).high, b.epsilon(1e-5).high) < whole.low
    assert whole.high < a.epsilon(0.5e-5).high + b.epsilon(0.5e-5).high
    assert both.epsilon(0.0).high == math.inf
    assert whole.high <= both.quick_epsilon(1e-5)


def test_relations_and_cohorts_move_the_noise_as_far_as_they_do():
    plain = Accountant().compose(LaplaceEvent(4.0), 3)
    replaced = Accountant(REPLACE).compose(LaplaceEvent(8.0), 3)
    assert replaced.epsilon(1e-5) == plain.epsilon(1e-5)
    displaced = Accountant().compose(LaplaceEvent(4.0, FixedSizeSampling(10, 100)))
    assert displaced.epsilon(0.0).high == pytest.approx(math.log1p(0.1 * math.expm1(0.5)))
    silent = Accountant().compose(LaplaceEvent(4.0, FixedSizeSampling(9, 9, enrolled=True)), 3)
    assert silent.epsilon(1e-5) == plain.epsilon(1e-5)
    with pytest.raises(UnsupportedEventError, match="LaplaceEvent: FixedSizeSampling"):
        Accountant().compose(LaplaceEvent(4.0, FixedSizeSampling(10, 100, enrolled=True)))
    everyone = Accountant(REPLACE).compose(LaplaceEvent(8.0, FixedSizeSampling(9, 9)), 3)
    assert everyone.epsilon(1e-5) == plain.epsilon(1e-5)
    discrete = DiscreteLaplaceEvent(4.0, l1_sensitivity=3)
    assert Accountant(REPLACE).compose(discrete).epsilon(0.0).high == pytest.approx(0.5)


def test_a_cap_is_a_failure_and_leaves_no_pure_privacy():
    capped = Accountant().compose(LaplaceEvent(4.0, TruncatedPoissonSampling(0.1, 100, 40)))
    plain = Accountant().compose(LaplaceEvent(4.0, PoissonSampling(0.1)))
    assert plain.epsilon(1e-3).high <= capped.epsilon(1e-3).high < 1.01 * plain.epsilon(1e-3).high
    assert capped.epsilon(0.0).high == math.inf
    failing = plain.compose(FailureEvent(1e-9))
    assert failing.epsilon(0.0).high == math.inf
    assert failing.epsilon(1e-6).high < 1.1 * plain.epsilon(1e-7).high


@pytest.mark.parametrize("sampling", [PoissonSampling(0.1), FixedSizeSampling(1, 10)])
def test_samplings_without_a_theorem_are_refused_by_name(sampling):
    for event in (
        LaplaceEvent(1.0, sampling),
        DiscreteLaplaceEvent(1.0, l1_sensitivity=1, sampling=sampling),
    ):
        with pytest.raises(UnsupportedEventError, match=f"LaplaceEvent: {type(sampling).__name__}"):
            Accountant(REPLACE).compose(event)


def test_no_noise_is_no_privacy():
    for event in (LaplaceEvent(0.0), DiscreteLaplaceEvent(0, l1_sensitivity=1)):
        assert Accountant().compose(event).epsilon(1e-5) == Bracket(math.inf, math.inf)


def test_ledgers_charge_and_keep_them():
    ledger = Ledger(1.0, 1e-6)
    ledger.charge(LaplaceEvent(4.0), 2)
    ledger.charge(DiscreteLaplaceEvent(8.0, l1_sensitivity=2, sampling=PoissonSampling(0.5)))
    assert Ledger.from_state_dict(ledger.state_dict()).state_dict() == ledger.state_dict()
    with pytest.raises(BudgetExhaustedError):
        ledger.charge(LaplaceEvent(1.0))
