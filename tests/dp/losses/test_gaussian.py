"""The analytic Gaussian against 400-digit arithmetic, and its inverse."""

from __future__ import annotations

import math

import mpmath
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dp import InvalidParameterError, NonFiniteError, gaussian_delta, gaussian_epsilon
from dp.losses.gaussian import log_delta, sampled_epsilon, sampled_log_delta


def reference(epsilon: float, mu: float) -> mpmath.mpf:
    """Balle and Wang 2018, theorem 8, evaluated as printed."""
    with mpmath.workdps(800):
        e, m = mpmath.mpf(epsilon), mpmath.mpf(mu)

        def below(x):
            return mpmath.erfc(-x / mpmath.sqrt(2)) / 2

        return below(m / 2 - e / m) - mpmath.exp(e) * below(-m / 2 - e / m)


@pytest.mark.parametrize(
    ("epsilon", "mu"),
    [
        (1, 1),
        (0, 1),
        (0, 1e-8),
        (0.01, 0.001),
        (10, 0.3),
        (50, 2),
        (36.0, 1.0),
        (700, 20),
        (800, 30),
        (5000, 90),
        (1e-6, 1e-6),
        (1e-3, 1e-5),
        (100, 1e2),
        (3, 40),
        (0.5, 1e-2),
    ],
)
def test_delta_has_nine_digits(epsilon, mu):
    exact = reference(epsilon, mu)
    with mpmath.workdps(50):
        error = abs(mpmath.expm1(mpmath.mpf(log_delta(epsilon, mu)) - mpmath.log(exact)))
    assert error <= 1e-9


@pytest.mark.parametrize("epsilon", [0.0, 1e-6, 1e-3, 0.1, 1.0, 10.0, 200.0, 1e4])
def test_delta_has_nine_digits_from_tiny_to_one_half(epsilon):
    """Every μ of a wide grid at which δ lies between 1e-300 and 1/2."""
    checked = 0
    for exponent in range(-72, 30):
        mu = 10 ** (exponent / 12)
        ours = log_delta(epsilon, mu)
        if math.log(1e-300) < ours < math.log(0.5):
            exact = reference(epsilon, mu)
            with mpmath.workdps(50):
                assert abs(mpmath.expm1(mpmath.mpf(ours) - mpmath.log(exact))) <= 1e-9
            checked += 1
    assert checked >= 1


@pytest.mark.parametrize("mu", [1e-12, 1e-9, 1e-7])
def test_noise_far_above_the_shift_is_no_error(mu):
    """δ underflows; its logarithm does not, and falls with ε."""
    logs = [log_delta(epsilon, mu) for epsilon in (0.001, 0.1, 10.0)]
    assert all(map(math.isfinite, logs))
    assert logs == sorted(logs, reverse=True)


@pytest.mark.parametrize("rate", [1e-6, 0.01, 0.7, 1.0])
def test_sampled_curve_is_the_mixture_and_its_inverse(rate):
    for epsilon in (1e-4, 0.3, 5.0, 650.0):
        for mu in (0.2, 1.0, 30.0):
            target = sampled_log_delta(epsilon, mu, rate)
            if target > -690 and target < math.log(rate) - 1e-3:
                assert sampled_epsilon(mu, rate, target) == pytest.approx(epsilon, rel=1e-9)
    with mpmath.workdps(60):
        e, m, q = mpmath.mpf("0.3"), mpmath.mpf(1), mpmath.mpf(rate)
        x = mpmath.log((mpmath.expm1(e) + q) / q) / m + m / 2
        upper = mpmath.erfc(x / mpmath.sqrt(2)) / 2
        moved = mpmath.erfc((x - m) / mpmath.sqrt(2)) / 2
        exact = (1 - q) * upper + q * moved - mpmath.exp(e) * upper
        assert float(mpmath.log(exact)) == pytest.approx(
            sampled_log_delta(0.3, 1.0, rate), rel=1e-11
        )


@pytest.mark.parametrize("delta", [1e-5, 1e-12, 1e-100, 1e-300])
@pytest.mark.parametrize("multiplier", [0.01, 0.5, 1.0, 3.0, 100.0])
def test_epsilon_inverts_the_exact_curve(delta, multiplier):
    epsilon = gaussian_epsilon(multiplier, delta)
    exact = reference(epsilon, 1 / multiplier)
    with mpmath.workdps(50):
        off = abs(mpmath.log(exact) - mpmath.log(mpmath.mpf(delta)))
    # an error of 1e-9 in ε changes log δ by less than 1e-9·ε·d(log δ)/dε
    slope = abs(log_delta(epsilon * 1.001, 1 / multiplier) - math.log(delta)) / 1e-3
    assert off <= 1e-9 * max(1.0, slope)


@settings(deadline=None, max_examples=80)
@given(multiplier=st.floats(0.05, 50), first=st.floats(0, 30), second=st.floats(0, 30))
@example(
    multiplier=0.33203125, first=0.0, second=1e-15
)  # δ rises here by three units in the last place
def test_delta_falls_with_epsilon(multiplier, first, second):
    """Up to the rounding of the function itself."""
    low, high = sorted((first, second))
    assert gaussian_delta(multiplier, high) <= gaussian_delta(multiplier, low) * (1 + 1e-12)


@settings(deadline=None, max_examples=80)
@given(multiplier=st.floats(0.05, 20), log10_delta=st.floats(-290, -1))
def test_pair_of_functions_is_an_identity(multiplier, log10_delta):
    delta = 10**log10_delta
    epsilon = gaussian_epsilon(multiplier, delta)
    if epsilon > 0:
        assert gaussian_delta(multiplier, epsilon) == pytest.approx(delta, rel=1e-9)
    else:
        assert gaussian_delta(multiplier, 0.0) <= delta


def test_edges():
    assert gaussian_epsilon(1.0, 1.0) == 0
    assert gaussian_epsilon(1.0, 0.0) == math.inf
    assert gaussian_epsilon(0.0, 1e-5) == math.inf
    assert gaussian_delta(0.0, 10.0) == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(bad):
    with pytest.raises(NonFiniteError):
        gaussian_epsilon(bad, 1e-5)
    with pytest.raises(NonFiniteError):
        gaussian_epsilon(1.0, bad)
    with pytest.raises(NonFiniteError):
        gaussian_delta(1.0, bad)


@pytest.mark.parametrize("bad", [-1.0, 1.5])
def test_delta_outside_the_unit_interval_is_refused(bad):
    with pytest.raises(InvalidParameterError, match="delta"):
        gaussian_epsilon(1.0, bad)
