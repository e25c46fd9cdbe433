"""A part from its table: the message about an error names the valid alternatives."""

from __future__ import annotations

import pytest

from fedavg.errors import ConfigError
from fedavg.losses import Focal, loss_of
from fedavg.metrics import metric_of
from fedavg.optimizers.custom import step_of
from fedavg.optimizers.server import FedAvg
from fedavg.optimizers.wrapped import Averaged
from fedavg.parts.tables import part_of_table


def test_a_table_is_the_part_with_its_fields():
    assert part_of_table("loss", {"kind": "focal", "gamma": 3.0}, "loss") == Focal(gamma=3.0)
    assert Averaged(of={"type": "fedavg", "lr": 0.5}, tail=0.5).of == FedAvg(0.5)


@pytest.mark.parametrize(
    ("door", "table", "said"),
    [
        (
            loss_of,
            {"kind": "cross-entropy", "weights": [1.0, 2.0]},
            "has no field 'weights'; its fields are",
        ),
        (loss_of, {"kind": "focl"}, "there is no kind 'focl'; there are cross-entropy, focal"),
        (loss_of, {"gamma": 2.0}, "kind is missing; there are"),
        (loss_of, {"kind": "focal", "gamma": "much"}, "Expected `float`"),
        (
            metric_of,
            {"kind": "calibration_error", "bin": 3},
            "has no field 'bin'; its fields are bins",
        ),
        (step_of, {"kind": "imported", "pth": "a:b"}, "has no field 'pth'; its fields are path"),
        (
            lambda table: Averaged(of=table, tail=0.5),
            {"type": "fedavg", "rate": 1.0},
            "no field 'rate'",
        ),
    ],
)
def test_what_is_wrong_is_said_with_what_there_is(door, table, said):
    with pytest.raises(ConfigError, match=said):
        door(table)
