"""Skellam and discrete Gaussian noise from below and above, beside laws that are enumerated."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
from scipy.special import ive

from dp import (
    Accountant,
    Cost,
    DiscreteGaussianSumEvent,
    GaussianEvent,
    InvalidParameterError,
    MixturePair,
    NeighboringRelation,
    NoSampling,
    PoissonSampling,
    SkellamEvent,
)
from dp.events import lattice
from dp.losses.lattice import SkellamPair, skellam_log_masses
from tests.dp.lattice import convolved, discrete, hockey_stick, placed
from tests.hostile.mutants import without

REPLACE = NeighboringRelation.REPLACE_ONE


@pytest.mark.parametrize("variance", [0.3, 4.0, 1e3, 1.1e4])
def test_masses_of_skellam_are_bessel_functions(variance):
    """mpmath's I_k with 40 digits, from the centre to 14 standard deviations."""
    reach = 14 * math.sqrt(variance)
    k = np.unique(np.round(reach * np.array([0.1, 1.0])))
    with mpmath.workdps(40):
        exact = [mpmath.log(mpmath.besseli(int(j), variance, maxterms=10**6)) - variance for j in k]
    assert skellam_log_masses(k, variance) == pytest.approx([float(x) for x in exact], abs=1e-12)


def test_large_variances_meet_bessel_and_obey_its_recurrence():
    k = np.linspace(0, 14_000, 57).round()
    assert skellam_log_masses(k, 1e6) == pytest.approx(np.log(ive(k, 1e6)), abs=1e-11)
    # I_(k−1)(V) − I_(k+1)(V) = (2k/V)·I_k(V), whose left side keeps few digits
    variance, k = 1e6, np.array([5e3, 1e4, 1.3e4])
    before, at, after = (skellam_log_masses(k + j, variance) for j in (-1, 0, 1))
    difference = np.exp(before - at) - np.exp(after - at)
    assert difference == pytest.approx(2 * k / variance, rel=1e-9)


def skellam_law(variance: float) -> np.ndarray:
    reach = int(14 * math.sqrt(variance)) + 60
    return np.exp(skellam_log_masses(np.abs(np.arange(-reach, reach + 1.0)), variance))


def sums(one: np.ndarray, rate: float, shift: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Both laws of `count` releases, on their full grid of outputs."""
    width = len(one) + 2 * shift
    absent = placed(one, 0, width)
    joined = (1 - rate) * absent + rate * placed(one, shift, width)
    p, q = joined, absent
    for _ in range(count - 1):
        p, q = np.multiply.outer(p, joined).ravel(), np.multiply.outer(q, absent).ravel()
    return p, q


@pytest.mark.parametrize(
    ("rate", "variance", "shift", "count"),
    [(1.0, 4.0, 1, 1), (1.0, 9.0, 4, 2), (0.1, 4.0, 2, 1), (0.3, 2.0, 1, 2), (0.02, 30.0, 5, 2)],
)
def test_one_coordinate_of_skellam_is_what_enumeration_says(rate, variance, shift, count):
    p, q = sums(skellam_law(variance), rate, shift, count)
    norm = math.sqrt(variance)
    sampling = PoissonSampling(rate)
    event = SkellamEvent(
        norm / shift, l2_sensitivity=shift, l1_sensitivity=shift, sampling=sampling
    )
    run = Accountant().compose(event, count)
    for epsilon in (0.05, 0.3, 1.0):
        true = max(hockey_stick(p, q, epsilon), hockey_stick(q, p, epsilon))
        found = run.delta(epsilon)
        # the enumeration itself loses what is far out and below 1e-15
        assert found.low <= true * (1 + 1e-9) + 1e-14
        assert found.low >= true * (1 - 2e-3) - 1e-12
        assert found.high >= true * (1 - 1e-9) - 1e-14


def test_mutant_that_claims_the_next_integer_is_above_the_enumeration(monkeypatch):
    """A client cannot move a coordinate by 2.9 grid units, so that 3 is too much."""
    p, q = sums(skellam_law(8.41), 1.0, 2, 1)
    true = hockey_stick(p, q, 0.3)

    def event():
        return SkellamEvent(1.0, l2_sensitivity=2.9, l1_sensitivity=2.9)

    assert Accountant().compose(event()).delta(0.3).low <= true * (1 + 1e-9)
    monkeypatch.setattr(lattice.math, "floor", math.ceil)
    cost = event().cost(NeighboringRelation.ADD_REMOVE)
    monkeypatch.undo()
    (pair,) = cost.least
    assert pair.shift == 3
    more, less = sums(skellam_law(8.41), 1.0, pair.shift, 1)
    assert hockey_stick(more, less, 0.3) > 1.2 * true


def test_cells_have_all_the_mass_and_the_second_law_what_is_beyond_the_table():
    pair = SkellamPair(0.2, 5.0, 2)
    for removing in (True, False):
        low, high = pair.range(1e-12, removing=removing)
        inner = np.linspace(low - 1e-9, high + 1e-9, 40)  # an atom is in the cell that it begins
        edges = np.concatenate([[-math.inf], inner, [math.inf]])
        p, r = pair.cells(edges, removing=removing)
        assert p.sum() == pytest.approx(1, abs=1e-12)
        assert r.sum() == pytest.approx(1, abs=1e-12)
        assert (p[1:-1] <= r[1:-1] * np.exp(edges[2:-1]) * (1 + 1e-9) + 1e-300).all()
        assert p[0] <= 1e-12
        assert p[-1] <= 1e-12


# Discrete Gaussian noise -----------------------------------------------------------------------------


def _event(stddev, shares, l2, *, dimension=2, rate=1.0):
    return DiscreteGaussianSumEvent(
        math.sqrt(shares) * stddev / l2,
        local_stddev=stddev,
        shares=shares,
        dimension=dimension,
        l2_sensitivity=l2,
        l1_sensitivity=l2 * math.sqrt(dimension),
        sampling=PoissonSampling(rate),
    )


@pytest.mark.parametrize(
    ("stddev", "shares", "l2", "rate"),
    [
        (9.0, 1, 6.4, 1.0),
        (3.5, 12, 5.0, 1.0),
        (2.5, 30, 8.1, 0.2),
        (14.0, 1, 13.0, 0.05),
    ],
)
def test_brackets_of_discrete_gaussians_hold_every_vector_and_one_attains_the_low_side(
    stddev, shares, l2, rate
):
    """All whole vectors of two coordinates within the norm, enumerated; up to rotation and sign."""
    law = convolved([discrete(stddev**2)] * shares)
    reach = math.floor(l2)
    vectors = [
        (a, b)
        for a, b in itertools.product(range(reach + 1), repeat=2)
        if a >= b and 0 < a * a + b * b <= l2 * l2
    ]
    middle, cut = len(law) // 2, round(9 * stddev * math.sqrt(shares))
    law = law[middle - cut : middle + cut + 1]
    width = len(law) + 2 * reach
    still = placed(law, 0, width)
    run = Accountant().compose(_event(stddev, shares, l2, rate=rate))
    for epsilon in (0.1, 0.5, 1.5):
        worst = 0.0
        for a, b in vectors:
            moved = np.multiply.outer(placed(law, a, width), placed(law, b, width)).ravel()
            q = np.multiply.outer(still, still).ravel()
            p = (1 - rate) * q + rate * moved
            worst = max(worst, hockey_stick(p, q, epsilon), hockey_stick(q, p, epsilon))
        found = run.delta(epsilon)
        assert 0 < found.low <= worst * (1 + 1e-9) + 1e-12
        assert found.high >= worst * (1 - 1e-9) - 1e-12


def test_mutant_that_gives_no_variance_up_for_the_kernel_is_below_an_enumeration(monkeypatch):
    """At a small variance the lattice shows: one Gaussian of all of it is less than what leaks."""
    stddev, shift = 0.8, 1
    p, q = sums(discrete(stddev**2), 1.0, shift, 1)
    event = _event(stddev, 1, float(shift), dimension=1)
    grid = np.linspace(0.0, 3.0, 61)
    true = [hockey_stick(p, q, float(e)) for e in grid]
    honest = Accountant().compose(event)
    assert all(honest.delta(float(e)).high >= t for e, t in zip(grid, true, strict=True))
    monkeypatch.setattr(lattice, "coset_slack", lambda _: 0.0)
    monkeypatch.setattr(lattice, "_given_up", lambda *_: 0.0)
    cost = event.cost(NeighboringRelation.ADD_REMOVE)
    monkeypatch.undo()
    (pair,) = cost.pairs
    assert pair.stddev == pytest.approx(stddev, rel=1e-14)
    careless = [math.exp(pair.exact.log_delta_bounds(float(e))[1]) for e in grid]
    assert any(t > c * 1.05 for t, c in zip(true, careless, strict=True))


@pytest.mark.parametrize(("rate", "count"), [(1.0, 1), (1.0, 100), (0.01, 300)])
def test_discrete_gaussians_of_a_fine_grid_cost_as_much_as_gaussians(rate, count):
    event = _event(60.0, 40, 190.0, dimension=2048, rate=rate)
    found = Accountant().compose(event, count).epsilon(1e-6)
    sampling = PoissonSampling(rate)
    plain = Accountant().compose(GaussianEvent(event.noise_multiplier, sampling), count)
    gaussian = plain.epsilon(1e-6)
    assert found.width <= 1e-3 * found.high
    assert found.low <= gaussian.high
    assert gaussian.low <= found.high <= gaussian.high * (1 + 1e-3)


def _coarse(*, honest_fraction):
    """Shares of a whole roster, of which the claimed noise is only the honest part."""
    stddev = 10.0 / math.sqrt(honest_fraction * 20)
    return DiscreteGaussianSumEvent(
        2.0,
        local_stddev=stddev,
        shares=21,
        dimension=64,
        l2_sensitivity=5.0,
        l1_sensitivity=40.0,
    )


def test_variance_is_given_up_from_the_claimed_noise_and_not_from_all_shares():
    """V − c and V + s of docs/privacy.md §5 with V of the multiplier: other shares may be held back."""
    aim = 0.02 * 0.125 / 100  # what slack may add: a fiftieth of the mean loss 1/2z² times 1/V
    c, w = (math.log(4 * d / aim) / (2 * math.pi**2) for d in (64, 4))
    for honest_fraction in (0.1, 0.5, 0.95):
        cost = _coarse(honest_fraction=honest_fraction).cost(NeighboringRelation.ADD_REMOVE)
        (above,), (below,) = cost.pairs, cost.least
        assert above.stddev <= math.sqrt(100 - c) / 5
        assert above.stddev == pytest.approx(math.sqrt(100 - c) / 5, rel=1e-12)
        further = 1 / (1 / w - 1 / 100)
        assert below.stddev == pytest.approx(math.sqrt(100 + further) / 5, rel=1e-12)
        assert max(cost.slack, cost.least_slack) < 2 * aim


def test_mutant_that_counts_all_shares_gives_up_too_little(monkeypatch):
    without(
        monkeypatch,
        DiscreteGaussianSumEvent,
        "cost",
        "_square(self.noise_multiplier * self.l2_sensitivity)",
        "self.shares * self.local_stddev**2",
    )
    with pytest.raises(AssertionError):
        test_variance_is_given_up_from_the_claimed_noise_and_not_from_all_shares()


@pytest.mark.parametrize(("variance", "shift"), [(1e-6, 1), (1e-3, 2), (1.0, 1000), (4.0, 100)])
@pytest.mark.parametrize("rate", [1.0, 0.1])
def test_masses_that_float64_cannot_hold_leave_the_lower_side_at_zero(variance, shift, rate):
    """0/0 as a loss: the accountant ended with NaN where it should have had an answer."""
    event = SkellamEvent(
        math.sqrt(variance) / shift,
        l2_sensitivity=shift,
        l1_sensitivity=shift,
        sampling=PoissonSampling(rate),
    )
    found = Accountant().compose(event).epsilon(1e-5)
    assert found.low == 0
    assert 100 < found.high < math.inf


def test_norms_whose_squares_pass_float64_have_an_upper_side():
    event = DiscreteGaussianSumEvent(
        1e-10, local_stddev=1e149, shares=3, dimension=5, l2_sensitivity=1e159, l1_sensitivity=1e159
    )
    found = Accountant().compose(event).epsilon(1e-5)
    assert found.low == 0 < found.high < math.inf


def test_replacement_moves_by_two_norms():
    for event in (
        SkellamEvent(4.0, l2_sensitivity=50.0, l1_sensitivity=200.0),
        _event(40.0, 25, 50.0, dimension=16),
    ):
        one, two = (Accountant(r).compose(event, 3).epsilon(1e-5) for r in NeighboringRelation)
        assert two.low > 1.9 * one.low
        assert two.high > 1.9 * one.high


def test_small_shares_and_short_vectors_have_no_lower_side():
    short = SkellamEvent(3.0, l2_sensitivity=0.9, l1_sensitivity=0.9)
    assert Accountant().compose(short).epsilon(1e-5).low == 0
    assert Accountant().compose(_event(0.5, 30, 2.0)).epsilon(1e-5).low == 0


def test_what_is_known_of_others_is_the_lower_side_of_a_run():
    """A release of which nothing is attained is left out of the lower side, and not the run."""
    unknown = SkellamEvent(30.0, l2_sensitivity=0.9, l1_sensitivity=0.9)
    both = Accountant().compose(GaussianEvent(1.0)).compose(unknown)
    alone = Accountant().compose(GaussianEvent(1.0)).epsilon(1e-5)
    found = both.epsilon(1e-5)
    assert found.low == pytest.approx(alone.low, rel=1e-9)
    assert found.high > alone.high


def test_the_curve_of_a_run_has_both_sides_too():
    event = SkellamEvent(2.0, l2_sensitivity=40.0, l1_sensitivity=100.0)
    curve = Accountant().compose(event, 4).curve(smallest=1e-6, points=20)
    assert (curve.low <= curve.high).all()
    large = curve.high > 1e-4
    assert (curve.low[large] > 0.2 * curve.high[large]).all()


@pytest.mark.parametrize(
    "wrong", [{"least": (3,)}, {"least": [MixturePair(1.0, 1.0)]}, {"least_slack": -1.0}]
)
def test_costs_check_what_they_say_is_attained(wrong):
    with pytest.raises(InvalidParameterError):
        Cost(pairs=(MixturePair(1.0, 1.0),), **wrong)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("l2", [1e-300, 1e-200, 0.5, 7.3, 1e100, 1e160, 1e300])
@pytest.mark.parametrize("z", [1e-3, 1.0, 1e15])
@pytest.mark.parametrize("sampling", [NoSampling(), PoissonSampling(0.1)])
def test_sensitivities_of_every_size_have_an_answer(z, l2, sampling):
    """Variances that are 0 or infinite in float64 ended in foreign errors or NaN."""
    norms = {"l2_sensitivity": l2, "l1_sensitivity": l2 * 3, "sampling": sampling}
    share = min(max(z * l2, 1e-300), 1e300)
    for event in (
        SkellamEvent(z, **norms),
        DiscreteGaussianSumEvent(
            min(z, share / l2), local_stddev=share, shares=1, dimension=9, **norms
        ),
    ):
        found = Accountant().compose(event, 3).epsilon(1e-5)
        assert 0 <= found.low <= found.high
        assert found.high > 1e3 or z >= 1
