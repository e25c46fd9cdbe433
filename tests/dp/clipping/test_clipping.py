"""Clipping bounds the true norm of every input by the clip norm."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dp import InvalidParameterError, l2_clip, l2_norm

ANY = st.floats(allow_nan=False, allow_infinity=False)


def squared(vector: np.ndarray) -> Fraction:
    """The exact squared norm."""
    return sum((Fraction(float(v)) ** 2 for v in vector), Fraction(0))


@settings(deadline=None, max_examples=200)
@given(
    vector=hnp.arrays(np.float64, st.integers(1, 40), elements=ANY), clip=st.floats(1e-200, 1e200)
)
def test_exact_norm_never_passes_the_clip_norm(vector, clip):
    clipped = l2_clip(vector, clip)
    assert clipped.dtype == np.float64
    assert squared(clipped) <= Fraction(clip) ** 2


@settings(deadline=None, max_examples=100)
@given(vector=hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e3, 1e3)))
def test_short_vectors_pass_unchanged_and_long_ones_keep_their_direction(vector):
    norm = float(np.linalg.norm(vector))
    if norm == 0 or norm < 1e-100:
        return
    assert np.array_equal(l2_clip(vector, norm * 1.001), vector)
    shortened = l2_clip(vector, norm / 3)
    assert np.allclose(shortened, vector / 3, rtol=1e-12, atol=1e-300)


@settings(deadline=None, max_examples=100)
@given(vector=hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e150, 1e150)))
@example(vector=np.array([2.22507386e-313, 2.22507386e-313]))
def test_norm_is_the_exact_one_up_to_rounding(vector):
    """Up to 1e-13 of it, or half the spacing of the smallest floats, of which a norm is a multiple."""
    exact, found = squared(vector), Fraction(l2_norm(vector))
    spacing = Fraction(5e-324)
    assert max(found - spacing, 0) ** 2 <= exact * (1 + Fraction(1, 10**13))
    assert (found + spacing) ** 2 >= exact * (1 - Fraction(1, 10**13))


def test_norm_of_what_is_sent_in_place_of_a_broken_update():
    assert l2_norm(np.array([1.0, math.nan])) == l2_norm(np.array([math.inf, 1.0])) == 0
    assert l2_norm(np.full(4, 1e300)) == 2e300
    with pytest.raises(InvalidParameterError, match="vector"):
        l2_norm(np.ones((2, 2)))


def test_result_is_a_copy():
    vector = np.ones(3)
    l2_clip(vector, 10.0)[0] = 5.0
    assert vector[0] == 1


def test_many_coordinates():
    vector = np.random.default_rng(1).normal(size=30_000)
    clipped = l2_clip(vector, 1.0)
    assert squared(clipped) <= 1
    assert squared(clipped) > Fraction(9_999, 10_000)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_updates_become_zero(bad):
    vector = np.array([1.0, bad, 3.0])
    assert l2_clip(vector, 1.0).tolist() == [0, 0, 0]


def test_zero_and_extremes():
    assert l2_clip(np.zeros(4), 0.5).tolist() == [0] * 4
    assert l2_clip(np.full(4, 1e308), 2.0) == pytest.approx([1.0] * 4)
    assert l2_clip(np.full(4, 5e-324), 1.0).tolist() == [5e-324] * 4


@pytest.mark.parametrize("clip", [0.0, -1.0, math.nan, math.inf])
def test_clip_norm_is_checked(clip):
    with pytest.raises(InvalidParameterError, match="clip_norm"):
        l2_clip(np.ones(2), clip)


@pytest.mark.parametrize("vector", [np.ones((2, 2)), np.ones(0), np.array([1j]), np.array(["a"])])
def test_only_real_vectors(vector):
    with pytest.raises(InvalidParameterError, match="vector"):
        l2_clip(vector, 1.0)
