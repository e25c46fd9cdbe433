"""The three accounts: they are dp's own for Poisson sampling, of the noise that each observer cannot see."""

from __future__ import annotations

import math
import re

import pytest

from dp import Accountant, FailureEvent, GaussianEvent, PoissonSampling
from fedavg.errors import PlanError
from fedavg.privacy.noise import guaranteed_variance
from fedavg.records import accounts as module
from fedavg.records.accounts import NoiseAccount, calibrated, smallest_cap
from fedavg.sums.masked import SecAgg
from tests.fedavg.records.small import resolved

Z, Q, STEPS, N = 1.3, 0.05, 40, 10
SAMPLED = {"rate": Q, "max_units": 1000, "noise_multiplier": Z, "steps": STEPS}


def account(**changes) -> NoiseAccount:
    usual = SAMPLED | {"secure_sum": SecAgg(dropout_rate=0.0)}
    return resolved(N, **usual | changes).account


def poisson(multiplier: float, steps: int = STEPS):
    event = GaussianEvent(multiplier, PoissonSampling(Q))
    return Accountant().compose(event, steps).epsilon(1e-5)


def test_the_budget_is_that_of_poisson_sampling_at_the_claimed_noise():
    """Slack of the shares, tables and slots together add less than 1e-3."""
    found = account().budget_account(STEPS).epsilon(1e-5)
    alone = poisson(Z)
    assert alone.low - 1e-3 <= found.high <= alone.high + 2e-3
    assert found.high >= alone.low


@pytest.mark.parametrize(("known", "shares"), [(0, 10), (1, 9)])
def test_each_observer_counts_the_shares_that_it_does_not_know(known, shares):
    one = account()
    visible = shares * one.share_variance(N) - one.noise.held_back
    multiplier = math.sqrt(visible) / one.sensitivity.l2
    found = one.spent({N: STEPS}, colluders=known).epsilon(1e-5).high
    assert found == pytest.approx(poisson(multiplier).high, abs=2e-3)
    # Up to the variance held back, the multiplier is z·√(shares ÷ 9).
    assert multiplier == pytest.approx(Z * math.sqrt(shares / 9), rel=1e-4)


def test_shares_of_the_guaranteed_honest_add_up_to_the_claim_for_every_roster():
    one = account(secure_sum=SecAgg(dropout_rate=0.2))
    assert one.missing == 2
    for roster in (6, 8, 10):
        honest = (roster - one.missing - one.colluders) * one.share_variance(roster)
        assert honest == pytest.approx(guaranteed_variance(one.noise, one.sensitivity))


def test_own_noise_holds_whoever_else_colludes():
    one = account(noise="own")
    assert one.share_variance(N) == guaranteed_variance(one.noise, one.sensitivity)
    assert one.spent({N: STEPS}, colluders=N - 1).epsilon(1e-5).high == pytest.approx(
        poisson(Z).high, abs=2e-3
    )


def test_several_local_steps_are_so_many_releases_of_own_noise_for_every_observer():
    one = account(noise="own", local_steps=4, local_lr=0.1, steps=10)
    found = [one.spent({N: 10}, colluders=known).epsilon(1e-5).high for known in (0, 1, 9)]
    assert found == pytest.approx([poisson(Z, 40).high] * 3, abs=2e-3)


def test_void_attempts_and_smaller_rosters_are_counted():
    one = account()
    once = one.spent({10: 5}, colluders=1).epsilon(1e-5).high
    more = one.spent({10: 5, 9: 2}, colluders=1).epsilon(1e-5).high
    assert more == pytest.approx(one.budget_account(7).epsilon(1e-5).high, rel=1e-3)
    assert more > once


def test_calibration_keeps_the_budget_and_uses_it():
    one = account()
    multiplier = calibrated(one, 2.0, 1e-5, STEPS)
    used = account(noise_multiplier=multiplier).budget_account(STEPS).epsilon(1e-5)
    assert 0.995 * 2.0 < used.low <= used.high <= 2.0


def test_calibration_refuses_a_budget_that_slots_alone_exceed():
    with pytest.raises(PlanError, match="raise most"):
        calibrated(account(most=51), 2.0, 1e-5, STEPS)


@pytest.mark.parametrize("changes", [{}, {"most": 1000}])
def test_a_budget_beyond_what_can_be_certified_is_refused_before_any_search(changes, monkeypatch):
    monkeypatch.setattr(module, "calibrate_noise_multiplier", None)  # so that a search is an error
    said = r"epsilon=1000 is more than can be certified .* Take epsilon=(\S+) or less"
    with pytest.raises(PlanError, match=said) as refusal:
        account(noise_multiplier=None, epsilon=1000.0, **changes)
    offered = float(re.search(said, str(refusal.value))[1])
    assert 30 < offered < 50


def test_the_offered_budget_leaves_nine_tenths_of_delta_to_the_noise():
    one = account(most=1000)
    with pytest.raises(PlanError, match="can be certified") as refusal:
        calibrated(one, 1000.0, 1e-5, STEPS)
    offered = float(re.search(r"Take epsilon=(\S+) or less", str(refusal.value))[1])
    cost = (1 + math.exp(offered)) * one.failure(STEPS).probability
    assert 0.9 * 1e-6 * math.exp(-0.1) < cost <= 1e-6


def test_a_budget_of_thirty_is_calibrated():
    found = resolved(N, rate=1.0, noise_multiplier=None, epsilon=30.0, steps=2)
    assert 29.9 < found.account.budget_account(2).upper_epsilon(1e-5) <= 30.0


def test_the_samplers_errors_are_counted_over_the_whole_run():
    one = account()
    assert one.failure(STEPS).probability == STEPS * one.failure(1).probability
    events = dict(one.budget_account(STEPS).counts)
    assert events[FailureEvent(one.failure(STEPS).probability)] == 1


@pytest.mark.parametrize(("rate", "units"), [(1.0, 7), (0.5, 1), (0.3, 400)])
def test_the_smallest_cap_is_within_the_tail_and_minimal(rate, units):
    from dp import TruncatedPoissonSampling

    cap = smallest_cap(rate, units, 1e-9)
    assert TruncatedPoissonSampling(rate, units, cap).failure <= 1e-9
    if 1 < cap < units:
        assert TruncatedPoissonSampling(rate, units, cap - 1).failure > 1e-9
