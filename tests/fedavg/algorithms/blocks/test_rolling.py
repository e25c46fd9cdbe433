"""Windows of hidden units: places, coverage over the rounds, and the smaller network that they span."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.algorithms.blocks.rolling import RollingBlocks
from fedavg.client.blocks import part_to_train
from fedavg.errors import PlanError
from fedavg.models.layout import Layout
from fedavg.models.zoo import build_model
from tests.fedavg.support.block_plans import resolution_with

WIDTHS = st.lists(st.integers(2, 12), min_size=1, max_size=3)


def dense(inputs, hidden, classes):
    chain = [inputs, *hidden, classes]
    shapes = [((out, into), (out,)) for into, out in itertools.pairwise(chain)]
    return tuple(shape for pair in shapes for shape in pair)


@given(hidden=WIDTHS, count=st.integers(1, 5), share=st.sampled_from([None, 0.2, 0.5, 0.7, 1.0]))
@settings(max_examples=60)
def test_a_block_holds_each_of_its_places_once(hidden, count, share):
    blocks = RollingBlocks(dense(3, hidden, 2), count, share)
    total = sum(map(math.prod, blocks.shapes))
    for block in range(count):
        places = blocks.coordinates(block, 7)
        assert len(set(places.tolist())) == len(places) == blocks.lengths[block]
        assert 0 <= places.min() <= places.max() < total
    assert blocks.factors().shape == (blocks.lengths[0],)


@pytest.mark.parametrize(("count", "share"), [(2, None), (4, None), (8, None), (1, 0.5), (2, 0.25)])
def test_over_the_rounds_every_coordinate_is_trained(count, share):
    """Windows of deeper layers move faster, or only weights near the diagonal would ever be trained."""
    blocks = RollingBlocks(dense(5, [16, 16, 24], 3), count, share)
    ways = math.ceil(1 / blocks.part)
    rounds = ways * math.ceil(ways / count)
    times = np.zeros(sum(map(math.prod, blocks.shapes)), dtype=int)
    for index in range(rounds):
        for block in range(count):
            times[blocks.coordinates(block, index)] += 1
    assert times.min() >= 1
    hidden = times[5 * 16 + 16 : 5 * 16 + 16 + 16 * 16]  # between the first two hidden layers
    assert hidden.min() == hidden.max()


def test_side_by_side_windows_of_a_full_share_cover_all_units_in_every_round():
    blocks = RollingBlocks(dense(5, [12, 8], 3), 4)
    for index in range(9):
        for depth, units in enumerate((12, 8)):
            held = np.concatenate([blocks.windows(block, index)[depth] for block in range(4)])
            assert sorted(held.tolist()) == list(range(units))


@pytest.mark.parametrize("name", ["mlp", "2nn", "cnn"])
def test_the_smaller_network_computes_what_the_window_of_the_large_one_computes(name):
    """Units outside the window taken out of the whole model by zeros, and the mean over fewer made up for."""
    shape = (784,) if name == "cnn" else (12,)
    model = build_model(name, shape, 4, seed=3)
    layout = Layout.of(model)
    blocks = RollingBlocks(layout.shapes, 2, 0.3, seed=0)
    resolution = resolution_with(blocks, layout.size).of_block(1)
    vector, places = layout.flatten(model), blocks.coordinates(1, 5)
    inputs = torch.from_numpy(np.random.default_rng(0).random((6, *shape), dtype=np.float32))
    with part_to_train(resolution, model, layout, vector[places]) as part, torch.no_grad():
        part.layout.load_vector(part.model, part.vector)
        small = part.model(inputs)
        assert np.allclose(part.in_model(part.vector), vector[places])
    only = np.zeros(layout.size)
    only[places] = vector[places] * blocks.factors()
    layout.load_vector(model, only)
    with torch.no_grad():
        assert torch.allclose(small, model(inputs), atol=1e-5)


def test_the_whole_network_is_the_mean_of_its_windows_with_one_hidden_layer():
    model = build_model("mlp", (12,), 4, seed=3)
    layout = Layout.of(model)
    blocks = RollingBlocks(layout.shapes, 4)
    resolution, vector = resolution_with(blocks, layout.size), layout.flatten(model)
    inputs = torch.from_numpy(np.random.default_rng(0).random((6, 12), dtype=np.float32))
    outputs = []
    for block in range(4):
        sent = vector[blocks.coordinates(block, 2)]
        with part_to_train(resolution.of_block(block), model, layout, sent) as part:
            part.layout.load_vector(part.model, part.vector)
            with torch.no_grad():
                outputs.append(part.model(inputs))
    with torch.no_grad():
        assert torch.allclose(torch.stack(outputs).mean(0), model(inputs), atol=1e-6)


@pytest.mark.parametrize(
    ("shapes", "changes", "match"),
    [
        (((4, 3), (4,)), {}, "two at least"),
        (((4, 3), (4,), (2, 5), (2,)), {}, "does not follow 4 inputs"),
        (((4, 3), (4,), (2, 4), (3,)), {}, "with a bias"),
        (dense(3, [4], 2), {"count": 0}, "number of blocks must be at least 1"),
        (dense(3, [4], 2), {"share": 1.5}, "share"),
        (dense(3, [4], 2), {"seed": -1}, "seed"),
    ],
)
def test_what_is_no_chain_of_layers_is_refused(shapes, changes, match):
    with pytest.raises(PlanError, match=match):
        RollingBlocks(shapes, **changes)
