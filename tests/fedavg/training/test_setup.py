"""Models that cannot be averaged are refused when a federation is made, by the name of what is in the way."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from fedavg.errors import PlanError
from fedavg.federation.federation import Federation
from fedavg.models.layout import Layout
from fedavg.training.setup import check_buffers, set_up
from tests.e2e.small import SUMS, clients, plan


class Counting(nn.Linear):
    """Counts its forward passes in a buffer, as moving averages and schedules do."""

    def __init__(self):
        super().__init__(12, 3)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, inputs):
        if self.training:
            self.calls += 1
        return super().forward(inputs)


class Masked(nn.Linear):
    """Reads a buffer and never writes it."""

    def __init__(self):
        super().__init__(12, 3)
        self.register_buffer("mask", torch.ones(12))

    def forward(self, inputs):
        return super().forward(inputs * self.mask)


def federation(model):
    return Federation(model, clients(20), plan(SUMS["insecure-plain"]))


def spectral():
    return nn.Sequential(parametrizations.spectral_norm(nn.Linear(12, 3)))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Sequential(nn.Linear(12, 3), nn.BatchNorm1d(3)), r"1 \(BatchNorm1d\).*GroupNorm"),
        (Counting(), r"buffer 'calls'.*GroupNorm or LayerNorm"),
        (spectral(), r"buffer '0.parametrizations.weight.0._[uv]'.*no spectral norm"),
    ],
)
def test_what_changes_buffers_is_refused_before_any_round(model, said):
    before = {name: part.clone() for name, part in model.state_dict().items()}
    with pytest.raises(PlanError, match=said):
        federation(model)
    assert all(torch.equal(part, before[name]) for name, part in model.state_dict().items())


def test_a_buffer_that_is_only_read_is_no_hindrance():
    model = Masked().eval()
    before = {name: part.clone() for name, part in model.state_dict().items()}
    run = federation(model)
    assert not model.training
    assert all(torch.equal(part, before[name]) for name, part in model.state_dict().items())
    assert [result.skipped for result in run.run(1)] == [None]


def test_a_model_that_does_not_take_made_up_examples_is_judged_in_training():
    class Particular(Masked):
        def forward(self, inputs):
            if bool((inputs == inputs[0]).all(1).any()):
                raise RuntimeError("no constant examples")
            return super().forward(inputs)

    check_buffers(Particular(), Layout.of(Particular()), (12,))


def test_a_model_without_buffers_is_not_run():
    class Untouchable(nn.Linear):
        def forward(self, inputs):
            raise AssertionError

    model, layout, kept = set_up(Untouchable(12, 3), (), (12,))
    assert (layout.size, kept) == (39, frozenset())
    assert isinstance(model, Untouchable)
