"""D15: arrays that a caller got, or gave, are written to; no later question may be answered from them."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import dp
import dp.losses.renyi
from dp import Accountant, Cost, GaussianEvent, Ledger, MixturePair, PoissonSampling
from dp.accounting.answers import curve_of, quick_epsilon_of
from dp.composition.moments import pair_curve
from dp.losses.laplace import LaplacePair, _curve
from dp.losses.pairs import SwapPair
from dp.losses.renyi import poisson_gaussian_curve
from tests.hostile.mutants import FOUND

EVENT = GaussianEvent(0.83, PoissonSampling(0.013))
PAIR = MixturePair(EVENT.sampling.exposure, 0.83)
CACHES = (poisson_gaussian_curve, pair_curve, _curve, curve_of, quick_epsilon_of)
HANDED_OUT = {
    "the orders": lambda: dp.ORDERS,
    "a Gaussian's curve": lambda: MixturePair(1.0, 0.83).renyi(),
    "a sampled Gaussian's curve": PAIR.renyi,
    "a Laplace pair's curve": LaplacePair(0.2, 1.5).renyi,
    "a gridded curve": lambda: pair_curve(SwapPair(0.1, 1.0))[0],
    "a cost's curve": lambda: Cost(pure=0.5).curve,
    "the upper side of a curve": lambda: Accountant().compose(EVENT).curve(points=5).high,
}


def forgotten():
    for cache in CACHES:
        cache.cache_clear()


@pytest.mark.parametrize("name", HANDED_OUT)
def test_d15_what_is_kept_for_later_questions_cannot_be_written(name):
    array = HANDED_OUT[name]()
    before = array.copy()
    with pytest.raises(ValueError, match="read-only"):
        array[:] = 0
    assert np.array_equal(HANDED_OUT[name](), before)


def test_d15_a_budget_is_not_emptied_through_an_array():
    run = Accountant().compose(EVENT, 100)
    honest = run.quick_epsilon(1e-5)
    with contextlib.suppress(ValueError):
        PAIR.renyi()[:] = 0
    assert Accountant().compose(EVENT, 200).quick_epsilon(1e-5) > honest


def test_d15_mutant_that_hands_out_what_it_keeps_charges_nothing(monkeypatch):
    forgotten()
    monkeypatch.setattr(dp.losses.renyi, "frozen", lambda array: array)
    with pytest.raises(FOUND):
        test_d15_a_budget_is_not_emptied_through_an_array()
    forgotten()


class Owned:
    """An event that keeps what it states, and the array that it made it from."""

    def __init__(self):
        self.curve = np.full(len(dp.ORDERS), 0.25)
        self.stated = Cost(curve=self.curve)

    def cost(self, relation):
        return self.stated


def test_d15_a_curve_that_was_given_is_copied():
    event, ledger = Owned(), Ledger(100.0, 1e-5)
    ledger.charge(event, 3)
    spent = ledger.spent().high
    event.curve[:] = 0
    with pytest.raises(ValueError, match="read-only"):
        event.stated.curve[:] = 0
    assert Accountant().compose(event, 3).upper_epsilon(1e-5) == spent
    assert Accountant().compose(event, 4).upper_epsilon(1e-5) > spent
