"""Low frequencies give the same sums as all points of a window, and what they leave out is charged."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dp.composition import spectrum as module
from dp.composition.compose import compose
from dp.composition.discretise import GridLaw, on_grid
from dp.composition.spectrum import spectrum
from dp.composition.tilting import Tilted, Window, tilted, window
from dp.losses.pairs import MixturePair, SwapPair

LOG_OUTSIDE = math.log(1e-13)


def both_ways(laws: tuple[tuple[GridLaw, int], ...], t: float):
    parts = [tilted(law, t, count) for law, count in laws]
    span = window(parts, laws[0][0].step, LOG_OUTSIDE)
    found = spectrum(parts, laws, t, span)
    assert found is not None
    return found, compose(parts, laws, t, span)


@pytest.mark.parametrize(
    ("pairs", "step", "t", "epsilons"),
    [
        ([(MixturePair(1e-2, 2.0), 20_000)], 2e-4, 3.0, (0.01, 0.5, 2.0, 4.0)),
        ([(SwapPair(1e-2, 3.0), 9000)], 2e-4, 4.0, (0.01, 0.7, 2.0)),
        ([(MixturePair(1e-2, 2.0), 9000), (MixturePair(3e-2, 4.0), 700)], 2e-4, 3.0, (0.1, 2.0)),
    ],
)
def test_all_points_and_low_frequencies_agree(pairs, step, t, epsilons):
    """Off the points of the mesh as well; both count the same law, up to what they charge."""
    for side in (0, 1):
        laws = tuple((on_grid(pair, step, 1e-16, removing=True)[side], n) for pair, n in pairs)
        few, all_points = both_ways(laws, t)
        assert len(few.terms) < 0.2 * len(all_points.plain)
        for epsilon in (e + part * step for e in epsilons for part in (0.0, 0.3, 0.9)):
            low, high = few.log_delta_low(epsilon), few.log_delta_high(epsilon)
            assert all_points.log_delta_low(epsilon) <= high
            assert low <= all_points.log_delta_high(epsilon)
            assert high - low < 1e-4


def test_shift_and_infinite_losses_enter_as_they_do_for_all_points():
    law = on_grid(MixturePair(1e-2, 2.0), 2e-4, 1e-16, removing=True)[0]
    law = dataclasses.replace(law, beyond=1e-12, shift=1e-7)
    few, all_points = both_ways(((law, 20_000),), 3.0)
    assert few.beyond == all_points.beyond == pytest.approx(2e-8)
    assert few.shift == pytest.approx(all_points.shift, rel=1e-6)
    for epsilon in (0.5, 2.0):
        assert few.log_delta_high(epsilon) == pytest.approx(
            all_points.log_delta_high(epsilon), abs=1e-6
        )
        assert few.log_delta_low(epsilon) == pytest.approx(
            all_points.log_delta_low(epsilon), abs=1e-6
        )


def test_outside_the_window_nothing_is_claimed():
    law = on_grid(MixturePair(1e-2, 2.0), 2e-4, 1e-16, removing=True)[1]
    few, _ = both_ways(((law, 20_000),), 3.0)
    for epsilon in (few.lowest - 1e-3, few.end + 1e-3):
        assert few.log_delta_low(epsilon) == -math.inf
    assert few.log_delta_high(few.lowest - 1e-3) == 0.0


@pytest.mark.parametrize(
    ("law", "count"),
    [
        # two points: the transform comes back to 1
        (GridLaw(1e-3, 0.0, np.array([0, 400]), np.array([0.9, 0.1]), 0.0, 0.0), 10_000),
        # too few releases for their sum to be smooth
        (on_grid(MixturePair(1e-2, 2.0), 2e-4, 1e-16, removing=True)[0], 2),
    ],
)
def test_a_sum_that_is_not_smooth_is_left_to_all_points(law, count):
    parts = [tilted(law, 2.0, count)]
    assert spectrum(parts, ((law, count),), 2.0, window(parts, law.step, LOG_OUTSIDE)) is None


masses = st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=40)


@settings(max_examples=200, deadline=None)
@given(
    masses,
    st.lists(st.integers(-300, 300), min_size=40, max_size=40, unique=True),
    st.floats(1e-3, 3.0),
)
def test_what_the_transform_misses_is_a_lower_bound(weights, places, lowest):
    """At a hundred frequencies between each two edges, for laws of any shape."""
    mass = np.array(weights) / sum(weights)
    index = np.sort(np.array(places[: len(mass)]))
    part = Tilted(index, mass, 0.0, 0.0, 0.0, 0.0, 1)
    edges = np.geomspace(lowest, math.pi, 12)
    for low, high, missing in zip(
        edges[:-1], edges[1:], module._missing(part, 1.0, edges), strict=True
    ):
        u = np.linspace(low, high, 100)
        most = np.abs(np.exp(1j * np.outer(u, index)) @ mass).max()
        assert missing <= 1 - most + 1e-12


def _law_of_two_scales(rng):
    """Small losses with a smooth law, and a few large ones."""
    near = np.arange(-60, 61)
    far = np.sort(rng.choice(np.arange(500, 40_000), 30, replace=False))
    mass = np.concatenate([np.exp(-((near - 0.5) ** 2) / 200), rng.uniform(1e-7, 1e-4, 30)])
    return GridLaw(1e-4, 2e-5, np.concatenate([near, far]), mass / mass.sum(), 0.0, 0.0)


@pytest.mark.parametrize("seed", range(4))
def test_large_losses_at_any_place_are_summed_exactly(seed):
    law = _law_of_two_scales(np.random.default_rng(seed))
    few, all_points = both_ways(((law, 4000),), 0.3)
    for epsilon in all_points.centre + np.array([-0.3, 0.0, 0.123456, 0.9]):
        high, low = few.log_delta_high(epsilon), few.log_delta_low(epsilon)
        assert all_points.log_delta_low(epsilon) <= high
        assert low <= all_points.log_delta_high(epsilon)
        assert high - low < 1e-6


def test_mutant_that_ends_too_early_is_told_apart(monkeypatch):
    """What is left out is charged: a sum that ends where the transform is a third has a wide bracket."""
    law = on_grid(MixturePair(1e-2, 2.0), 2e-4, 1e-16, removing=True)[0]
    honest, _ = both_ways(((law, 20_000),), 3.0)
    monkeypatch.setattr(module, "_LEEWAY", 28.0)
    early, all_points = both_ways(((law, 20_000),), 3.0)
    assert len(early.terms) < len(honest.terms)
    assert early.cut > 1e3 * honest.cut
    silent = dataclasses.replace(early, cut=0.0)
    wrong = 0
    for epsilon in (0.3, 1.0, 2.0, 4.0):
        assert early.log_delta_low(epsilon) <= all_points.log_delta_high(epsilon)
        assert early.log_delta_high(epsilon) >= all_points.log_delta_low(epsilon)
        wrong += silent.log_delta_low(epsilon) > all_points.log_delta_high(epsilon)
        wrong += silent.log_delta_high(epsilon) < all_points.log_delta_low(epsilon)
    assert wrong > 0


def test_mutant_in_a_window_that_is_too_narrow_is_told_apart():
    """Mass that comes in again from the other end is taken off the lower side."""
    law = on_grid(MixturePair(1e-2, 2.0), 2e-4, 1e-16, removing=True)[1]
    parts, laws = [tilted(law, 3.0, 20_000)], ((law, 20_000),)
    span = window(parts, law.step, LOG_OUTSIDE)
    narrow = Window(0.05 * span.below, 0.05 * span.above, 0.9)
    found = spectrum(parts, laws, 3.0, narrow)
    assert found is not None
    exact = compose(parts, laws, 3.0, span)
    epsilons = [float(e) for e in np.linspace(found.lowest + 0.01, found.end - 0.01, 40)]
    assert all(found.log_delta_low(e) <= exact.log_delta_high(e) for e in epsilons)
    careless = [math.exp(found._log_scale(e)) * found._value(e)[0] for e in epsilons]
    most = [math.exp(exact.log_delta_high(e)) for e in epsilons]
    assert any(value > truth for value, truth in zip(careless, most, strict=True))


def test_where_a_heavy_mass_stands_no_frequency_is_looked_at(monkeypatch):
    """A hundred releases at a rate of 1e-6: the transform of the sum is nowhere below (2w − 1)^100."""
    step = 3e-5
    law = on_grid(MixturePair(1e-6, 0.5), step, 1e-16, removing=True)[0]
    part = tilted(law, 0.5, 100)
    assert part.weight.max() > 0.9
    angles = np.linspace(0.01, math.pi, 50)[:, None] * part.index[None, :]
    transform = np.abs(np.exp(1j * angles) @ part.weight)
    assert (-100 * np.log(transform) <= module._stands([part])).all()
    allowed = -50.0
    looked = module._end([part], step, allowed, 1e9)
    monkeypatch.setattr(module, "_missing", None)  # would be called
    assert module._end([part], step, allowed, 1e9) is looked is None
