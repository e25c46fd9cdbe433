"""A stranger's event composes with ours: it states its cost, and no file of ours names it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from dp import (
    ORDERS,
    Accountant,
    Cost,
    GaussianEvent,
    InvalidParameterError,
    Ledger,
    MixturePair,
    NeighboringRelation,
    NoSampling,
    PoissonSampling,
    SkellamEvent,
    UnsupportedEventError,
    gaussian_epsilon,
    register_event,
)
from dp.events import Event, Sampling

ADD, REPLACE = NeighboringRelation.ADD_REMOVE, NeighboringRelation.REPLACE_ONE


@dataclass(frozen=True)
class TwoSums:
    """Two sums of one cohort, noised apart."""

    first: float
    second: float

    def cost(self, relation):
        distance = 2 if relation is REPLACE else 1
        return Cost(
            pairs=(
                MixturePair(1.0, self.first / distance),
                MixturePair(1.0, self.second / distance),
            )
        )


@dataclass(frozen=True)
class PureEvent:
    """Randomised response, known by its Rényi curve: at most ε, and at most αε²/2."""

    epsilon: float

    def cost(self, relation):
        return Cost(curve=np.minimum(self.epsilon, ORDERS * self.epsilon**2 / 2))


@dataclass(frozen=True)
class PureAlone:
    """The same, known by its ε alone."""

    epsilon: float

    def cost(self, relation):
        return Cost(pure=self.epsilon)


@dataclass(frozen=True)
class HalfTheClients:
    """A sampling scheme of the user's own: all clients, or with probability 1/2 no client."""

    exposure: float = 0.5
    failure: float = 0.0

    def gaussian(self, noise_multiplier, relation):
        return PoissonSampling(0.5).gaussian(noise_multiplier, relation)

    def mixture(self, relation):
        return PoissonSampling(0.5).mixture(relation)

    def renyi(self, divergence, relation):
        return NoSampling().renyi(divergence, relation)


def test_pairs_of_a_stranger_compose_with_ours():
    run = Accountant().compose(TwoSums(2.0, 3.0), 3).compose(GaussianEvent(4.0), 2)
    total = 3 / 4 + 3 / 9 + 2 / 16
    assert run.epsilon(1e-5).high == pytest.approx(
        gaussian_epsilon(1 / math.sqrt(total), 1e-5), rel=2e-9
    )
    twice = Accountant(REPLACE).compose(TwoSums(2.0, 3.0)).epsilon(1e-5)
    assert twice == Accountant().compose(TwoSums(1.0, 1.5)).epsilon(1e-5)


def test_sampled_pairs_of_ours_beside_a_stranger():
    ours = GaussianEvent(1.3, PoissonSampling(0.15))
    apart = Accountant().compose(ours, 40).compose(GaussianEvent(2.0)).compose(GaussianEvent(3.0))
    both = Accountant().compose(ours, 40).compose(TwoSums(2.0, 3.0))
    assert both.epsilon(1e-5) == apart.epsilon(1e-5)


def test_curves_of_a_stranger_add_to_ours():
    skellam = SkellamEvent(2.0, l2_sensitivity=500.0, l1_sensitivity=9000.0)
    run = Accountant().compose(PureEvent(0.1), 7).compose(skellam, 3)
    alone = Accountant().compose(skellam, 3)
    assert alone.epsilon(1e-5).high < run.epsilon(1e-5).high <= alone.epsilon(1e-5).high + 0.7


@pytest.mark.parametrize("epsilon", [1e-9, 0.1, 30.0, 1e200])
def test_an_epsilon_alone_is_charged_as_its_curve(epsilon):
    alone, curve = Accountant().compose(PureAlone(epsilon), 7), Accountant()
    assert alone.epsilon(0.0).high == pytest.approx(7 * epsilon)
    if epsilon < 1e100:
        known = curve.compose(PureEvent(epsilon), 7).epsilon(1e-9).high
        assert alone.epsilon(1e-9).high == pytest.approx(min(known, 7 * epsilon))
    # beside a release without such an epsilon, it still counts
    gaussian = Accountant().compose(GaussianEvent(2.0)).epsilon(1e-5).high
    beside = Accountant().compose(GaussianEvent(2.0)).compose(PureAlone(epsilon), 7)
    assert beside.epsilon(1e-5).high > gaussian


def test_a_ledger_charges_them():
    ledger = Ledger(2.0, 1e-5)
    ledger.charge(TwoSums(4.0, 5.0))
    assert ledger.would_exceed(TwoSums(4.0, 5.0), 10)


@dataclass(frozen=True)
class KeptEvent:
    epsilon: float
    sampling: Sampling = field(default_factory=NoSampling)

    def cost(self, relation):
        return Cost(curve=np.full(len(ORDERS), self.epsilon))


def test_a_ledger_writes_what_is_registered_and_refuses_the_rest():
    ledger = Ledger(5.0, 1e-5)
    ledger.charge(KeptEvent(0.5))
    with pytest.raises(UnsupportedEventError, match=r"KeptEvent .* dp\.register_event"):
        ledger.state_dict()
    register_event(KeptEvent)
    assert Ledger.from_state_dict(ledger.state_dict()).accountant == ledger.accountant

    class GaussianEvent:
        pass

    with pytest.raises(InvalidParameterError, match="dataclass"):
        register_event(GaussianEvent)
    with pytest.raises(InvalidParameterError, match="another class"):
        register_event(dataclass(frozen=True)(GaussianEvent))


def test_a_file_cannot_pass_a_sampling_off_as_an_event():
    ledger = Ledger(5.0, 1e-5)
    ledger.charge(GaussianEvent(2.0))
    state = ledger.state_dict()
    state["events"][0]["event"] = {"kind": "NoSampling"}
    with pytest.raises(InvalidParameterError, match="no event"):
        Ledger.from_state_dict(state)


def test_a_sampling_of_ones_own():
    assert isinstance(HalfTheClients(), Sampling)
    ours = Accountant().compose(GaussianEvent(2.0, PoissonSampling(0.5)), 5)
    theirs = Accountant().compose(GaussianEvent(2.0, HalfTheClients()), 5)
    assert theirs.epsilon(1e-5) == ours.epsilon(1e-5)


class Refuses:
    def cost(self, relation):
        raise UnsupportedEventError("only under ADD_REMOVE")


class Lies:
    def cost(self, relation):
        return 3.0


@dataclass
class Mutable:
    epsilon: float = 1.0

    def cost(self, relation):
        return Cost()


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (object(), "object is no event"),
        (GaussianEvent, "type is no event"),
        (Refuses(), "Refuses: only under ADD_REMOVE"),
        (Lies(), "Lies.cost returned float"),
        (Mutable(), "Mutable cannot be counted"),
    ],
)
def test_what_states_no_cost_is_refused_by_name(event, said):
    with pytest.raises(UnsupportedEventError, match=said):
        Accountant().compose(event)


def test_our_events_and_samplings_are_of_the_protocols():
    assert isinstance(GaussianEvent(1.0), Event)
    assert isinstance(PoissonSampling(0.1), Sampling)
    assert not isinstance(PoissonSampling(0.1), Event)


@pytest.mark.parametrize(
    "arguments",
    [
        {"pairs": (1.0,)},
        {"pairs": [MixturePair(1.0, 1.0)]},
        {"curve": np.ones(3)},
        {"curve": np.full(len(ORDERS), np.nan)},
        {"curve": -np.ones(len(ORDERS))},
        {"slack": -1.0},
        {"slack": math.nan},
        {"pure": math.nan},
        {"pure": -0.1},
        {"slack": 0.1},
        {"failure": 1.5},
        {"exposed": -0.1},
    ],
)
def test_a_cost_checks_itself(arguments):
    with pytest.raises(InvalidParameterError):
        Cost(**arguments)


def test_replacement_by_a_coin_that_all_but_always_falls_is_two_norms_apart():
    """The largest rate below 1: with the coin's resolution added it is no sampling at all."""
    rate = 1 - 2.0**-53
    sampled = Accountant(REPLACE).compose(GaussianEvent(2.0, PoissonSampling(rate)))
    assert sampled.epsilon(1e-5) == Accountant(REPLACE).compose(GaussianEvent(2.0)).epsilon(1e-5)
