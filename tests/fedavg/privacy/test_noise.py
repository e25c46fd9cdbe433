"""Noise on the grid: what it costs, how it is shared, how far it reaches."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dp import (
    DiscreteGaussianSumEvent,
    GaussianEvent,
    PoissonSampling,
    RoundedGaussianSumEvent,
    SkellamEvent,
    UnsupportedEventError,
)
from fedavg.errors import PlanError
from fedavg.privacy.noise import (
    CentralGaussian,
    DistributedDiscreteGaussian,
    DistributedGaussian,
    DistributedSkellam,
    Sensitivity,
    Shares,
    guaranteed_variance,
    share_stddev,
)

SENSITIVITY = Sensitivity(l2=256.5, l1=11_000.0, dimension=1970)
SHARES = Shares(honest_fraction=0.77, cap=236)
SCHEME = PoissonSampling(0.15)
ALL = [DistributedGaussian, DistributedSkellam, DistributedDiscreteGaussian, CentralGaussian]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("multiplier", [0.0, -1.0, math.nan, math.inf])
def test_meaningless_multipliers_cannot_be_made(kind, multiplier):
    with pytest.raises(PlanError, match="noise multiplier"):
        kind(multiplier)


def test_each_noise_emits_its_own_event():
    expected = {
        DistributedGaussian: RoundedGaussianSumEvent,
        DistributedSkellam: SkellamEvent,
        DistributedDiscreteGaussian: DiscreteGaussianSumEvent,
        CentralGaussian: GaussianEvent,
    }
    for kind, event in expected.items():
        emitted = kind(1.3).event(SENSITIVITY, SHARES, SCHEME)
        assert type(emitted) is event
        assert emitted.noise_multiplier == 1.3
        assert emitted.sampling == SCHEME


def test_the_event_counts_on_the_smallest_shares_of_the_run():
    event = DistributedGaussian(1.3).event(SENSITIVITY, SHARES, SCHEME)
    smallest = min(
        share_stddev(DistributedGaussian(1.3), SENSITIVITY, 0.77, n) for n in range(50, 237)
    )
    assert event.local_stddev <= smallest
    assert event.shares > SHARES.cap  # the server's share, and the part held back
    published = DistributedDiscreteGaussian(1.3).event(SENSITIVITY, SHARES, SCHEME)
    assert published.local_stddev == pytest.approx(smallest, rel=1e-4)


def test_what_the_theorem_consumes_is_added_on_top_of_the_claim():
    """Sums of discrete Gaussians are post-processed Gaussians of less variance: by 2² grid units here."""
    claimed = (1.3 * SENSITIVITY.l2) ** 2
    event = DistributedGaussian(1.3).event(SENSITIVITY, SHARES, SCHEME)
    held_back = guaranteed_variance(DistributedGaussian(1.3), SENSITIVITY) - claimed
    assert held_back == pytest.approx(event.local_stddev**2, rel=1e-6)
    assert held_back >= 4 * (1 - 1e-6)
    assert guaranteed_variance(DistributedSkellam(1.3), SENSITIVITY) == claimed


def test_shares_too_small_for_the_theorem_are_refused():
    fine = Sensitivity(l2=4.0, l1=16.0, dimension=16)
    with pytest.raises(UnsupportedEventError):
        DistributedGaussian(1.0).event(fine, SHARES, SCHEME)


def test_a_share_needs_a_roster():
    with pytest.raises(PlanError, match="roster"):
        share_stddev(DistributedGaussian(1.0), SENSITIVITY, 0.8, 0)


@pytest.mark.parametrize("kind", ALL)
def test_draws_have_the_stated_variance(kind):
    """20,000 draws at σ = 21.4: variance within 6 standard errors; false-alarm rate 2e-9 each."""
    draws = kind(1.0).sample(21.4, 20_000)
    assert draws.dtype == np.int64
    expected = 21.4**2 + (1 / 12 if kind is CentralGaussian else 0)
    assert abs(draws.var() - expected) < 6 * expected * math.sqrt(2.1 / 20_000)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("sigma", [3.0, 30.0])
def test_tails_are_bounds(kind, sigma):
    """Beyond the bound for probability 1e-3 lie at most as many of 200,000 draws as it allows.

    200 are expected at worst; more than 285 (6 σ above) would be a false alarm of 1e-9.
    """
    noise = kind(1.0)
    bound = noise.tail(sigma**2 + 1 / 12, math.log(1e3))
    assert (np.abs(noise.sample(sigma, 200_000)) > bound + 0.5).sum() <= 285
    assert bound < 6 * sigma
