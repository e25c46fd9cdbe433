"""Failures: their cost by formula, and shared ones against a mechanism that is computed exactly."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from scipy.stats import binom

from dp import (
    Accountant,
    FailureEvent,
    GaussianEvent,
    Ledger,
    PoissonSampling,
    RoundedGaussianSumEvent,
    SkellamEvent,
)

RATE, OTHERS, FLOOR, CAP = 0.3, 6, 1, 3
WIDTH, STDDEV = 40, 1.5
EPSILONS = np.linspace(0, 8, 81)


def hockey_stick(p, q, epsilon):
    return float(np.maximum(p - math.exp(epsilon) * q, 0).sum())


def noise(shift):
    """A discrete Gaussian around `shift`, on −40 … 40; its mass beyond is below 1e-100."""
    k = np.arange(-WIDTH, WIDTH + 1) - shift
    weights = np.exp(-(k**2) / (2 * STDDEV**2))
    return weights / weights.sum()


def release(*, client):
    """The law of one round: the others send −1, the client +1; a cohort outside its bounds sends nothing."""
    law = np.zeros(2 * WIDTH + 1)
    for joined in range(OTHERS + 1):
        weight = binom.pmf(joined, OTHERS, RATE)
        for own, part in ((0, 1 - RATE), (1, RATE)) if client else ((0, 1.0),):
            inside = FLOOR <= joined + own <= CAP
            law += weight * part * noise(own - joined if inside else 0)
    return law


def outside(count):
    return float(binom.cdf(FLOOR - 1, count, RATE) + binom.sf(CAP, count, RATE))


def good_pair():
    return (1 - RATE) * noise(0) + RATE * noise(1), noise(0)


@pytest.mark.parametrize("rounds", [1, 2])
def test_cohorts_outside_their_bounds_are_a_shared_failure(rounds):
    """Exact hockey sticks of the truncated mechanism, in both orders; without the charge they exceed it."""
    with_client, without = release(client=True), release(client=False)
    p, q = good_pair()
    shared = outside(OTHERS) + outside(OTHERS + 1)
    broken = 0
    for epsilon, order in itertools.product(EPSILONS, (1, -1)):
        laws = (with_client, without)[::order]
        pair = (p, q)[::order]
        if rounds == 2:
            laws, pair = [tuple(np.outer(law, law) for law in two) for two in (laws, pair)]
        attained = hockey_stick(*laws, epsilon)
        known = hockey_stick(*pair, epsilon)
        assert attained <= known + rounds * shared + 1e-12
        broken += attained > known + 1e-12
    assert broken  # the mutant without the charge claims too little


def test_a_shared_failure_costs_its_weight_and_no_more():
    base = Accountant().compose(GaussianEvent(0.7, PoissonSampling(0.2)), 20)
    failing = base.compose(FailureEvent(shared=1e-9), 20)
    assert failing.delta(2.0).high == pytest.approx(base.delta(2.0).high + 2e-8, rel=1e-9)
    claimed = failing.epsilon(1e-5)
    assert claimed.high == pytest.approx(base.epsilon(1e-5 - 2e-8).high, rel=1e-6)
    assert claimed.low <= base.epsilon(1e-5).high <= claimed.high * (1 + 1e-9)
    assert base.compose(FailureEvent(1e-9), 20).epsilon(1e-5).high == math.inf
    assert failing.quick_epsilon(1e-5) >= claimed.high * (1 - 1e-9)


def test_no_epsilon_is_left_below_the_weight_itself():
    failing = Accountant().compose(GaussianEvent(1.0)).compose(FailureEvent(shared=1e-5))
    assert failing.epsilon(0.9e-5).high == math.inf
    assert math.isfinite(failing.epsilon(1.1e-5).high)
    assert failing.epsilon(1.0).high == 0.0


def test_slack_enlarges_the_weight():
    event = RoundedGaussianSumEvent(2.0, local_stddev=2.0, shares=10, dimension=10**16)
    run = Accountant().compose(event)
    slack = event.cost(run.relation).slack
    assert slack > 0.1
    grown = run.compose(FailureEvent(shared=1e-4)).delta(1.0).high - run.delta(1.0).high
    assert grown == pytest.approx(1e-4 * math.exp(slack), rel=1e-6)


def test_curves_have_both_kinds_of_failures():
    base = Accountant().compose(SkellamEvent(2.0, l2_sensitivity=100.0, l1_sensitivity=500.0), 5)
    both = base.compose(FailureEvent(1e-9, shared=1e-7))
    curve = both.curve(smallest=1e-6, points=33)
    for place in (0, 5, 20):
        epsilon = float(curve.epsilons[place])
        wanted = base.delta(epsilon).high + 1e-7 + 1e-9 * (1 + math.exp(epsilon))
        assert curve.high[place] == pytest.approx(min(wanted, 1.0), rel=1e-6)


@pytest.mark.parametrize("sampling", [PoissonSampling(1.0), PoissonSampling(0.2)])
def test_groups_pay_for_shared_failures_along_the_chain(sampling):
    """k clients are k steps, of which each can fail: at least δ + s·(1 + e^a + …) ≥ k·s."""
    base = Accountant().compose(GaussianEvent(3.0, sampling), 3)
    failing = base.compose(FailureEvent(shared=1e-8))
    for size in (2, 5):
        alone, charged = (run.curve(smallest=1e-7, group=size) for run in (base, failing))
        for epsilon in (0.5, 2.0):
            more = charged.delta(epsilon).high - alone.delta(epsilon).high
            assert more >= size * 1e-8 * (1 - 1e-3) or sampling.rate == 1.0
            assert more >= 1e-8 * (1 + math.exp(epsilon)) * (1 - 1e-3) or sampling.rate < 1.0


def test_ledgers_read_failures_of_both_forms():
    ledger = Ledger(5.0, 1e-5)
    ledger.charge(FailureEvent(1e-20, shared=1e-9), 3)
    again = Ledger.from_state_dict(json.loads(json.dumps(ledger.state_dict())))
    assert again.spent() == ledger.spent()


@pytest.mark.parametrize("group", [2, 3, 10])
def test_shared_failures_add_up_over_a_group(group):
    """M(D) is uniform on n … n + 999, where n is the number of clients: k clients are seen with k / 1000.

    Neighbours share 999 cells of equal law, so the rest is a shared failure of weight 1 / 1000.
    """
    run = Accountant().compose(GaussianEvent(1e6)).compose(FailureEvent(shared=1e-3))
    assert run.curve(group=group).high[0] >= group * 1e-3
