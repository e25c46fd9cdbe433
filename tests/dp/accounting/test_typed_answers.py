"""An accountant answers every question about every event with a bracket, however large its losses are."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import ndtri_exp

from dp import (
    Accountant,
    BudgetExhaustedError,
    FixedSizeSampling,
    GaussianEvent,
    InvalidParameterError,
    LaplaceEvent,
    Ledger,
    NeighboringRelation,
    NoSampling,
    PoissonSampling,
    RoundedGaussianSumEvent,
)
from dp.composition.pld import pld_epsilon
from dp.losses.gaussian import epsilon_of_mu
from dp.losses.pairs import MixturePair

ADD, REPLACE = NeighboringRelation.ADD_REMOVE, NeighboringRelation.REPLACE_ONE


def powers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high).map(lambda exponent: 10.0**exponent)


samplings = st.one_of(
    st.just(NoSampling()),
    powers(-9, 0).map(PoissonSampling),
    st.tuples(st.integers(1, 10**6), st.floats(0, 1), st.booleans()).map(
        lambda all_: FixedSizeSampling(max(1, int(all_[0] * all_[1])), all_[0], enrolled=all_[2])
    ),
)
noises = st.one_of(powers(-4, 6), powers(-1.3, 1.5))
gaussians = st.builds(GaussianEvent, noises, samplings)
laplaces = st.builds(LaplaceEvent, noises, powers(-6, 0).map(PoissonSampling))
counts = powers(0, 8).map(int)


@settings(max_examples=40, deadline=None)
@given(
    relation=st.sampled_from(NeighboringRelation),
    released=st.lists(st.tuples(gaussians, counts), min_size=1, max_size=2),
    more=st.one_of(st.none(), laplaces),
    delta=st.one_of(st.sampled_from([0.0, 5e-324, 1e-300, 1e-5, 1.0]), powers(-300, 0)),
    epsilon=st.one_of(st.sampled_from([0.0, 1e-300, 700.0, 1e300]), powers(-6, 4)),
)
@example(  # far beyond the largest loss, e^((ε − r)/2) is no number
    relation=ADD,
    released=[(GaussianEvent(1.0), 100_000)],
    more=LaplaceEvent(1.0, PoissonSampling(1.0)),
    delta=0.0,
    epsilon=10_000.0,
)
@example(  # no mass of the sum lies outside its window
    relation=ADD,
    released=[(GaussianEvent(0.01), 1_000_000)],
    more=LaplaceEvent(1.0, PoissonSampling(1.0)),
    delta=0.0,
    epsilon=0.0,
)
def test_every_question_has_a_bracket_for_an_answer(relation, released, more, delta, epsilon):
    run = Accountant(relation)
    for event, count in released:
        run = run.compose(event, count)
    if more is not None and relation is ADD:
        run = run.compose(more)
    at_delta, at_epsilon = run.epsilon(delta), run.delta(epsilon)
    for bracket in (at_delta, at_epsilon):
        assert 0 <= bracket.low <= bracket.high
    assert at_epsilon.high <= 1
    assert run.quick_epsilon(delta) >= at_delta.low


@pytest.mark.parametrize(
    ("relation", "released", "delta", "low", "high"),
    [
        # the closed form of the plain Gaussians alone is a lower bound
        (
            REPLACE,
            [(0.4145617177197088, 1.0, 60), (50.97449758031483, 1.1256778713e-05, 158_601)],
            1e-10,
            934.98,
            935.07,
        ),
        (REPLACE, [(0.4, 1.0, 60), (50.0, 1e-5, 1000)], 1e-10, 995.37, 995.49),
        (REPLACE, [(0.5, 1.0, 10), (1.0, 0.01, 1000)], 1e-10, 159.99, 160.01),
        (ADD, [(0.02, 0.5, 10)], 1e-5, 12_857, 12_859),
        (ADD, [(0.01, 0.5, 10)], 1e-5, 50_722, 50_727),
        (ADD, [(0.05, 0.01, 1000)], 1e-5, 5090.1, 5090.7),
    ],
)
def test_large_losses_have_narrow_brackets(relation, released, delta, low, high):
    run, plain = Accountant(relation), 0.0
    distance = 2.0 if relation is REPLACE else 1.0
    for z, rate, count in released:
        sampling = PoissonSampling(rate) if rate < 1 else NoSampling()
        run = run.compose(GaussianEvent(z, sampling), count)
        plain += count * (distance / z) ** 2 * (rate == 1)
    found = run.epsilon(delta)
    assert low <= found.low <= found.high <= high
    if plain:
        assert epsilon_of_mu(math.sqrt(plain), math.log(delta)) <= found.high


@pytest.mark.parametrize("z", [1e-100, 1e-9, 1e9, 1e15])
@pytest.mark.parametrize(
    "sampling",
    [
        NoSampling(),
        PoissonSampling(1e-9),
        PoissonSampling(0.5),
        FixedSizeSampling(1, 2, enrolled=True),
        FixedSizeSampling(1, 10**9, enrolled=True),
    ],
)
@pytest.mark.parametrize("relation", [ADD, REPLACE])
def test_noise_at_the_ends_of_its_range_has_a_bracket(z, sampling, relation):
    found = Accountant(relation).compose(GaussianEvent(z, sampling), 10**9).epsilon(1e-5)
    assert 0 <= found.low <= found.high
    assert found.high > 1e10 or z > 1
    # Where only a grid bounds the moments, what rounding does to a loss counts a billion times.
    assert found.high < 0.02 or z < 1


@pytest.mark.parametrize("z", [5e-324, 1e-101, 1.1e15, 1e308])
@pytest.mark.parametrize(
    "make",
    [
        GaussianEvent,
        LaplaceEvent,
        lambda z: RoundedGaussianSumEvent(z, local_stddev=4.0, shares=2, dimension=3),
    ],
)
def test_noise_whose_square_floats_do_not_hold_is_refused(make, z):
    with pytest.raises(InvalidParameterError, match="noise_multiplier must be 0, or from 1e-100"):
        make(z)


@pytest.mark.parametrize("mu", [1e7, 1e8, 1.1e8, 1e12, 1e90])
@pytest.mark.parametrize("delta", [0.3, 1e-5, 1e-300])
def test_the_closed_form_holds_at_huge_losses(mu, delta):
    """From the condition Phi(mu/2 - eps/mu) = delta, to which the curve tends."""
    found = epsilon_of_mu(mu, math.log(delta))
    quantile = float(ndtri_exp(math.log(delta)))
    assert found == pytest.approx(mu * (mu / 2 - quantile), rel=3e-14)


@pytest.mark.parametrize("z", [0.05, 0.02, 0.01])
@pytest.mark.parametrize("count", [1, 3])
def test_huge_plain_gaussians_through_the_grid_hold_the_closed_form(z, count):
    """Masses of the second distribution vanish here; the lower side may not profit from that."""
    for log_delta in (math.log(0.5), math.log(1e-5), math.log(1e-30)):
        exact = epsilon_of_mu(math.sqrt(count) / z, log_delta)
        found = pld_epsilon(((MixturePair(1.0, z), count),), log_delta)
        assert found.low <= exact <= found.high
        assert found.width <= 2e-3 * exact


@pytest.mark.parametrize(
    ("released", "delta", "true"),
    [
        # masses of the second distribution among the smallest floats: the upper side was too low
        (
            [(0.03078055952562112, 0.002362077253995724), (1.0, 6.210202964056699e-07)],
            5.970208651656851e-12,
            710.67270,
        ),
        # far above the centre of a small tilt: the lower side was too high
        ([(0.014, 1e-4), (0.014, 0.02)], 3e-6, 2824.0945),
    ],
)
def test_large_losses_of_two_kinds_hold_the_truth(released, delta, true):
    """The true epsilons are from two quadratures of the closed curve of one release, which agree to 1e-9."""
    run = Accountant()
    for z, rate in released:
        run = run.compose(GaussianEvent(z, PoissonSampling(rate)))
    found = run.epsilon(delta)
    assert found.low <= true <= found.high
    assert found.width <= 0.02 * true


def test_a_ledger_refuses_what_costs_too_much_by_the_promised_name():
    ledger = Ledger(8.0, 1e-5)
    ledger.charge(GaussianEvent(1.0, PoissonSampling(0.01)), 100)
    with pytest.raises(BudgetExhaustedError):
        ledger.charge(GaussianEvent(0.02))
    assert len(ledger.history) == 1


@pytest.mark.parametrize(
    ("event", "count"),
    [
        (LaplaceEvent(1e15), 2),
        (LaplaceEvent(1e15, PoissonSampling(0.1)), 2),
        (LaplaceEvent(1e-100), 2),
        (GaussianEvent(10.0, PoissonSampling(1e-3)), 2**53),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_losses_beyond_the_range_of_floats_have_an_answer(event, count):
    account = Accountant().compose(event, count)
    epsilon, delta = account.epsilon(1e-5), account.delta(0.0)
    assert 0 <= epsilon.low <= epsilon.high
    assert 0 <= delta.low <= delta.high <= 1


def test_a_count_that_no_float_holds_is_refused():
    with pytest.raises(InvalidParameterError, match=r"at most 2\^53"):
        Accountant().compose(GaussianEvent(1.0), 2**53 + 1)
    with pytest.raises(InvalidParameterError, match=r"at most 2\^53"):
        Accountant().compose(GaussianEvent(1.0), 10**400)
