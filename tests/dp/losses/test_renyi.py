"""Rényi curves against dp-accounting, quadrature in many digits, and published figures."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
from dp_accounting.rdp import RdpAccountant
from scipy.special import logsumexp

from dp import (
    Accountant,
    DiscreteGaussianSumEvent,
    NeighboringRelation,
    PoissonSampling,
    SkellamEvent,
    UnsupportedEventError,
)
from dp.losses import renyi
from dp.losses.shares import discrete_gaussian_tau, rounded_gaussian_tau


def divergence(order: float, rate: float, z: float, *, adding: bool) -> float:
    """Rényi divergence by the trapezoidal rule, which is spectrally accurate on such integrands."""
    step = z / 512  # a power of two of the scale: the points carry no rounding that matters
    x = step * np.arange(-16 * 512, 16 * 512 + math.ceil(order / step))
    ratio = np.logaddexp(math.log1p(-rate), math.log(rate) + (2 * x - 1) / (2 * z * z))
    logs = -x * x / (2 * z * z) + (1 - order if adding else order) * ratio
    total = logsumexp(logs) + math.log(1 / 512 / math.sqrt(2 * math.pi))
    return float(total) / (order - 1)


@pytest.mark.parametrize(("rate", "z"), [(0.01, 1.0), (0.15, 1.3), (0.5, 0.7), (0.001, 4.0)])
@pytest.mark.parametrize("order", [1.1, 1.5, 2.0, 3.7, 9.9, 17.0])
def test_curve_is_the_integral_and_covers_both_directions(rate, z, order):
    curve = renyi.poisson_gaussian_curve(rate, z)
    ours = float(curve[np.flatnonzero(np.isclose(renyi.ORDERS, order))[0]])
    exact = divergence(order, rate, z, adding=False)
    assert ours >= exact * (1 - 1e-10) - 1e-13
    assert ours == pytest.approx(exact, rel=1e-6, abs=1e-11)
    assert ours >= divergence(order, rate, z, adding=True) * (1 - 1e-10) - 1e-13


@pytest.mark.parametrize(
    ("rate", "z", "steps"),
    [(0.15, 1.3, 40), (0.1, 1.0, 40), (0.01, 1.0, 1000), (0.01, 0.5, 100), (1.0, 5.0, 10)],
)
def test_epsilon_agrees_with_dp_accounting(rate, z, steps):
    peer = RdpAccountant()
    event = GaussianDpEvent(z)
    peer.compose(PoissonSampledDpEvent(rate, event) if rate < 1 else event, steps)
    ours = renyi.epsilon_bound(steps * renyi.poisson_gaussian_curve(rate, z), math.log(1e-5))
    assert ours == pytest.approx(peer.get_epsilon(1e-5), rel=2e-2)


def test_conversions_invert_each_other():
    curve = 40 * renyi.poisson_gaussian_curve(0.15, 1.3)
    for delta in (1e-3, 1e-5, 1e-12):
        epsilon = renyi.epsilon_bound(curve, math.log(delta))
        assert renyi.log_delta_bound(curve, epsilon) == pytest.approx(math.log(delta), rel=1e-9)


def test_skellam_bound_covers_the_exact_divergence():
    """One coordinate, shift 3, μ = 16: exact Rényi divergence by summation, 60 digits."""
    event = SkellamEvent(4 / 3, l2_sensitivity=3.0, l1_sensitivity=3.0)
    curve = event.divergence(1.0, renyi.ORDERS)
    with mpmath.workdps(60):
        mass = [mpmath.exp(-16) * mpmath.besseli(abs(k), 16) for k in range(-120, 124)]
        for order in (2, 5, 16):
            total = mpmath.fsum(
                mass[k] ** order * mass[k + 3] ** (1 - order) for k in range(len(mass) - 3)
            )
            exact = float(mpmath.log(total)) / (order - 1)
            bound = float(curve[np.flatnonzero(order == renyi.ORDERS)[0]])
            assert exact <= bound <= 2 * exact


def test_discrete_gaussian_sum_bound_covers_the_exact_divergence():
    """Five shares of σ = 1, shift 2, summed exactly."""
    support = np.arange(-30, 31)
    share = np.exp(-(support**2) / 2.0)
    share /= share.sum()
    total = share
    for _ in range(4):
        total = np.convolve(total, share)
    event = DiscreteGaussianSumEvent(
        math.sqrt(5) / 2,
        local_stddev=1.0,
        shares=5,
        dimension=1,
        l2_sensitivity=2.0,
        l1_sensitivity=2.0,
    )
    curve = event.divergence(1.0, renyi.ORDERS)
    centre = slice(len(total) // 2 - 25, len(total) // 2 + 26)
    first, second = np.roll(total, 2)[centre], total[centre]
    for order in (2, 4):
        exact = math.log(float((first**order * second ** (1 - order)).sum())) / (order - 1)
        bound = float(curve[np.flatnonzero(order == renyi.ORDERS)[0]])
        assert exact <= bound <= 1.05 * exact


@pytest.mark.parametrize("stddev", [1.0, 1.2, 2.0])
@pytest.mark.parametrize("shares", [2, 5, 20])
def test_discrete_gaussian_sums_are_known_to_two_percent(stddev, shares):
    """Local σ ≥ 1: the exact convolution, whose terms are all positive, at orders it resolves."""
    reach = math.ceil(13 * stddev)
    share = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * stddev**2))
    share /= share.sum()
    total = share
    for _ in range(shares - 1):
        total = np.convolve(total, share)
    for shift in (1, 2):
        event = DiscreteGaussianSumEvent(
            math.sqrt(shares) * stddev / shift,
            local_stddev=stddev,
            shares=shares,
            dimension=1,
            l2_sensitivity=float(shift),
            l1_sensitivity=float(shift),
        )
        curve = event.divergence(1.0, renyi.ORDERS)
        first = np.log(np.concatenate([np.zeros(shift), total]) + 1e-320)
        second = np.log(np.concatenate([total, np.zeros(shift)]) + 1e-320)
        for order in (2, 3, 5, 8):
            exact = float(
                logsumexp(order * first[shift:-shift] + (1 - order) * second[shift:-shift])
            )
            bound = float(curve[np.flatnonzero(order == renyi.ORDERS)[0]])
            assert exact / (order - 1) <= bound * (1 + 1e-12) + 1e-13
            assert bound <= 1.02 * exact / (order - 1)


def test_tau_at_two_grid_units_is_harmless():
    """d = 2048, T = 40, a hundred shares of σ = 2 cost about 1e-12."""
    tau = rounded_gaussian_tau(2.0, 100)
    assert 1e-14 < 40 * 2048 * tau < 1e-10
    assert rounded_gaussian_tau(2.0, 1) == 0
    assert rounded_gaussian_tau(0.2, 5) == math.inf
    assert discrete_gaussian_tau(1.0, 2) == pytest.approx(10 * math.exp(-(math.pi**2)))


def test_tau_of_very_many_shares_is_extrapolated_upwards():
    some, many = (
        rounded_gaussian_tau(2.0, 100_000),
        rounded_gaussian_tau(2.0, 400_000),
    )
    assert 4 * some <= many <= 4.0001 * some


def test_general_amplification_never_beats_the_gaussian_one():
    """Zhu and Wang's bound for a Skellam of huge scale against the exact Gaussian curve."""
    event = SkellamEvent(2.0, l2_sensitivity=1e6, l1_sensitivity=1e6, sampling=PoissonSampling(0.1))
    general = event.cost(NeighboringRelation.ADD_REMOVE).curve
    exact = renyi.poisson_gaussian_curve(0.1, 2.0)
    finite = np.isfinite(general)
    assert finite.any()
    assert (general[finite] >= exact[finite] * (1 - 1e-9)).all()
    assert general[np.flatnonzero(renyi.ORDERS == 2)[0]] <= 1.01 * exact[renyi.ORDERS == 2][-1]


def test_shares_below_half_a_grid_unit_are_outside_the_theorem():
    """Two shares of σ = 0.05, shift 1: 1 − 2e-87 of the mass is at 0, where the loss is 199.3.

    Kairouz, Liu and Steinke (2021) assume σ ≥ ½.  Mutant: their τ claims ε = 175.8 at δ = 1e-5, where δ is 1.
    """
    norms = {"dimension": 1, "l2_sensitivity": 1.0, "l1_sensitivity": 1.0}
    with pytest.raises(UnsupportedEventError, match="local_stddev 0.05 is below 0.5 grid units"):
        DiscreteGaussianSumEvent(math.sqrt(2) * 0.05, local_stddev=0.05, shares=2, **norms)
    alone = DiscreteGaussianSumEvent(0.05, local_stddev=0.05, shares=1, **norms)
    assert Accountant().compose(alone).epsilon(1e-5).high > 199.3


@pytest.mark.parametrize("rate", [1e-16, 1e-12, 1e-9, 1e-6, 1e-3])
def test_general_amplification_at_small_rates(rate):
    """The divergence of order 2 is log(1 + q²(e^D − 1)); mutant: rounding alone, which may be below 0."""
    event = SkellamEvent(
        1.0, l2_sensitivity=10.0, l1_sensitivity=10.0, sampling=PoissonSampling(rate)
    )
    curve = event.cost(NeighboringRelation.ADD_REMOVE).curve
    second = np.flatnonzero(renyi.ORDERS == 2)[0]
    plain = float(event.divergence(1.0, np.array([2.0]))[0])
    least = math.log1p(event.sampling.exposure**2 * math.expm1(plain))
    assert least <= curve[second] <= least * (1 + 1e-9) + 1e-12
