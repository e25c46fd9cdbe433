"""What a plan needs of a way to cut models into blocks, and the part of a model that one client trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from fedavg.models.layout import Layout

__all__ = ["Blocks", "TrainedPart"]


@dataclass(frozen=True, slots=True, eq=False)
class TrainedPart:
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


class Blocks(Protocol):
    """A way of cutting a model's vector of d coordinates into blocks."""

    @property
    def count(self) -> int:
        """B: how many blocks are trained side by side in a round."""
        ...

    @property
    def seed(self) -> int:
        """Public seed of the deal."""
        ...

    @property
    def lengths(self) -> tuple[int, ...]:
        """Coordinates of each block; the same in every round."""
        ...

    @property
    def sends_part(self) -> bool:
        """Whether a client is sent its block alone, and not the model."""
        ...

    def coordinates(self, block: int, round_index: int) -> NDArray[np.int64]:
        """int64[lengths[block]]: the block's places in the model's vector, each once."""
        ...

    def check(self, vector_length: int) -> None:
        """Raise PlanError unless the blocks are of a model of this length."""
        ...

    def sent_layout(self, layout: Layout) -> Layout:
        """The layout of what a client is sent, where `layout` is that of the whole model."""
        ...

    def check_model(self, model: nn.Module) -> None:
        """Raise PlanError unless a client can train these blocks of this module."""
        ...

    def trained_part(
        self, model: nn.Module, layout: Layout, vector: NDArray[np.float64], block: int
    ) -> AbstractContextManager[TrainedPart]:
        """Set up what a client trains; when the context ends, the module can be trained as before.

        Args:
            model: the whole module.
            layout: of the whole module.
            vector: float64, the parameters that the server sent, of `sent_layout`.
            block: the client's, in 0 … count − 1.
        """
        ...
