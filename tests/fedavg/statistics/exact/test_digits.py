"""Sums without rounding, against fractions; digits that give the sum and hide the rest."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedavg.statistics.exact.digits import (
    GRAIN,
    Digits,
    exact_product_sum,
    exact_sum,
    on_grain,
)
from fedavg.statistics.summing import largest_input

cells = st.floats(-1e30, 1e30, allow_nan=False, allow_subnormal=True)


@given(st.lists(cells, max_size=30))
def test_a_sum_is_that_of_fractions(values):
    numbers = on_grain(np.array(values, np.float64))
    want = sum((Fraction(number) for number in numbers.tolist()), Fraction())
    assert Fraction(exact_sum(numbers, GRAIN), 1 << GRAIN) == want


@given(st.lists(st.tuples(cells, cells), max_size=30))
def test_a_sum_of_products_is_that_of_fractions(values):
    first = on_grain(np.array([pair[0] for pair in values], np.float64))
    second = on_grain(np.array([pair[1] for pair in values], np.float64))
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    want = sum((Fraction(one) * Fraction(two) for one, two in pairs), Fraction())
    assert Fraction(exact_product_sum(first, second, 2 * GRAIN), 1 << 2 * GRAIN) == want


@given(cells)
def test_only_tiny_numbers_are_rounded_and_by_less_than_a_grain(value):
    rounded = float(on_grain(np.array([value]))[0])
    assert abs(Fraction(rounded) - Fraction(value)) <= Fraction(1, 1 << (GRAIN + 1))
    assert rounded == value or abs(value) < 2.0**-75


def test_a_known_answer_where_floats_fail():
    """Σ of 10^16, 1, −10^16 is 1; numpy says 0 and math.fsum agrees with us."""
    values = np.array([1e16, 1.0, -1e16])
    assert exact_sum(values, 0) == 1 == math.fsum(values)


@given(
    totals=st.lists(st.integers(-(2**350), 2**350), min_size=3, max_size=6),
    power=st.just(2),
)
def test_the_digits_of_a_sum_give_the_sum(totals, power):
    shape = Digits(2 * GRAIN, power, len(totals))
    sent = [shape.of(total) for total in totals]
    assert all(np.abs(digits).max() <= largest_input(len(totals)) for digits in sent)
    assert shape.value(np.sum(sent, axis=0)) == sum(totals)


@pytest.mark.parametrize("silos", [3, 10, 100, 1000, 100_000])
def test_the_largest_total_fits_whatever_the_number_of_silos(silos):
    """2^48 rows of 10^30 each: the most that the digits are made for."""
    for power in (1, 2):
        shape = Digits(GRAIN * power, power, silos)
        largest = (1 << 48) * int(1e30) ** power << (GRAIN * power)
        for total in (largest, -largest):
            digits = shape.of(total)
            assert shape.value(digits) == total
            assert np.abs(digits).max() <= largest_input(silos)


def test_a_digit_shows_nothing_of_a_carry():
    """Two silos' numbers whose low digits carry or not; the sums of digits look alike.

    500 draws of each; the two-sample KS statistic at a false-alarm rate of 1e-6 is 0.1655 (c = 2.616...).
    """
    shape = Digits(0, 1, 3)
    low = [
        [int((shape.of(a) + shape.of(b) + shape.of(0))[0]) for _ in range(500)] for a, b in _CARRIES
    ]
    grid = np.sort(np.concatenate(low))
    first, second = (np.searchsorted(np.sort(values), grid) / 500 for values in low)
    threshold = math.sqrt(-math.log(1e-6 / 2) / 2) * math.sqrt(2 / 500)
    assert np.abs(first - second).max() < threshold


_CARRIES = (
    ((1 << 16) - 1, (1 << 16) - 1),
    (0, (1 << 17) - 2),
)  # one sum: with a carry, without one
