"""One record must not change another's gradient: modules and losses that let it are refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fedavg.data.dataset import Dataset
from fedavg.errors import DataError, PlanError
from fedavg.losses import CrossEntropy
from fedavg.records.clipped.modules import check_independent, outputs_of_rows

IMAGES = Dataset(np.zeros((2, 2, 4, 4)), np.array([0, 1]))


def model(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32, 2))


ALLOWED = {
    "group normalisation": lambda: model(nn.GroupNorm(1, 2)),
    "layer normalisation": lambda: model(nn.LayerNorm(4)),
    "instance normalisation": lambda: model(nn.InstanceNorm2d(2)),
    "frozen statistics": lambda: model(nn.BatchNorm2d(2).eval()),
    "dropout": lambda: model(nn.Dropout(0.5)),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_layers_of_single_records_are_allowed(name):
    check_independent(ALLOWED[name](), CrossEntropy(), IMAGES)


def test_a_buffer_that_a_pass_changes_is_refused():
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(32, 2)
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            self.seen += len(rows)
            return self.dense(rows.flatten(1))

    with pytest.raises(PlanError, match="changes the buffer 'seen'"):
        check_independent(Counting(), CrossEntropy(), IMAGES)


def test_the_trial_leaves_modes_and_random_numbers_as_they_were():
    one = ALLOWED["dropout"]()
    one.eval()
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    check_independent(one, CrossEntropy(), IMAGES)
    assert torch.equal(torch.rand(3), wanted)
    assert not one.training


def test_outputs_need_a_row_for_each_record():
    assert outputs_of_rows(lambda rows: rows.sum(1), torch.zeros(3, 2)).shape == (3, 1)
    with pytest.raises(DataError, match="one row of outputs"):
        outputs_of_rows(lambda rows: rows.sum(), torch.zeros(3, 2))


def test_a_model_that_does_not_take_the_records_is_named():
    with pytest.raises(DataError, match="the model, given two made-up records, raised"):
        check_independent(nn.Linear(3, 2), CrossEntropy(), IMAGES)
