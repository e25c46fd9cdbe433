"""Optimisers around others: averages by hand, schedules, and both at once."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.errors import ConfigError, LocalProtocolError, PlanError
from fedavg.optimizers.schedule import Schedule
from fedavg.optimizers.server import FedAdam, FedAvg, FedMomentum, Progress
from fedavg.optimizers.wrapped import Averaged, Scheduled
from fedavg.plan.codec import canonical, plan_from_bytes, plan_to_bytes
from fedavg.sums.plain import InsecurePlain
from tests.e2e.small import federation, plan


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Averaged(tail=0.0), "tail"),
        (lambda: Averaged(tail=1.1), "tail"),
        (lambda: Averaged(decay=0.0), "decay"),
        (lambda: Averaged(decay=float("nan")), "decay"),
        (lambda: Averaged({"kind": "adam", "lr": "fast"}), "optimizer|optimiser"),
        (lambda: Scheduled({"kind": "nothing"}), "optimiser"),
    ],
)
def test_values_outside_their_range_are_named(make, word):
    with pytest.raises(ConfigError, match=word):
        make()


@pytest.mark.parametrize("inner", [None, 3, Schedule()])
def test_what_is_no_optimiser_is_refused(inner):
    with pytest.raises(PlanError, match="no registered part"):
        Averaged(inner)


def _average(rule, vectors, skipped=()):
    state, released = rule.init(1), np.zeros(1)
    for index, value in enumerate(vectors):
        if index not in skipped:
            now = Progress(index, len(vectors))
            released, state = rule.release(np.array([float(value)]), state, now)
    return released[0]


@settings(deadline=None, max_examples=60)
@given(
    vectors=st.lists(st.floats(-10, 10), min_size=1, max_size=12),
    tail=st.floats(0.01, 1.0),
    decay=st.floats(0.1, 1.0),
)
def test_the_average_is_the_weighted_mean_of_the_tail(vectors, tail, decay):
    kept = vectors[len(vectors) - math.ceil(tail * len(vectors)) :]
    weights = [decay**age for age in reversed(range(len(kept)))]
    expected = np.average(kept, weights=weights)
    assert _average(Averaged(FedAvg(), tail, decay), vectors) == pytest.approx(expected, abs=1e-9)


def test_before_the_tail_the_last_model_is_released():
    rule = Averaged(tail=0.25)
    state, released = rule.init(1), []
    for index, value in enumerate([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 9.0]):
        model, state = rule.release(np.array([value]), state, Progress(index, 8))
        released.append(model[0])
    assert released == [1, 2, 3, 4, 5, 6, 7, 8]
    assert all(a < b for a, b in pairwise(released))


def test_skipped_rounds_and_foreign_states():
    assert _average(Averaged(), [1, 2, 3, 5], skipped={2}) == 5
    assert _average(Averaged(), [1, 2, 3, 5], skipped={2, 3}) == 2
    rule = Averaged()
    with pytest.raises(LocalProtocolError, match="another"):
        rule.release(np.zeros(2), rule.init(3), Progress(0, 1))
    with pytest.raises(LocalProtocolError, match="another"):
        rule.step(np.zeros(2), np.zeros(2), FedAvg().init(2), Progress(0, 1))


def test_the_released_model_shares_no_memory():
    rule, vector = Averaged(), np.zeros(2)
    released, state = rule.release(vector, rule.init(2), Progress(0, 4))
    vector += 1
    released[:] = 7
    assert state["averaged.mean"].tolist() == [0, 0]


@pytest.mark.parametrize("order", ["averaged outside", "scheduled outside"])
def test_both_around_one_rule_step_and_release_as_by_hand(order):
    schedule, rule = Schedule("step", milestones=(0.5,), factor=0.5), FedMomentum(1.0, 0.5)
    both = (
        Averaged(Scheduled(rule, schedule), 0.5)
        if order == "averaged outside"
        else Scheduled(Averaged(rule, 0.5), schedule)
    )
    run = federation(InsecurePlain(), changes={"server_optimizer": both})
    vector, state = run.released.copy(), rule.init(run.released.size)
    models = []
    for index, _ in enumerate(run.run(4)):
        moved, state = rule.step(vector, run.last_update, state, Progress(index, 4))
        vector = vector + schedule.at(index, 4) * (moved - vector)
        models.append(vector)
        expected = vector if index < 2 else np.mean(models[2:], axis=0)
        np.testing.assert_allclose(run.released, expected, rtol=1e-9, atol=1e-12)


def test_they_travel_within_a_plan():
    chosen = plan(
        InsecurePlain(),
        server_optimizer=Averaged(Scheduled(FedAdam(0.2), Schedule("cosine")), 0.3),
    )
    back = plan_from_bytes(plan_to_bytes(chosen))
    assert back == chosen
    assert canonical(back) == canonical(chosen)
    other = plan(InsecurePlain(), server_optimizer=Averaged(FedAdam(0.2), 0.3))
    assert canonical(other) != canonical(chosen)
