"""Brackets around closed forms hold the true value where the last digits of the arguments matter most.

The true values are the formulas of docs/privacy.md §2.1, §2.2 and §12, evaluated here to 150 digits and more.
"""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import pytest

from dp import Accountant, GaussianEvent, LaplaceEvent, PoissonSampling
from dp.losses.outward import exp_bounds, margin, quotient_up


def above(x):
    return mpmath.erfc(x / mpmath.sqrt(2)) / 2


def gaussian(multiplier, epsilon):
    z, e = mpmath.mpf(multiplier), mpmath.mpf(epsilon)
    return above(e * z - 1 / z / 2) - mpmath.exp(e) * above(e * z + 1 / z / 2)


def laplace(multiplier, epsilon):
    return max(mpmath.mpf(0), 1 - mpmath.exp((epsilon - 1 / mpmath.mpf(multiplier)) / 2))


def smallest(curve, delta):
    """By bisection: the ε ≥ 0 at which a falling curve passes δ."""
    low, high = mpmath.mpf(0), mpmath.mpf(1)
    if curve(low) <= delta:
        return low
    while curve(high) > delta:
        high *= 2
    for _ in range(400):
        middle = (low + high) / 2
        low, high = (middle, high) if curve(middle) > delta else (low, middle)
    return high


@pytest.mark.parametrize("epsilon", [1e-12, 1e-9, 1e-6, 1e-3, 1.0])
@pytest.mark.parametrize(
    ("event", "curve"), [(GaussianEvent(1.0), gaussian), (LaplaceEvent(3.0), laplace)]
)
def test_epsilon_next_to_zero(event, curve, epsilon):
    """Mutant: a relative width of 1e-9, where δ's last digit is worth up to 5e-5 of ε."""
    with mpmath.workdps(150):
        z = event.noise_multiplier
        delta = float(curve(z, mpmath.mpf(epsilon)))
        found = Accountant().compose(event).epsilon(delta)
        assert found.low <= smallest(lambda e: curve(z, e), mpmath.mpf(delta)) <= found.high


def test_sampled_epsilon_next_to_zero():
    with mpmath.workdps(60):
        q, e = mpmath.mpf(0.1) + mpmath.mpf(2) ** -53, mpmath.mpf("1e-10")

        def curve(e):
            return q * gaussian(1, mpmath.log1p(mpmath.expm1(e) / q))

        delta = float(curve(e))
        found = Accountant().compose(GaussianEvent(1.0, PoissonSampling(0.1))).epsilon(delta)
        assert found.low <= smallest(curve, mpmath.mpf(delta)) <= found.high


@pytest.mark.parametrize(
    ("multiplier", "epsilon"), [(1e-10, 5e19), (1e-8, 5e15), (1e-5, 5e9), (0.01, 5000.0)]
)
def test_delta_of_two_large_numbers_difference(multiplier, epsilon):
    """Mutant: as above.  At z = 1e-10 the last digit of 1/z alone is worth 1e-6 of δ."""
    with mpmath.workdps(250):
        found = Accountant().compose(GaussianEvent(multiplier)).delta(epsilon)
        assert found.low <= gaussian(multiplier, epsilon) <= found.high


def test_little_noise_at_half_its_loss():
    """1/z² = 2ε up to rounding, which alone decides between δ = 0 and δ = 1."""
    found = Accountant().compose(GaussianEvent(1e-100)).delta(5e199)
    assert (found.low, found.high) == (0.0, 1.0)


@pytest.mark.parametrize("rest", [1e-15, 1e-12, 1e-9, 1e-6, 1e-3, 0.3])
@pytest.mark.parametrize("multiplier", [0.02, 0.05, 0.2])
def test_delta_next_to_one(multiplier, rest):
    """Mutant: log δ as the log of a difference; at 1 − δ = 1e-15 ε is then off by 0.2 %."""
    with mpmath.workdps(150):
        delta = 1 - rest
        found = Accountant().compose(GaussianEvent(multiplier)).epsilon(delta)
        truth = smallest(lambda e: gaussian(multiplier, e), mpmath.mpf(delta))
        assert found.low <= truth <= found.high
        assert found.width <= 1e-9 * found.high


def test_delta_below_the_smallest_float_is_not_none():
    """log10 δ is about −2155; mutant: exp underflows to a δ of 0, which no Gaussian has."""
    assert 0 < Accountant().compose(GaussianEvent(1.0)).delta(100.0).high <= 1e-322


@pytest.mark.parametrize("multiplier", [3.0, 7.0, 0.7, 0.1, 49.0])
@pytest.mark.parametrize("count", [1, 3])
def test_laplace_has_no_delta_from_its_largest_loss_on(multiplier, count):
    """Mutant: 1/3 rounded down is claimed with δ = 0."""
    run = Accountant().compose(LaplaceEvent(multiplier), count)
    with mpmath.workdps(60):
        truth = count / mpmath.mpf(multiplier)
        assert truth <= run.epsilon(0.0).high <= truth * (1 + mpmath.mpf(2) ** -51)
        if count == 1:
            for epsilon in (1 / multiplier, (1 - 1e-13) / multiplier):
                found = run.delta(epsilon)
                assert found.low <= laplace(multiplier, epsilon) <= found.high


def test_quotients_are_rounded_up():
    for a, b in ((1.0, 3.0), (2.0, 7.0), (1.0, 10.0), (2.0, 0.1), (1.0, 4.0)):
        found = quotient_up(a, b)
        assert Fraction(a) <= Fraction(b) * Fraction(found)
        assert found in (a / b, math.nextafter(a / b, math.inf))
    assert quotient_up(1.0, 4.0) == 0.25


def test_exponentials_keep_to_the_unit_interval():
    assert exp_bounds(-math.inf, -math.inf) == (0.0, 1e-323)
    assert exp_bounds(-1e-18, 1.0)[1] == 1.0
    low, high = exp_bounds(-2.0, -2.0)
    assert low < math.exp(-2.0) < high < low * (1 + 1e-14)


def test_margin_is_of_delta_or_of_its_complement():
    assert margin(-1e-15, 1e-11) == pytest.approx(1e-26, rel=1e-3)
    assert margin(-20.0, 1e-11) == pytest.approx(1e-11, rel=1e-2)
