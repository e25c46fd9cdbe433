"""The interface of blocks (a way to cut models), and the part of a model that one client trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from fedavg.models.layout import Layout

__all__ = ["Blocks", "Cuts", "NamedBlocks", "TrainedPart"]


@dataclass(frozen=True, slots=True, eq=False)
class TrainedPart:
    """A module, and the vector of those of its parameters that are trained.

    Args:
        model: a module whose trained parameters are overwritten.
        layout: layout of those parameters.
        vector: float64[m], their initial values.
        factors: factors by which they were multiplied; None for none.
    """

    model: nn.Module
    layout: Layout
    vector: NDArray[np.float64]
    factors: NDArray[np.float64] | None = None

    def in_model(self, update: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert an update of the part into the model's own units."""
        return update if self.factors is None else update / self.factors


@dataclass(frozen=True, slots=True)
class Cuts:
    """What a configuration asks of blocks.  A way of cutting refuses what it has no use for.

    Args:
        count: blocks; 0 leaves the number open.
        share: of every hidden layer that one block takes; None leaves it open.
        memory: bytes that one block's gradients and optimiser state may take; 0 for no bound.
        patterns: of parameter names, a sequence a block; () for none.
        bytes_per_parameter: of a gradient and what the clients' optimiser keeps beside it.
        seed: public seed of the deal.
    """

    count: int = 0
    share: float | None = None
    memory: int = 0
    patterns: Sequence[Sequence[str]] = ()
    bytes_per_parameter: int = 4
    seed: int = 0


class Blocks(Protocol):
    """A way of cutting a model's vector of d coordinates into blocks.

    Example:
        >>> import numpy as np
        >>> from fedavg import LayerBlocks, RollingBlocks
        >>> def trained(blocks: Blocks, rounds: int) -> int:  # coordinates, at least once
        ...     parts = [blocks.coordinates(b, r) for b in range(blocks.count) for r in range(rounds)]
        ...     return len(np.unique(np.concatenate(parts)))
        >>> layers = LayerBlocks(("a", "b"), (16, 10), (0, 1))
        >>> rolling = RollingBlocks(((4, 3), (4,), (2, 4), (2,)), count=1, share=0.5)
        >>> trained(layers, 1), trained(rolling, 1), trained(rolling, 2)  # of 26
        (26, 14, 26)
    """

    @property
    def count(self) -> int:
        """B: the number of blocks that are trained in a round."""
        ...

    @property
    def seed(self) -> int:
        """Public seed of the assignment of blocks to clients."""
        ...

    @property
    def lengths(self) -> tuple[int, ...]:
        """Number of coordinates of each block; the same in every round."""
        ...

    @property
    def sends_part(self) -> bool:
        """Whether a client is sent only its block, and not the whole model."""
        ...

    def coordinates(self, block: int, round_index: int) -> NDArray[np.int64]:
        """int64[lengths[block]]: distinct positions of the block's coordinates in the model's vector."""
        ...

    def check(self, vector_length: int) -> None:
        """Raise PlanError unless the blocks are those of a model of this length."""
        ...

    def sent_layout(self, layout: Layout) -> Layout:
        """The layout of the vector that a client is sent; `layout` is that of the whole model."""
        ...

    def check_model(self, model: nn.Module) -> None:
        """Raise PlanError unless a client can train these blocks of this module."""
        ...

    def trained_part(
        self, model: nn.Module, layout: Layout, vector: NDArray[np.float64], block: int
    ) -> AbstractContextManager[TrainedPart]:
        """Set up the part that a client trains; when the context ends, the module can be trained as before.

        Args:
            model: the whole module.
            layout: layout of the whole module.
            vector: float64, the parameters that the server sent, in the layout `sent_layout`.
            block: the client's block, in 0 … count − 1.
        """
        ...


class NamedBlocks(Blocks, Protocol):
    """Blocks that a configuration can name, under the tag with which their class is registered."""

    @classmethod
    def cut(cls, layout: Layout, cuts: Cuts) -> Self:
        """Cut a model.

        Args:
            layout: of the whole model.
            cuts: what was asked for.

        Raises:
            ConfigError: a setting that this way of cutting has no use for, or one that it lacks.
            PlanError: a model that cannot be cut so.
        """
        ...
