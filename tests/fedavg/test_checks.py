"""The door for numbers with this package's errors, at the places where plans and data meet it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedavg import checks
from fedavg.data.partitions.partition import dirichlet, iid, noisy_sort
from fedavg.encoding.fixed_point import rotated_length
from fedavg.errors import (
    ConfigError,
    DataError,
    LocalProtocolError,
    PlanError,
)
from fedavg.plan.budget.planner import Scenario
from fedavg.plan.plan import Budget
from fedavg.simulation.faults import Faults

LABELS = np.arange(12) % 3


@pytest.mark.parametrize(
    ("door", "error"),
    [
        (checks.plan, PlanError),
        (checks.config, ConfigError),
        (checks.data, DataError),
        (checks.usage, LocalProtocolError),
        (checks.value, ValueError),
    ],
)
def test_each_door_raises_its_own_error(door, error):
    for refused in (
        lambda: door.whole("x", 0),
        lambda: door.whole("x", 1.0),
        lambda: door.proper_fraction("x", 1),
        lambda: door.positive("x", "1"),
    ):
        with pytest.raises(error, match="^x must"):
            refused()
    assert door.whole("x", np.int8(3)) == 3


def test_what_is_not_finite_is_refused_as_such():
    with pytest.raises(DataError, match="spread must be finite"):
        noisy_sort(LABELS, 3, spread=math.nan, seed=0)
    with pytest.raises(DataError, match="alpha must be finite"):
        dirichlet(LABELS, 3, alpha=math.inf, seed=0)


def test_numpy_scalars_are_numbers_and_come_out_as_pythons():
    setting = Scenario(rate=np.float32(0.25), rounds=np.int16(10), delta=np.float64(1e-6))
    assert setting == Scenario(rate=0.25, rounds=10, delta=1e-6)
    assert {type(setting.rate), type(setting.rounds), type(setting.delta)} == {int, float}
    faults = Faults(np.float32(0.5), np.uint8(3))
    assert (type(faults.rate), type(faults.seed)) == (float, int)
    assert rotated_length(np.int64(5), rotate=True) == 8
    assert len(iid(LABELS, np.int32(4), seed=0)) == 4


@pytest.mark.parametrize("epsilon", [0, -1.0, math.nan, "2", True])
def test_budgets_that_protect_nobody_are_refused(epsilon):
    with pytest.raises(PlanError, match="epsilon"):
        Budget(epsilon=epsilon)
    assert Budget(epsilon=math.inf).epsilon == math.inf


@pytest.mark.parametrize(
    "changes", [{"rounds": 2.0}, {"clients": True}, {"rate": "0.1"}, {"delta": 0}]
)
def test_settings_of_another_type_are_refused_by_name(changes):
    with pytest.raises(PlanError, match=next(iter(changes))):
        Scenario(**changes)
