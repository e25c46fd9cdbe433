"""The closed form of one release with an answer or a vacancy, against arithmetic of many digits."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dp import Accountant, FixedSizeSampling, GaussianEvent
from dp.losses.absence import SilencePair, VacancyPair
from dp.losses.vacancy import VacancyCurve


def exact_log_delta(epsilon: float, mu: float, rate: float) -> mpmath.mpf:
    """The half-line's masses as they are defined; its end is the root of the quadratic for N(0)/N(−μ)."""
    with mpmath.workdps(400):
        mu, q, a = mpmath.mpf(mu), mpmath.mpf(rate), mpmath.exp(mpmath.mpf(epsilon))
        k, c = mpmath.exp(-mu * mu), (1 - q) / q
        ratio = (a + mpmath.sqrt(a * a + 4 * k * c * (a - 1))) / (2 * k)
        end = (mpmath.log(ratio) - mu * mu / 2) / mu
        others, joined, vacant = (
            mpmath.erfc((end - mean) / mpmath.sqrt(2)) / 2 for mean in (-mu, mu, mpmath.mpf(0))
        )
        return mpmath.log((1 - q) * (1 - a) * others + q * joined - a * q * vacant)


@settings(deadline=None, max_examples=60)
@given(
    mu=st.floats(-4, 2).map(lambda x: 10.0**x),
    rate=st.one_of(st.floats(-9, -0.01).map(lambda x: 10.0**x), st.floats(0.5, 1 - 1e-9)),
    loss=st.floats(0, 5),
    steep=st.booleans(),
)
@example(mu=1.0, rate=0.1, loss=0.0, steep=False)
@example(mu=50.0, rate=1e-6, loss=1.0, steep=True)
def test_brackets_hold_the_value(mu, rate, loss, steep):
    epsilon = loss * (mu * mu if steep else mu)
    exact = exact_log_delta(epsilon, mu, rate)
    assume(exact > -1e5)
    curve = VacancyCurve(mu, rate)
    low, high = curve.log_delta_bounds(epsilon)
    assert low <= exact <= high
    assert high - low <= 1e-8 * min(1.0, -float(exact)) + 1e-13 * abs(float(exact)) + 1e-9 * mu
    if -700 < exact < -1e-9:
        least, most = curve.epsilon_bounds(float(exact))
        assert least <= epsilon * (1 + 1e-11) + 1e-300
        assert most >= epsilon * (1 - 1e-11)
        # the last digits of log δ decide where the curve is flat
        assert curve.log_delta(most) == pytest.approx(float(exact), rel=1e-7, abs=1e-7)


@pytest.mark.parametrize(("rate", "z"), [(0.1, 1.0), (0.01, 0.3), (0.9, 5.0)])
def test_the_closed_form_is_the_pair_s_own(rate, z):
    pair = VacancyPair(rate, z)
    for epsilon in (0.0, 0.1, 1.0):
        (p,), (r,) = pair.cells(np.array([epsilon, math.inf]), removing=True)
        assert math.exp(pair.exact.log_delta(epsilon)) == pytest.approx(
            p - math.exp(epsilon) * r, rel=1e-9, abs=1e-14
        )
    assert SilencePair(pair).exact == pair.exact


@pytest.mark.parametrize("z", [1e-100, 1e-7, 1e-3])
def test_with_little_noise_an_answer_shows_when_it_is_drawn(z):
    """δ = 1 − (1 − q)^T at small ε: total variations from above, and what any one round shows from below."""
    run = Accountant().compose(GaussianEvent(z, FixedSizeSampling(1, 1000, enrolled=True)), 10)
    found = run.delta(0.5)
    truth = -math.expm1(10 * math.log1p(-1e-3))
    assert found.low <= truth * (1 + 1e-9)
    assert found.high == pytest.approx(truth, rel=1e-6)
    assert found.low == pytest.approx(truth, rel=1e-6)
