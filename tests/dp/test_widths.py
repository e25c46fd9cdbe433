"""How near the two sides come, over the whole range in use; python -m tests.dp.test_widths prints it."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest

from dp import (
    Accountant,
    DiscreteLaplaceEvent,
    FixedSizeSampling,
    GaussianEvent,
    LaplaceEvent,
    NeighboringRelation,
    NoSampling,
    PoissonSampling,
    RoundedGaussianSumEvent,
    calibrate_noise_multiplier,
)
from dp.accounting import answers
from dp.composition import pld
from dp.composition.compose import Composed

RATES, MULTIPLIERS = (0.001, 0.01, 0.1, 1.0), (0.5, 0.8, 1.0, 2.0, 5.0)
COUNTS, DELTAS = (1, 100, 1000, 10_000), (1e-5, 1e-8)
REPLACE = NeighboringRelation.REPLACE_ONE


def poisson(rate: float) -> PoissonSampling | NoSampling:
    return PoissonSampling(rate) if rate < 1 else NoSampling()


def gaussian(rate: float, z: float) -> GaussianEvent:
    return GaussianEvent(z, poisson(rate))


def rounded(rate: float, z: float) -> RoundedGaussianSumEvent:
    return RoundedGaussianSumEvent(
        z, local_stddev=2.5, shares=50, dimension=2048, sampling=poisson(rate)
    )


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("rate", RATES)
def test_brackets_are_a_thousandth_wide_at_most(rate, count):
    for z, delta in itertools.product(MULTIPLIERS, DELTAS):
        epsilon = Accountant().compose(gaussian(rate, z), count).epsilon(delta)
        assert 0 < epsilon.low <= epsilon.high < math.inf
        assert epsilon.width <= 1e-3 * epsilon.high


@pytest.mark.parametrize(("rate", "z", "count"), [(0.01, 1.0, 1000), (1.0, 2.0, 100), (0.1, 5, 1)])
def test_rounded_shares_are_known_as_well(rate, z, count):
    for delta in DELTAS:
        epsilon = Accountant().compose(rounded(rate, z), count).epsilon(delta)
        assert epsilon.low > 0
        assert epsilon.width <= 1e-3 * epsilon.high


@pytest.mark.parametrize(
    ("rate", "z", "count", "delta"),
    [
        (0.00043, 1.1, 7, 1e-10),
        (0.00043, 60.0, 365, 1e-6),  # ε about 1e-3 and less
        (0.77, 1.1, 3000, 1e-6),  # ε about 1e3
        (0.99, 0.63, 3000, 1e-10),
        (0.3, 17.0, 2, 1e-4),
        (1e-4, 0.5, 100_000, 1e-6),
    ],
)
def test_odd_values_too(rate, z, count, delta):
    epsilon = Accountant().compose(gaussian(rate, z), count).epsilon(delta)
    assert epsilon.width <= 1e-3 * epsilon.high < math.inf


@pytest.mark.parametrize(
    ("rate", "z", "count", "delta", "low", "high"),
    [
        # dp-accounting's pessimistic upper bounds, at a mesh of 1e-4: 0.5660, 1.4932, 2.7743
        (1e-6, 0.5, 1_000_000, 1e-9, 0.5620, 0.5640),
        (1e-5, 0.5, 100_000, 1e-8, 1.4920, 1.4932),
        (1e-4, 0.5, 10_000, 1e-7, 2.7738, 2.7744),
        (1e-6, 0.3, 1_000_000, 1e-9, 11.40, 11.45),
        (1e-6, 1.0, 1_000_000, 1e-5, 0.00267, 0.00270),
        (1e-5, 51.0, 158_601, 1e-10, 3.41e-4, 3.42e-4),
        # the continuous law's transform, inverted: δ(0.0266169) > 1e-5 > δ(0.0266199), and so on
        (1e-6, 0.5, 1_000_000, 1e-5, 0.026616, 0.026620),
        (1e-6, 0.5, 100_000, 1e-10, 0.56257, 0.56267),
        (1e-5, 0.8, 1_000_000, 1e-10, 0.10738, 0.10740),
    ],
)
def test_small_rates_and_a_million_releases(rate, z, count, delta, low, high):
    epsilon = Accountant().compose(gaussian(rate, z), count).epsilon(delta)
    assert epsilon.width <= 1e-3 * epsilon.high
    assert low <= epsilon.low <= epsilon.high <= high


def test_losses_of_every_size_together():
    """One loss of hundreds beside a thousand of a millionth, on one mesh."""
    run = Accountant().compose(GaussianEvent(0.4), 60).compose(gaussian(1e-5, 50.0), 1000)
    epsilon = run.epsilon(1e-10)
    assert epsilon.width <= 1e-4 * epsilon.high
    assert epsilon.low > 309.82
    assert epsilon.high < 309.83


@pytest.mark.parametrize(
    ("rate", "z", "low", "high"),
    [(3e-5, 0.14, 71.44, 71.46), (3e-5, 0.15, 60.66, 60.68), (3e-5, 0.16, 52.06, 52.08)],
)
def test_looks_that_compose_nothing_are_no_attempts(rate, z, low, high):
    """Mutant: counted as attempts, they leave [0, 93.76], [0, 72.47] and [0, 63.71], from moments alone."""
    found = Accountant(REPLACE).compose(gaussian(rate, z), 500).epsilon(1e-8)
    assert low < found.low <= found.high < high


def test_the_order_that_is_not_the_larger_may_have_the_better_lower_side():
    """Finer meshes give 3307.224; when no tangents fitted, the larger order alone gave [0, 3307.22]."""
    found = Accountant(REPLACE).compose(gaussian(0.5, 0.04), 10).epsilon(1e-5)
    assert 3307.16 < found.low <= found.high < 3307.36


@pytest.mark.parametrize(
    ("relation", "rate", "z", "count", "low", "high"),
    [
        (NeighboringRelation.ADD_REMOVE, 0.01, 0.03, 1000, 14_301, 14_340),
        (REPLACE, 0.01, 0.04, 1000, 8024.6, 8026.6),
        (REPLACE, 0.5, 0.03, 10, 5798.7, 5799.1),
        (REPLACE, 0.01, 0.02, 1000, 32_412, 32_419),
    ],
)
def test_losses_of_thousands_have_a_lower_side(relation, rate, z, count, low, high):
    """Mutant: `tests/dp/composition/test_discretise.py`, where nothing is known from below."""
    found = Accountant(relation).compose(gaussian(rate, z), count).epsilon(1e-5)
    assert low < found.low <= found.high < high


@pytest.mark.parametrize(
    ("event", "count", "delta", "low", "high"),
    [
        # a normal approximation of the loss's mean and variance gives 18,204 and 18,203
        (
            DiscreteLaplaceEvent(0.5, l1_sensitivity=100, sampling=PoissonSampling(0.1)),
            10**6,
            1e-8,
            18205,
            18208,
        ),
        (LaplaceEvent(0.5, PoissonSampling(0.1)), 10**6, 1e-8, 18204, 18207),
        # few points far apart, whose lower law has a mesh of its own
        (
            DiscreteLaplaceEvent(2, l1_sensitivity=100, sampling=PoissonSampling(0.1)),
            10**6,
            1e-2,
            1207.7,
            1208.9,
        ),
    ],
)
def test_a_first_look_that_is_too_high_is_not_believed(event, count, delta, low, high):
    """Mutants: they leave [0, 20729.8], [0.5, 19345.4] and [0, 1208.8]."""
    found = Accountant().compose(event, count).epsilon(delta)
    assert low < found.low <= found.high < high
    assert found.width <= 1e-3 * found.high


def test_mutant_that_believes_its_first_look_is_a_tenth_above(monkeypatch):
    monkeypatch.setattr(pld, "_tilt", lambda laws, _question, aim: pld.tilt_for(laws, aim))
    caches = (pld._answer, answers.epsilon_of)
    for cache in caches:
        cache.cache_clear()
    run = Accountant().compose(LaplaceEvent(0.5, PoissonSampling(0.1)), 10**6)
    careless = run.epsilon(1e-8)
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()
    assert careless.high > 1.05 * run.epsilon(1e-8).high


@pytest.mark.parametrize(
    ("event", "relation", "count", "low"),
    [
        # what is attained is looked for by itself, and not at the upper side's answer
        (
            GaussianEvent(1.0, FixedSizeSampling(50, 100, enrolled=True)),
            NeighboringRelation.ADD_REMOVE,
            10_000,
            0.84,
        ),
        (GaussianEvent(2.0, FixedSizeSampling(10, 1000)), REPLACE, 100, 0.7),
    ],
)
def test_cohorts_of_fixed_size_have_both_sides(event, relation, count, low):
    """Mutant: composed at the upper side's answer, the first is [7.1, 2699]."""
    found = Accountant(relation).compose(event, count).epsilon(1e-12)
    assert low * found.high < found.low <= found.high


def test_an_epsilon_of_nothing_takes_no_composition(monkeypatch):
    """δ is above what all releases can differ by, so that no mesh is needed."""
    monkeypatch.setattr(answers, "pld_epsilon", None)
    run = Accountant(REPLACE).compose(gaussian(1.01e-4, 0.5), 10)
    assert (run.epsilon(1e-2).low, run.epsilon(1e-2).high) == (0.0, 0.0)


def test_mixes_of_events():
    run = Accountant()
    for k in range(8):
        run = run.compose(gaussian(0.01 * (k + 1), 0.8 + 0.3 * k), 10 + 20 * k)
    epsilon = run.epsilon(1e-6)
    assert epsilon.width <= 1e-3 * epsilon.high < math.inf
    delta = run.delta(epsilon.high)
    assert delta.width <= 1e-3 * delta.high
    assert delta.low <= 1e-6 * (1 + 1e-9)


@pytest.mark.parametrize("count", [1, 50, 2000])
@pytest.mark.parametrize("rate", [0.002, 0.2])
def test_replacement_by_coins_too(rate, count):
    epsilon = Accountant(REPLACE).compose(gaussian(rate, 1.2), count).epsilon(1e-6)
    assert epsilon.width <= 1e-3 * epsilon.high


@pytest.mark.parametrize(("rate", "z", "count"), [(0.01, 1.0, 1000), (0.2, 3.0, 40), (0.001, 2, 9)])
def test_delta_is_as_narrow(rate, z, count):
    run = Accountant().compose(gaussian(rate, z), count)
    for target in (1e-3, 1e-5, 1e-9):
        delta = run.delta(run.epsilon(target).high)
        assert delta.low <= target * (1 + 1e-9)
        assert delta.width <= 1e-3 * delta.high


@pytest.mark.parametrize(
    ("sampling", "steps", "relation"),
    [
        (PoissonSampling(0.01), 500, NeighboringRelation.ADD_REMOVE),
        (PoissonSampling(0.3), 20, REPLACE),
        (FixedSizeSampling(10, 100), 30, NeighboringRelation.ADD_REMOVE),
        (PoissonSampling(0.1), 1, NeighboringRelation.ADD_REMOVE),
    ],
)
@pytest.mark.parametrize("target", [0.1, 1.0, 20.0])
def test_calibration_spends_all_but_a_thousandth(sampling, steps, relation, target):
    z = calibrate_noise_multiplier(target, 1e-6, sampling=sampling, steps=steps, relation=relation)
    run = Accountant(relation).compose(GaussianEvent(z, sampling), steps)
    assert target * (1 - 1e-3) <= run.epsilon(1e-6).high <= target
    assert run.upper_epsilon(1e-6) <= target * (1 + 1e-3)


def test_upper_side_alone_is_as_good():
    run = Accountant().compose(gaussian(0.05, 1.0), 300)
    both, upper = run.epsilon(1e-6), run.upper_epsilon(1e-6)
    assert both.low <= upper <= both.high * (1 + 3e-4)


def test_mutant_without_the_rounding_term_is_told_apart(monkeypatch):
    """What wraps around and rounding errors widen both sides; without them the sides are nearer."""
    run = Accountant().compose(gaussian(0.03, 1.0), 77)
    honest = run.delta(0.9)
    original = Composed._value
    monkeypatch.setattr(Composed, "_value", lambda self, e: (original(self, e)[0], 0.0))
    caches = (pld._answer, answers.delta_of)
    for cache in caches:
        cache.cache_clear()
    careless = run.delta(0.9)
    for cache in caches:
        cache.cache_clear()
    assert honest.low < careless.low * (1 + 1e-9)
    assert careless.high < honest.high


def main() -> None:
    for name, event in (("gaussian", gaussian), ("rounded", rounded)):
        rows = []
        for rate, z, count, delta in itertools.product(RATES, MULTIPLIERS, COUNTS, DELTAS):
            run = Accountant().compose(event(rate, z), count)
            started = time.process_time()
            epsilon = run.epsilon(delta)
            spent = time.process_time() - started
            rows.append((epsilon.width / epsilon.high, spent))
        for label, column in zip(("width", "cpu s"), np.array(rows).T, strict=True):
            figures = (np.median(column), np.quantile(column, 0.9), column.max())
            print(name, label, *(f"{figure:.2g}" for figure in figures))  # noqa: T201 - its job


if __name__ == "__main__":
    main()


@pytest.mark.parametrize(
    ("relation", "sampling", "z", "count", "largest", "compositions"),
    [
        (NeighboringRelation.ADD_REMOVE, PoissonSampling(1e-6), 4.0, 100, 1e-170, 2),
        (NeighboringRelation.ADD_REMOVE, PoissonSampling(1e-6), 1.0, 10_000, 1e-30, 2),
        (REPLACE, FixedSizeSampling(1, 10**6), 4.0, 100, 1e-70, 4),
        (REPLACE, FixedSizeSampling(1, 10**6), 1.0, 100, 3e-14, 4),
    ],
)
def test_a_small_delta_takes_one_attempt_for_each_order_of_each_pair(
    relation, sampling, z, count, largest, compositions
):
    """Mutant: the moment bound alone as the guess, and an attempt for each 20 of log δ: 16, 6, 24 and 8."""
    pld._answer.cache_clear()
    run = Accountant(relation).compose(GaussianEvent(z, sampling), count)
    found = run.delta(1.0)
    assert 0 <= found.low <= found.high < largest
    assert pld._answer.cache_info().misses == compositions
