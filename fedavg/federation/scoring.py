"""How a released model is scored on held-out examples, as it is and as a client would receive it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedavg.training.evaluation import evaluate

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from fedavg.data.dataset import Dataset
    from fedavg.encoding.broadcast import ModelCodec
    from fedavg.models.layout import Layout
    from fedavg.training.evaluation import Evaluation, Scoring

__all__ = ["Scorer"]

_FEW = 256  # examples of a trial


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores released models.

    Args:
        model: a module of their shape.
        layout: of its parameters in a vector.
        examples: held out; None scores nothing.
        apart: whether a part of the model stays at the clients: the rest alone classifies nothing.
        scoring: metrics, loss and device.

    Raises:
        DataError: a metric that does not fit the examples.
    """

    model: nn.Module
    layout: Layout
    examples: Dataset | None
    apart: bool
    scoring: Scoring

    def __post_init__(self) -> None:
        if self.examples is not None:
            self.scoring.on(self.examples)

    def try_out(self, vector: NDArray[np.float64]) -> None:
        """Score a model on a few examples, so that what cannot be scored is refused before any charge."""
        if self.examples is not None and not self.apart:
            few = self.examples.subset(np.arange(min(len(self.examples), _FEW)))
            evaluate(self.model, self.layout, vector, few, self.scoring)

    def of(self, vector: NDArray[np.float64]) -> Evaluation | None:
        """Of a model, float64[d]."""
        if self.examples is None or self.apart:
            return None
        return evaluate(self.model, self.layout, vector, self.examples, self.scoring)

    def as_sent(self, vector: NDArray[np.float64], codec: ModelCodec) -> float | None:
        """Accuracy of a model as a client would receive it, where that is not the model itself."""
        if self.examples is None or codec.kind == "float32":
            return None
        received = codec.decode(codec.encode(vector))
        return evaluate(self.model, self.layout, received, self.examples, self.scoring).accuracy
