"""Given Rényi curves: bounds between orders, sampling, relations, and what is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from dp_accounting import dp_event
from dp_accounting.rdp import RdpAccountant
from hypothesis import given
from hypothesis import strategies as st

from dp import (
    Accountant,
    GaussianEvent,
    InvalidParameterError,
    LaplaceEvent,
    Ledger,
    NeighboringRelation,
    NonFiniteError,
    PoissonSampling,
    RenyiEvent,
    SkellamEvent,
    UnsupportedEventError,
)
from dp.losses.renyi import ORDERS

REPLACE = NeighboringRelation.REPLACE_ONE
DELTA = 1e-5


def gaussian(z, orders=ORDERS, **given):
    ordered = sorted(orders)
    return RenyiEvent(ordered, [order / 2 / z**2 for order in ordered], **given)


@pytest.mark.parametrize("steps", [1, 30])
def test_a_gaussians_curve_gives_a_gaussians_renyi_bound(steps):
    own = Accountant().compose(GaussianEvent(2.0), steps)
    curve = Accountant().compose(gaussian(2.0), steps)
    assert curve.epsilon(DELTA).low == 0
    assert curve.epsilon(DELTA).high == pytest.approx(own.quick_epsilon(DELTA), rel=1e-9)
    assert curve.epsilon(DELTA).high > own.epsilon(DELTA).high
    assert curve.delta(3.0).high > own.delta(3.0).low


@pytest.mark.parametrize(("z", "rate", "steps"), [(1.0, 1.0, 3), (2.0, 1.0, 100)])
def test_it_agrees_with_an_independent_accountant(z, rate, steps):
    """dp-accounting's Rényi accountant at the same orders, of the curve that was given."""
    orders = list(range(2, 257))
    peer = RdpAccountant(orders=orders)
    peer.compose(dp_event.GaussianDpEvent(z), steps)
    ours = Accountant().compose(gaussian(z, orders), steps).epsilon(DELTA).high
    assert ours == pytest.approx(peer.get_epsilon(DELTA), rel=5e-3)


def test_sampling_is_the_bound_for_every_mechanism():
    """As for Skellam noise whose curve is given order by order."""
    noise = {"l2_sensitivity": 100.0, "l1_sensitivity": 1000.0}
    plain, coins = SkellamEvent(2.0, **noise), PoissonSampling(0.1)
    orders = np.arange(2.0, 1025.0)
    copy = RenyiEvent(orders, plain.divergence(1.0, orders), sampling=coins)
    own = Accountant().compose(SkellamEvent(2.0, **noise, sampling=coins), 50).epsilon(DELTA)
    assert Accountant().compose(copy, 50).epsilon(DELTA).high == pytest.approx(own.high, rel=1e-9)


@given(
    st.lists(st.floats(1.01, 2000), min_size=1, max_size=12, unique=True).map(sorted),
    st.floats(0.2, 50),
)
def test_chords_are_never_below_the_curve(orders, reach):
    """Of the Laplace mechanism, whose log moments are convex in the order."""

    def curve(order):
        terms = (
            math.log(order / (2 * order - 1)) + (order - 1) * reach,
            math.log((order - 1) / (2 * order - 1)) - order * reach,
        )
        return np.logaddexp(*terms) / (order - 1)

    event = RenyiEvent(orders, [max(float(curve(order)), 0.0) for order in orders])
    bound = event.divergence(1.0, ORDERS)
    for order, value in zip(ORDERS, bound, strict=True):
        if order > orders[-1]:
            assert value == math.inf
        else:
            assert value >= curve(order) * (1 - 1e-9) - 1e-12
    assert event.divergence(1.0, np.array([orders[-1]]))[0] == pytest.approx(event.epsilons[-1])


def test_orders_of_which_nothing_is_known_are_left_out():
    event = RenyiEvent([1.5, 2, 4, 8], [math.inf, 1.0, math.inf, 2.0])
    assert event.orders == (2.0, 8.0)
    assert event == RenyiEvent((2, 8), (1, 2))
    # chords: (α−1)·ε is 0 at 1, 1 at 2, 14 at 8
    bound = event.divergence(1.0, np.array([1.5, 2.0, 5.0, 8.0, 8.1]))
    assert bound == pytest.approx([1.0, 1.0, 7.5 / 4, 2.0, math.inf])


def test_other_relations_are_refused():
    added, replaced = gaussian(1.0), gaussian(1.0, relation=REPLACE)
    with pytest.raises(UnsupportedEventError, match="RenyiEvent.*given for ADD_REMOVE"):
        Accountant(REPLACE).compose(added)
    with pytest.raises(UnsupportedEventError, match="given for REPLACE_ONE"):
        Accountant().compose(replaced)
    same = Accountant(REPLACE).compose(replaced).epsilon(DELTA)
    assert same == Accountant().compose(added).epsilon(DELTA)
    with pytest.raises(UnsupportedEventError, match="PoissonSampling"):
        Accountant(REPLACE).compose(gaussian(1.0, relation=REPLACE, sampling=PoissonSampling(0.1)))


def test_it_composes_with_everything():
    run = Accountant().compose(gaussian(4.0)).compose(GaussianEvent(4.0)).compose(LaplaceEvent(9.0))
    assert 0 < run.epsilon(DELTA).high < 3


@pytest.mark.parametrize(
    "build",
    [
        lambda: RenyiEvent([], []),
        lambda: RenyiEvent([2, 3], [1]),
        lambda: RenyiEvent([3, 2], [1, 1]),
        lambda: RenyiEvent([2, 2], [1, 1]),
        lambda: RenyiEvent([1], [1]),
        lambda: RenyiEvent([0.5], [1]),
        lambda: RenyiEvent([2], [-1e-9]),
        lambda: RenyiEvent([2], [math.nan]),
        lambda: RenyiEvent([2], [math.inf]),
        lambda: RenyiEvent(2, 1),
        lambda: RenyiEvent("23", [1, 1]),
        lambda: RenyiEvent({2: 1}, [1]),
        lambda: RenyiEvent([True], [1]),
        lambda: RenyiEvent(np.array([[2.0, 3.0]]), [1, 1]),
        lambda: RenyiEvent(np.ma.array([2.0], mask=[True]), [1]),
        lambda: RenyiEvent([2], [1], relation="friends"),
    ],
)
def test_what_is_no_curve_is_refused(build):
    with pytest.raises(InvalidParameterError):
        build()


def test_infinite_orders_are_refused_as_such():
    with pytest.raises(NonFiniteError, match="order"):
        RenyiEvent([math.inf], [1])


def test_numpy_arrays_come_out_as_plain_numbers_and_survive_a_file():
    event = RenyiEvent(
        np.arange(2, 6, dtype=np.int16),
        np.linspace(0.5, 1, 4, dtype=np.float32),
        sampling=PoissonSampling(0.25),
        relation=NeighboringRelation.ADD_REMOVE,
    )
    assert {type(number) for number in event.orders + event.epsilons} == {float}
    ledger = Ledger(50.0, DELTA)
    ledger.charge(event, 2)
    state = json.loads(json.dumps(ledger.state_dict()))
    assert state == ledger.state_dict()
    assert Ledger.from_state_dict(state).accountant == ledger.accountant
