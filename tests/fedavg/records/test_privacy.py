"""The promise and the plan: what is refused, and the public number of slots."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from fedavg.errors import PlanError
from fedavg.records.privacy import RecordPlan, RecordPrivacy
from fedavg.robust.rules import MedianOfGroups
from tests.fedavg.records.small import PRIVACY, plan, privacy


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unit": "patient"}, "unit must be one of 'person', 'record'"),
        ({"rate": 0.0}, "rate must lie in"),
        ({"rate": True}, "rate must be a number"),
        ({"clip": math.inf}, "clip must be finite"),
        ({"max_units": 0}, "max_units must be at least 1"),
        ({"max_units": 2.5}, "max_units must be a whole number"),
        ({"delta": 1.0}, "delta must lie in"),
        ({"epsilon": -1.0}, "epsilon must be positive"),
        ({"noise_multiplier": None}, "give a finite epsilon"),
        ({"noise_multiplier": 0.0}, "noise multiplier|noise_multiplier must be positive"),
        ({"noise": "none"}, "noise must be one of"),
        ({"colluders": -1}, "colluders must be at least 0"),
        ({"most": 0}, "most must be at least 1"),
        ({"rounding": 0.9}, "rounding must lie in"),
        ({"local_lr": 0.1}, "local_lr has no effect"),
        ({"local_steps": 2, "local_lr": 0.1}, "takes one gradient a sum"),
        ({"noise": "own", "local_steps": 2}, "needs local_lr"),
        ({"noise": "own", "local_steps": 2, "local_lr": 0.0}, "local_lr must be positive"),
        ({"rows": 3}, "rows=3 is about .* take unit='person' and name the person"),
        ({"combine": "sum"}, "combine='sum' is about the rows of one person"),
    ],
)
def test_what_does_not_add_up_is_refused_by_name(changes, said):
    with pytest.raises(PlanError, match=said):
        privacy(**changes)


def test_the_unit_is_never_assumed():
    without = {name: value for name, value in PRIVACY.items() if name != "unit"}
    with pytest.raises(TypeError, match="unit"):
        RecordPrivacy(**without)


def test_numpy_scalars_are_numbers():
    assert privacy(rate=np.float32(0.5), max_units=np.int64(7)).max_units == 7


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"divisor": 0.0}, "divisor must be positive"),
        ({"micro_batch": 0}, "micro_batch must be at least 1"),
    ],
)
def test_a_plan_checks_its_own_numbers(changes, said):
    with pytest.raises(PlanError, match=said):
        plan(**changes)


def test_by_default_no_silo_may_be_missing():
    found = RecordPlan(privacy=privacy(), steps=1, divisor=1.0)
    assert [found.secure_sum.min_survivors(n) for n in (3, 10, 40)] == [3, 10, 40]


def test_a_draw_beyond_the_slots_costs_less_than_a_thousandth_of_delta():
    one = privacy(rate=0.1, max_units=5000, epsilon=2.0)
    most = one.most_units(300)
    tail = binom.sf(most, 5000, 0.1)
    assert 300 * tail * (1 + math.exp(2.0)) <= one.delta / 1000
    assert 300 * binom.sf(most - 2, 5000, 0.1) * (1 + math.exp(2.0)) > one.delta / 1000


def test_slots_never_exceed_the_declared_units():
    assert privacy(rate=1.0, max_units=30).most_units(10) == 30
    assert privacy(most=70, max_units=30).most_units(10) == 30
    assert privacy(most=20, max_units=30).most_units(10) == 20


@pytest.mark.parametrize("rule", [3, "group-median", MedianOfGroups, privacy()])
def test_a_rule_over_groups_is_a_registered_rule(rule):
    with pytest.raises(
        PlanError, match=r"robust must be a rule over groups such as MedianOfGroups\(3\)"
    ):
        plan(robust=rule)
