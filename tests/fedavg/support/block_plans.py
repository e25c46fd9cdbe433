"""Plans with blocks, for tests."""

from __future__ import annotations

from fedavg.algorithms.blocks.layers import LayerBlocks
from fedavg.algorithms.blocks.rolling import RollingBlocks
from fedavg.models.layout import Layout
from fedavg.models.spec import ModelSpec
from fedavg.plan.resolution import resolve
from tests.e2e.small import SUMS, plan

MODEL = ModelSpec("mlp", (12,), 3)
LAYOUT = Layout.of(MODEL.build())
CUTS = {
    "layers": LayerBlocks.by_count(LAYOUT, 2),
    "rolling": RollingBlocks(LAYOUT.shapes, 2),
    "rolling, overlapping": RollingBlocks(LAYOUT.shapes, 2, 0.6),
}


def resolution_with(
    blocks, length=LAYOUT.size, *, name="insecure-plain", n=24, rounds=6, **changes
):
    """A plan of the small federation, cut into blocks."""
    return resolve(
        plan(SUMS[name], blocks=blocks, **changes),
        num_clients=n,
        vector_length=length,
        num_rounds=rounds,
        largest_client=8,
    )
