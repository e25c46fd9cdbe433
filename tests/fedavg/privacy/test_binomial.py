"""Binomial tails against SciPy's own and sums of whole numbers, and quantiles against tails."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from fedavg.privacy.binomial import at_most, least_leaving, least_reaching, more_than


@settings(deadline=None, max_examples=300)
@given(
    trials=st.floats(0, 7).map(lambda x: int(10**x)),
    rate=st.one_of(st.floats(1e-9, 1), st.sampled_from([0.2, 1.0])),
    mass=st.floats(-15, -0.5).map(lambda x: 10.0**x),
    place=st.floats(0, 1),
)
def test_tails_are_scipy_s_and_quantiles_are_their_inverses(trials, rate, mass, place):
    low, high = least_reaching(mass, trials, rate), least_leaving(mass, trials, rate)
    # SciPy's own quantiles are searched for, and the search fails where rates are small.
    assert at_most(low, trials, rate) >= mass > at_most(low - 1, trials, rate)
    assert more_than(high, trials, rate) <= mass < more_than(high - 1, trials, rate)
    for k in (low - 1, low, high, int(place * trials)):
        near = {"rel": 1e-8, "abs": 1e-290}
        assert at_most(k, trials, rate) == pytest.approx(binom.cdf(k, trials, rate), **near)
        assert more_than(k, trials, rate) == pytest.approx(binom.sf(k, trials, rate), **near)


@pytest.mark.parametrize(("trials", "rate"), [(1, 0.5), (30, 0.25), (200, 0.125)])
def test_tails_are_sums_of_whole_numbers(trials, rate):
    share = Fraction(rate)
    masses = [
        math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(trials + 1)
    ]
    for k in range(-1, trials + 1):
        assert at_most(k, trials, rate) == pytest.approx(float(sum(masses[: k + 1])), rel=1e-13)
        assert more_than(k, trials, rate) == pytest.approx(float(sum(masses[k + 1 :])), rel=1e-13)


def test_the_ends_of_the_range():
    assert (at_most(-1, 5, 0.5), at_most(5, 5, 0.5), at_most(7, 5, 0.5)) == (0.0, 1.0, 1.0)
    assert (more_than(-1, 5, 0.5), more_than(5, 5, 0.5)) == (1.0, 0.0)
    assert (at_most(4, 5, 1.0), more_than(4, 5, 1.0), least_reaching(1e-9, 5, 1.0)) == (0.0, 1.0, 5)
    assert (at_most(0, 5, 0.0), more_than(0, 5, 0.0), least_leaving(1e-9, 5, 0.0)) == (1.0, 0.0, 0)
