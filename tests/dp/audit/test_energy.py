"""Chernoff's bound on small energies: never below the truth, for any law, and close enough to be of use."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ive, ndtr
from scipy.stats import chi2

from dp.audit.energy import Weakness


def discrete(stddev, reach):
    far = max(reach, math.ceil(14 * stddev))
    weights = np.exp(-(np.arange(-far, far + 1.0) ** 2) / (2 * stddev**2))
    return (weights / weights.sum())[far - reach : far + reach + 1]


def rounded(stddev, reach):
    edges = (np.arange(-reach, reach + 2.0) - 0.5) / stddev
    return np.diff(ndtr(edges))


def skellam(stddev, reach):
    return ive(np.abs(np.arange(-reach, reach + 1.0)), stddev**2)


def shares(stddev, reach):
    """Four rounded shares of half the deviation."""
    law = rounded(stddev / 2, max(reach, math.ceil(14 * stddev)))
    for _ in range(2):
        law = np.convolve(law, law)
    middle = len(law) // 2
    return law[middle - reach : middle + reach + 1]


LAWS = [discrete, rounded, skellam, shares]


def exact(law, stddev, entries):
    """P[Σx² ≤ e] for e = 0, 1, … up to the stated energy."""
    top = math.ceil(entries * stddev**2)
    reach = math.ceil(math.sqrt(top)) + 1
    one = np.zeros(top + 1)
    probabilities = law(stddev, reach)
    squares = np.arange(-reach, reach + 1) ** 2
    np.add.at(one, squares[squares <= top], probabilities[squares <= top])
    total = np.array([1.0])
    for _ in range(entries):
        total = np.convolve(total, one)[: top + 1]
    return np.cumsum(total)


SIZES = [(0.25, 40), (0.5, 1), (0.5, 30), (1.0, 4), (2.0, 12), (3.0, 1), (6.0, 10), (70.0, 2)]
CASES = [(law, *size) for law in LAWS for size in SIZES if law is not shares or size[0] >= 1]
"""Rounding takes strength from shares below half a grid unit; events refuse those below two."""


@pytest.mark.parametrize(("law", "stddev", "entries"), CASES)
def test_the_bound_is_never_below_the_truth(law, stddev, entries):
    truth = exact(law, stddev, entries)
    weakness = Weakness(stddev)
    for energy in np.unique(np.geomspace(1, len(truth), 40).astype(int)) - 1:
        bound = math.exp(weakness.log_p_value(float(energy), entries))
        assert truth[energy] <= bound * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("entries", [1, 10, 1000, 10**6])
def test_the_limit_is_near_the_gaussians_own(entries):
    """The deviation that is called too weak: at 1e-9, no less than two thirds of what the exact test calls so
    where there are ten entries or more."""
    stddev, alarm = 50.0, 1e-9
    limit = Weakness(stddev).limit(entries, alarm)
    own = float(chi2.ppf(alarm, entries)) * stddev**2
    assert limit < own
    if entries >= 10:
        assert math.sqrt(limit / own) > 2 / 3
    if entries >= 1000:
        assert math.sqrt(limit / own) > 0.97


def test_a_limit_is_where_the_p_value_is_the_alarm():
    weakness = Weakness(5.0)
    limit = weakness.limit(20, 1e-6)
    assert weakness.log_p_value(limit, 20) == pytest.approx(math.log(1e-6), rel=1e-6)
    assert weakness.log_p_value(20 * 25.0, 20) == 0


def test_no_energy_is_no_surprise_where_zeros_are_common():
    assert Weakness(0.5).limit(3, 1e-6) < 0
    assert Weakness(20.0).limit(3, 1e-6) < 0
    assert Weakness(20.0).limit(10, 1e-6) > 0
