"""Noise in the exchange: the numbers are those of a plan, and what is released always has all of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp import Accountant, GaussianEvent
from fedavg import (
    CentralGaussian,
    DistributedDiscreteGaussian,
    DistributedGaussian,
    DistributedSkellam,
    FixedPoint,
    OneShot,
    Quantised,
)
from fedavg.adapters.exchange import Agreement, Record
from fedavg.adapters.exchange.vectors.costs import Epsilons, epsilons
from fedavg.adapters.exchange.vectors.noisy import NoisyCoordinates, resolved
from fedavg.errors import PlanError
from tests.fedavg.adapters.exchange.parties import MODEL, SUM, Parties, noisy, terms, update

NOISES = (
    DistributedGaussian(2.0),
    DistributedDiscreteGaussian(2.0),
    DistributedSkellam(2.0),
    CentralGaussian(2.0),
)


def at(noise=NOISES[0], model=MODEL, **changes) -> NoisyCoordinates:
    agreed = terms(records={"train": noisy(noise, **changes)})
    return NoisyCoordinates.of(agreed, "train", 6, model)


@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.kind)
def test_both_epsilons_are_those_of_a_plan(noise):
    here = at(noise)
    found = epsilons({here.cost: 7}, 1e-5)
    plan = here.resolution
    assert plan.honest_fraction == 0.5  # of 6 nodes 4 survive, and one of them colludes
    event = noise.event(plan.sensitivity, plan.shares, here.cost.release.sampling)
    assert found.release == pytest.approx(Accountant().compose(event, 7).upper_epsilon(1e-5))
    expected = plan.server_epsilon(7)
    assert found.server == (None if expected is None else pytest.approx(expected, rel=1e-6))
    if noise.distributed:
        assert found.server > found.release  # a third of six shares against a half


def test_records_of_several_kinds_add_up():
    one, other = at().cost, at(DistributedGaussian(1.0)).cost
    alone = [epsilons({cost: 3}, 1e-5).server for cost in (one, other)]
    assert epsilons({one: 3, other: 3}, 1e-5).server > max(alone)
    assert epsilons({one: 0}, 1e-5) == Epsilons(0.0, 0.0, 1e-5)
    central = at(CentralGaussian(1.0)).cost
    assert epsilons({one: 1, central: 1}, 1e-5).server is None


@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.kind)
@pytest.mark.parametrize("survivors", [4, 5, 6, 0])
def test_a_release_has_all_of_the_noise_for_every_set_of_survivors(noise, survivors):
    """4,000 coordinates of zeros: the sample's variance is within 13 % of V (6 deviations, 2e-9)."""
    size = 4000
    model = {"w": np.zeros(size)}
    here = at(noise, model, metrics={})
    zeros = np.zeros(here.length, np.int64)
    total = sum((here.sent(zeros, 6) for _ in range(survivors)), zeros)
    mean = here.released(total, tuple(range(survivors)), 6, model)
    units = mean.arrays["w"] * 6 * here.record.encoding.scale
    claimed = (2.0 * here.resolution.sensitivity.l2) ** 2
    expected = claimed / (0.5 if noise.distributed else 1.0)
    assert np.var(units) == pytest.approx(expected, rel=6 * math.sqrt(2 / size))


def test_central_noise_is_the_servers_alone():
    here = at(CentralGaussian(2.0))
    integers = here.encode(*update(0), MODEL)
    assert (here.sent(integers, 6) == integers).all()


@given(st.lists(st.floats(), min_size=11, max_size=11), st.floats(-1e6, 1e6))
def test_no_record_is_longer_than_the_sensitivity(values, loss):
    here = at()
    trained = {
        "w": np.array(values[:6], np.float64).reshape(2, 3),
        "b": np.array(values[6:8]),
        "steps": np.array(values[8]),
    }
    integers = here.encode(trained, {"loss": loss}, MODEL)
    assert np.linalg.norm(integers.astype(float)) <= here.resolution.sensitivity.l2


@pytest.mark.filterwarnings("error")
def test_a_metric_that_overflows_its_unit_makes_zeros_without_a_word():
    here = at(metrics={"loss": 1e-30})
    same = {name: array.copy() for name, array in MODEL.items()}
    assert not here.encode(same, {"loss": 1e300}, MODEL).any()


def test_values_are_counted_in_units_of_their_ranges():
    """A metric at the end of its range has the clip norm, and so has an array of that norm."""
    here = at(clip=0.5)
    steps = FixedPoint(0.5, 13).steps
    same = {name: array.copy() for name, array in MODEL.items()}
    assert here.encode(same, {"loss": 40.0}, MODEL)[0] == pytest.approx(steps, abs=2)
    moved = {**same, "b": MODEL["b"] + np.array([0.3, 0.4])}
    found = here.encode(moved, {"loss": 0.0}, MODEL)
    assert np.linalg.norm(found) == pytest.approx(steps, rel=1e-2)


def test_the_mean_divides_by_the_number_that_was_asked():
    """Six shares in the sum, so that the server adds none; five records and one of zeros."""
    here = at(clip=10.0)
    total = sum(here.encode(*update(node), MODEL) for node in range(5))
    mean = here.released(total, tuple(range(6)), 6, MODEL)
    assert (mean.weight, mean.contributors) == (6, tuple(range(6)))
    unit = 6 / 6 / here.record.encoding.scale  # of six roundings, each by less than one unit
    for name in MODEL:
        moves = sum(update(node)[0][name] - MODEL[name] for node in range(5))
        limit = here.record.range_of(name) / 10.0
        np.testing.assert_allclose(mean.arrays[name], MODEL[name] + moves / 6, atol=unit * limit)
    losses = sum(update(node)[1]["loss"] for node in range(5)) / 6
    assert mean.metrics["loss"] == pytest.approx(losses, abs=4 * unit)


def test_a_round_without_a_sum_releases_noise_alone():
    parties = Parties(agreed=terms(records={"train": noisy()}))
    server = parties.server()
    for node in range(2):
        server.receive(parties.contributed(node, server.request, *update(node)))
    assert server.advance() == {}
    assert "too few clients contributed" in server.failure
    mean = server.result()
    assert (mean.contributors, mean.weight) == ((), 6)
    assert all((mean.arrays[name] != MODEL[name]).any() for name in MODEL)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"encoding": FixedPoint(1.0, 16, rounding="nearest")}, "bound on the norm"),
        ({"encoding": Quantised(1.0, 16)}, "bound on the norm"),
        ({"beyond": "refuse"}, "say beyond='clip'"),
        ({"noise": 2.0}, "noise must be a noise"),
        ({"noise": DistributedGaussian}, "noise must be a noise"),
    ],
)
def test_records_that_do_not_go_with_noise(changes, what):
    given = {"encoding": FixedPoint(1.0, 16), "noise": NOISES[0], "beyond": "clip", **changes}
    with pytest.raises(PlanError, match=what):
        Record(**given)


def test_noise_that_cannot_be_shared_is_refused_when_the_agreement_is_made():
    coarse = Record(FixedPoint(1.0, 4), noise=DistributedGaussian(0.01), beyond="clip")
    parties = Parties()
    for record, what in ((coarse, "grid"), (noisy(DistributedSkellam(1e-6)), "more bits")):
        with pytest.raises(PlanError, match=f"noise of record 'train' does not fit.*{what}"):
            Agreement(
                terms(records={"train": record}), parties.agreement.nodes, parties.agreement.members
            )


def test_the_smallest_round_hides_a_node_by_anothers_noise():
    few = OneShot(committee=6, corrupt_members=1, absent_members=1, dropout_rate=0.0)
    agreed = terms(sum=few, records={"train": noisy()})
    assert agreed.min_cohort == 3  # three survive, of whom one colludes and one is hidden
    found = resolved(agreed, agreed.record("train"), 6, 10)
    assert found.server_fraction == pytest.approx(1 / 3)
    assert terms(sum=SUM, records={"train": noisy()}).min_cohort == 4


@pytest.mark.parametrize("noise", NOISES[:3], ids=lambda noise: noise.kind)
def test_every_size_of_a_round_has_the_noise_that_is_charged(noise):
    """The shares of honest survivors add up to it, and without one's own to what the server sees."""
    agreed = terms(records={"train": noisy(noise)})
    here = NoisyCoordinates.of(agreed, "train", 13, MODEL)
    found, cost = here.resolution, here.cost
    assert found.honest_fraction == 0.5  # of rounds of four and six, and more of all others
    for asked in range(agreed.min_cohort, 14):
        share = found.share_stddev(asked) ** 2
        honest = SUM.min_survivors(asked) - SUM.colluders(asked)
        for count, event in ((honest, cost.release), (honest - 1, cost.server)):
            due = (event.noise_multiplier * found.sensitivity.l2) ** 2 + noise.held_back
            assert count * share >= due * (1 - 1e-12)


def test_a_file_keeps_the_noise():
    parties = Parties(agreed=terms(records={"train": noisy(DistributedSkellam(1.5))}))
    found = Agreement.from_bytes(parties.agreement.to_bytes())
    assert found.terms.record("train").noise == DistributedSkellam(1.5)
    assert found.digest == parties.agreement.digest


def test_epsilons_without_a_server_side_say_so():
    assert "none towards the server" in str(Epsilons(1.0, None, 1e-5))
    assert epsilons({}, 1e-5).release == 0.0
    assert GaussianEvent(2.0) != at().cost.release
