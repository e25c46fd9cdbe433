"""Plans with blocks, for tests."""

from __future__ import annotations

from fedavg.layer_blocks import LayerBlocks
from fedavg.model_spec import ModelSpec
from fedavg.rolling_blocks import RollingBlocks
from fedavg.tensors import Layout
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
    return plan(SUMS[name], blocks=blocks, **changes).resolve(
        num_clients=n, vector_length=length, num_rounds=rounds, largest_client=8
    )
