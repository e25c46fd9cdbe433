"""Schedules by hand; clients and server follow the same."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedavg.errors import ConfigError, PlanError
from fedavg.optimizers.local import LocalTraining
from fedavg.optimizers.schedule import Schedule
from fedavg.optimizers.server import FedAdagrad, FedAdam, FedAvg, FedMomentum, FedYogi, Progress
from fedavg.optimizers.wrapped import Scheduled
from fedavg.sums.plain import InsecurePlain
from tests.e2e.small import federation


def _over(schedule, rounds):
    return [schedule.at(r, rounds) for r in range(rounds)]


def test_the_rules_by_hand():
    assert _over(Schedule(), 3) == [1, 1, 1]
    assert _over(Schedule("step"), 8) == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    halves = Schedule("step", milestones=(0.25, 0.5, 0.75), factor=0.5)
    assert _over(halves, 8) == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    cosine = _over(Schedule("cosine"), 10)
    assert cosine[0] == 1.0
    assert cosine[5] == pytest.approx(0.5)
    assert cosine[9] == pytest.approx((1 + math.cos(0.9 * math.pi)) / 2)


@pytest.mark.parametrize("kind", ["constant", "step", "cosine"])
def test_the_rule_begins_after_the_warm_up(kind):
    warm = _over(Schedule(kind, warmup=4), 14)
    assert warm[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert warm[4:] == _over(Schedule(kind), 10)
    assert _over(Schedule(kind, warmup=9), 3) == pytest.approx([0.1, 0.2, 0.3])


@given(
    kind=st.sampled_from(["constant", "step", "cosine"]),
    warmup=st.integers(0, 30),
    rounds=st.integers(1, 40),
)
def test_a_rate_is_positive_and_never_above_the_full_one(kind, warmup, rounds):
    rates = _over(Schedule(kind, warmup=warmup), rounds)
    assert all(0 < rate <= 1 for rate in rates)
    after = rates[warmup:]
    assert after == sorted(after, reverse=True)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"kind": "linear"}, "one of"),
        ({"milestones": (0.5, 0.5)}, "milestones"),
        ({"milestones": (0.7, 0.5)}, "milestones"),
        ({"milestones": (0.0,)}, "milestones"),
        ({"milestones": (math.nan,)}, "milestones"),
        ({"factor": 0.0}, "factor"),
        ({"factor": 2.0}, "factor"),
        ({"warmup": -1}, "warmup"),
        ({"warmup": 1.5}, "warmup"),
    ],
)
def test_values_outside_their_range_are_named(fields, word):
    with pytest.raises((ConfigError, PlanError), match=word):
        Schedule(**fields)


def test_milestones_from_a_file_are_the_same_schedule():
    assert repr(Schedule(milestones=[0.5, 0.75])) == repr(Schedule())


def test_a_client_multiplies_its_rate():
    training = LocalTraining(lr=2.0, schedule=Schedule("step", warmup=1))
    assert [training.lr_at(r, 5) for r in range(5)] == pytest.approx([1.0, 2.0, 2.0, 0.2, 0.02])


@pytest.mark.parametrize(
    "rule",
    [FedAvg(0.5), FedMomentum(0.5), FedAdam(0.1), FedYogi(0.1), FedAdagrad(0.1)],
    ids=lambda rule: type(rule).__name__,
)
def test_the_server_multiplies_its_step_and_keeps_its_moments(rule):
    """Round by round against the rule with the multiplied rate, by hand."""
    from msgspec.structs import replace

    schedule = Schedule("step", milestones=(0.5,), factor=0.5, warmup=1)
    run = federation(InsecurePlain(), changes={"server_optimizer": Scheduled(rule, schedule)})
    vector, state = run.released.copy(), rule.init(run.released.size)
    for index, _ in enumerate(run.run(4)):
        scaled = replace(rule, lr=rule.lr * schedule.at(index, 4))
        vector, state = scaled.step(vector, run.last_update, state, Progress(index, 4))
        np.testing.assert_allclose(run.released, vector, rtol=1e-9, atol=1e-12)
    assert [schedule.at(index, 4) for index in range(4)] == [0.5, 1.0, 1.0, 0.5]
