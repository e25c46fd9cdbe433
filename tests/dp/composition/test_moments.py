"""Moments of gridded laws are bounds, also in the last digits of floats."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dp import Accountant, FixedSizeSampling, GaussianEvent, NeighboringRelation
from dp.composition.discretise import GridLaw
from dp.composition.moments import log_moment_above, pair_curve
from dp.composition.tilting import log_moment
from dp.losses.absence import SilencePair, VacancyPair
from dp.losses.pairs import SwapPair
from dp.losses.renyi import ORDERS


def exact(law: GridLaw, t: float, wrong: np.ndarray) -> mpmath.mpf:
    """Log E[e^(tL)] where each mass is wrong by a part of its stated rounding."""
    with mpmath.workdps(60):
        factor = [1 + mpmath.mpf(float(w)) * law.rounding for w in wrong]
        mass = [mpmath.mpf(float(m)) * f for m, f in zip(law.mass, factor, strict=True)]
        losses = [mpmath.mpf(law.step) * int(i) + law.offset + law.shift for i in law.index]
        return mpmath.log(sum(m * mpmath.exp(t * x) for m, x in zip(mass, losses, strict=True)))


@settings(deadline=None, max_examples=30)
@given(
    step=st.floats(-12, 1).map(lambda x: 10.0**x),
    t=st.floats(-2, 3).map(lambda x: 10.0**x),
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 60),
)
def test_the_bound_is_above_what_any_rounding_can_have_hidden(step, t, seed, size):
    generator = np.random.default_rng(seed)
    index = np.sort(generator.choice(np.arange(-200, 200), size, replace=False))
    mass = generator.random(size) ** 4
    mass /= mass.sum() * (1 + 1e-14)  # at most 1 in all
    law = GridLaw(step, 0.3 * step, index, mass, 0.0, 1e-13)
    bound = log_moment_above(law, t)
    for signs in (np.sign(index + 0.3), -np.sign(index + 0.3), generator.uniform(-1, 1, size)):
        wrong = (signs - 1.001 * abs(mass @ signs)) / 3  # which leaves them at most 1 in all
        assert exact(law, t, wrong) <= bound
    largest = t * step * float(np.abs(index + 0.3).max())
    truth = max(float(exact(law, t, np.zeros(size))), 0.0)
    assert bound <= truth + 2e-14 + min(1.0, largest) * 1e-12 + 1e-13 * largest


def test_mutant_without_the_term_is_below_the_truth():
    """One mass at a loss whose product with t rounds down; the plain moment is the product itself."""
    law = GridLaw(0.1, 0.0, np.array([3]), np.array([1.0]), 0.0, 0.0)
    below = 0
    for t in np.linspace(1.0, 2.0, 1001):
        truth = exact(law, float(t), np.zeros(1))
        below += log_moment(law.losses, law.mass, float(t)) < truth
        assert log_moment_above(law, float(t)) >= truth
    assert below > 10


@pytest.mark.parametrize(
    "pair", [SwapPair(1e-7, 1.0), SilencePair(VacancyPair(1e-6, 2.0)), SwapPair(0.2, 0.05)]
)
def test_curves_rise_with_the_order_and_small_rates_keep_their_digits(pair):
    curve, _ = pair_curve(pair)
    assert np.isfinite(curve).all()
    rising = curve[np.argsort(ORDERS)]
    assert (np.diff(rising) >= -0.01 * rising[1:]).all()
    assert curve.min() < 1e-8 or pair.stddev < 1


def test_the_quick_bound_is_above_the_composed_one():
    for relation in NeighboringRelation:
        for size in (1, 100):
            sampling = FixedSizeSampling(size, 10_000, enrolled=True)
            run = Accountant(relation).compose(GaussianEvent(2.0, sampling), 50)
            found = run.epsilon(1e-6)
            assert found.high <= run.quick_epsilon(1e-6)
