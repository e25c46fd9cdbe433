"""Real to grid and back: exactness, unbiasedness, and a norm bound that always holds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.encoding.fixed_point import FixedPoint, bits_for, hadamard
from fedavg.errors import CapacityError, NonFiniteError, PlanError


@given(st.integers(0, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_hadamard_is_an_isometry_and_its_own_inverse(power, seed):
    vector = np.random.default_rng(seed).standard_normal(1 << power)
    turned = hadamard(vector)
    assert np.isclose(np.linalg.norm(turned), np.linalg.norm(vector))
    assert np.allclose(hadamard(turned), vector)


def test_hadamard_adds_in_the_order_of_the_textbook():
    """Combining the lowest bit first, in place: equal to the bit, so that a run can be repeated."""
    vector = np.random.default_rng(4).normal(size=64)
    expected, half = vector.copy(), 1
    while half < 64:
        for low in range(64):
            if not low & half:
                a, b = expected[low], expected[low + half]
                expected[low], expected[low + half] = a + b, a - b
        half *= 2
    assert np.array_equal(hadamard(vector), expected / 8.0)


def test_hadamard_matches_the_matrix_definition():
    length = 8
    bits = [[(i & j).bit_count() for j in range(length)] for i in range(length)]
    matrix = (-1.0) ** np.array(bits) / math.sqrt(length)
    vector = np.arange(length, dtype=float)
    assert np.allclose(hadamard(vector), matrix @ vector)


@pytest.mark.parametrize("length", [0, 3, 6])
def test_hadamard_refuses_other_lengths(length):
    with pytest.raises(PlanError, match="2\\^k"):
        hadamard(np.zeros(length))


@given(st.integers(1, 300), st.integers(2, 24), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_the_encoded_norm_never_exceeds_the_stated_sensitivity(length, bits, rotate, seed):
    encoding = FixedPoint(clip=0.7, bits=bits, rotate=rotate)
    vector = np.random.default_rng(seed).standard_normal(length)
    vector *= 0.7 / np.linalg.norm(vector)
    encoded = encoding.encode(vector)
    assert encoded.dtype == np.int64
    assert encoded.size == encoding.encoded_length(length)
    assert np.linalg.norm(encoded) <= encoding.l2_sensitivity(length)
    assert np.abs(encoded).sum() <= encoding.l1_sensitivity(length)
    assert np.abs(encoded).max() <= encoding.max_abs(length)


def test_rounding_at_hostile_points_is_within_the_bound_where_plain_rounding_is_not(monkeypatch):
    """Four coordinates at one half, and a bound that only roundings up in one place or none keep.

    Conditional rounding keeps it in 200 encodings. The mutant, one rounding without condition, breaks it
    in 11 of 16 draws: that none of 20,000 does has probability below 1e-10000.
    """
    encoding = FixedPoint(clip=1.0, bits=2)  # one grid unit is the whole clip
    vector = np.full(4, 0.5)
    bound = encoding.l2_sensitivity(4)
    tight = 1.2
    norms = [np.linalg.norm(encoding.encode(vector)) for _ in range(200)]
    assert max(norms) <= bound
    monkeypatch.setattr(FixedPoint, "l2_sensitivity", lambda self, d: tight)
    assert max(np.linalg.norm(encoding.encode(vector)) for _ in range(200)) <= tight
    unconditioned = np.floor(vector + np.random.default_rng(0).random((20_000, 4)))
    assert np.linalg.norm(unconditioned, axis=1).max() > tight


def test_sensitivity_formula_of_kairouz_liu_steinke():
    """Theorem 1 with β = e^(−1/2), by hand for c = 255, d = 1970."""
    c, d = 255.0, 1970
    byhand = math.sqrt(min((c + math.sqrt(d)) ** 2, c * c + d / 4 + 1.0 * (c + math.sqrt(d) / 2)))
    assert FixedPoint(clip=0.5, bits=9).l2_sensitivity(d) == pytest.approx(byhand, rel=1e-12)


def test_stochastic_rounding_is_unbiased():
    """Mean of 20,000 encodings of 0.3 grid units; standard error 0.0032, threshold 6 σ.

    False-alarm rate 2e-9.
    """
    encoding = FixedPoint(clip=1.0, bits=8)
    vector = np.full(20_000, 0.3) / encoding.scale
    mean = encoding.encode(vector).mean()
    assert abs(mean - 0.3) < 6 * math.sqrt(0.3 * 0.7 / 20_000)


@pytest.mark.parametrize("rotate", [False, True])
def test_decoding_a_sum_gives_the_mean_up_to_the_grid(rotate):
    rng = np.random.default_rng(3)
    encoding = FixedPoint(clip=1.0, bits=16, rotate=rotate)
    vectors = rng.standard_normal((20, 100))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    total = sum(encoding.encode(v) for v in vectors)
    decoded = encoding.decode(total, 100)
    assert decoded.shape == (100,)
    assert np.abs(decoded - vectors.sum(0)).max() < 30 / encoding.scale


def test_nearest_rounding_is_deterministic_and_exact_on_the_grid():
    encoding = FixedPoint(clip=2.0, bits=20, rounding="nearest")
    vector = np.array([0.0, 2.0, -2.0, 1 / encoding.scale])
    assert encoding.encode(vector).tolist() == [0, encoding.steps, -encoding.steps, 1]
    assert np.array_equal(encoding.encode(vector), encoding.encode(vector))


def test_bits_cost_about_one_percent():
    for d in (10, 1970, 199_210):
        bits = bits_for(d)
        encoding = FixedPoint(1.0, bits)
        assert encoding.l2_sensitivity(d) / encoding.steps < (1.05 if d < 100 else 1.025)
        assert encoding.steps >= 3.5 * math.sqrt(d)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_non_finite_updates_are_refused(bad, rounding):
    with pytest.raises(NonFiniteError):
        FixedPoint(1.0, 8, rounding=rounding).encode(np.array([0.0, bad]))


def test_updates_beyond_the_bound_are_refused():
    with pytest.raises(CapacityError, match="range"):
        FixedPoint(1.0, 8, rounding="nearest").encode(np.array([1.01]))
    with pytest.raises(CapacityError, match="clip it first"):
        FixedPoint(1.0, 8).encode(np.array([1.0, 0.1]))
    with pytest.raises(CapacityError, match="shape"):
        FixedPoint(1.0, 8).encode(np.zeros((2, 2)))


@pytest.mark.parametrize(
    "options",
    [
        {"clip": 0.0, "bits": 8},
        {"clip": math.nan, "bits": 8},
        {"clip": math.inf, "bits": 8},
        {"clip": 1.0, "bits": 1},
        {"clip": 1.0, "bits": 41},
        {"clip": 1.0, "bits": 8, "rounding": "up"},
        {"clip": 1.0, "bits": 8, "rounding": "nearest", "rotate": True},
    ],
)
def test_meaningless_encodings_cannot_be_made(options):
    with pytest.raises(PlanError):
        FixedPoint(**options)
