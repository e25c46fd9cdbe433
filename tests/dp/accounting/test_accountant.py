"""One contract for every path through the accountant, and the figures that single paths must hit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from dp import (
    Accountant,
    Bracket,
    DiscreteGaussianSumEvent,
    FailureEvent,
    FixedSizeSampling,
    GaussianEvent,
    InvalidParameterError,
    LaplaceEvent,
    Ledger,
    NeighboringRelation,
    NonFiniteError,
    NoSampling,
    PoissonSampling,
    RoundedGaussianSumEvent,
    SkellamEvent,
    TruncatedPoissonSampling,
    UnassignedCompositionError,
    UnsupportedEventError,
    calibrate_noise_multiplier,
    gaussian_epsilon,
)

ADD, REPLACE = NeighboringRelation.ADD_REMOVE, NeighboringRelation.REPLACE_ONE


def gaussian(z: float, sampling: Any) -> GaussianEvent:
    return GaussianEvent(z, sampling)


def rounded(z: float, sampling: Any) -> RoundedGaussianSumEvent:
    return RoundedGaussianSumEvent(
        z, local_stddev=3.0, shares=50, dimension=1000, sampling=sampling
    )


def skellam(z: float, sampling: Any) -> SkellamEvent:
    return SkellamEvent(z, l2_sensitivity=500.0, l1_sensitivity=9000.0, sampling=sampling)


def discrete(z: float, sampling: Any) -> DiscreteGaussianSumEvent:
    return DiscreteGaussianSumEvent(
        z,
        local_stddev=max(3.0, z * 500 / math.sqrt(50)),
        shares=50,
        dimension=1000,
        l2_sensitivity=500.0,
        l1_sensitivity=9000.0,
        sampling=sampling,
    )


KINDS = [gaussian, rounded, skellam, discrete]
PATHS = [(kind, sampling) for kind in KINDS for sampling in (NoSampling(), PoissonSampling(0.1))]
PATHS += [(kind, TruncatedPoissonSampling(0.1, 1000, 250)) for kind in KINDS]
PATHS += [
    (kind, FixedSizeSampling(100, 1000, enrolled=enrolled))
    for kind in (gaussian, rounded)
    for enrolled in (False, True)
]


@pytest.mark.parametrize(("kind", "sampling"), PATHS)
class TestContract:
    """What any accountant promises for any event."""

    def test_monotone(self, kind, sampling):
        run = Accountant().compose(kind(1.5, sampling), 10)
        epsilon = run.epsilon(1e-5).high
        assert 0 < epsilon < math.inf
        assert run.epsilon(1e-7).high > epsilon > run.epsilon(1e-3).high
        assert run.compose(kind(1.5, sampling)).epsilon(1e-5).high > epsilon
        assert Accountant().compose(kind(2.0, sampling), 10).epsilon(1e-5).high < epsilon

    def test_epsilon_and_delta_answer_one_another(self, kind, sampling):
        run = Accountant().compose(kind(1.5, sampling), 10)
        epsilon = run.epsilon(1e-5)
        assert epsilon.low <= epsilon.high
        assert run.delta(epsilon.high).high <= 1e-5 * 1.05
        assert run.delta(epsilon.high * 0.9).high > 1e-5

    def test_quick_bound_is_an_upper_bound(self, kind, sampling):
        run = Accountant().compose(kind(1.5, sampling), 10)
        assert run.quick_epsilon(1e-5) >= run.epsilon(1e-5).high * (1 - 1e-9)

    def test_no_noise_is_no_privacy(self, kind, sampling):
        run = Accountant().compose(kind(0.0, sampling))
        assert run.epsilon(1e-5).high == math.inf
        assert run.delta(3.0).high == 1

    def test_order_does_not_matter(self, kind, sampling):
        first, second = kind(1.5, sampling), GaussianEvent(3.0)
        one = Accountant().compose(first, 2).compose(second).epsilon(1e-5)
        other = Accountant().compose(second).compose(first).compose(first).epsilon(1e-5)
        assert one.high == pytest.approx(other.high, rel=1e-9)


def test_no_noise_is_known_to_cost_everything():
    assert Accountant().compose(GaussianEvent(0.0)).epsilon(1e-5).low == math.inf
    sampled = Accountant().compose(GaussianEvent(0.0, PoissonSampling(0.1)))
    assert sampled.epsilon(1e-5).low == math.inf
    assert sampled.epsilon(0.2) == Bracket(0.0, math.inf)


def test_no_events_give_no_answer():
    for ask in (
        lambda: Accountant().epsilon(1e-5),
        lambda: Accountant(REPLACE).epsilon(0.0),
        lambda: Accountant().delta(0.0),
        lambda: Accountant().quick_epsilon(1e-5),
        lambda: Accountant().upper_epsilon(1e-5),
    ):
        with pytest.raises(UnassignedCompositionError, match="accountant = accountant.compose"):
            ask()
    assert Ledger(1.0, 1e-5).spent() == Bracket(0, 0)  # a ledger knows that nothing was released


def test_unknown_events_and_samplings_are_refused():
    with pytest.raises(UnsupportedEventError, match="object"):
        Accountant().compose(object())
    with pytest.raises(UnsupportedEventError, match="str"):
        GaussianEvent(1.0, "shuffled")


@pytest.mark.parametrize(
    ("event", "relation"),
    [
        (skellam(1, PoissonSampling(0.1)), REPLACE),
        (discrete(1, TruncatedPoissonSampling(0.1, 100, 50)), REPLACE),
        (skellam(1, FixedSizeSampling(10, 100)), REPLACE),
        (skellam(1, FixedSizeSampling(10, 100)), ADD),
        (discrete(1, FixedSizeSampling(10, 100)), ADD),
        (skellam(1, FixedSizeSampling(10, 100, enrolled=True)), ADD),
        (discrete(1, FixedSizeSampling(10, 100, enrolled=True)), ADD),
    ],
)
def test_samplings_without_a_theorem_are_refused_by_name(event, relation):
    with pytest.raises(UnsupportedEventError) as caught:
        Accountant(relation).compose(event)
    assert type(event).__name__ in str(caught.value)
    assert type(event.sampling).__name__ in str(caught.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(bad):
    for build in (
        lambda: GaussianEvent(bad),
        lambda: PoissonSampling(bad),
        lambda: FailureEvent(bad),
        lambda: rounded(bad, NoSampling()),
        lambda: skellam(bad, NoSampling()),
        lambda: discrete(bad, NoSampling()),
        lambda: Accountant().epsilon(bad),
        lambda: Accountant().delta(bad),
    ):
        with pytest.raises(NonFiniteError):
            build()


def test_out_of_range_is_refused():
    for build in (
        lambda: GaussianEvent(-1.0),
        lambda: PoissonSampling(0.0),
        lambda: PoissonSampling(1.1),
        lambda: FixedSizeSampling(11, 10),
        lambda: FixedSizeSampling(0, 10),
        lambda: FixedSizeSampling(1, 10, enrolled=1),
        lambda: TruncatedPoissonSampling(0.1, 10, 0),
        lambda: FailureEvent(-1e-9),
        lambda: SkellamEvent(1.0, l2_sensitivity=3.0, l1_sensitivity=2.0),
        lambda: Accountant().compose(GaussianEvent(1.0), 0),
        lambda: Accountant().compose(GaussianEvent(1.0), True),
        lambda: Accountant("add_remove"),
        lambda: Accountant().epsilon(1.5),
        lambda: Accountant().delta(-0.1),
        lambda: GaussianEvent("1"),
    ):
        with pytest.raises(InvalidParameterError):
            build()


def test_weak_shares_are_refused():
    with pytest.raises(UnsupportedEventError, match="local_stddev"):
        RoundedGaussianSumEvent(1.0, local_stddev=1.9, shares=2, dimension=10)
    RoundedGaussianSumEvent(1.0, local_stddev=0.5, shares=1, dimension=10)


def test_replace_one_is_twice_the_distance():
    run = Accountant(REPLACE).compose(GaussianEvent(2.0), 4)
    assert run.epsilon(1e-5).high == pytest.approx(gaussian_epsilon(0.5, 1e-5), rel=2e-9)
    whole = Accountant(REPLACE).compose(gaussian(2.0, FixedSizeSampling(5, 5)), 4)
    assert whole.epsilon(1e-5) == run.epsilon(1e-5)
    silent = FixedSizeSampling(5, 5, enrolled=True)  # an answer less is one clip norm less
    for event in (skellam, discrete):
        alone = Accountant().compose(event(2.0, NoSampling()), 4).epsilon(1e-5)
        assert Accountant().compose(event(2.0, silent), 4).epsilon(1e-5) == alone
    twice = SkellamEvent(2.0, l2_sensitivity=1000.0, l1_sensitivity=18_000.0)
    doubled = Accountant(REPLACE).compose(skellam(4.0, NoSampling())).epsilon(1e-5)
    assert doubled.high == pytest.approx(Accountant().compose(twice).epsilon(1e-5).high)


@pytest.mark.parametrize(("z", "value"), [(1.0, 6.81), (1.2, 4.96)])
def test_subsampled_skellam_by_the_general_bound(z, value):
    event = SkellamEvent(z, l2_sensitivity=1e4, l1_sensitivity=1e5, sampling=PoissonSampling(0.1))
    assert Accountant().compose(event, 40).epsilon(1e-5).high == pytest.approx(value, abs=0.01)


def test_rounded_shares_cost_what_one_gaussian_costs():
    plain = Accountant().compose(gaussian(1.3, PoissonSampling(0.15)), 40).epsilon(1e-5)
    shares = RoundedGaussianSumEvent(
        1.3, local_stddev=2.0, shares=100, dimension=2048, sampling=PoissonSampling(0.15)
    )
    summed = Accountant().compose(shares, 40).epsilon(1e-5)
    assert plain.high < summed.high < plain.high + 1e-9
    # composed about another first aim: the same to a tenth of a bracket, and below the truth
    assert summed.low == pytest.approx(plain.low, rel=1e-5)
    assert summed.low < plain.high


@pytest.mark.parametrize("epsilon", [0.05, 0.3, 1.0, 3.0])
@pytest.mark.parametrize(("stddev", "shares"), [(0.8, 2), (0.8, 6), (1.0, 3), (2.0, 3)])
def test_hockey_stick_of_rounded_sums_is_below_the_claim(stddev, shares, epsilon):
    """One dimension, exact convolution; shifts of one to three grid units; e^τ·δ(ε − 2τ)."""
    from scipy.special import ndtr

    from dp.losses.gaussian import log_delta
    from dp.losses.shares import rounded_gaussian_tau

    reach = math.ceil(14 * stddev) + 2
    edges = np.arange(-reach, reach + 2) - 0.5
    share = np.diff(ndtr(edges / stddev))
    total = share
    for _ in range(shares - 1):
        total = np.convolve(total, share)
    tau = rounded_gaussian_tau(stddev, shares)
    assert tau < 0.2
    for shift in (1, 2, 3):
        moved = np.concatenate([np.zeros(shift), total])
        still = np.concatenate([total, np.zeros(shift)])
        attained = float(np.maximum(moved - math.exp(epsilon) * still, 0).sum())
        mu = shift / (stddev * math.sqrt(shares))
        claim = math.exp(tau + log_delta(max(epsilon - 2 * tau, 0.0), mu))
        assert attained <= claim + 1e-13
        mixed = 0.9 * still + 0.1 * moved
        amplified = float(np.maximum(mixed - math.exp(epsilon) * still, 0).sum())
        assert amplified <= attained + 1e-13


def test_failure_costs_one_plus_e_to_epsilon():
    base = Accountant().compose(GaussianEvent(1.0))
    for probability in (1e-12, 1e-8, 3e-8):
        claimed = base.compose(FailureEvent(probability)).epsilon(1e-5)
        cost = (1 + math.exp(claimed.high)) * probability
        assert base.delta(claimed.high).high + cost <= 1e-5 * (1 + 1e-9)
        assert claimed.high == pytest.approx(base.epsilon(1e-5 - cost).high, rel=1e-4)
        assert claimed.low <= base.epsilon(1e-5).low
    assert base.compose(FailureEvent(1e-6)).epsilon(1e-5).high == math.inf
    assert base.compose(FailureEvent(1e-9), 1000).delta(2.0).high == pytest.approx(
        base.delta(2.0).high + (1 + math.exp(2)) * 1e-6, rel=1e-6
    )


def test_truncation_is_poisson_plus_the_tail_of_the_binomial():
    sampling = TruncatedPoissonSampling(0.1, 1000, 150)
    tail = sampling.failure
    assert tail == pytest.approx(binom.sf(150, 1000, 0.1), rel=1e-6)
    cut = Accountant().compose(gaussian(1.5, sampling), 10).epsilon(1e-5)
    plain = Accountant().compose(gaussian(1.5, PoissonSampling(0.1)), 10)
    assert cut.high == pytest.approx(
        plain.compose(FailureEvent(tail), 10).epsilon(1e-5).high, rel=1e-9
    )
    assert TruncatedPoissonSampling(0.5, 10, 10).failure == 0


@pytest.mark.parametrize(
    ("sampling", "steps", "relation"),
    [
        (PoissonSampling(0.15), 40, ADD),
        (NoSampling(), 10, ADD),
        (NoSampling(), 10, REPLACE),
        (FixedSizeSampling(20, 200), 10, ADD),
        (FixedSizeSampling(20, 200, enrolled=True), 10, ADD),
    ],
)
def test_calibration_is_certified_and_tight(sampling, steps, relation):
    z = calibrate_noise_multiplier(2.0, 1e-5, sampling=sampling, steps=steps, relation=relation)

    def high(multiplier: float) -> float:
        run = Accountant(relation).compose(GaussianEvent(multiplier, sampling), steps)
        return run.epsilon(1e-5).high

    assert high(z) <= 2.0
    assert high(z * 0.999) > 2.0


def test_calibration_known_value_and_failure():
    z = calibrate_noise_multiplier(1.0, 1e-5, sampling=PoissonSampling(0.01), steps=1000)
    assert z == pytest.approx(1.4147, abs=2e-4)
    with pytest.raises(InvalidParameterError, match="no noise"):
        calibrate_noise_multiplier(
            1.0, 1e-5, sampling=NoSampling(), steps=1, failure_probability=1e-4
        )
    with pytest.raises(UnsupportedEventError):
        calibrate_noise_multiplier(1.0, 1e-5, sampling="shuffled", steps=1)


@pytest.mark.parametrize("target", [1e15, 1e100, 1e300, 1.7e308])
@pytest.mark.parametrize("steps", [1, 10**6])
def test_noise_for_budgets_that_nobody_has_is_found_all_the_same(target, steps):
    """The largest floats gave the RuntimeError of a search for roots."""
    z = calibrate_noise_multiplier(target, 1e-5, sampling=NoSampling(), steps=steps)
    assert 1e-8 < z < 1e8
    spent = Accountant().compose(GaussianEvent(z), steps).epsilon(1e-5).high
    assert spent <= target
    assert spent >= 0.999 * target or z < 1.1e-7


@settings(deadline=None, max_examples=25)
@given(
    rate=st.floats(0.001, 0.99),
    z=st.floats(0.3, 20),
    steps=st.integers(1, 300),
    exponent=st.floats(2, 12),
)
def test_brackets_are_sound_everywhere(rate, z, steps, exponent):
    """low ≤ high ≤ Rényi and ≤ unsampled Gaussian."""
    delta = 10**-exponent
    run = Accountant().compose(GaussianEvent(z, PoissonSampling(rate)), steps)
    bracket = run.epsilon(delta)
    assert bracket.high <= run.quick_epsilon(delta)
    assert bracket.high <= gaussian_epsilon(z / math.sqrt(steps), delta) * (1 + 1e-6) + 1e-6
    assert bracket.width <= 0.02 + 0.02 * bracket.high


def test_rare_and_revealing_releases_are_known_at_every_epsilon():
    """At z = 1e-3 a participation is certain to be seen, so that δ = 1 − (1 − q)^T at every small ε.

    Mutant: without the sum of total variations the upper side is 1.
    """
    rate, count = 1e-7, 1000
    run = Accountant().compose(GaussianEvent(1e-3, PoissonSampling(rate)), count)
    exact = -math.expm1(count * math.log1p(-rate))
    found = run.delta(0.0)
    assert found.low <= exact <= found.high <= exact * (1 + 1e-4)
    assert run.epsilon(1.0001e-4) == Bracket(0.0, 0.0)


def test_a_delta_below_every_mesh_still_has_a_lower_side():
    """ε at δ = 1e-300 is at least that at e^(−640), and about 5 % more for a Gaussian tail."""
    run = Accountant().compose(GaussianEvent(1.0, PoissonSampling(0.1)), 20)
    found = run.epsilon(1e-300)
    assert 0.7 * found.high < found.low < found.high < math.inf


def test_where_no_mesh_reaches_one_release_alone_is_the_lower_side():
    """Mutant: 0, as nothing is known of both sides from a mesh of 1e12 losses."""
    run = Accountant().compose(LaplaceEvent(1e-12, PoissonSampling(0.25)), 800)
    run = run.compose(GaussianEvent(200.0, PoissonSampling(1e-9)), 80)
    assert run.delta(20_000.0).low > 1 - 1e-9  # 0.75^800 is 1e-100
    assert run.epsilon(1e-50).low > 0.99e12


@pytest.mark.parametrize("multiplier", [1e-100, 1e-3])
@pytest.mark.parametrize(("rate", "count"), [(0.01, 50), (0.5, 4)])
def test_little_noise_is_known_from_both_sides(multiplier, rate, count):
    """Any participation is seen: δ = 1 − (1 − q)^T far beyond every ε in use, and ε = 0 at a larger δ.

    Mutant: without releases one by one, the bracket of δ is [q, 1] and ε's is [0, T/2z²].
    """
    run = Accountant().compose(GaussianEvent(multiplier, PoissonSampling(rate)), count)
    exact = -math.expm1(count * math.log1p(-(rate + 2.0**-53)))
    for epsilon in (0.0, 1.0, 1000.0):
        found = run.delta(epsilon)
        assert found.low * (1 - 1e-12) <= exact <= found.high * (1 + 1e-12)
        assert found.width <= 1e-6 * exact
    assert run.epsilon(exact * 1.001) == Bracket(0.0, 0.0)
    below = run.epsilon(exact * 0.999)
    assert 0.45 / multiplier**2 < below.low <= below.high
