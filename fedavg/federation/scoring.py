"""How a released model is scored on held-out examples, as it is and as a client would receive it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedavg.training.evaluation import evaluate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from fedavg.data.dataset import Dataset
    from fedavg.encoding.broadcast import ModelCodec
    from fedavg.models.layout import Layout
    from fedavg.training.evaluation import Evaluation

__all__ = ["Scoring"]


@dataclass(frozen=True, slots=True)
class Scoring:
    """Scores released models.

    Args:
        model: a module of their shape.
        layout: of its parameters in a vector.
        examples: held out; None scores nothing.
        apart: whether a part of the model stays at the clients: the rest alone classifies nothing.
    """

    model: nn.Module
    layout: Layout
    examples: Dataset | None
    apart: bool

    def of(self, vector: NDArray[np.float64]) -> Evaluation | None:
        """Of a model, float64[d]."""
        if self.examples is None or self.apart:
            return None
        return evaluate(self.model, self.layout, vector, self.examples)

    def as_sent(self, vector: NDArray[np.float64], codec: ModelCodec) -> float | None:
        """Accuracy of a model as a client would receive it, where that is not the model itself."""
        if self.examples is None or codec.kind == "float32":
            return None
        received = codec.decode(codec.encode(vector))
        return evaluate(self.model, self.layout, received, self.examples).accuracy
