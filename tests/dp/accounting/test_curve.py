"""The whole privacy curve, trade-offs and groups: against closed forms, dp-accounting, and each other."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import mpmath
import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, skellam

from dp import (
    Accountant,
    Cost,
    FailureEvent,
    GaussianEvent,
    InvalidParameterError,
    LaplaceEvent,
    MixturePair,
    PoissonSampling,
    PrivacyCurve,
    RenyiEvent,
    RoundedGaussianSumEvent,
    SkellamEvent,
    UnassignedCompositionError,
    gaussian_delta,
    gaussian_epsilon,
)

LEVELS = np.array([1e-12, 1e-6, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.8, 0.99])


def gaussian_tradeoff(alpha, mu):
    """Dong, Roth and Su (2022), equation 6: Φ(Φ⁻¹(1 − α) − μ)."""
    return norm.sf(mu - norm.isf(alpha))


@pytest.mark.parametrize("z", [0.4, 1.0, 3.0, 20.0])
def test_gaussian_curves_hold_the_closed_form(z):
    curve = Accountant().compose(GaussianEvent(z)).curve()
    reach = curve.epsilons[-1]
    for epsilon in np.linspace(0, reach, 40):  # at and between the points
        exact, found = gaussian_delta(z, float(epsilon)), curve.delta(float(epsilon))
        assert found.low <= exact <= found.high
        assert found.width <= 0.05 * exact
    for delta in (0.2, 1e-3, 1e-9):
        exact, found = gaussian_epsilon(z, delta), curve.epsilon(delta)
        assert found.low <= exact <= found.high
        assert found.width <= 1e-3 * reach


@pytest.mark.parametrize("z", [0.4, 1.0, 3.0, 20.0])
def test_gaussian_tradeoffs_hold_the_closed_form(z):
    low, high = Accountant().compose(GaussianEvent(z)).curve().tradeoff(LEVELS)
    exact = gaussian_tradeoff(LEVELS, 1 / z)
    assert (low <= exact * (1 + 1e-12)).all()
    assert (exact <= high * (1 + 1e-12)).all()
    assert (high - low <= 1e-3).all()


def test_a_known_tradeoff():
    """Φ(Φ⁻¹(0.95) − 1), with mpmath at 50 digits: 0.740488977158…"""
    with mpmath.workdps(50):
        quantile = mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf("0.95") - 1)
        exact = float(mpmath.ncdf(quantile - 1))
    assert exact == pytest.approx(0.740488977158, abs=1e-12)
    low, high = Accountant().compose(GaussianEvent(1.0)).curve().tradeoff(np.array([0.05]))
    assert low[0] <= exact <= high[0]


@pytest.mark.parametrize("size", [2, 3, 10])
def test_groups_of_plain_gaussians_are_exact(size):
    z = 4.0
    curve = Accountant().compose(GaussianEvent(z), 2).curve(group=size)
    for delta in (1e-2, 1e-6, 1e-10):
        exact = gaussian_epsilon(z / size / math.sqrt(2), delta)
        found = curve.epsilon(delta)
        assert found.low <= exact <= found.high <= exact * 1.005 + 1e-3


@pytest.mark.parametrize("size", [1, 2, 3])
def test_chained_groups_bound_the_gaussians_own(size):
    """The bound from one client's curve alone, on a mechanism whose groups are known exactly."""
    alone = Accountant().compose(GaussianEvent(3.0)).curve(smallest=1e-60)
    chained = alone.group(size)
    for epsilon in (0.0, 0.5, 1.0, 2.0):
        exact = gaussian_delta(3.0 / size, epsilon)
        assert exact <= chained.delta(epsilon).high <= exact * 1.1 + 1e-12
        assert chained.delta(epsilon).low <= exact


def test_groups_of_one_laplace_release_cost_a_multiple():
    """δ = 0 at k·ε: the noise has twice the variance of its scale's square."""
    event = LaplaceEvent(2.0)
    pure = event.cost(Accountant().relation).pure
    for size in (1, 2, 5):
        curve = Accountant().compose(event).curve(group=size)
        assert curve.epsilon(1e-9).high == pytest.approx(size * pure, rel=0.02)
        assert curve.epsilon(1e-9).high >= size * pure * (1 - 1e-3)


def test_groups_are_no_cheaper_than_the_textbooks_bound_and_no_dearer():
    """(kε, δ·(e^(kε) − 1)/(e^ε − 1)) holds for every mechanism (Vadhan 2017, lemma 2.2)."""
    run = Accountant().compose(GaussianEvent(2.0, PoissonSampling(0.1)), 50)
    for size in (2, 4):
        found = run.curve(group=size).epsilon(1e-6)
        assert run.epsilon(1e-6).low <= found.high
        textbook = math.inf
        for delta in 10.0 ** -np.arange(6, 14, 0.25):
            epsilon = run.epsilon(float(delta)).high
            spread = math.expm1(size * epsilon) / math.expm1(epsilon)
            if delta * spread <= 1e-6:
                textbook = min(textbook, size * epsilon)
        assert found.high <= textbook * 1.001


@pytest.mark.parametrize(("rate", "z", "steps"), [(0.1, 1.0, 40), (0.01, 0.8, 300)])
def test_sampled_curves_meet_those_of_dp_accounting(rate, z, steps):
    curve = Accountant().compose(GaussianEvent(z, PoissonSampling(rate)), steps).curve()

    def peer(*, pessimistic: bool):
        one = privacy_loss_distribution.from_gaussian_mechanism(
            z,
            sampling_prob=rate,
            pessimistic_estimate=pessimistic,
            value_discretization_interval=2e-4,
            use_connect_dots=pessimistic,
        )
        return one.self_compose(steps)

    above, below = peer(pessimistic=True), peer(pessimistic=False)
    for epsilon in (0.0, 0.2, 1.0, 2.5):
        found = curve.delta(epsilon)
        assert below.get_delta_for_epsilon(epsilon) <= found.high * (1 + 1e-9) + 1e-13
        assert found.low <= above.get_delta_for_epsilon(epsilon) * (1 + 1e-9) + 1e-13


@pytest.mark.parametrize(
    "run",
    [
        Accountant().compose(GaussianEvent(1.3, PoissonSampling(0.15)), 40),
        Accountant().compose(GaussianEvent(2.0)).compose(FailureEvent(1e-9), 3),
        Accountant().compose(
            RoundedGaussianSumEvent(1.0, local_stddev=2.5, shares=50, dimension=2048), 5
        ),
        Accountant().compose(LaplaceEvent(1.0, PoissonSampling(0.2)), 10),
        Accountant().compose(RenyiEvent((2.0, 8.0), (0.1, 0.5))),
        Accountant().compose(FailureEvent(1e-7)),
    ],
)
def test_a_curve_agrees_with_single_questions(run):
    curve = run.curve(smallest=1e-9, points=33)
    for place in (0, 3, 16, 31):
        one = run.delta(float(curve.epsilons[place]))
        assert curve.low[place] <= one.high * (1 + 1e-9) + 1e-300
        assert one.low <= curve.high[place] * (1 + 1e-9)
    assert (np.diff(curve.high) <= 0).all()


@settings(max_examples=40, deadline=None)
@given(
    z=st.floats(0.3, 30),
    points=st.integers(3, 40),
    smallest=st.floats(1e-30, 0.5),
    level=st.floats(0, 1),
)
def test_any_points_give_sound_bounds(z, points, smallest, level):
    curve = Accountant().compose(GaussianEvent(z)).curve(smallest=smallest, points=points)
    low, high = curve.tradeoff(np.array([level]))
    exact = gaussian_tradeoff(level, 1 / z)
    assert low[0] <= exact + 1e-12
    assert exact <= high[0] + 1e-12
    chained = curve.group(2)
    for epsilon in (0.1, 0.37 * curve.epsilons[-1]):
        assert gaussian_delta(z / 2, epsilon) <= chained.delta(epsilon).high * (1 + 1e-9)
        found = curve.delta(epsilon)
        assert found.low * (1 - 1e-9) <= gaussian_delta(z, epsilon) <= found.high * (1 + 1e-9)


def test_mutant_that_draws_chords_on_the_lower_side_is_refuted():
    """A chord between two lower bounds is above a convex curve."""
    points = np.array([0.0, 1.0, 2.0])
    exact = np.array([gaussian_delta(1.0, e) for e in points])
    curve = PrivacyCurve(points, exact, exact)
    half = (math.exp(1.5) - math.e) / (math.exp(2.0) - math.e)
    chord = (1 - half) * exact[1] + half * exact[2]
    truth = gaussian_delta(1.0, 1.5)
    assert chord > truth  # the mutant
    assert curve.delta(1.5).low <= truth <= curve.delta(1.5).high


def test_what_is_no_curve_is_refused():
    line = np.array([0.0, 1.0])
    for wrong in (
        (line[:1], line[:1], line[:1]),
        (line, line[:1], line),
        (line + 1, line, line),
        (line[::-1], line, line),
        (line, line, line / 2),
        (line, line, line + 1),
        (line * 1000, line * 0, line * 0 + 1),
        (np.array([0.0, math.inf]), line * 0, line),
    ):
        with pytest.raises(InvalidParameterError):
            PrivacyCurve(*wrong)
    run = Accountant().compose(GaussianEvent(1.0))
    for wrong in ({"smallest": 0.0}, {"group": 0}, {"points": 2}, {"group": 1.5}):
        with pytest.raises(InvalidParameterError):
            run.curve(**wrong)
    with pytest.raises(UnassignedCompositionError):
        Accountant().curve()
    with pytest.raises(InvalidParameterError, match="levels"):
        run.curve().tradeoff(np.array([1.5]))
    assert set(run.curve(points=5).as_dict()) == {"epsilon", "delta_low", "delta_high"}


@pytest.mark.parametrize("size", [1, 3])
def test_groups_move_every_release_and_not_the_gaussian_alone(size):
    """Beside a Gaussian that costs nothing, Skellam noise of variance 4 moves by `size`, exactly.

    Mutant: a group of one plain Gaussian is exact, and the Skellam's curve stays that of one client: at ε = 2
    it claims 0.0004, where δ of three clients is 0.121.
    """
    noise = SkellamEvent(2.0, l2_sensitivity=1.0, l1_sensitivity=1.0)
    run = Accountant().compose(GaussianEvent(1e6)).compose(noise)
    curve = run.curve(group=size, points=20)
    k = np.arange(-60, 61)
    first, second = skellam.pmf(k - size, 2.0, 2.0), skellam.pmf(k, 2.0, 2.0)
    # at its own points a curve has no slack of a chord, so few points hide nothing
    for epsilon in (0.5, 1.0, 2.0, 4.0, *curve.epsilons[curve.epsilons < 20]):
        exact = float(np.maximum(first - math.exp(epsilon) * second, 0.0).sum())
        assert exact <= curve.delta(epsilon).high * (1 + 1e-9) + 1e-12


@dataclass(frozen=True)
class Stated:
    """An event whose cost is given."""

    given: Cost = field(hash=False)

    def cost(self, relation):
        return self.given


def test_a_group_attains_nothing_where_one_client_does_not():
    """One Gaussian bounds this release, and no data is known that reaches it."""
    run = Accountant().compose(Stated(Cost((MixturePair(1.0, 1.0),), least=())))
    for group in (1, 2, 5):
        curve = run.curve(group=group, smallest=1e-5, points=5)
        assert (curve.low == 0).all()
        assert curve.high[0] > 0.38


def test_a_lower_side_with_slack_is_asked_for_beyond_the_largest_loss():
    """At ε just below a pure ε, the lower side is that of the pairs at ε + 2B."""
    cost = Cost((MixturePair(0.5, 1.0),), pure=1.0, least=(MixturePair(0.5, 3.0),), least_slack=0.2)
    curve = Accountant().compose(Stated(cost), 3).curve(smallest=1e-6, points=30)
    assert (curve.low <= curve.high).all()
    assert curve.low[0] > 0
    assert curve.low[-1] == curve.high[-1] == 0
