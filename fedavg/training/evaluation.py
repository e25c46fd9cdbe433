"""How a model is scored on held-out examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from fedavg.errors import DataError
from fedavg.training.batches import aligned

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from fedavg.data.tasks import Dataset
    from fedavg.models.layout import Layout

__all__ = ["Evaluation", "evaluate"]

_EVALUATION_BATCH = 2048


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model's figures on held-out examples.

    Args:
        accuracy: share of examples whose largest logit is their class's.
        loss: mean cross-entropy in nats.
    """

    accuracy: float
    loss: float


@torch.no_grad()
def evaluate(
    model: nn.Module, layout: Layout, vector: NDArray[np.floating], dataset: Dataset
) -> Evaluation:
    """Score the model with parameters `vector` on held-out examples.

    Args:
        model: a module to work with; its parameters are overwritten.
        layout: the `Layout` of `model`.
        vector: float64[d] or float32[d].
        dataset: the examples.

    Raises:
        LocalProtocolError: the vector or the module does not fit the layout.
        DataError: examples that the module does not take.
    """
    layout.load_vector(model, vector)
    model.eval()
    right, loss = 0, 0.0
    features, labels = torch.from_numpy(dataset.features), torch.from_numpy(dataset.labels)
    for inputs, classes in zip(
        features.split(_EVALUATION_BATCH), labels.split(_EVALUATION_BATCH), strict=True
    ):
        try:
            logits = model(aligned(inputs))
            loss += float(functional.cross_entropy(logits, classes, reduction="sum"))
        except (RuntimeError, IndexError) as error:
            raise DataError(f"the model does not take these examples: {error}") from error
        right += int((logits.argmax(1) == classes).sum())
    return Evaluation(accuracy=right / len(dataset), loss=loss / len(dataset))
