"""The blocks suite at tiny sizes: what is counted falls with the share, and what is reported is complete."""

from __future__ import annotations

import pytest
from rich.console import Console

from benchmarks import Bench
from benchmarks.blocks import rows
from benchmarks.blocks.costs import costs_of
from fedavg.algorithms.blocks.layers import LayerBlocks
from fedavg.algorithms.blocks.rolling import RollingBlocks
from fedavg.data.tasks import load_task
from fedavg.models.layout import Layout
from fedavg.models.spec import ModelSpec
from fedavg.optimizers.local import LocalTraining
from tests.e2e.small import examples

TRAINING = LocalTraining(batch_size=4, optimizer="momentum")


def test_bytes_and_memory_of_a_block_are_a_part_of_the_whole_models() -> None:
    spec, data = ModelSpec("2nn", (12,), 3), examples(12, 0)
    layout = Layout.of(spec.build())
    whole = costs_of(spec, None, TRAINING, data, 1)
    assert (whole.share, whole.largest) == (1.0, 1.0)
    layers = costs_of(spec, LayerBlocks.by_count(layout, 2), TRAINING, data, 1)
    assert layers.share == 0.5
    assert layers.up < 0.6 * whole.up
    assert layers.down == pytest.approx(whole.down, rel=0.05)
    assert layers.peak < layers.worst < whole.peak
    rolling = costs_of(spec, RollingBlocks(layout.shapes, 4), TRAINING, data, 1)
    assert rolling.up < 0.15 * whole.up
    assert rolling.down < 0.15 * whole.down
    assert rolling.peak == rolling.worst < 0.5 * whole.peak


def test_the_peak_counts_parameters_velocities_and_gradients() -> None:
    """Dense layers on the fast path: a copy, a gradient and a velocity of each trained parameter."""
    spec, data = ModelSpec("2nn", (12,), 3), examples(12, 0)
    size = Layout.of(spec.build()).size
    peak = costs_of(spec, None, TRAINING, data, 1).peak
    assert 3 * 4 * size <= peak < 4 * 4 * size


def test_the_suite_reports_both_cuts() -> None:
    bench = Bench("blocks", "quick", Console(quiet=True))
    case = rows._Case("2nn", TRAINING, 16, 4, 1, 1)
    rows._case(bench, case, load_task("digits"))
    (table,) = bench.tables
    assert [(row[0], row[1]) for row in table.rows] == [
        ("whole", 1),
        ("layers", 2),
        ("layers", 4),
        ("rolling", 2),
        ("rolling", 4),
        ("rolling", 8),
    ]
    assert {measure.key for measure in bench.measures} >= {"2nn_layers_up", "2nn_rolling_peak"}
    assert [curve.key for curve in bench.curves] == ["2nn_layers_costs", "2nn_rolling_costs"]
