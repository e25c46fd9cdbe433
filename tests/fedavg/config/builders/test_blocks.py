"""The table [blocks]: what it cuts, what it refuses, and that workers rebuild the same blocks."""

from __future__ import annotations

import pytest

from fedavg.algorithms.blocks.layers import LayerBlocks
from fedavg.algorithms.blocks.rolling import RollingBlocks
from fedavg.config.build import load_config
from fedavg.config.builders.blocks import blocks_of, parse_bytes
from fedavg.config.settings import BlocksConfig, LocalConfig
from fedavg.errors import ConfigError, PlanError
from fedavg.models.zoo import build_model
from fedavg.plan.codec import plan_from_bytes, plan_to_bytes
from tests.e2e.small import SUMS, plan
from tests.fedavg.support.block_plans import CUTS

MLP = build_model("mlp", (12,), 3, seed=0)


def cut(model=MLP, local=None, **table):
    return blocks_of(BlocksConfig(**table), local or LocalConfig(), model)


def test_nothing_said_is_the_whole_model():
    assert cut() is None
    assert load_config(None).blocks == BlocksConfig()


def test_the_ways_of_cutting():
    assert cut(count=2) == CUTS["layers"]
    assert cut(count=2, kind="rolling") == CUTS["rolling"]
    assert cut(count=2, kind="rolling", share=0.6, seed=3) == RollingBlocks(
        CUTS["rolling"].shapes, 2, 0.6, 3
    )
    named = cut(patterns=[["layers.1.*"], ["layers.0.*"]])
    assert named.lengths == (195, 832)


def test_a_memory_budget_counts_what_the_optimiser_keeps():
    whole = 4 * (832 + 195)
    assert cut(memory=f"{whole}B").count == 1
    assert cut(memory=f"{whole - 1}B").count == 2
    assert cut(memory=f"{3 * whole}B", local=LocalConfig(optimizer="adam")).count == 1
    assert cut(memory=f"{3 * whole - 1}B", local=LocalConfig(optimizer="adam")).count == 2


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ({"count": 2, "memory": "2MB"}, "three ways to cut a model: give one"),
        ({"share": 0.5}, "needs blocks.count"),
        ({"count": 2, "share": 0.5}, "'rolling'"),
        ({"kind": "rolling", "memory": "2MB"}, "takes a count"),
        ({"memory": "2 sheep"}, "no size such as"),
        ({"memory": "9" * 400 + "GB"}, "no size such as"),
        ({"memory": "٣MB"}, "no size such as"),
    ],
)
def test_keys_that_do_not_go_together(table, match):
    with pytest.raises(ConfigError, match=match):
        cut(**table)


def test_rolling_needs_a_model_that_it_knows():
    from torch import nn

    model = nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3))
    with pytest.raises(PlanError, match="Sequential has no method narrowed"):
        cut(model, kind="rolling", count=2)
    with pytest.raises(PlanError, match="two at least"):
        cut(build_model("softmax", (12,), 3, seed=0), kind="rolling", count=2)
    assert isinstance(cut(model, count=2), LayerBlocks)


def test_sizes():
    assert [parse_bytes(text) for text in ("7B", "2mb", "1.5KiB", " 1 GiB ")] == [
        7,
        2_000_000,
        1536,
        2**30,
    ]


@pytest.mark.parametrize("name", list(CUTS))
def test_a_plan_with_blocks_as_bytes(name):
    whole = plan(SUMS["secagg"], blocks=CUTS[name])
    assert plan_from_bytes(plan_to_bytes(whole)) == whole
