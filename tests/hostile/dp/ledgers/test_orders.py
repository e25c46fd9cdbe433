"""One multiset of events in other orders, groups and counts, through ledgers and files: one answer.

Two exact laws say what the answer must hold: sums of Gaussians have a closed form, and a few discrete Laplace
releases can be enumerated outcome by outcome.  Both are computed here without a line of the package.
"""

from __future__ import annotations

import json
import math
import random
import tempfile
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dp import (
    Accountant,
    DiscreteLaplaceEvent,
    FailureEvent,
    FixedSizeSampling,
    GaussianEvent,
    LaplaceEvent,
    Ledger,
    NoSampling,
    PoissonSampling,
    RenyiEvent,
    RoundedGaussianSumEvent,
    SharedLedger,
    SkellamEvent,
    TruncatedPoissonSampling,
)

SHORT = settings(
    max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
ALIKE = 1e-9
"""What orders of floating-point sums may move an answer by, as a part of it."""


def merged(counted):
    total = {}
    for event, count in counted:
        total[event] = total.get(event, 0) + count
    return list(total.items())


def counted(events, most, distinct):
    pairs = st.tuples(events, st.integers(1, most))
    return st.lists(pairs, min_size=1, max_size=distinct).map(merged)


def rates(*values):
    return st.sampled_from([PoissonSampling(q) if q < 1 else NoSampling() for q in values])


GAUSSIANS = st.builds(GaussianEvent, st.floats(0.05, 1e4))
LAPLACES = st.builds(
    lambda z, steps, sampling: DiscreteLaplaceEvent(z, l1_sensitivity=steps, sampling=sampling),
    st.floats(0.3, 8.0),
    st.integers(1, 3),
    rates(1, 0.7, 0.1, 0.01),
)
ANY = st.one_of(
    st.builds(GaussianEvent, st.floats(0.5, 30.0), rates(1, 0.1, 0.01)),
    st.builds(
        GaussianEvent,
        st.floats(0.5, 30.0),
        st.sampled_from(
            [
                TruncatedPoissonSampling(0.1, 1000, 250),
                FixedSizeSampling(100, 1000),
                FixedSizeSampling(100, 1000, enrolled=True),
            ]
        ),
    ),
    st.builds(LaplaceEvent, st.floats(0.3, 20.0), rates(1, 0.1)),
    LAPLACES,
    st.builds(
        lambda z, q: SkellamEvent(z, l2_sensitivity=50.0, l1_sensitivity=300.0, sampling=q),
        st.floats(0.7, 10.0),
        rates(1, 0.1),
    ),
    st.builds(
        lambda z: RoundedGaussianSumEvent(z, local_stddev=30.0, shares=50, dimension=100),
        st.floats(0.7, 10.0),
    ),
    st.builds(FailureEvent, st.sampled_from([0.0, 1e-12]), st.sampled_from([0.0, 1e-12])),
    st.builds(lambda a: RenyiEvent([2.0, 8.0, 32.0], [2 * a, 8 * a, 32 * a]), st.floats(1e-4, 0.1)),
)


def arranged(events, order):
    """The same releases with counts n + m for n, in another order."""
    parts = []
    for event, count in events:
        left = count
        while left > 0:
            taken = order.randint(math.ceil(left / 3), left)
            parts.append((event, taken))
            left -= taken
    order.shuffle(parts)
    return parts


def composed(parts):
    accountant = Accountant()
    for event, count in parts:
        accountant = accountant.compose(event, count)
    return accountant


def ways(events, order):
    """Accountants that must answer alike; equal ones, in the order of events as well, are asked once."""
    return list(dict.fromkeys(all_ways(events, order)))


def all_ways(events, order):
    first, ledger = composed(events), Ledger(math.inf, 1e-5)
    for event, count in arranged(events, order):
        ledger.charge(event, count, label=str(count))
    with tempfile.TemporaryDirectory() as folder:
        ledger.save(Path(folder) / "saved.json")
        shared = SharedLedger.create(Path(folder) / "shared.json", Ledger(math.inf, 1e-5))
        for event, count in arranged(events, order):
            shared.charge(event, count)
        return [
            first,
            *(composed(arranged(events, order)) for _ in range(3)),
            ledger.accountant,
            Ledger.load(Path(folder) / "saved.json").accountant,
            shared.read().accountant,
            Ledger.from_state_dict(json.loads(json.dumps(ledger.state_dict()))).accountant,
        ]


def check_alike(brackets):
    for bracket in brackets:
        assert bracket.low <= bracket.high
    highs = [bracket.high for bracket in brackets]
    # Each low is below the true value, and that below each high.
    assert max(bracket.low for bracket in brackets) <= min(highs)
    if math.isfinite(max(highs)):
        assert max(highs) - min(highs) <= ALIKE * max(highs)
    else:
        assert min(highs) == math.inf


@SHORT
@given(counted(ANY, 60, 4), st.randoms(use_true_random=False), st.sampled_from([1e-3, 1e-6, 1e-12]))
def test_any_events_have_one_answer(events, order, delta):
    accountants = ways(events, order)
    check_alike([one.epsilon(delta) for one in accountants])
    quick = [one.quick_epsilon(delta) for one in accountants]
    assert max(quick) == math.inf == min(quick) or max(quick) <= min(quick) * (1 + ALIKE)


def gaussian_delta(events, epsilon):
    """δ(ε) of plain Gaussians, which compose to one of μ² = Σ n/z², with 50 digits."""
    mu = mpmath.sqrt(mpmath.fsum(n / mpmath.mpf(e.noise_multiplier) ** 2 for e, n in events))
    epsilon = mpmath.mpf(epsilon)
    above = mpmath.ncdf(mu / 2 - epsilon / mu)
    return above - mpmath.exp(epsilon) * mpmath.ncdf(-mu / 2 - epsilon / mu)


def check_gaussians(events, order, delta):
    brackets = [one.epsilon(delta) for one in ways(events, order)]
    check_alike(brackets)
    with mpmath.workdps(50):
        error = mpmath.mpf(10) ** -25
        for bracket in brackets:
            if bracket.low > 0:
                assert gaussian_delta(events, bracket.low) >= delta * (1 - error)
            if math.isfinite(bracket.high):
                assert gaussian_delta(events, bracket.high) <= delta * (1 + error)


@SHORT
@given(counted(GAUSSIANS, 10**6, 5), st.randoms(use_true_random=False), st.floats(1e-14, 0.5))
def test_gaussians_hold_the_closed_form_in_any_order(events, order, delta):
    check_gaussians(events, order, delta)


def outcomes(event):
    """Probabilities with and without the client, outcomes of one ratio taken together."""
    steps, rate = event.l1_sensitivity, getattr(event.sampling, "rate", 1.0)
    scale = event.noise_multiplier * steps
    values = np.arange(-int(36 * scale) - 5, int(36 * scale) + 6)
    law = math.tanh(1 / (2 * scale)) * np.exp(-np.abs(values) / scale)
    moved = math.tanh(1 / (2 * scale)) * np.exp(-np.abs(values - steps) / scale)
    present = (1 - rate) * law + rate * moved
    _, same = np.unique(np.round(np.log(present / law), 11), return_inverse=True)
    return np.bincount(same, present), np.bincount(same, law)


def enumerated_delta(events, epsilon):
    """The larger δ(ε) of both orders, over all outcomes of all releases; None if they are too many."""
    laws = [outcomes(event) for event, count in events for _ in range(count)]
    if math.prod(len(present) for present, _ in laws) > 10**6:
        return None
    both = []
    for first, second in ((0, 1), (1, 0)):
        p = q = np.ones(1)
        for law in laws:
            p, q = np.outer(p, law[first]).ravel(), np.outer(q, law[second]).ravel()
        both.append(float(np.maximum(p - math.exp(epsilon) * q, 0).sum()))
    return max(both)


def check_laplaces(events, order, epsilon):
    true = enumerated_delta(events, epsilon)
    if true is None:
        return
    brackets = [one.delta(epsilon) for one in ways(events, order)]
    for bracket in brackets:
        # The enumeration leaves out 1e-15 of each law, and rounds ratios to 1e-11.
        assert bracket.low <= true * (1 + 1e-8) + 1e-12
        assert true <= bracket.high * (1 + 1e-8) + 1e-12
    assert max(b.low for b in brackets) <= min(b.high for b in brackets)


@SHORT
@given(counted(LAPLACES, 3, 2), st.randoms(use_true_random=False), st.floats(0.0, 3.0))
def test_discrete_laplaces_hold_the_enumeration_in_any_order(events, order, epsilon):
    check_laplaces(events, order, epsilon)


def test_mutant_that_forgets_split_counts_states_too_little(monkeypatch):
    """A composition that replaces an event's count, where it should add to it."""

    def forgetful(self, event, count=1):
        counts = dict(self.counts) | {event: count}
        return Accountant(self.relation, tuple(counts.items()))

    monkeypatch.setattr(Accountant, "compose", forgetful)
    order = random.Random(1)  # noqa: S311 - an order, no secret
    with pytest.raises(AssertionError):
        check_gaussians([(GaussianEvent(2.0), 9), (GaussianEvent(5.0), 4)], order, 1e-5)
    plain, sampled = (
        DiscreteLaplaceEvent(1.5, l1_sensitivity=2, sampling=sampling)
        for sampling in (NoSampling(), PoissonSampling(0.7))
    )
    with pytest.raises(AssertionError):
        check_laplaces([(plain, 3), (sampled, 2)], order, 0.5)
