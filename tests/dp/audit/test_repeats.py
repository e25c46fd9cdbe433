"""Products at every shift: right against sums by hand, and limits that hold for the worst law there is."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom

from dp.audit import repeats


def coins(shape, seed):
    return np.random.default_rng(seed).choice([-1.0, 1.0], size=shape).astype(np.float32)


def test_products_along_all_rounds_are_those_summed_by_hand():
    rows = coins((3, 16), 1)
    found, flat = repeats._along(rows), rows.ravel()
    assert found.values[0, 0] == 0
    for shift in range(1, flat.size):
        assert found.values[0, shift] == pytest.approx(flat[:-shift] @ flat[shift:], abs=1e-4)
        assert found.overlap[shift] == flat.size - shift


@pytest.mark.parametrize("reach", [2, 3])
def test_products_across_rounds_are_those_summed_by_hand(reach):
    rows = coins((3, 17), 2)
    rows[1, 3] = 0.0
    for products in repeats._across(rows, reach):
        for row, values in enumerate(products.values):
            left, right = rows[products.first], rows[products.first + row]
            if products.reverse:
                expected = np.convolve(left, right)
                if row == 0:
                    expected[::2] -= left**2
                    expected /= 2
            else:
                expected = np.correlate(left, right, "full")
                if row == 0:
                    expected[16] = 0
            assert values == pytest.approx(expected, abs=1e-4)
        counts = np.convolve(np.ones(17), np.ones(17))
        assert np.array_equal(products.overlap, counts)


def test_single_precision_is_within_its_allowance():
    """A sequence of 2²² equal signs: the largest sums there can be."""
    ones = np.ones((1, 1 << 22), dtype=np.float32)
    found = repeats._along(ones)
    error = np.abs(found.values[0, 1:] - found.overlap[1:]).max()
    assert error <= repeats._ROUNDING * ones.size


def test_the_limit_holds_for_all_signs_of_a_short_sequence():
    """All 2¹⁶ sequences of one round of 16 signs: at most the stated share is called dependent."""
    for alarm in (0.5, 0.05):
        found = 0
        for bits in itertools.product([-1.0, 1.0], repeat=12):
            found += repeats.shifted_signs(np.array([bits]), alarm).dependent
        assert found <= alarm * 2**12


def test_the_limit_for_two_rounds_holds_for_any_symmetric_law():
    """One entry that dwarfs the others: cosines of ±1, which are no sign of dependence."""
    rows = np.ones((2, 40))
    rows[:, 0] = 1e6
    cosine, limit = repeats.likest_rounds(rows, 1e-6)
    assert cosine == pytest.approx(1)
    assert limit > 1
    same = np.random.default_rng(3).standard_normal((1, 4000)).repeat(2, axis=0)
    cosine, limit = repeats.likest_rounds(same, 1e-6)
    assert cosine == pytest.approx(1)
    assert limit < 0.2
    assert repeats.likest_rounds(same[:1], 1e-6) == (0.0, 1.0)


def test_rounds_without_any_noise_are_not_alike():
    cosine, limit = repeats.likest_rounds(np.zeros((3, 20)), 1e-6)
    assert abs(cosine) <= limit


def test_a_histogram_that_chance_repeats_is_no_finding():
    """Of 16 entries that are mostly 0: two rounds agree often."""
    rows = np.zeros((2, 16))
    rows[:, 0] = [1, -1]
    assert repeats.permuted_rounds(rows, 1e-3) is None
    distinct = np.arange(40.0)
    assert repeats.permuted_rounds(np.stack([distinct, -distinct[::-1]]), 1e-6) == (1, 2)
    assert repeats.permuted_rounds(np.stack([distinct, distinct + 1]), 1e-6) is None


def test_the_rarity_of_a_histogram_is_a_bound():
    """Six coins of the likeliest law for the histogram (2, 4): 15·(1/3)²·(2/3)⁴."""
    likeliest = binom.pmf(2, 6, 1 / 3)
    rows = np.array([[1.0, 1, 2, 2, 2, 2]] * 2)
    assert repeats.permuted_rounds(rows, likeliest * 1.01) == (1, 2)
    assert repeats.permuted_rounds(rows, likeliest * 0.99) is None


def test_names_say_which_rounds_and_how_far():
    rows = np.sign(np.random.default_rng(4).standard_normal((4, 500)))
    rows[3, 20:] = rows[1, :-20]
    assert (
        repeats.shifted_signs(rows, 1e-6).what
        == "signs of round 4 are those of round 2, 20 places on"
    )
    rows[3] = rows[1, ::-1]
    assert (
        repeats.shifted_signs(rows, 1e-6).what
        == "signs of round 4 are those of round 2, in reverse"
    )


def test_many_rounds_are_compared_with_their_neighbours(monkeypatch):
    monkeypatch.setattr(repeats, "_ALL_PAIRS", 1000)
    rows = np.sign(np.random.default_rng(5).standard_normal((6, 400)))
    rows[4] = np.roll(rows[3], 9)
    assert "round 5" in repeats.shifted_signs(rows, 1e-6).what
    assert math.isclose(repeats.Alike("", 3.0, 2.0).ratio, 1.5)
