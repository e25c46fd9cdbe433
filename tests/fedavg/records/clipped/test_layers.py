"""The fast way is taken only where it is known to give what torch.func gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fedavg.data.dataset import Dataset
from fedavg.losses import CrossEntropy
from fedavg.models.layout import Layout
from fedavg.records.clipped import layers
from fedavg.records.clipped.gradients import UnitGradients, Units
from fedavg.records.clipped.layers import LayeredGradients, fastest_gradients

SAMPLE = Dataset(np.zeros((2, 1, 6, 6)), np.array([0, 1]))


class Twice(nn.Module):
    """One layer, used twice in a pass."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(36, 36)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.dense(torch.tanh(self.dense(rows.flatten(1))))


class Unused(nn.Module):
    """A layer that no pass uses."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.spare = nn.Linear(36, 3), nn.Linear(2, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.dense(rows.flatten(1))


def sequence(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))


def built(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        model(torch.zeros(2, 1, 6, 6))
    return model


FAST = {
    "dense": lambda: sequence(nn.Flatten(), nn.Linear(36, 5), nn.ReLU()),
    "dense on the last axis": lambda: sequence(nn.Linear(6, 4), nn.ReLU()),
    "dilated": lambda: sequence(
        nn.Conv2d(1, 3, 2, padding=(0, 2)),
        nn.Tanh(),
        nn.Conv2d(3, 2, (2, 3), stride=(1, 2), dilation=(2, 1)),
    ),
    "padded": lambda: sequence(nn.Conv2d(1, 2, (2, 3), padding=(1, 0), stride=2), nn.Tanh()),
    "frozen normalisation": lambda: sequence(
        nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2, affine=False).eval()
    ),
}
USUAL = {
    "groups": lambda: sequence(nn.Conv2d(1, 2, 2), nn.Conv2d(2, 2, 2, groups=2)),
    "circular": lambda: sequence(nn.Conv2d(1, 2, 2, padding_mode="circular", padding=1)),
    "same": lambda: sequence(nn.Conv2d(1, 2, 3, padding="same")),
    "normalised": lambda: sequence(nn.GroupNorm(1, 1)),
    "in place": lambda: sequence(nn.Conv2d(1, 2, 2), nn.ReLU(inplace=True)),
    "twice": Twice,
    "unused": Unused,
}


def chosen(model: nn.Module):
    return type(fastest_gradients(model, Layout.of(model), CrossEntropy(), SAMPLE))


@pytest.mark.parametrize("name", FAST)
def test_models_of_plain_layers_take_the_fast_way(name):
    assert chosen(built(FAST[name]())) is LayeredGradients


@pytest.mark.parametrize("name", USUAL)
def test_all_others_take_the_way_of_torch_func(name):
    model = USUAL[name]()
    assert chosen(built(model)) is UnitGradients


def test_the_trial_leaves_the_model_as_it_was():
    model = built(FAST["dense"]())
    layout = Layout.of(model)
    before = layout.flatten(model)
    fastest_gradients(model, layout, CrossEntropy(), SAMPLE)
    np.testing.assert_array_equal(layout.flatten(model), before)


def test_a_fast_way_that_is_wrong_is_noticed(monkeypatch):
    """The mutant forgets half of each gradient."""
    honest = LayeredGradients.clipped_sum
    monkeypatch.setattr(
        LayeredGradients,
        "clipped_sum",
        lambda self, units, clip, **more: honest(self, units, clip, **more) / 2,
    )
    assert chosen(built(FAST["dense"]())) is UnitGradients


def many(count: int) -> Units:
    torch.manual_seed(1)
    features, labels = torch.randn(count, 1, 1, 6, 6), torch.randint(0, 3, (count, 1))
    return Units(features, labels, torch.ones(count, 1), torch.arange(count) % 3 != 0)


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("count", [127, 128, 129, 300])
def test_the_sum_does_not_depend_on_how_many_gradients_are_formed_together(
    name, count, monkeypatch
):
    model = built(FAST[name]())
    way = LayeredGradients(model, Layout.of(model), CrossEntropy())
    found = way.clipped_sum(many(count), 0.1, balanced=True)
    monkeypatch.setattr(layers, "_FEWEST", 1)
    monkeypatch.setattr(layers, "_MOST", 1)
    np.testing.assert_allclose(way.clipped_sum(many(count), 0.1, balanced=True), found, atol=1e-12)


@pytest.mark.parametrize(("channels", "together"), [(8, 128), (2**12, 26), (2**13, 16)])
def test_gradients_of_a_large_layer_are_formed_for_few_units_at_a_time(
    channels, together, monkeypatch
):
    """38 numbers a channel: 128 units, or as many as have 2²² numbers, but for 16 at least."""
    formed = []
    honest = layers.piece
    monkeypatch.setattr(layers, "piece", lambda *of: (formed.append(of[-1]), honest(*of))[1])
    model = nn.Sequential(nn.Conv2d(1, channels, 6), nn.Flatten(), nn.Linear(channels, 3)).eval()
    LayeredGradients(model, Layout.of(model), CrossEntropy()).clipped_sum(many(129), 0.1)
    assert max(formed) == together
    assert min(formed) == 129 % together or 129 % together == 0
