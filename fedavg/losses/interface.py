"""What a loss is.

A loss is a value without torch; the tensors come from whoever calls it.  It gives one number an example, and
the caller weighs and averages: the mean loss of n examples is Σ wᵢ·ℓᵢ ÷ n.  Weights that all are 1 give the
mean; a weight of 2 counts an example twice.  The divisor is the number of examples and not the sum of the
weights, so that a weight means the same in every batch and at every client: federated averaging by example
counts then descends Σ wᵢ·ℓᵢ over all clients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["ClosedForm", "Loss"]


class ClosedForm(Protocol):
    """A loss whose derivative by the model's outputs is known, so that fast paths can use it."""

    def wanted(self, labels: torch.Tensor, outputs: int) -> torch.Tensor:
        """What `slope` compares outputs with, float32[n, outputs], computed once for all steps.

        Args:
            labels: of a `fedavg.data.dataset.Dataset`.
            outputs: of the model.
        """
        ...

    def slope(self, outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """The derivative of each example's loss by the outputs, float32[…, outputs].

        It may overwrite `outputs`.
        """
        ...


class Loss(Protocol):
    """A number for each example that is the smaller, the better a model's outputs fit its label."""

    kind: ClassVar[str]
    """Its name in configurations."""

    targets: ClassVar[frozenset[str]]
    """Kinds of labels that it can be trained on: names of `fedavg.data.dataset.TargetKind`."""

    @property
    def closed_form(self) -> ClosedForm | None:
        """Its derivative in closed form, or None where only autograd can tell."""
        ...

    def check(self, labels: NDArray[np.generic], outputs: int) -> None:
        """Refuse labels that the loss of so many outputs is not defined for.

        Raises:
            DataError: with the first label at fault and the remedy.
        """
        ...

    def label_weights(self, labels: NDArray[np.generic]) -> NDArray[np.float32] | None:
        """Weights of the examples by their labels, float32[n], or None where all count alike.

        Raises:
            DataError: a label that has no weight.
        """
        ...

    def each(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of each example, without weights.

        Args:
            outputs: float[n, k], of the model.
            labels: int64[n] of classes, float32[n, k] of numbers, or int8[n, k] of several labels.

        Returns:
            float[n]
        """
        ...

    def predictions(self, outputs: torch.Tensor, target: str) -> torch.Tensor:
        """What the outputs say: probabilities of classes or labels, or numbers in the labels' units; [n, k].

        Args:
            outputs: float[n, k], of the model.
            target: the kind of the labels, by name.
        """
        ...
