"""Gridded laws lie on their side of the true curve everywhere, and a mesh squared away from it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dp.composition.discretise import GridLaw, from_above, on_grid
from dp.composition.tangents import from_below
from dp.losses.pairs import ExchangePair, MixturePair, SwapPair

TAIL = 1e-13


def true_curve(pair: MixturePair | SwapPair, epsilon: float, *, removing: bool) -> float:
    p, r = pair.cells(np.array([epsilon, np.inf]), removing=removing)
    return float(p[0] - math.exp(epsilon) * r[0])


def curve(law: GridLaw, epsilon: float) -> float:
    losses = law.losses + law.offset
    return float((law.mass * np.maximum(-np.expm1(epsilon - losses), 0)).sum()) + law.beyond


@settings(deadline=None, max_examples=60)
@given(
    rate=st.floats(1e-4, 1.0),
    z=st.floats(0.2, 30),
    mesh=st.floats(0.02, 1.5),
    removing=st.booleans(),
    swap=st.booleans(),
)
def test_both_sides_are_bounds_at_every_epsilon(rate, z, mesh, removing, swap):
    pair = SwapPair(rate, z) if swap and rate < 1 else MixturePair(rate, z)
    low, high = pair.range(TAIL, removing=removing)
    step = max(mesh * pair.spread, (high - low) / 20_000)
    above, below = on_grid(pair, step, TAIL, removing=removing)
    assert (above.mass >= 0).all()
    assert (below.mass >= 0).all()
    assert above.mass.sum() + above.beyond == pytest.approx(1, abs=1e-10)
    assert below.mass.sum() <= 1 + 1e-12
    # many ε about the bulk, on and off the grid, and the far ends
    inner = np.linspace(-4, 8, 41) * pair.spread
    for epsilon in [low, high, *inner, *(above.offset + step * np.arange(-3, 4))]:
        exact = true_curve(pair, float(epsilon), removing=removing)
        slack = 1e-14 * max(1.0, math.exp(min(epsilon, 300.0)))
        assert curve(below, float(epsilon)) <= exact + slack
        assert curve(above, float(epsilon)) >= exact - slack


@pytest.mark.parametrize("removing", [True, False])
@pytest.mark.parametrize(
    "pair",
    [
        MixturePair(0.01, 1.0),
        MixturePair(0.1, 0.5),
        MixturePair(0.001, 5.0),
        MixturePair(1.0, 1.0),
        SwapPair(0.1, 1.0),
    ],
)
def test_the_sides_meet_with_the_square_of_the_mesh(pair, removing):
    """Mean losses differ by h²/8 where the density is smooth, by less than h²/4 anywhere."""

    def gap(mesh: float) -> float:
        step = mesh * pair.spread
        laws = on_grid(pair, step, TAIL, removing=removing)
        means = [float(law.mass @ (law.losses + law.offset)) for law in laws]
        return (means[0] - means[1]) / step**2

    assert 0.03 < gap(0.2) < 0.25
    assert 0.03 < gap(0.05) < 0.25


def test_mutant_that_only_merges_is_no_lower_bound():
    """Cells merged onto their points without settling what is left exceed the true curve."""
    pair, step = MixturePair(0.3, 0.7), 0.5
    _, below = on_grid(pair, step, TAIL, removing=True)
    points = below.losses + below.offset
    edges = np.append(points - step / 2, points[-1] + step / 2)
    p, _ = pair.cells(edges, removing=True)
    careless = GridLaw(step, below.offset, below.index, p, 0.0, 0.0)
    found = [
        (curve(law, e) - true_curve(pair, e, removing=True))
        for law in (careless, below)
        for e in np.linspace(-1, 4, 101)
    ]
    assert max(found[:101]) > 1e-4
    assert max(found[101:]) <= 1e-15


def test_mutant_that_rounds_to_the_nearest_is_no_upper_bound():
    pair, step = MixturePair(0.3, 0.7), 0.5
    above, below = on_grid(pair, step, TAIL, removing=True)
    points = above.losses + above.offset
    p, _ = pair.cells(np.append(points - step / 2, points[-1] + step / 2), removing=True)
    careless = GridLaw(step, above.offset, above.index, p, TAIL, 0.0)
    short = [
        true_curve(pair, e, removing=True) - curve(careless, e) for e in np.linspace(-1, 4, 101)
    ]
    assert max(short) > 1e-4
    assert below.mass.sum() <= above.mass.sum() + above.beyond + 1e-12


@settings(deadline=None, max_examples=60)
@given(data=st.data(), n=st.integers(2, 30), step=st.floats(0.01, 1.0))
def test_any_cells_whatever_are_bounded_on_both_sides(data, n, step):
    """Not only smooth ones: masses drawn at random, many of them nothing, ratios anywhere in a cell."""
    mass = np.array(data.draw(st.lists(st.floats(0, 1), min_size=n, max_size=n)))
    place = np.array(data.draw(st.lists(st.floats(0.01, 0.99), min_size=n, max_size=n)))
    mass[mass < 0.3] = 0.0
    grid = step * np.arange(n + 1)
    r = mass * np.exp(-(grid[:-1] + place * step))
    up = from_above(mass, r, grid, step)
    # cells about the points: the same masses, with losses within half a step of their points
    points = grid[:-1] + step / 2
    down = from_below(mass, r, points, step)
    assert (up >= 0).all()
    assert (down >= 0).all()
    for x in np.exp(np.linspace(-2 * step, (n + 2) * step, 60)):
        exact = float(np.maximum(mass - x * r, 0).sum())
        above = float((up * np.maximum(1 - x * np.exp(-grid), 0)).sum())
        below = float((down * np.maximum(1 - x * np.exp(-points), 0)).sum())
        assert above >= exact - 1e-12
        assert below <= exact + 1e-12


def test_exchange_is_above_both_orders_and_touches_them():
    mixture = MixturePair(0.2, 0.8)
    step = mixture.spread / 50
    above, below = on_grid(ExchangePair(mixture), step, TAIL, removing=True)
    assert above.mass.sum() + above.beyond == pytest.approx(1, abs=1e-9)
    for epsilon in np.linspace(-1, 2, 31):
        orders = [true_curve(mixture, float(epsilon), removing=flag) for flag in (True, False)]
        assert max(orders) - 1e-14 <= curve(above, float(epsilon)) <= max(orders) + 1e-3
        assert curve(below, float(epsilon)) <= max(orders) + 1e-14


def test_no_mass_no_claim():
    points = np.arange(4.0)
    assert (from_below(np.zeros(4), np.zeros(4), points, 1.0) == 0).all()


@pytest.mark.parametrize(
    ("pair", "step"),
    [
        (MixturePair(0.01, 0.03), 0.038),
        (SwapPair(0.01, 0.04), 0.021),
        (SwapPair(0.5, 0.03), 0.0062),
        (SwapPair(0.01, 0.01), 0.4),
    ],
)
def test_losses_of_hundreds_are_known_from_below(pair, step):
    """Almost no mass lies between no loss and hundreds, and no tangents fit there."""
    low, high = pair.range(TAIL, removing=True)
    _, below = on_grid(pair, step, TAIL, removing=True)
    assert below.mass.sum() == pytest.approx(1, abs=1e-6)
    for epsilon in np.concatenate([np.linspace(low, high, 200), step * np.linspace(-3, 3, 60)]):
        if epsilon < 600:  # beyond, the second mass is too small for a float
            exact = true_curve(pair, float(epsilon), removing=True)
            assert curve(below, float(epsilon)) <= exact + 1e-13


def test_mutant_that_claims_nothing_where_no_tangents_fit_keeps_nothing(monkeypatch):
    monkeypatch.setattr("dp.composition.tangents._PIECES", 0)
    monkeypatch.setattr("dp.composition.tangents._rounded_down", lambda p, *_: np.zeros_like(p))
    _, below = on_grid(SwapPair(0.01, 0.04), 0.021, TAIL, removing=True)
    assert not below.mass.any()
