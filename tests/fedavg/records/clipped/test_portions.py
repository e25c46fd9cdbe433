"""Portions of a gradient that are shortened by themselves: the whole is never longer than C."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedavg.losses import CrossEntropy
from fedavg.models.layout import Layout
from fedavg.records.clipped.gradients import UnitGradients, clipped_sum
from fedavg.records.clipped.layers import LayeredGradients, fastest_gradients
from fedavg.records.clipped.portions import Portions
from tests.fedavg.records.small import federation, one_by_one, records, resolved, silos, units_of


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4), nn.Tanh(), nn.Linear(4, 3)
        )


def units(count: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 1, 5)) * 3
    return units_of(features, rng.integers(0, 3, (count, 1)), np.ones((count, 1)))


def wanted(gradients: np.ndarray, portions: Portions, clip: float) -> np.ndarray:
    """Each portion shortened to its share by numpy, in a loop."""
    found = gradients.copy()
    for row in found:
        for portion in portions.of:
            places = np.concatenate([np.arange(row.size)[portions.places[i]] for i in portion])
            norm = np.linalg.norm(row[places])
            row[places] *= min(1.0, portions.share(clip) / norm)
    return found


@pytest.mark.parametrize("way", [UnitGradients, LayeredGradients])
@pytest.mark.parametrize("clip", [0.05, 0.5, 50.0])
def test_each_layer_is_shortened_by_itself(way, clip):
    model = network()
    layout, given_units = Layout.of(model), units(9)
    portions = Portions.by_layer(layout)
    gradients = way(model, layout, CrossEntropy(), portions)
    gradients.at(layout.flatten(model))
    single = one_by_one(model, CrossEntropy(), given_units)
    right = wanted(single, portions, clip).sum(0)
    np.testing.assert_allclose(gradients.clipped_sum(given_units, clip), right, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 6),
    st.floats(1e-3, 1e3),
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=12, max_size=12),
)
def test_a_unit_is_never_longer_than_the_clip_whatever_the_portions(cuts, clip, values):
    edges = np.linspace(0, 12, cuts + 1).astype(int)
    places = tuple(slice(int(a), int(b)) for a, b in pairwise(edges))
    portions = Portions(tuple((i,) for i in range(cuts)), places)
    assert math.isclose(cuts * portions.share(clip) ** 2, clip**2)
    gradient = torch.tensor([values], dtype=torch.float32)
    found = clipped_sum(gradient, torch.tensor([True]), clip, portions)
    assert np.linalg.norm(found) <= clip


def test_a_portion_that_is_not_finite_counts_as_zero_and_the_others_as_before():
    portions = Portions(((0,), (1,)), (slice(0, 2), slice(2, 4)))
    gradient = torch.tensor([[math.nan, 1.0, 3.0, 4.0]])
    found = clipped_sum(gradient, torch.tensor([True]), math.sqrt(2), portions)
    np.testing.assert_allclose(found, [0, 0, 0.6, 0.8], rtol=1e-6)


def test_layers_take_the_fast_way_too():
    model = network()
    layout = Layout.of(model)
    way = fastest_gradients(model, layout, CrossEntropy(), records(5, 0), Portions.by_layer(layout))
    assert isinstance(way, LayeredGradients)


def test_a_run_by_layer_has_the_same_sensitivity_and_another_digest():
    by_unit, by_layer = resolved(), resolved(clip_by="layer")
    assert by_unit.sensitivity == by_layer.sensitivity
    assert by_unit.digest != by_layer.digest
    *_, last = federation(
        silos(),
        network(),
        clip_by="layer",
        noise_multiplier=0.01,
        steps=20,
        evaluate=records(200, 9),
    ).run()
    assert last.evaluation.accuracy > 0.8
