"""Pairs and their theorems: masses, inverses, and the worst data under REPLACE_ONE by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr

from dp import (
    Accountant,
    FixedSizeSampling,
    GaussianEvent,
    NeighboringRelation,
    PoissonSampling,
)
from dp.composition.moments import pair_curve
from dp.losses.pairs import ExchangePair, MixturePair, SwapPair
from dp.losses.renyi import ORDERS

REPLACE = NeighboringRelation.REPLACE_ONE
PAIRS = [
    MixturePair(0.01, 1.0),
    MixturePair(0.3, 0.4),
    MixturePair(0.9, 6.0),
    MixturePair(1.0, 2.0),
    SwapPair(0.01, 1.0),
    SwapPair(0.3, 0.4),
    SwapPair(0.9, 6.0),
]


def hockey_stick(p: np.ndarray, q: np.ndarray, epsilon: float) -> float:
    return float(np.maximum(p - math.exp(epsilon) * q, 0).sum())


@pytest.mark.parametrize("pair", PAIRS)
def test_outputs_invert_the_loss(pair):
    for x in np.linspace(-6, 8, 29) * max(pair.stddev, 1.0):
        loss = pair.loss(float(x))
        found = float(pair.outputs(np.array([loss]))[0])
        assert pair.loss(found) == pytest.approx(loss, abs=1e-13, rel=1e-12)


@pytest.mark.parametrize("removing", [True, False])
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("cells", [7, 5000])
def test_masses_of_cells_add_up_and_respect_their_losses(pair, removing, cells):
    """In a cell [l, l'] the masses' ratio lies between e^l and e^l', up to the stated rounding."""
    low, high = pair.range(1e-13, removing=removing)
    losses = np.linspace(low, high, cells + 1)
    p, r = pair.cells(losses, removing=removing)
    all_p, all_r = pair.cells(np.array([-np.inf, *losses, np.inf]), removing=removing)
    assert all_p.sum() == pytest.approx(1, abs=1e-12)
    assert all_r.sum() == pytest.approx(1, abs=1e-12)
    assert p.sum() >= 1 - 3e-13
    seen = (p > 1e-200) & (r > 1e-200)
    ratio = np.log(p[seen] / r[seen])
    rounding = 3 * pair.rounding(1e-13)
    assert (ratio >= losses[:-1][seen] - rounding).all()
    assert (ratio <= losses[1:][seen] + rounding).all()


@pytest.mark.parametrize("rate", [0.05, 0.4])
@pytest.mark.parametrize("stddev", [0.6, 1.5])
def test_no_two_updates_in_the_plane_are_worse_than_opposite_ones(rate, stddev):
    """Poisson, REPLACE_ONE: every pair (v, v') of norm ≤ 1 against the pair (1, −1), at every ε.

    Quadrature on a square grid: spectrally accurate for these densities, but for the kink.
    """
    axis = np.arange(-7, 7.001, 0.1) * stddev
    x, y = np.meshgrid(axis, axis)

    def mixture(angle: float, norm: float) -> np.ndarray:
        def bump(a: float, b: float) -> np.ndarray:
            density = np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * stddev**2))
            return density / density.sum()

        moved = bump(norm * math.cos(angle), norm * math.sin(angle))
        return (1 - rate) * bump(0, 0) + rate * moved

    pair = SwapPair(rate, stddev)
    epsilons = [-0.5, -0.1, 0.0, 0.1, 0.5, 1.0]
    claimed = []
    for epsilon in epsilons:
        p, r = pair.cells(np.array([epsilon, np.inf]), removing=True)
        claimed.append(float(p[0] - math.exp(epsilon) * r[0]))
    first = mixture(0.0, 1.0)
    for angle in np.linspace(0, math.pi, 5):
        for norm in (0.3, 1.0):
            second = mixture(angle, norm)
            for epsilon, bound in zip(epsilons, claimed, strict=True):
                assert hockey_stick(first, second, epsilon) <= bound + 2e-4
                assert hockey_stick(second, first, epsilon) <= bound + 2e-4
    opposite = mixture(math.pi, 1.0)
    for epsilon, bound in zip(epsilons, claimed, strict=True):
        assert hockey_stick(first, opposite, epsilon) == pytest.approx(bound, abs=2e-4)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_fixed_size_replacement_is_never_worse_than_the_piecewise_curve(rate):
    """One round in one coordinate, all positions of the displaced member: v = 1 − w, v' = −1 − w."""
    stddev = 1.3
    x = np.arange(-12, 12, 0.002)

    def mixture(shift: float) -> np.ndarray:
        density = (1 - rate) * np.exp(-(x**2) / (2 * stddev**2))
        density += rate * np.exp(-((x - shift) ** 2) / (2 * stddev**2))
        return density * 0.002 / stddev / math.sqrt(2 * math.pi)

    run = Accountant(REPLACE).compose(GaussianEvent(stddev, FixedSizeSampling(int(rate * 10), 10)))
    for epsilon in (0.0, 0.1, 0.7, 1.5):
        claim = run.delta(epsilon).high
        seen = [
            hockey_stick(mixture(1 - w), mixture(-1 - w), epsilon) for w in np.linspace(-1, 1, 21)
        ]
        assert max(seen) <= claim + 1e-7  # quadrature at the kink
        assert max(seen) == pytest.approx(claim, rel=1e-5)  # attained, by w = −1


@pytest.mark.parametrize(("rate", "z"), [(0.1, 1.0), (0.3, 2.5)])
def test_two_replaced_releases_match_a_double_integral(rate, z):
    """Poisson, REPLACE_ONE, T = 2: a route of its own, sums over pairs of outputs."""
    pair = SwapPair(rate, z)
    x = np.arange(-9, 9.0, 0.005) * max(z, 1.0)
    density = (1 - rate) * np.exp(-(x**2) / (2 * z * z))
    density += rate * np.exp(-((x - 1) ** 2) / (2 * z * z))
    mass = density * (x[1] - x[0]) / z / math.sqrt(2 * math.pi)
    loss = np.array([pair.loss(float(v)) for v in x])
    run = Accountant(REPLACE).compose(GaussianEvent(z, PoissonSampling(rate)), 2)
    for epsilon in (0.05, 0.3, 1.0):
        inner = np.maximum(-np.expm1(epsilon - loss[:, None] - loss[None, :]), 0)
        exact = float(mass @ inner @ mass)
        ours = run.delta(epsilon)
        assert ours.low * (1 - 1e-4) <= exact <= ours.high * (1 + 1e-4)


def test_replacing_costs_more_than_adding_and_less_than_no_sampling():
    for sampling in (PoissonSampling(0.1), FixedSizeSampling(10, 100)):
        event = GaussianEvent(1.5, sampling)
        replaced = Accountant(REPLACE).compose(event, 50).epsilon(1e-5)
        added = Accountant().compose(event, 50).epsilon(1e-5)
        whole = Accountant(REPLACE).compose(GaussianEvent(1.5), 50).epsilon(1e-5)
        assert added.low <= replaced.high <= whole.low
        assert replaced.low <= replaced.high
        assert Accountant(REPLACE).compose(event, 50).quick_epsilon(1e-5) >= replaced.low


def test_fixed_size_replacement_known_value():
    event = GaussianEvent(1.0, FixedSizeSampling(100, 1000))
    ours = Accountant(REPLACE).compose(event, 100).epsilon(1e-5)
    assert 31.36 < ours.low < 31.38  # attained by one pair of data sets for all rounds
    assert ours.low < ours.high < 34.2


@pytest.mark.parametrize(
    "pair", [SwapPair(0.1, 1.0), SwapPair(0.02, 0.6), ExchangePair(MixturePair(0.2, 0.8))]
)
def test_gridded_renyi_curves_are_above_the_integral_and_near(pair):
    base = pair.attained if isinstance(pair, ExchangePair) else pair
    reach = 12 * base.stddev + 24
    x = np.linspace(-reach, reach, 200_001)
    loss = np.array([base.loss(float(v)) for v in (x[0], x[-1])])
    assert np.isfinite(loss).all()
    z = base.stddev

    def log_normal(mean: float) -> np.ndarray:
        return -((x - mean) ** 2) / (2 * z * z) - math.log(z * math.sqrt(2 * math.pi))

    stay, join = math.log1p(-base.rate), math.log(base.rate)
    up = np.logaddexp(stay + log_normal(0), join + log_normal(1))
    down = (
        np.logaddexp(stay + log_normal(0), join + log_normal(-1))
        if isinstance(pair, SwapPair)
        else log_normal(0)
    )
    curve, _ = pair_curve(pair)
    for order in (1.5, 2.0, 4.0, 8.0):
        integral = np.exp(order * up + (1 - order) * down).sum() * (x[1] - x[0])
        exact = math.log(integral) / (order - 1)
        ours = float(curve[np.flatnonzero(np.isclose(ORDERS, order))[0]])
        assert ours >= exact * (1 - 1e-9)
        if isinstance(pair, SwapPair):
            assert ours <= exact * 1.02


def test_atom_of_the_exchange_is_what_both_orders_leave():
    mixture = MixturePair(0.3, 0.9)
    above = mixture.cells(np.array([0.0, np.inf]), removing=True)[0][0]
    below = mixture.cells(np.array([-np.inf, 0.0]), removing=False)[0][0]
    assert ExchangePair(mixture).atom() == pytest.approx(1 - above - below, abs=1e-14)
    assert below == pytest.approx(ndtr(-0.5 / 0.9), abs=1e-14)
