"""Composition: every tilt gives the same δ, and mass lost to a window or to rounding is charged."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dp.composition.compose import compose
from dp.composition.discretise import GridLaw, on_grid
from dp.composition.pld import pld_epsilon
from dp.composition.tilting import log_moment, tilted, window
from dp.losses.gaussian import log_delta
from dp.losses.pairs import MixturePair, SwapPair

LOG_OUTSIDE = math.log(1e-11)


def composed(law: GridLaw, t: float, count: int):
    parts = [tilted(law, t, count)]
    return compose(parts, ((law, count),), t, window(parts, law.step, LOG_OUTSIDE))


@pytest.mark.parametrize("epsilon", [440.0, 471.0, 500.0])
def test_delta_does_not_depend_on_the_tilt(epsilon):
    """Centres from far below ε to far above it, many times 36 away: e^ε − 1 must not stand for e^ε."""
    law, _ = on_grid(MixturePair(0.0085, 0.23), 0.1, 1e-19, removing=True)
    logs = [composed(law, t, 5256).log_delta_high(epsilon) for t in (0.09, 0.1, 0.108, 0.12)]
    assert max(logs) - min(logs) < 1e-6


@pytest.mark.parametrize("t", [0.5, 3.0, 8.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0, 5.0])
def test_both_sides_enclose_plain_gaussians_at_any_tilt(t, epsilon):
    exact = log_delta(epsilon, math.sqrt(12) / 4)
    above, below = on_grid(MixturePair(1.0, 4.0), 0.02, 1e-16, removing=True)
    assert composed(above, t, 12).log_delta_high(epsilon) >= exact
    assert composed(below, t, 12).log_delta_low(epsilon) <= exact


def test_composition_is_convolution():
    """Three small laws by hand, all sums of losses."""
    mass = np.array([0.2, 0.5, 0.3])
    law = GridLaw(0.4, 0.1, np.arange(len(mass)) - 1, mass, 0.0, 0.0)
    losses = 0.1 + 0.4 * np.array([-1, 0, 1])
    total = losses[:, None, None] + losses[None, :, None] + losses[None, None, :]
    weight = mass[:, None, None] * mass[None, :, None] * mass[None, None, :]
    for epsilon in (0.0, 0.25, 0.9, 1.4):
        exact = float((weight * np.maximum(-np.expm1(epsilon - total), 0)).sum())
        both = composed(law, 1.0, 3)
        assert both.log_delta_low(epsilon) <= math.log(exact) <= both.log_delta_high(epsilon)
        assert both.log_delta_high(epsilon) - both.log_delta_low(epsilon) < 1e-7


@pytest.mark.parametrize(("rate", "count"), [(1e-6, 1_000_000), (1e-3, 10_000), (0.4, 1_000_000)])
def test_powers_of_a_million_lose_no_digits(count, rate):
    """Coins with a loss of a half each: δ is a binomial sum, and both sides know it to some digits."""
    from scipy.stats import binom

    law = GridLaw(0.5, 0.0, np.arange(2), np.array([1 - rate, rate]), 0.0, 0.0)
    both = composed(law, 0.5 if rate * count < 10 else 1 / math.sqrt(rate * count), count)
    middle = 0.5 * rate * count
    for epsilon in (middle, middle + 0.5 * math.sqrt(middle)):
        k = np.arange(count + 1)
        terms = binom.pmf(k, count, rate) * np.maximum(-np.expm1(epsilon - 0.5 * k), 0)
        exact = math.log(float(np.sort(terms).sum()))
        low, high = both.log_delta_low(epsilon), both.log_delta_high(epsilon)
        assert low - 1e-9 <= exact <= high + 1e-9  # scipy's own error
        assert high - low <= 1e-6


def test_mutant_that_powers_the_transform_itself_is_known_to_far_less(monkeypatch):
    """Without the second difference the bound on rounding errors is a thousand times as large."""
    law = GridLaw(1e-3, 0.0, np.arange(-1, 2), np.array([0.25, 0.5, 0.25]), 0.0, 0.0)
    honest = composed(law, 1.0, 1_000_000)
    monkeypatch.setattr("dp.composition.compose._nearness", lambda *_: 0)
    careless = composed(law, 1.0, 1_000_000)
    assert careless.error > 300 * honest.error
    near = honest.log_delta_high(1.0)
    assert careless.log_delta_low(1.0) <= near
    assert careless.log_delta_high(1.0) >= honest.log_delta_low(1.0)


@pytest.mark.parametrize("count", [10, 1000, 100_000])
def test_window_holds_all_but_its_share(count):
    """A coin of probability 0.01, summed: the binomial tails outside the window."""
    from scipy.stats import binom

    law = GridLaw(1.0, 0.0, np.arange(2), np.array([0.99, 0.01]), 0.0, 0.0)
    span = window([tilted(law, 1e-9, count)], 1.0, LOG_OUTSIDE)
    mean = 0.01 * count
    outside = binom.cdf(mean - span.below, count, 0.01) + binom.sf(mean + span.above, count, 0.01)
    assert outside <= span.outside


def test_a_window_of_many_masses_is_not_widened_by_thinning_them():
    law, _ = on_grid(MixturePair(1e-4, 0.5), 1e-3, 1e-18, removing=True)
    span = window([tilted(law, 3.0, 100_000)], 1e-3, LOG_OUTSIDE)
    assert span.width < 150


def test_log_moment_of_huge_exponents():
    assert log_moment(np.array([1.0, 2.0]), np.array([0.5, 0.5]), 5000.0) == pytest.approx(
        10_000 + math.log(0.5)
    )


@settings(deadline=None, max_examples=25)
@given(
    rate=st.floats(1e-3, 0.95),
    z=st.floats(0.25, 8),
    count=st.integers(2, 3000),
    exponent=st.floats(2, 11),
    swap=st.booleans(),
)
def test_coarse_and_fine_meshes_overlap(rate, z, count, exponent, swap):
    """Two brackets of one number: each side of one against the other side of the other."""
    pair = SwapPair(rate, z) if swap else MixturePair(rate, z)
    log_target = -exponent * math.log(10)
    fine = pld_epsilon(((pair, count),), log_target)
    step = 0.6 * pair.spread
    above, below = on_grid(pair, step, 1e-16, removing=True)
    for t in (0.5 / step / math.sqrt(count), 2 / step / math.sqrt(count)):
        if fine.low > 0:
            near = fine.low * (1 - 1e-9)
            assert composed(above, t, count).log_delta_high(near) >= log_target - 1e-9
        if not swap and below.mass.any():
            # the worse order attains at most the target at the upper end
            assert composed(below, t, count).log_delta_low(fine.high) <= log_target + 1e-9


def test_far_above_the_centre_the_lower_side_keeps_its_subtraction():
    """One loss of 490 with mass p: δ(485) = p·(1 − e^(−5)).

    Mutant: the terms one by one from 500 above the centre only, where e^(−(t+1)·483) underflows:
    the lower side is then p, which is 0.7 % too large.
    """
    p = 1e-194
    law = GridLaw(0.5, 0.0, np.array([0, 980]), np.array([1.0 - p, p]), 0.0, 0.0)
    exact = math.log(p) + math.log1p(-math.exp(-5.0))
    found = composed(law, 0.9, 1)
    assert 470 < 485 - found.centre < 500
    assert exact - 1e-6 < found.log_delta_low(485.0) <= exact <= found.log_delta_high(485.0)
