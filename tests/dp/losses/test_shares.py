"""Sums of noise shares against one Gaussian: each step of docs/privacy.md §4, by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi2

from tests.dp.lattice import (
    Mixture,
    convolved,
    discrete,
    eta,
    hockey_stick,
    placed,
    rounded,
    tau,
    worst_excess,
)

STDDEVS = (0.3, 0.4, 0.5, 0.7, 1.0, 2.0, 3.0)
COUNTS = (2, 3, 10)
ROUNDING = 1e-8  # of float64 in sums of a few hundred products


def log_ratio(law: np.ndarray, other: np.ndarray) -> float:
    """Largest |log| of the ratio where float64 still resolves both."""
    seen = (law > 1e-11) & (other > 1e-11)
    return float(np.abs(np.log(law[seen] / other[seen])).max())


@pytest.mark.parametrize("stddev", STDDEVS[1:5])
@pytest.mark.parametrize("n", [2, 3, 5])
def test_sums_on_cosets_are_discrete_gaussians_up_to_tau(stddev, n):
    """§4.1, for offsets drawn at random, all zero and all one half."""
    rng = np.random.default_rng(n)
    offsets = [np.zeros(n), np.full(n, 0.5), *(rng.random((30, n)) - 0.5)]
    bound = tau([stddev**2] * n)
    worst = 0.0
    for offset in offsets:
        summed = convolved([discrete(stddev**2, float(f)) for f in offset])
        reach = len(summed) // 2
        weights = np.exp(
            -((np.arange(-reach, reach + 1) + offset.sum()) ** 2) / (2 * n * stddev**2)
        )
        worst = max(worst, log_ratio(summed, weights / weights.sum()))
    assert worst <= bound + ROUNDING
    assert worst > 0.1 * bound or n > 2  # between two shares the bound is nearly attained


def test_shares_may_differ_in_size():
    """§4.1 with unequal variances: the least of them gives a bound for all."""
    variances = [0.5, 1.3, 0.7, 2.9]
    summed = convolved(
        [discrete(v, f) for v, f in zip(variances, (0.1, -0.4, 0.3, 0.25), strict=True)]
    )
    reach = len(summed) // 2
    weights = np.exp(-((np.arange(-reach, reach + 1) + 0.25) ** 2) / (2 * sum(variances)))
    seen = log_ratio(summed, weights / weights.sum())
    assert seen <= tau(variances) + ROUNDING
    assert tau(variances) <= tau([min(variances)] * len(variances))


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("stddev", STDDEVS)
@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 1.0])
def test_rounded_shares_cost_what_one_gaussian_costs(n, stddev, rate):
    """§4.2 in one dimension, subsampled or not, both orders."""
    summed = convolved([rounded(stddev**2)] * n)
    width = len(summed) + 8
    slack = tau([stddev**2] * n)
    for shift in (1, 2, 3):
        gaussian = Mixture(rate, shift / (stddev * math.sqrt(n)))
        joined, absent = placed(summed, shift, width), placed(summed, 0, width)
        raw, bounded = worst_excess(joined, absent, gaussian, slack)
        assert bounded <= 1 + ROUNDING
        assert raw <= 1 + ROUNDING or stddev < 0.5  # below, the slack is needed


def test_tiny_shares_do_exceed_the_gaussian_without_the_slack():
    """σ = 0.3: up to 17 % more than the Gaussian, which is why small shares are refused."""
    summed = convolved([rounded(0.09)] * 10)
    width = len(summed) + 8
    gaussian = Mixture(1.0, 1 / (0.3 * math.sqrt(10)))
    raw, _ = worst_excess(placed(summed, 1, width), placed(summed, 0, width), gaussian, 0.0)
    assert 1.1 < raw < 1.25


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("stddev", [0.5, 1.0])
@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_rounded_shares_in_two_dimensions(n, stddev, rate):
    summed = convolved([rounded(stddev**2)] * n)
    width = len(summed) + 6
    absent = np.outer(placed(summed, 0, width), placed(summed, 0, width))
    slack = 2 * tau([stddev**2] * n)
    for shift in ((1, 1), (1, 2), (1, 0)):
        joined = np.outer(placed(summed, shift[0], width), placed(summed, shift[1], width))
        gaussian = Mixture(rate, math.hypot(*shift) / (stddev * math.sqrt(n)))
        raw, bounded = worst_excess(joined, absent, gaussian, slack)
        assert bounded <= 1 + ROUNDING
        assert raw <= 1 + ROUNDING


@pytest.mark.parametrize(
    ("variance", "held_back"), [(3.0, 0.25), (6.0, 0.5), (20.0, 1.0), (50.0, 4.0)]
)
def test_discrete_gaussians_are_post_processed_gaussians(variance, held_back):
    """§4.3: N(0, V−c), then a discrete Gaussian of variance c on the coset that makes it whole."""
    wanted = discrete(variance)
    reach = len(wanted) // 2
    k = np.arange(-reach, reach + 1)
    step = 2.0**-6
    y = np.arange(-reach - 10, reach + 10, step)
    density = np.exp(-(y**2) / (2 * (variance - held_back)))
    density *= step / math.sqrt(2 * math.pi * (variance - held_back))
    kernel = np.exp(-((k[None, :] - y[:, None]) ** 2) / (2 * held_back))
    kernel /= np.exp(-((np.arange(-40, 41) - (y % 1)[:, None]) ** 2) / (2 * held_back)).sum(1)[
        :, None
    ]
    made = density @ kernel
    bound = 2 * math.atanh(eta(held_back))
    assert log_ratio(made, wanted) <= bound + ROUNDING


def shares_of(total: float, roster: int, survivors: int) -> list[float]:
    """What the survivors add, and what the server makes up for those who left."""
    shares = [total / roster] * survivors
    return shares if survivors == roster else [*shares, total * (roster - survivors) / roster]


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(("roster", "survivors"), [(2, 2), (5, 5), (5, 3), (9, 8)])
@pytest.mark.parametrize("total", [12.0, 40.0])
def test_discrete_shares_with_another_roster_cost_what_one_gaussian_costs(
    rate, roster, survivors, total
):
    """§4.3: the client's joining changes the roster, hence the size of every share."""
    held_back = 1.0
    without = shares_of(total, roster, survivors)
    joining = shares_of(total, roster + 1, survivors + 1)
    assert sum(without) == pytest.approx(sum(joining)) == pytest.approx(total)
    absent, joined = (convolved([discrete(v) for v in part]) for part in (without, joining))
    width = max(len(absent), len(joined)) + 9
    slack = max(tau(without), tau(joining)) + 2 * math.atanh(eta(held_back))
    for shift in (0, 1, 2, 4):
        gaussian = Mixture(rate, max(shift, 1e-3) / math.sqrt(total - held_back))
        pair = placed(joined, shift, width), placed(absent, 0, width)
        _, bounded = worst_excess(*pair, gaussian, slack)
        assert bounded <= 1 + 1e-5  # a thousandth of a shift stands for none


def test_leaving_the_missing_shares_out_would_tell_the_cohort_sizes():
    """The mutant without the server's part: a client that sends *zero* is seen by the variance alone.

    Roster 8 with 4 survivors against roster 9 with 5: half of the noise, or five ninths of it.
    """
    total, roster, survivors = 40.0, 8, 4
    laws = [
        convolved([discrete(total / n)] * s)
        for n, s in ((roster, survivors), (roster + 1, survivors + 1))
    ]
    width = max(len(law) for law in laws) + 2
    absent, joined = (placed(law, 0, width) for law in laws)
    assert hockey_stick(joined, absent, 0.02) > 0.01
    made_up = [
        convolved([discrete(v) for v in shares_of(total, n, s)])
        for n, s in ((roster, survivors), (roster + 1, survivors + 1))
    ]
    absent, joined = (placed(law, 0, width + 400) for law in made_up)
    assert hockey_stick(joined, absent, 1e-6) < 1e-12


def test_rounded_shares_would_tell_the_roster_in_many_dimensions():
    """Each rounding adds 1/12: N(0, V + n/12) against N(0, V + (n+1)/12) in 200,000 dimensions.

    The exact hockey stick of two centred Gaussians, from their chi-squared norms.
    """
    dimension, variance, n = 200_000, 250.0, 60
    ratio = (variance + (n + 1) / 12) / (variance + n / 12)
    epsilon = 0.02
    edge = 2 * (epsilon + dimension / 2 * math.log(ratio)) / (1 - 1 / ratio)
    delta = chi2.sf(edge / ratio, dimension) - math.exp(epsilon) * chi2.sf(edge, dimension)
    assert delta > 0.03
