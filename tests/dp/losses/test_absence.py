"""Cohorts of fixed size whose absent client is drawn and silent: masses, worst data, adaptive adversaries."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from dp import Accountant, FixedSizeSampling, GaussianEvent, NeighboringRelation
from dp.composition.discretise import on_grid
from dp.losses.absence import SilencePair, VacancyPair
from dp.losses.pairs import MixturePair

PAIRS = [
    VacancyPair(0.01, 1.0),
    VacancyPair(0.3, 0.4),
    VacancyPair(0.5, 0.05),
    VacancyPair(0.9, 6.0),
    VacancyPair(1e-6, 2.0),
    VacancyPair(0.1, 1e5),
]


def normal(x: np.ndarray, mean: float, stddev: float) -> np.ndarray:
    """Masses of cells of a grid, by the midpoint rule."""
    return (
        np.exp(-(((x - mean) / stddev) ** 2) / 2) * (x[1] - x[0]) / stddev / math.sqrt(2 * math.pi)
    )


def hockey_stick(p: np.ndarray, q: np.ndarray, epsilon: float) -> float:
    return float(np.maximum(p - math.exp(epsilon) * q, 0).sum())


def claimed(pair: SilencePair | VacancyPair, epsilon: float, *, removing: bool = True) -> float:
    p, r = pair.cells(np.array([epsilon, np.inf]), removing=removing)
    return float(p[0] - math.exp(epsilon) * r[0])


@pytest.mark.parametrize("pair", PAIRS)
def test_the_loss_at_both_outputs_is_the_loss(pair):
    low, high = pair.range(1e-13, removing=True)
    losses = np.append(np.linspace(low, 0, 101)[1:-1], np.linspace(0, high, 301))
    left, right = pair.outputs(losses)
    with np.errstate(divide="raise", invalid="raise"):
        np.testing.assert_allclose(pair.loss(right), losses, rtol=1e-12, atol=1e-13 * pair.spread)
        seen = np.isfinite(left)
        np.testing.assert_array_equal(seen, losses < 0)
        wrong = 1e-13 * (pair.spread + 1 / pair.stddev**2)
        np.testing.assert_allclose(pair.loss(left[seen]), losses[seen], rtol=1e-11, atol=wrong)
    turn = pair.outputs(np.array([pair.least()]))
    assert turn[0] == pytest.approx(turn[1], abs=1e-6 * pair.stddev)
    around = pair.loss(np.linspace(turn[1][0] - pair.stddev, turn[1][0] + pair.stddev, 101))
    assert around.min() >= pair.least() * (1 + 1e-12)


@pytest.mark.parametrize("silence", [True, False])
@pytest.mark.parametrize("removing", [True, False])
@pytest.mark.parametrize("cells", [7, 5000])
@pytest.mark.parametrize("pair", PAIRS)
def test_masses_of_cells_add_up_and_respect_their_losses(pair, cells, removing, silence):
    """In a cell [l, l'] the masses' ratio lies between e^l and e^l', up to the stated rounding."""
    pair = SilencePair(pair) if silence else pair
    low, high = pair.range(1e-13, removing=removing)
    losses = np.linspace(low, high, cells + 1)
    p, r = pair.cells(losses, removing=removing)
    everything = pair.cells(np.array([-np.inf, *losses, np.inf]), removing=removing)
    assert [part.sum() for part in everything] == pytest.approx([1, 1], abs=1e-12)
    assert p.sum() >= 1 - 3e-13
    seen = (p > 1e-200) & (r > 1e-200)
    ratio = np.log(p[seen] / r[seen])
    largest = np.maximum(np.abs(losses[:-1]), np.abs(losses[1:]))[seen]
    rounding = 3 * pair.loss_rounding(largest, 1e-13)
    assert (ratio >= losses[:-1][seen] - rounding).all()
    assert (ratio <= losses[1:][seen] + rounding).all()


@settings(deadline=None, max_examples=60)
@given(
    rate=st.floats(1e-4, 0.999),
    z=st.floats(0.2, 30),
    mesh=st.floats(0.02, 1.5),
    removing=st.booleans(),
    silence=st.booleans(),
)
def test_both_grids_are_bounds_at_every_epsilon(rate, z, mesh, removing, silence):
    data = VacancyPair(rate, z)
    pair = SilencePair(data) if silence else data
    low, high = pair.range(1e-13, removing=removing)
    step = max(mesh * pair.spread, (high - low) / 20_000)
    above, below = on_grid(pair, step, 1e-13, removing=removing)
    inner = np.linspace(-4, 8, 41) * pair.spread
    for epsilon in map(float, [low, high, *inner, *(above.offset + step * np.arange(-3, 4))]):
        slack = 1e-14 * max(1.0, math.exp(min(epsilon, 300.0)))
        curves = [
            float((law.mass * np.maximum(-np.expm1(epsilon - law.losses - law.offset), 0)).sum())
            for law in (below, above)
        ]
        assert curves[0] <= claimed(pair, epsilon, removing=removing) + slack
        assert curves[1] + above.beyond >= claimed(pair, epsilon, removing=removing) - slack


@pytest.mark.parametrize(("rate", "z"), [(0.05, 0.6), (0.4, 1.5), (0.8, 0.9)])
def test_no_updates_in_the_plane_are_worse(rate, z):
    """Every update x of the client and w of the member in its place, in both orders and at every ε.

    Quadrature on a square grid, which errs at the kink: by 2e-4 at most.
    """
    axis = np.arange(-7, 7.001, 0.1) * z
    x, y = np.meshgrid(axis, axis)

    def bump(norm: float, angle: float) -> np.ndarray:
        a, b = norm * math.cos(angle), norm * math.sin(angle)
        density = np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * z * z))
        return density / density.sum()

    pair, silent = SilencePair(VacancyPair(rate, z)), bump(0, 0)
    epsilons = [-1.0, -0.5, -0.1, 0.0, 0.1, 0.5, 1.0]
    worst = {(removing, epsilon): 0.0 for removing in (True, False) for epsilon in epsilons}
    for norm, w, angle in itertools.product(
        (0.4, 1.0), (0.0, 0.5, 1.0), np.linspace(0, math.pi, 5)
    ):
        other = bump(w, angle)
        answers = (1 - rate) * other + rate * bump(norm, 0)
        absent = (1 - rate) * other + rate * silent
        for (removing, epsilon), found in worst.items():
            p, q = (answers, absent) if removing else (absent, answers)
            worst[removing, epsilon] = max(found, hockey_stick(p, q, epsilon))
    for (removing, epsilon), found in worst.items():
        assert found <= claimed(pair, epsilon, removing=removing) + 2e-4
        assert found == pytest.approx(claimed(pair, epsilon, removing=removing), abs=2e-4)


def test_the_pair_of_a_client_that_is_not_drawn_is_not_this_one():
    """§3.2's pair, taken for a client that is drawn and silent, states too little where the others agree.

    They all send 1, as it does: the round is N(1) with its answer, and (1 − q)·N(1) + q·N(0) without it.
    Below ε = log(1 − q) the removing order of that pair states only 1 − e^ε, which any two laws have.
    """
    rate, z = 0.1, 1.0
    x = np.linspace(-8, 9, 200_001)
    answers, absent = normal(x, 1, z), (1 - rate) * normal(x, 1, z) + rate * normal(x, 0, z)
    undrawn = MixturePair(rate, z / 2)
    for epsilon in (-0.15, -0.2):
        found = hockey_stick(answers, absent, epsilon)
        p, r = undrawn.cells(np.array([epsilon, np.inf]), removing=True)
        assert p[0] - math.exp(epsilon) * r[0] == pytest.approx(-math.expm1(epsilon), abs=1e-12)
        assert found > -math.expm1(epsilon) + 0.005
        assert found == pytest.approx(claimed(SilencePair(VacancyPair(rate, z)), epsilon), rel=1e-6)


def best_adaptive(rate: float, z: float, rounds: int, epsilons: list[float]) -> np.ndarray:
    """The largest δ that an adversary reaches who chooses w and x anew after each release.

    It is a recursion over the rounds left: V_T(ε) = max over (w, x) of E_P[V_{T−1}(ε − loss)], V_0(ε) =
    (1 − e^ε)⁺.

    Returns:
        float64[2, len(epsilons)], for both orders.
    """
    x, grid = np.linspace(-2 - 8 * z, 2 + 8 * z, 2001), np.linspace(-15, 15, 6001)
    laws = [
        ((1 - rate) * normal(x, w, z) + rate * normal(x, own, z))
        for w in (-1.0, -0.5, 0.0, 0.5, 1.0)
        for own in (1.0, 0.5, -0.5, 0.0)
    ]
    pairs = [(laws[i], laws[i - i % 4 + 3]) for i in range(len(laws)) if i % 4 < 3]
    found = []
    for removing in (True, False):
        value = np.maximum(-np.expm1(grid), 0)
        for last in range(rounds):
            asked = np.array(epsilons) if last == rounds - 1 else grid[::10]
            best = np.zeros(len(asked))
            for pair in pairs:
                p, q = pair if removing else pair[::-1]
                seen = p > 1e-40
                loss = np.log(p[seen] / q[seen])
                ahead = np.interp(asked[:, None] - loss, grid, value, left=1.0, right=0.0)
                best = np.maximum(best, ahead @ p[seen])
            value = best if last == rounds - 1 else np.interp(grid, asked, best)
        found.append(value)
    return np.array(found)


@pytest.mark.parametrize("rounds", [1, 2, 4])
@pytest.mark.parametrize(("size", "clients", "z"), [(1, 2, 1.0), (1, 10, 1.0), (2, 10, 2.0)])
def test_an_adaptive_adversary_stays_within_the_bracket(size, clients, z, rounds):
    """The updates of all clients, at each round the worst after what was released, by a route of its own."""
    event = GaussianEvent(z, FixedSizeSampling(size, clients, enrolled=True))
    run, epsilons = Accountant().compose(event, rounds), [0.0, 0.2, 0.7]
    found = best_adaptive(size / clients, z, rounds, epsilons).max(axis=0)
    for epsilon, delta in zip(epsilons, found, strict=True):
        bracket = run.delta(epsilon)
        assert bracket.low * (1 - 1e-3) <= delta <= bracket.high * (1 + 1e-3)
        if rounds > 1:  # mutant: one pair of data for all rounds is no upper bound
            assert delta > bracket.low * (1 + 1e-3)


def test_a_federation_of_three_clients_by_its_definition():
    """Two of three clients a round, two rounds; all draws, and others that act on the first release."""
    z, size, others = 1.2, 2, (-1.0, -1.0)
    x = np.linspace(-14, 14, 1401)

    def law(own: float, sent: tuple[float, float]) -> np.ndarray:
        draws = list(itertools.combinations((own, *sent), size))
        return sum(normal(x, sum(draw), z) for draw in draws) / len(draws)

    run = Accountant().compose(GaussianEvent(z, FixedSizeSampling(size, 3, enrolled=True)), 2)
    answers, absent = (law(own, others) for own in (1.0, 0.0))
    again = [[law(own, sent) for own in (0.5, 0.0)] for sent in ((1.0, 1.0), (-1.0, 1.0), others)]
    first = np.array([0 if value > 0 else 1 if value > -1.5 else 2 for value in x])
    p = answers[:, None] * np.array([again[i][0] for i in first])
    q = absent[:, None] * np.array([again[i][1] for i in first])
    for epsilon in (0.0, 0.1, 0.5, 1.0):
        high = run.delta(epsilon).high
        assert hockey_stick(p, q, epsilon) <= high
        assert hockey_stick(q, p, epsilon) <= high
        fixed = hockey_stick(np.outer(answers, answers), np.outer(absent, absent), epsilon)
        assert fixed == pytest.approx(run.delta(epsilon).low, rel=1e-3)  # attained


def test_atom_is_what_both_orders_leave():
    data = VacancyPair(0.3, 0.9)
    above = data.cells(np.array([0.0, np.inf]), removing=True)[0][0]
    below = MixturePair(0.3, 0.9).cells(np.array([-np.inf, 0.0]), removing=False)[0][0]
    assert SilencePair(data).atom() == pytest.approx(1 - above - below, abs=1e-14)
    assert below == pytest.approx(ndtr(-0.5 / 0.9), abs=1e-14)


def test_known_values():
    """The example of docs/privacy.md §3: all but as much as two rounds of one half."""
    event = GaussianEvent(1.0, FixedSizeSampling(100, 1000, enrolled=True))
    hundred = Accountant().compose(event, 100).epsilon(1e-5)
    assert (hundred.low, hundred.high) == pytest.approx((17.435, 18.055), abs=2e-3)
    other = GaussianEvent(1.0, FixedSizeSampling(20, 1000, enrolled=True))
    sixty = Accountant().compose(other, 60).epsilon(1e-5)
    assert (sixty.low, sixty.high) == pytest.approx((6.099, 6.132), abs=2e-3)
    one = Accountant().compose(event).epsilon(1e-5)
    assert one.width < 1e-4
    assert one.high == pytest.approx(3.7471, abs=1e-3)


def test_when_all_are_drawn_a_silence_is_a_move_by_one_clip_norm():
    for relation, z in (
        (NeighboringRelation.ADD_REMOVE, 2.0),
        (NeighboringRelation.REPLACE_ONE, 4.0),
    ):
        fixed = GaussianEvent(z, FixedSizeSampling(7, 7, enrolled=True))
        plain = Accountant().compose(GaussianEvent(2.0), 3).epsilon(1e-5)
        assert Accountant(relation).compose(fixed, 3).epsilon(1e-5) == plain


def test_replacement_does_not_ask_whether_the_absent_are_enrolled():
    for enrolled in (True, False):
        sampling = FixedSizeSampling(10, 100, enrolled=enrolled)
        pair = sampling.gaussian(1.5, NeighboringRelation.REPLACE_ONE)
        assert pair == FixedSizeSampling(10, 100).gaussian(1.5, NeighboringRelation.REPLACE_ONE)
