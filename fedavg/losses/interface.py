"""The interface of a loss.

A loss is a value without torch; its callers pass the tensors.  It gives one number for each example, and the
caller applies weights and averages: the mean loss of n examples is Σ wᵢ·ℓᵢ ÷ n.  If all weights are 1 this is
the mean; a weight of 2 counts an example twice.  The divisor is the number of examples and not the sum of the
weights, so that a weight means the same in every batch and at every client. Federated averaging by example
counts then minimises Σ wᵢ·ℓᵢ over all clients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["ClosedForm", "Loss"]


class ClosedForm(Protocol):
    """A loss whose derivative by the model's outputs is known, which fast paths need."""

    def wanted(self, labels: torch.Tensor, outputs: int) -> torch.Tensor:
        """The targets of `slope`, float32[n, outputs], computed once for all steps.

        Args:
            labels: labels of a `fedavg.data.dataset.Dataset`.
            outputs: number of the model's outputs.
        """
        ...

    def slope(self, outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """The derivative of each example's loss by the outputs, float32[…, outputs].

        It may overwrite `outputs`.
        """
        ...


class Loss(Protocol):
    """A number for each example, which is smaller the better a model's outputs fit the label."""

    kind: ClassVar[str]
    """Name of the loss in configurations."""

    targets: ClassVar[frozenset[str]]
    """Kinds of labels that the loss accepts: names of `fedavg.data.dataset.TargetKind`."""

    @property
    def closed_form(self) -> ClosedForm | None:
        """The derivative in closed form; None if only autograd can compute it."""
        ...

    def check(self, labels: NDArray[np.generic], outputs: int) -> None:
        """Refuse labels for which the loss is not defined with this number of outputs.

        Raises:
            DataError: a label is not allowed; the message has the first one and the remedy.
        """
        ...

    def label_weights(self, labels: NDArray[np.generic]) -> NDArray[np.float32] | None:
        """Weights of the examples by their labels, float32[n]; None for equal weights.

        Raises:
            DataError: a label has no weight.
        """
        ...

    def each(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of each example, without weights.

        Args:
            outputs: float[n, k], outputs of the model.
            labels: int64[n] of classes, float32[n, k] of numbers, or int8[n, k] of several labels.

        Returns:
            float[n]
        """
        ...

    def predictions(self, outputs: torch.Tensor, target: str) -> torch.Tensor:
        """Predictions from the outputs: probabilities, or numbers in the labels' units; [n, k].

        Args:
            outputs: float[n, k], outputs of the model.
            target: name of the kind of the labels.
        """
        ...
