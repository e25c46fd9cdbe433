"""Training of one block of a model that is cut into blocks.  Run by the client."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from fedavg.algorithms.blocks.deal import assigned_block
from fedavg.algorithms.blocks.interface import TrainedPart
from fedavg.errors import LocalProtocolError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from fedavg.models.layout import Layout
    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.protocol.messages import RoundStart

__all__ = ["part_to_train", "resolution_for"]


def resolution_for(resolution: ResolvedPlan, client_id: int, start: RoundStart) -> ResolvedPlan:
    """The resolved plan for the block that a client is asked to train.

    Raises:
        LocalProtocolError: the client trains another block in this round, or the plan has no blocks.
    """
    blocks = resolution.plan.blocks
    if blocks is None:
        if start.block is not None:
            raise LocalProtocolError("the server asks for a block, but the plan has no blocks")
        return resolution
    # The client computes its block itself: answering two blocks would double its contribution to a round.
    own = assigned_block(blocks, client_id, start.round, resolution.num_clients)
    if start.block != own:
        raise LocalProtocolError(
            f"client {client_id} trains block {own} in round {start.round}, but was asked for {start.block}"
        )
    return resolution.of_block(own)


def part_to_train(
    resolution: ResolvedPlan,
    model: nn.Module,
    layout: Layout,
    vector: NDArray[np.float64],
) -> AbstractContextManager[TrainedPart]:
    """Set up the part that a client trains; when the context ends, the module can be trained as before.

    Args:
        resolution: resolved plan of the client's block, see `resolution_for`.
        model: the whole module.
        layout: layout of the whole module.
        vector: float64, the parameters that the server sent, in the layout `Blocks.sent_layout`.

    Raises:
        PlanError: the module cannot be cut in this way.
    """
    blocks, block = resolution.plan.blocks, resolution.block
    if blocks is None or block is None:
        return contextlib.nullcontext(TrainedPart(model, layout, vector))
    return blocks.trained_part(model, layout, vector, block)
