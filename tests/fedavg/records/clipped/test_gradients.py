"""Gradients of units: equal to autograd's one by one, shortened, summed in float64, and never an error."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedavg.data.dataset import Dataset
from fedavg.errors import PlanError
from fedavg.losses import BinaryCrossEntropy, CrossEntropy, MeanSquaredError
from fedavg.models.layout import Layout
from fedavg.records.clipped.gradients import UnitGradients, clip_factors, clipped_sum, made_up
from fedavg.records.clipped.layers import LayeredGradients
from tests.fedavg.records.small import one_by_one, shortened, units_of

RNG = np.random.default_rng(3)


def images(units: int, rows: int) -> np.ndarray:
    return RNG.standard_normal((units, rows, 2, 9, 9))


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, 2, 1), nn.Tanh(), nn.MaxPool2d(2, 1)),
        *(nn.Conv2d(4, 3, 2, bias=False, dilation=2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, 3)),
    )


def normalised() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(162, 8), nn.LayerNorm(8), nn.Linear(8, 3))


MODELS = {"convolutional": convolutional, "normalised": normalised}
WAYS = {"func": UnitGradients, "layers": LayeredGradients}


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(
    ("model", "way"),
    [("convolutional", "func"), ("convolutional", "layers"), ("normalised", "func")],
)
def test_sums_are_those_of_autograd_one_by_one(model, way, rows):
    module, loss = MODELS[model](), CrossEntropy()
    weights = RNG.random((7, rows)) / rows
    drawn = [True, False, True, True, True, False, True]
    units = units_of(images(7, rows), RNG.integers(0, 3, (7, rows)), weights, drawn)
    wanted = one_by_one(module, loss, units)
    norms = np.linalg.norm(wanted, axis=1)
    clip = float(np.median(norms))  # some are shortened, some are not
    layout = Layout.of(module)
    gradients = WAYS[way](module, layout, loss)
    gradients.at(layout.flatten(module))
    found = gradients.clipped_sum(units, clip)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, shortened(wanted, clip)[drawn].sum(0), atol=2e-6 * clip * 7)


def test_a_micro_batch_in_several_parts_has_the_sum_of_all_its_units():
    """Layers form gradients of 64 units at a time."""
    module = convolutional()
    drawn = RNG.random(150) < 0.7
    labels = RNG.integers(0, 3, (150, 2))
    units = units_of(images(150, 2), labels, np.full((150, 2), 0.5), drawn)
    layout, sums = Layout.of(module), []
    for way in WAYS.values():
        gradients = way(module, layout, CrossEntropy())
        gradients.at(layout.flatten(module))
        sums.append(gradients.clipped_sum(units, 0.2))
    np.testing.assert_allclose(*sums, atol=2e-6)


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        (MeanSquaredError(), RNG.standard_normal((5, 1, 3)).astype(np.float32)),
        (BinaryCrossEntropy(), RNG.integers(0, 2, (5, 1, 3)).astype(np.int8)),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_other_kinds_of_labels(loss, labels, way):
    module = convolutional()
    units = units_of(images(5, 1), labels, np.ones((5, 1)))
    layout = Layout.of(module)
    gradients = WAYS[way](module, layout, loss)
    gradients.at(layout.flatten(module))
    wanted = shortened(one_by_one(module, loss, units), 0.1).sum(0)
    np.testing.assert_allclose(gradients.clipped_sum(units, 0.1), wanted, atol=2e-6)


def test_frozen_parameters_have_no_gradient():
    module = convolutional()
    module[0].weight.requires_grad_(requires_grad=False)
    layout = Layout.of(module)
    for way in WAYS.values():
        gradients = way(module, layout, CrossEntropy())
        gradients.at(layout.flatten(module))
        units = units_of(images(2, 1), np.zeros((2, 1), np.int64), np.ones((2, 1)))
        assert gradients.clipped_sum(units, 1.0).size == layout.size


@settings(max_examples=60, deadline=None)
@given(
    scale=st.floats(1e-30, 1e30),
    clip=st.floats(1e-6, 1e6),
    length=st.integers(1, 400),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_gradient_is_longer_than_the_clip_after_rounding(scale, clip, length, seed):
    one = np.random.default_rng(seed).standard_normal(length) * scale
    gradient = torch.from_numpy(one.astype(np.float32))[None]
    found = clipped_sum(gradient, torch.tensor([True]), clip)
    assert float(np.linalg.norm(found.astype(np.longdouble))) <= clip


def test_the_factor_is_one_up_to_rounding_for_short_gradients():
    factors = clip_factors(
        torch.tensor([0.5, 1.0, 4.0]).double(), torch.ones(3, dtype=bool), 1.0, 9
    )
    np.testing.assert_allclose(factors.numpy(), [1.0, 1.0, 0.25], rtol=3e-7)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_a_gradient_that_is_not_finite_counts_as_zero(way, value):
    module, loss = convolutional(), MeanSquaredError()
    layout = Layout.of(module)
    gradients = WAYS[way](module, layout, loss)
    gradients.at(layout.flatten(module))
    features, labels = images(3, 1), np.ones((3, 1, 3), np.float32)
    features[1] = value
    weights = np.ones((3, 1))
    found = gradients.clipped_sum(units_of(features, labels, weights), 1.0)
    others = units_of(features, labels, weights, [True, False, True])
    assert np.isfinite(found).all()
    if not np.isfinite(value):
        np.testing.assert_allclose(found, gradients.clipped_sum(others, 1.0), atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_no_unit_and_every_unit_cost_the_same_passes(way, monkeypatch):
    module = convolutional()
    layout = Layout.of(module)
    gradients = WAYS[way](module, layout, CrossEntropy())
    gradients.at(layout.flatten(module))
    calls: list[tuple[int, ...]] = []
    module[0].register_forward_hook(lambda _m, given, _out: calls.append(tuple(given[0].shape)))
    for drawn in ([False] * 4, [True] * 4):
        units = units_of(images(4, 1), np.zeros((4, 1), np.int64), np.ones((4, 1)), drawn)
        found = gradients.clipped_sum(units, 1.0)
        assert bool(found.any()) == drawn[0]
    assert len(calls) == 2
    assert calls[0] == calls[1]


def test_a_model_that_cannot_be_vectorised_is_refused_with_the_remedy():
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(4, 2)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            outputs = self.dense(rows)
            return outputs if float(outputs.sum()) > 0 else outputs * 2

    model = Branching()
    sample = Dataset(np.zeros((2, 4)), np.array([0, 1]))
    with pytest.raises(PlanError, match="torch.func does not vectorise"):
        UnitGradients(model, Layout.of(model), CrossEntropy()).check(sample)


def test_made_up_units_have_the_shapes_and_kinds_of_the_examples():
    sample = Dataset(np.zeros((2, 3, 4)), np.zeros((2, 2)), target="multi-label")
    units = made_up(sample)
    assert units.features.shape == (4, 2, 3, 4)
    assert units.labels.shape == (4, 2, 2)
    assert units.labels.dtype is torch.int8


@pytest.mark.parametrize("way", WAYS)
def test_a_units_gradient_hardly_depends_on_its_place(way):
    """Torch promises nothing here; docs/records.md says what the theorem takes for granted."""
    module = convolutional()
    layout = Layout.of(module)
    gradients = WAYS[way](module, layout, CrossEntropy())
    gradients.at(layout.flatten(module))
    features, labels = images(16, 1), RNG.integers(0, 3, (16, 1))
    found = []
    for place in (0, 5, 15):
        order = np.roll(np.arange(16), place)
        units = units_of(features[order], labels[order], np.ones((16, 1)), order == 0)
        found.append(gradients.clipped_sum(units, 0.1))
    np.testing.assert_allclose(found[1:], [found[0]] * 2, atol=1e-6 * 0.1)
