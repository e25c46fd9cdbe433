"""Samplers: who joins, how often, and what the accountant is told."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from dp import FixedSizeSampling, PoissonSampling
from fedavg.errors import PlanError
from fedavg.privacy.sampling import FixedCohort, PoissonCohort


def test_poisson_sizes_have_the_binomial_mean_and_variance():
    """3,000 draws of Bin(200, .3): mean within 6 standard errors, variance within 6 of its own.

    False-alarm rate below 1e-8 together.
    """
    sizes = np.array([len(PoissonCohort(0.3).draw(range(200))) for _ in range(3000)])
    variance = 200 * 0.3 * 0.7
    assert abs(sizes.mean() - 60) < 6 * math.sqrt(variance / 3000)
    assert abs(sizes.var() - variance) < 6 * variance * math.sqrt(2 / 3000)


def test_every_fixed_size_draw_has_the_size_and_every_client_its_share():
    """2,000 draws of 5 from 20: counts Bin(2000, .25), within 6 σ each; false alarm 4e-8."""
    counts = np.zeros(20)
    for _ in range(2000):
        drawn = FixedCohort(5).draw(range(20))
        assert len(set(drawn)) == 5
        counts[list(drawn)] += 1
    assert np.abs(counts - 500).max() < 6 * math.sqrt(2000 * 0.25 * 0.75)


def test_the_sampler_names_its_own_scheme():
    assert PoissonCohort(0.2).scheme(50) == PoissonSampling(0.2)
    assert FixedCohort(10).scheme(50) == FixedSizeSampling(10, 50, enrolled=True)


def test_poisson_bounds_hold_for_neighbouring_populations():
    bounds = PoissonCohort(0.15).bounds(1000, 3, 1e-12)
    for n in (999, 1000, 1001):
        outside = binom.cdf(bounds.floor - 1, n, 0.15) + binom.sf(bounds.cap, n, 0.15)
        assert outside <= bounds.outside
    assert bounds.outside < 1e-11
    assert bounds.floor < 150 < bounds.cap


def test_a_floor_of_zero_lets_empty_rounds_run():
    assert PoissonCohort(0.01).bounds(20, 0, 1e-12).floor == 0


def test_bounds_ask_for_no_more_clients_than_a_neighbouring_population_has():
    assert PoissonCohort(1.0).bounds(10, 3, 1e-12).cap == 11


def test_two_processes_or_two_draws_differ():
    draws = {PoissonCohort(0.5).draw(range(200)) for _ in range(20)}
    assert len(draws) == 20


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1, math.nan, math.inf])
def test_bad_rates_are_refused(rate):
    with pytest.raises(PlanError):
        PoissonCohort(rate)


def test_fixed_cohorts_that_cannot_be_are_refused():
    with pytest.raises(PlanError):
        FixedCohort(0)
    with pytest.raises(PlanError, match="cannot be drawn"):
        FixedCohort(11).draw(range(10))
    with pytest.raises(PlanError, match="below 20"):
        FixedCohort(10).bounds(100, 20, 1e-12)


def test_the_floor_leaves_room_for_those_who_do_not_come():
    full = PoissonCohort(0.15).bounds(1000, 3, 1e-12)
    thinned = PoissonCohort(0.15).bounds(1000, 3, 1e-12, attendance=0.9)
    assert thinned.floor < full.floor
    assert thinned.cap == full.cap
    assert FixedCohort(100).bounds(1000, 3, 1e-12, attendance=0.9).floor == 90
