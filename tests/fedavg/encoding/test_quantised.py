"""Few-bit rounding: unbiased within the range, clamped beyond it, exact in sums, repeatable by seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.encoding import fixed_point, quantised
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.encoding.quantised import Quantised
from fedavg.errors import CapacityError, NonFiniteError, PlanError

DRAWS = 40_000


def variance(encoding: Quantised, x: float) -> float:
    """Of one decoded coordinate, by hand: (x − low)(high − x) of the two levels beside it."""
    unit = encoding.range(1) / encoding.steps
    if encoding.bits == 1:
        return (x + encoding.range(1)) * (encoding.range(1) - x)
    low = math.floor(x / unit) * unit
    return (x - low) * (low + unit - x)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8, 16])
@pytest.mark.parametrize("part", [-0.83, 0.0, 0.31, 0.97])
def test_rounding_is_unbiased_and_of_the_stated_variance(bits, part):
    """40,000 roundings from OS entropy, each one of two levels: |mean − x| ≤ 6.5·sd ÷ √n.

    False alarm: n·p(1−p) ≥ 390 in every case that is not a level itself, so Bernstein's inequality
    gives 2·e^(−18.9) = 1.2e-8 at most, 3e-7 for all 24.  The empirical variance is p̂(1−p̂)·gap²: it
    leaves its own limits only when the mean leaves its.
    """
    encoding = Quantised(clip=0.5, bits=bits)
    x = part * 0.5
    values = encoding.decode(encoding.encode(np.full(DRAWS, x)))
    sd = math.sqrt(variance(encoding, x))
    assert abs(values.mean() - x) <= 6.5 * sd / math.sqrt(DRAWS) + 1e-12
    gap = (2 if bits == 1 else 1) * 0.5 / encoding.steps
    slack = gap * (6.5 * sd / math.sqrt(DRAWS) + 50 * gap / DRAWS)
    assert abs(values.var() - sd * sd) <= slack


@pytest.mark.parametrize("mutant", ["nearest", "down"])
def test_the_test_of_bias_catches_other_roundings(monkeypatch, mutant):
    rounding = np.rint if mutant == "nearest" else np.floor
    monkeypatch.setattr(quantised, "_round", lambda grid, _: rounding(grid).astype(np.int64))
    with pytest.raises(AssertionError):
        test_rounding_is_unbiased_and_of_the_stated_variance(4, 0.31)


def test_two_levels_cost_what_three_cost_and_vary_more():
    one, two = Quantised(1.0, 1), Quantised(1.0, 2)
    assert one.max_abs(9) == two.max_abs(9) == 1
    assert all(variance(two, x) <= variance(one, x) for x in np.linspace(-1, 1, 41))


@pytest.mark.parametrize("rotate", [False, True])
def test_a_rotated_vector_is_unbiased_too(rotate):
    """4,000 one-bit encodings of one vector of norm 0.4 in 24 places: each mean within 6.5 sd ÷ √n.

    One bit has standard deviation at most the range; Hoeffding over 24 places: 24·2·e^(−6.5²/2) < 4e-8.
    The vector's rotation stays within the range, so that nothing is clamped.
    """
    encoding = Quantised(clip=1.0, bits=1, rotate=rotate, rotation_seed=3)
    vector = np.random.default_rng(5).standard_normal(24)
    vector *= 0.4 / np.linalg.norm(vector)
    assert encoding.clamped(vector) == 0
    mean = sum(encoding.decode(encoding.encode(vector), 24) for _ in range(4000)) / 4000
    assert np.abs(mean - vector).max() < 6.5 * encoding.range(24) / math.sqrt(4000)


@given(
    st.integers(1, 200),
    st.integers(1, 32),
    st.booleans(),
    st.floats(1e-6, 1e6),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=80, deadline=None)
def test_what_lies_inside_comes_back_within_one_step_and_nothing_leaves_the_levels(
    length, bits, rotate, clip, seed
):
    encoding = Quantised(clip, bits, rotate, rotation_seed=2).seeded((seed, 1))
    vector = np.random.default_rng(seed).uniform(-1, 1, length)
    vector *= clip / max(1.0, math.sqrt(length) if rotate else 1.0)
    encoded = encoding.encode(vector)
    assert encoded.dtype == np.int64
    assert encoded.size == encoding.encoded_length(length)
    assert np.abs(encoded).max() <= encoding.max_abs(length)
    if bits == 1:
        assert set(np.unique(encoded)) <= {-1, 1}
    if encoding.clamped(vector) == 0:
        gap = (2 if bits == 1 else 1) * encoding.range(length) / encoding.steps
        back = encoding.decode(encoded, length)
        spread = math.sqrt(encoded.size) if rotate else 1.0  # a rotation mixes all errors
        assert np.abs(back - vector).max() <= gap * spread * (1 + 1e-9)


@given(st.integers(1, 32), st.lists(st.integers(1, 1000), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_sums_decode_without_knowing_who_was_in_them_and_weights_stay_exact(bits, weights):
    encoding = Quantised(2.0, bits)
    rng = np.random.default_rng(bits)
    vectors = [encoding.encode(rng.uniform(-2, 2, 7)) for _ in weights]
    total = sum(w * v for w, v in zip(weights, vectors, strict=True))
    mean = encoding.decode(total, 7) / sum(weights)
    byhand = np.average([encoding.decode(v, 7) for v in vectors], axis=0, weights=weights)
    assert np.allclose(mean, byhand, rtol=1e-9, atol=1e-12)


def test_grid_points_stay_and_what_lies_beyond_is_clamped_and_counted():
    encoding = Quantised(clip=1.0, bits=3)  # levels −3 … 3
    vector = np.array([0.0, 1 / 3, -2 / 3, 1.0, -1.0, 1.5, -40.0])
    for _ in range(50):
        assert encoding.encode(vector).tolist() == [0, 1, -2, 3, -3, 3, -3]
    assert encoding.clamped(vector) == 2


def test_known_bits_of_a_seeded_rounding():
    """By hand from numpy's PCG64 stream: up where u < fraction."""
    seed = (11, 2, 1)
    uniform = np.random.default_rng(seed).random(4)
    vector = np.array([0.1, 0.45, -0.2, -0.9])
    two_levels = np.where(uniform < (vector + 1) / 2, 1, -1)
    assert Quantised(1.0, 1).seeded(seed).encode(vector).tolist() == two_levels.tolist()
    assert two_levels.tolist() == [-1, 1, -1, -1]
    low = np.floor(vector * 7)
    byhand = low + (uniform < vector * 7 - low)
    assert Quantised(1.0, 4).seeded(seed).encode(vector).tolist() == byhand.tolist()


def test_a_seed_repeats_and_without_one_the_operating_system_draws():
    vector = np.zeros(400) + 0.3
    seeded = Quantised(1.0, 1).seeded((1, 2))
    assert np.array_equal(seeded.encode(vector), seeded.encode(vector))
    other = Quantised(1.0, 1).seeded((1, 3))
    assert not np.array_equal(seeded.encode(vector), other.encode(vector))
    secret = Quantised(1.0, 1)
    assert not np.array_equal(secret.encode(vector), secret.encode(vector))


def test_under_noise_a_seed_changes_nothing():
    """`FixedPoint` keeps drawing in secret: 300 places at half a step agree with probability 2^−300."""
    encoding = FixedPoint(1.0, 8)
    assert encoding.seeded((1,)) is encoding
    vector = np.full(300, 0.5) / encoding.scale
    assert not np.array_equal(
        encoding.seeded((1,)).encode(vector), encoding.seeded((1,)).encode(vector)
    )


def test_the_largest_width_keeps_its_levels():
    encoding = Quantised(1.0, 32)
    vector = np.array([1.0, -1.0, np.nextafter(1.0, 0)])
    encoded = np.array([encoding.encode(vector) for _ in range(50)])
    assert np.abs(encoded).max() == encoding.steps == 2**31 - 1


def test_rotation_flattens_a_spike_below_the_range():
    spike = np.zeros(1000)
    spike[17] = 1.0
    assert Quantised(1.0, 1, rotate=True).clamped(spike) == 0
    assert Quantised(1.0, 1, rotate=True).range(1000) == pytest.approx(3 / 32)
    assert Quantised(1.0, 1).range(1000) == 1.0
    assert Quantised(1.0, 1, rotate=True).range(4) == 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_updates_are_refused(bad):
    with pytest.raises(NonFiniteError):
        Quantised(1.0, 4).encode(np.array([0.0, bad]))


def test_what_is_no_vector_is_refused():
    for shape in ((2, 2), (0,)):
        with pytest.raises(CapacityError, match="shape"):
            Quantised(1.0, 4).encode(np.zeros(shape))
    with pytest.raises(PlanError, match="vector_length must be at least 1"):
        Quantised(1.0, 4).encoded_length(0)


@pytest.mark.parametrize(
    "options",
    [
        {"clip": 0.0, "bits": 8},
        {"clip": math.nan, "bits": 8},
        {"clip": 1e101, "bits": 8},
        {"clip": 1.0, "bits": 0},
        {"clip": 1.0, "bits": 33},
    ],
)
def test_meaningless_encodings_cannot_be_made(options):
    with pytest.raises(PlanError):
        Quantised(**options)


@pytest.mark.parametrize(
    "encoding",
    [
        Quantised(0.5, 8).seeded((1, 2)),
        Quantised(0.5, 1).seeded((1, 2)),
        Quantised(4.0, 4, rotate=True).seeded((1, 2)),
        FixedPoint(1.0, 16, rounding="nearest"),
    ],
)
def test_the_size_of_bands_changes_no_bit(encoding, monkeypatch):
    vector = np.random.default_rng(3).uniform(-1, 1, 1001)
    whole = encoding.encode(vector)
    monkeypatch.setattr(quantised, "BAND", 64)
    monkeypatch.setattr(fixed_point, "BAND", 64)
    assert np.array_equal(encoding.encode(vector), whole)
