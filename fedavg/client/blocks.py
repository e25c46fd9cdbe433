"""What a client trains of a model that is cut into blocks.  Run by the client."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedavg.algorithms.blocks.deal import dealt
from fedavg.algorithms.blocks.layers import LayerBlocks
from fedavg.algorithms.blocks.rolling import RollingBlocks
from fedavg.errors import LocalProtocolError
from fedavg.models.layout import Layout
from fedavg.training.cutting import check_layers, check_narrowable, held_still, narrowed

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from fedavg.algorithms.blocks.deal import Blocks
    from fedavg.plan.resolution import Resolution
    from fedavg.protocol.messages import RoundStart

__all__ = ["Part", "check_model", "part_to_train", "resolution_for"]


def resolution_for(resolution: Resolution, client_id: int, start: RoundStart) -> Resolution:
    """The plan as it concerns the block that a client is asked to train.

    Raises:
        LocalProtocolError: the block is not the client's own in this round, or the plan has no blocks.
    """
    blocks = resolution.plan.blocks
    if blocks is None:
        if start.block is not None:
            raise LocalProtocolError("the server asks for a block and the plan has none")
        return resolution
    own = dealt(blocks, client_id, start.round, resolution.num_clients)
    if start.block != own:
        raise LocalProtocolError(
            f"client {client_id} trains block {own} in round {start.round} and was asked for {start.block}"
        )
    return resolution.of_block(own)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A module with the vector of what is trained of it.

    Args:
        model: a module whose trained parameters are overwritten.
        layout: of those parameters.
        vector: float64[m], where they begin.
        factors: what they were multiplied by; None for nothing.
    """

    model: nn.Module
    layout: Layout
    vector: NDArray[np.float64]
    factors: NDArray[np.float64] | None = None

    def in_model(self, update: NDArray[np.float64]) -> NDArray[np.float64]:
        """An update of the part in the model's own units."""
        return update if self.factors is None else update / self.factors


@contextlib.contextmanager
def part_to_train(
    resolution: Resolution,
    model: nn.Module,
    layout: Layout,
    vector: NDArray[np.float64],
) -> Generator[Part]:
    """Set up what a client trains, and leave the module trainable as it was.

    Args:
        resolution: of the client's block, see `resolution_for`.
        model: the whole module.
        layout: of the whole module.
        vector: float64, the parameters that the server sent, of `Blocks.sent_layout`.

    Raises:
        PlanError: a module that cannot be cut this way.
    """
    blocks, block = resolution.plan.blocks, resolution.block
    if isinstance(blocks, LayerBlocks) and block is not None:
        names = blocks.tensors(block)
        shapes = dict(zip(layout.names, layout.shapes, strict=True))
        layout.load_vector(model, vector)
        mine = vector[blocks.coordinates(block, 0)]
        with held_still(model, set(layout.names) - set(names)):
            yield Part(model, Layout(names, tuple(shapes[name] for name in names)), mine)
    elif isinstance(blocks, RollingBlocks):
        smaller, factors = narrowed(model, blocks.widths), blocks.factors()
        yield Part(smaller, Layout.of(smaller), vector * factors, factors)
    else:
        yield Part(model, layout, vector)


def check_model(blocks: Blocks, model: nn.Module) -> None:
    """Refuse a module that no smaller one is known of, or whose layout is another.

    Raises:
        PlanError: see above.
    """
    if isinstance(blocks, LayerBlocks):
        check_layers(model, blocks.names)
    elif isinstance(blocks, RollingBlocks):
        check_narrowable(model, blocks.shapes)
