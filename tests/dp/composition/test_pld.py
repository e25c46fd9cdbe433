"""The certified bracket: against closed forms, dp-accounting's own two-sided PLD, and published values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution
from scipy.optimize import brentq
from scipy.special import ndtr

from dp import Accountant, FixedSizeSampling, GaussianEvent, NoSampling, PoissonSampling
from dp.composition.discretise import GridLaw, on_grid
from dp.composition.pld import pld_delta, pld_epsilon
from dp.losses.gaussian import epsilon_of_mu, log_delta
from dp.losses.pairs import MixturePair


def poisson(rate: float, z: float, steps: int) -> Accountant:
    return Accountant().compose(GaussianEvent(z, PoissonSampling(rate)), steps)


@pytest.mark.parametrize(
    ("rate", "z", "steps", "low", "high"),
    [
        # known brackets at δ = 1e-5, from an independent two-sided computation of small mesh
        (0.01, 1.0, 1000, 1.82814, 1.82828),
        (0.01, 0.5, 1000, 13.3508, 13.3610),
        (0.001, 1.0, 10_000, 0.47572, 0.47577),
        (0.1, 2.0, 10_000, 35.990, 36.005),
    ],
)
def test_known_values(rate, z, steps, low, high):
    ours = poisson(rate, z, steps).epsilon(1e-5)
    assert ours.low <= high
    assert low <= ours.high <= high * 1.0002
    assert ours.width <= max(0.01, 2e-3 * high)


@pytest.mark.parametrize(("rate", "z", "value"), [(0.1, 1.0, 4.69), (0.15, 1.3, 4.38)])
def test_forty_rounds(rate, z, value):
    ours = poisson(rate, z, 40).epsilon(1e-5)
    assert ours.high == pytest.approx(value, abs=0.006)
    assert ours.width <= 0.01


def test_fixed_size_cohorts_pay_the_shift_of_two():
    event = GaussianEvent(1.0, FixedSizeSampling(100, 1000))
    ours = Accountant().compose(event, 100).epsilon(1e-5)
    assert ours.high == pytest.approx(31.37, abs=0.01)
    assert ours.low > 31.3


@pytest.mark.parametrize(
    ("rate", "z", "steps", "delta"),
    [(0.15, 1.3, 40, 1e-5), (0.02, 0.8, 200, 1e-6), (0.5, 3.0, 60, 1e-8), (0.3, 2.0, 2, 1e-5)],
)
def test_brackets_meet_those_of_dp_accounting(rate, z, steps, delta):
    def peer(*, pessimistic: bool) -> float:
        one = privacy_loss_distribution.from_gaussian_mechanism(
            z,
            sampling_prob=rate,
            pessimistic_estimate=pessimistic,
            value_discretization_interval=2e-4,
            use_connect_dots=pessimistic,
        )
        return one.self_compose(steps).get_epsilon_for_delta(delta)

    ours = poisson(rate, z, steps).epsilon(delta)
    assert ours.low <= peer(pessimistic=True)
    assert peer(pessimistic=False) <= ours.high
    assert ours.high <= peer(pessimistic=True) * (1 + 1e-3) + 1e-4


@pytest.mark.parametrize("delta", [1e-3, 1e-6, 1e-20, 1e-80])
@pytest.mark.parametrize(("z", "count"), [(1.0, 1), (3.0, 20), (30.0, 400), (0.3, 2)])
def test_plain_gaussians_through_the_grid_match_the_closed_form(z, count, delta):
    """The one composition whose answer is known to all digits."""
    exact = epsilon_of_mu(math.sqrt(count) / z, math.log(delta))
    ours = pld_epsilon(((MixturePair(1.0, z), count),), math.log(delta))
    assert ours.low <= exact <= ours.high
    assert ours.high <= exact * (1 + 1e-4) + 1e-6
    assert ours.width <= 5e-3 * exact + 1e-3


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 2.0, 8.0])
def test_delta_of_plain_gaussians_matches_the_closed_form(epsilon):
    exact = math.exp(log_delta(epsilon, math.sqrt(20) / 3))
    ours = pld_delta(((MixturePair(1.0, 3.0), 20),), epsilon, math.log(min(1.0, 5 * exact)))
    assert ours.low <= exact <= ours.high
    assert ours.high <= exact * 1.001
    assert ours.low >= exact * 0.9


@pytest.mark.parametrize(("rate", "z"), [(0.1, 1.0), (0.5, 2.0), (0.01, 0.6)])
def test_one_subsampled_release_matches_its_exact_curve(rate, z):
    def delta(epsilon: float) -> float:
        """Hockey-stick of (mixture, N0): the worse order at T = 1 for ε > 0."""
        x = z * z * math.log((math.exp(epsilon) - 1 + rate) / rate) + 0.5
        mixture = (1 - rate) * ndtr(-x / z) + rate * ndtr((1 - x) / z)
        return float(mixture - math.exp(epsilon) * ndtr(-x / z))

    exact = brentq(lambda e: delta(e) - 1e-5, 0.0, 40.0, xtol=1e-13)
    ours = poisson(rate, z, 1).epsilon(1e-5)
    assert ours.low <= exact <= ours.high
    assert ours.high == pytest.approx(exact, rel=1e-4)


def test_mix_of_events_lies_between_its_parts():
    mixed = poisson(0.15, 1.3, 20).compose(GaussianEvent(2.0, PoissonSampling(0.05)), 200)
    mixed = mixed.compose(GaussianEvent(5.0, NoSampling()))
    ours = mixed.epsilon(1e-5)
    assert ours.width <= 0.015
    assert ours.low > poisson(0.15, 1.3, 20).epsilon(1e-5).high
    assert ours.high < mixed.quick_epsilon(1e-5)
    assert pytest.approx(mixed.delta(ours.high).high, rel=2e-2) == 1e-5


def test_splitting_a_pair_into_two_equal_events_changes_nothing():
    """Two names for one mechanism: noise multipliers that differ in the last place."""
    whole = poisson(0.15, 1.3, 40).epsilon(1e-5)
    split = poisson(0.15, 1.3, 20).compose(
        GaussianEvent(math.nextafter(1.3, 2), PoissonSampling(0.15)), 20
    )
    assert split.epsilon(1e-5).high == pytest.approx(whole.high, rel=1e-6)


@pytest.mark.parametrize("removing", [True, False])
@pytest.mark.parametrize(("rate", "z"), [(0.15, 1.3), (0.01, 0.5), (1.0, 2.0), (0.001, 5.0)])
def test_gridded_loss_dominates_the_true_one(rate, z, removing):
    """At every ε the gridded hockey-stick is above the exact one, and close to it."""
    pair = MixturePair(rate, z)
    step = pair.spread / 20
    above, below = on_grid(pair, step, 1e-12, removing=removing)
    assert above.mass.sum() + above.beyond == pytest.approx(1, abs=1e-10)
    assert below.mass.sum() <= 1 + 1e-10

    def gridded(law: GridLaw, epsilon: float) -> float:
        losses = law.losses + law.offset
        return float((law.mass * np.maximum(-np.expm1(epsilon - losses), 0)).sum()) + law.beyond

    for epsilon in np.linspace(-2, 4, 25) * pair.spread:
        exact = hockey_stick(pair, float(epsilon), removing=removing)
        assert exact - 1e-14 <= gridded(above, epsilon) <= exact + pair.spread * 5e-3
        assert exact + 1e-14 >= gridded(below, epsilon) >= exact - pair.spread * 5e-3


def hockey_stick(pair: MixturePair, epsilon: float, *, removing: bool) -> float:
    x = float(pair.outputs(np.array([epsilon if removing else -epsilon]))[0])
    if removing:  # the loss rises with the output
        second = float(ndtr(-x / pair.stddev))
        first = (1 - pair.rate) * second + pair.rate * float(ndtr((1 - x) / pair.stddev))
    else:
        first = float(ndtr(x / pair.stddev))
        second = (1 - pair.rate) * first + pair.rate * float(ndtr((x - 1) / pair.stddev))
    return first - math.exp(epsilon) * second


def test_lower_bound_holds_where_rare_events_decide():
    """δ far below the chance of joining: the tilted law's centre is far above the answer."""
    ours = poisson(0.001, 0.8, 10).epsilon(1e-8)
    assert ours.low > 0.43
    assert ours.width < 0.01


def test_upper_bound_is_never_above_renyi():
    for rate, z, steps in [(0.5, 0.4, 3), (0.9, 10.0, 1000), (1e-4, 0.3, 10), (0.2, 0.1, 5)]:
        run = poisson(rate, z, steps)
        assert run.epsilon(1e-6).high <= run.quick_epsilon(1e-6)


def test_tiny_and_huge_deltas():
    run = poisson(0.15, 1.3, 40)
    assert run.epsilon(0.5).high == 0
    previous = 0.0
    for exponent in (2, 5, 20, 100, 250):
        bracket = run.epsilon(10.0**-exponent)
        assert bracket.low <= bracket.high < math.inf
        assert bracket.high > previous
        previous = bracket.high
