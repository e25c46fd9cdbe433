"""Blocks of whole tensors: they cover every coordinate once, balanced, within a budget, or as named."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedavg.algorithms.blocks.layers import LayerBlocks, _cut
from fedavg.errors import PlanError
from fedavg.models.layout import Layout
from fedavg.models.zoo import build_model

LAYOUTS = st.lists(
    st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple), min_size=1, max_size=9
).map(lambda shapes: Layout(tuple(f"m{i // 2}.p{i}" for i in range(len(shapes))), tuple(shapes)))


def whole(blocks, layout):
    """Every coordinate once."""
    found = np.concatenate([blocks.coordinates(b, 3) for b in range(blocks.count)])
    assert sorted(found.tolist()) == list(range(layout.size))
    assert blocks.lengths == tuple(len(blocks.coordinates(b, 0)) for b in range(blocks.count))


@given(layout=LAYOUTS, data=st.data())
def test_blocks_partition_the_coordinates(layout, data):
    count = data.draw(st.integers(1, len(layout.names)))
    blocks = LayerBlocks.by_count(layout, count)
    assert blocks.count == count
    whole(blocks, layout)


@given(layout=LAYOUTS, slack=st.integers(0, 300), each=st.sampled_from([4, 8, 12]))
def test_a_budget_of_memory_holds_every_block(layout, slack, each):
    least = max(math.prod(shape) for shape in layout.shapes)
    blocks = LayerBlocks.by_memory(layout, each * (least + slack), bytes_per_parameter=each)
    assert max(blocks.lengths) <= least + slack
    whole(blocks, layout)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.data())
def test_the_largest_run_is_as_small_as_any_cut_makes_it(sizes, data):
    from itertools import combinations

    count = data.draw(st.integers(1, len(sizes)))
    runs = _cut(sizes, count)
    assert sorted(set(runs)) == list(range(count))
    assert runs == sorted(runs)
    largest = max(sum(s for s, r in zip(sizes, runs, strict=True) if r == run) for run in set(runs))
    places = combinations(range(1, len(sizes)), count - 1)
    best = min(
        max(sum(sizes[a:b]) for a, b in zip((0, *cuts), (*cuts, len(sizes)), strict=True))
        for cuts in places
    )
    assert largest == best


def test_layers_stay_whole_while_there_are_enough_of_them():
    layout = Layout.of(build_model("2nn", (784,), 10, seed=0))
    assert LayerBlocks.by_count(layout, 2).owners == (0, 0, 1, 1, 1, 1)
    assert LayerBlocks.by_count(layout, 3).owners == (0, 0, 1, 1, 2, 2)
    assert LayerBlocks.by_count(layout, 4).count == 4  # between tensors: there are three layers


def test_blocks_by_name():
    layout = Layout.of(build_model("cnn", (784,), 10, seed=0))
    blocks = LayerBlocks.by_patterns(layout, [["conv*"], ["dense.*", "output.*"]])
    assert blocks.tensors(0) == ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias")
    assert sum(blocks.lengths) == layout.size


@pytest.mark.parametrize(
    ("patterns", "match"),
    [
        ([["conv*"], ["dense.*"]], "'output.weight' in no block"),
        ([["*"], ["dense.*"]], r"'dense.weight' in the blocks \[0, 1\]"),
        ([["*"], ["nothing"]], "block 1 match no tensor"),
    ],
)
def test_patterns_that_are_no_partition_are_refused(patterns, match):
    layout = Layout.of(build_model("cnn", (784,), 10, seed=0))
    with pytest.raises(PlanError, match=match):
        LayerBlocks.by_patterns(layout, patterns)


def test_what_cannot_be_cut_is_refused():
    layout = Layout.of(build_model("mlp", (12,), 3, seed=0))
    with pytest.raises(PlanError, match="5 blocks of whole tensors"):
        LayerBlocks.by_count(layout, 5)
    with pytest.raises(PlanError, match=r"'layers.0.weight' alone takes 3,072 bytes"):
        LayerBlocks.by_memory(layout, 3071)
    with pytest.raises(PlanError, match="this one has 7"):
        LayerBlocks.by_count(layout, 2).check(7)
    with pytest.raises(PlanError, match="every block"):
        LayerBlocks(("a", "b"), (1, 1), (0, 2))
    with pytest.raises(PlanError, match="seed"):
        LayerBlocks(("a",), (1,), (0,), seed=-1)
