"""The pair of Laplace noise: masses, moments and curve by brute force, and vectors that it dominates."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from dp.composition.moments import pair_curve
from dp.losses.laplace import LaplaceCurve, LaplacePair, largest_loss
from dp.losses.renyi import ORDERS

PAIRS = [
    LaplacePair(rate, reach, steps)
    for rate in (1.0, 0.3, 1e-6)
    for reach, steps in [
        (0.2, None),
        (3.0, None),
        (40.0, None),
        (0.2, 1),
        (3.0, 7),
        (5.0, 2),
        (1.0, 500),
    ]
]


def geometric(fall, centre, reach):
    """The discrete Laplace law about a grid point."""
    k = np.arange(-reach, reach + 1)
    return (1 - fall) / (1 + fall) * fall ** np.abs(k - float(centre))


def on_the_grid(pair):
    """Both laws of a discrete pair, summed value by value."""
    fall = math.exp(-pair.reach / pair.steps)
    reach = pair.steps + math.ceil(40 * pair.steps / pair.reach)
    absent, joined = geometric(fall, 0, reach), geometric(fall, pair.steps, reach)
    return (1 - pair.rate) * absent + pair.rate * joined, absent


@pytest.mark.parametrize("removing", [True, False])
@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("cells", [3, 7, 5000])
def test_masses_of_cells_add_up_and_respect_their_losses(pair, removing, cells):
    low, high = pair.range(1e-13, removing=removing)
    losses = np.linspace(low - 0.01, high + 0.01, cells + 1)
    p, r = pair.cells(losses, removing=removing)
    whole = pair.cells(np.array([-np.inf, np.inf]), removing=removing)
    assert p.sum() == pytest.approx(1, abs=1e-12)
    assert r.sum() == pytest.approx(1, abs=1e-12)
    assert [part.sum() for part in whole] == pytest.approx([1, 1], abs=1e-12)
    seen = (p > 1e-200) & (r > 1e-200)
    ratio = np.log(p[seen] / r[seen])
    rounding = 3 * pair.rounding(1e-13)
    assert (ratio >= losses[:-1][seen] - rounding).all()
    assert (ratio <= losses[1:][seen] + rounding).all()


@pytest.mark.parametrize("removing", [True, False])
@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.steps is not None], ids=str)
def test_masses_on_the_grid_are_those_summed_by_hand(pair, removing):
    first, second = on_the_grid(pair)[:: 1 if removing else -1]
    seen = np.minimum(first, second) > 1e-250
    loss = np.log(first[seen] / second[seen])
    low, high = pair.range(1e-13, removing=removing)
    edges = np.concatenate(
        [[-np.inf], np.linspace(low, high, 12)[1:-1] + 1e-4 * (high - low), [np.inf]]
    )
    found = pair.cells(edges, removing=removing)
    for law, masses in zip((first, second), found, strict=True):
        held = [law[seen][(loss >= a) & (loss < b)].sum() for a, b in itertools.pairwise(edges)]
        assert masses == pytest.approx(held, abs=1e-12)


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.steps is None], ids=str)
def test_masses_on_the_line_are_the_integrals_of_densities(pair):
    low, high = pair.range(1e-13, removing=True)
    scale = 1 / pair.reach

    def output(loss):
        """Where the mixture's loss is this."""
        grown = math.expm1(loss) + pair.rate if loss > -0.5 else math.exp(loss) - (1 - pair.rate)
        return (1 + scale * math.log(grown / pair.rate)) / 2

    edges = np.linspace(low, high, 6)[1:-1]
    found = pair.cells(edges, removing=True)[1]
    for (a, b), mass in zip(itertools.pairwise(edges), found, strict=True):
        held = quad(lambda x: math.exp(-x / scale) / 2 / scale, output(a), output(b), epsabs=1e-14)[
            0
        ]
        assert mass == pytest.approx(held, rel=1e-7, abs=1e-13)


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_the_curve_is_above_the_moments_of_both_orders(pair):
    """Against the grid's moments by brute force, and on the line against a loss cut into 20,000 cells."""
    curve = pair_curve(pair)[0]
    assert (curve <= largest_loss(pair.rate, pair.reach) * (1 + 1e-12)).all()
    for removing in (True, False):
        low, high = pair.range(0.0, removing=removing)
        losses = np.linspace(low, high, 20_001)
        p, r = pair.cells(np.append(losses, np.inf), removing=removing)
        kept = (p > 0) & (r > 0)
        log_p, log_r = np.log(p[kept]), np.log(r[kept])
        for order in (1.1, 1.5, 2.0, 3.0, 7.3, 16.0, 64.0):
            moment = np.logaddexp.reduce(order * log_p + (1 - order) * log_r) / (order - 1)
            bound = curve[np.argmin(np.abs(ORDERS - order))]
            assert bound >= moment - 1e-9
            if order in (2.0, 16.0) and removing:
                assert bound == pytest.approx(moment, rel=2e-3, abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(
    rate=st.floats(1e-6, 1.0),
    reach=st.floats(1e-3, 30.0),
    part=st.floats(0.0, 0.999),
)
def test_the_exact_curve_is_its_own_inverse_and_that_of_the_cells(rate, reach, part):
    curve = LaplaceCurve(rate, reach)
    epsilon = part * largest_loss(rate, reach)
    p, r = LaplacePair(rate, reach).cells(np.array([epsilon, np.inf]), removing=True)
    delta = float(p[0] - math.exp(epsilon) * r[0])
    exact = math.exp(curve.log_delta(epsilon))
    assert exact == pytest.approx(delta, rel=1e-6, abs=1e-12)
    if exact > 1e-9:
        assert curve.epsilon(math.log(exact)) == pytest.approx(epsilon, rel=1e-6, abs=1e-9)


def test_the_exact_curve_ends_at_the_largest_loss():
    curve = LaplaceCurve(0.1, 2.0)
    assert curve.log_delta(largest_loss(0.1, 2.0)) == -math.inf
    assert curve.log_delta(800.0) == -math.inf
    assert LaplaceCurve(0.1, 1500.0).log_delta(800.0) == pytest.approx(math.log(0.1))
    assert curve.epsilon(-math.inf) == pytest.approx(largest_loss(0.1, 2.0))
    assert curve.epsilon(math.log(0.2)) == 0
    assert largest_loss(0.5, 1000.0) == pytest.approx(1000 + math.log(0.5))


# --- vectors: several coordinates that move by the sensitivity together


def joined(laws):
    """All products of probabilities, one law a coordinate."""
    total = np.array([1.0])
    for law in laws:
        total = np.multiply.outer(total, law).ravel()
    return total


@settings(deadline=None, max_examples=60)
@given(
    shifts=st.lists(st.integers(0, 4), min_size=2, max_size=3).filter(lambda s: sum(s) > 0),
    scale=st.floats(0.3, 8.0),
    rate=st.sampled_from([1.0, 0.3]),
    share=st.floats(-1.2, 1.2),
)
def test_no_vector_on_the_grid_is_worse_than_one_coordinate(shifts, scale, rate, share):
    """Every split of the sensitivity, at any ε, by summing all outputs that carry mass in both orders."""
    fall, reach = math.exp(-1 / scale), 40
    absent = joined(geometric(fall, 0, reach) for _ in shifts)
    moved = joined(geometric(fall, shift, reach) for shift in shifts)
    epsilon = share * sum(shifts) / scale
    pair = LaplacePair(rate, sum(shifts) / scale, sum(shifts))
    for removing in (True, False):
        mixture = (1 - rate) * absent + rate * moved
        first, second = (mixture, absent) if removing else (absent, mixture)
        held = np.maximum(first - math.exp(epsilon) * second, 0).sum()
        p, r = pair.cells(np.array([epsilon, np.inf]), removing=removing)
        assert held <= float(p[0] - math.exp(epsilon) * r[0]) + 1e-9


@pytest.mark.parametrize("shifts", [(0.5, 0.5), (0.2, 0.8), (0.9, 0.1)])
@pytest.mark.parametrize("scale", [0.2, 1.0, 4.0])
def test_no_vector_on_the_line_is_worse_than_one_coordinate(shifts, scale):
    """Two coordinates, by quadrature over the first of the closed form of the second."""
    for share in (0.0, 0.3, 0.7, 0.95):
        epsilon = share / scale

        def first(x, epsilon):
            inner = epsilon - (abs(x - shifts[0]) - abs(x)) / scale
            second = -math.expm1((inner - shifts[1] / scale) / 2)
            density = math.exp(-abs(x) / scale) / 2 / scale
            return density * max(0.0, -math.expm1(inner), second)

        span = 40 * scale
        held = quad(first, -span, span, (epsilon,), points=[0.0, shifts[0]], limit=400)[0]
        assert held <= math.exp(LaplaceCurve(1.0, 1 / scale).log_delta(epsilon)) + 1e-9
