"""Losses for numbers: the mean over a model's outputs, so that losses do not grow with their number."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from fedavg.errors import ConfigError, DataError
from fedavg.parts import Part, register

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["Huber", "MeanAbsoluteError", "MeanSquaredError", "Poisson"]


class _OfNumbers(Part, frozen=True):
    """The common part of losses for numbers: the checks, and no weights by label."""

    targets: ClassVar[frozenset[str]] = frozenset({"numbers"})

    def check(self, labels: NDArray[np.generic], outputs: int) -> None:
        """See `Loss.check`."""
        if labels.ndim != 2 or labels.shape[1] != outputs:
            raise DataError(
                f"labels of shape {list(labels.shape)} need a model with {labels.shape[-1]} outputs, "
                f"but this one has {outputs}"
            )

    def label_weights(self, labels: NDArray[np.generic]) -> None:
        """See `Loss.label_weights`: None, since all labels have equal weight."""
        del labels

    def wanted(self, labels: torch.Tensor, outputs: int) -> torch.Tensor:
        """See `ClosedForm.wanted`: the labels themselves."""
        return labels.reshape(-1, outputs).float()

    def predictions(self, outputs: torch.Tensor, target: str) -> torch.Tensor:
        """See `Loss.predictions`: the outputs themselves."""
        del target
        return outputs


@register("loss")
class MeanSquaredError(_OfNumbers, frozen=True, tag="mse"):
    """(output − label)², averaged over the outputs; its minimum is at the mean.

    Example:
        >>> MeanSquaredError().targets
        frozenset({'numbers'})
    """

    kind: ClassVar[str] = "mse"

    @property
    def closed_form(self) -> MeanSquaredError:
        """The loss itself."""
        return self

    def each(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See `Loss.each`."""
        return (outputs - labels).square().mean(1)

    def slope(self, outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """See `ClosedForm.slope`."""
        return (outputs - wanted).mul_(2 / outputs.shape[-1])


@register("loss")
class MeanAbsoluteError(_OfNumbers, frozen=True, tag="mae"):
    """|output − label|, averaged over the outputs; its minimum is at the median."""

    kind: ClassVar[str] = "mae"

    @property
    def closed_form(self) -> MeanAbsoluteError:
        """The loss itself."""
        return self

    def each(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See `Loss.each`."""
        return (outputs - labels).abs().mean(1)

    def slope(self, outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """See `ClosedForm.slope`."""
        return (outputs - wanted).sign_().div_(outputs.shape[-1])


@register("loss")
class Huber(_OfNumbers, frozen=True, tag="huber"):
    """½·r² where the residual |r| is at most delta, and delta·(|r| − ½·delta) beyond (Huber 1964).

    Args:
        delta: threshold, positive, in the units of the labels.

    Raises:
        ConfigError: delta is not positive.

    Example:
        >>> Huber(delta=2.0).delta
        2.0
    """

    delta: float = 1.0

    kind: ClassVar[str] = "huber"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.delta) and self.delta > 0):
            raise ConfigError(f"delta must be positive, not {self.delta!r}")

    @property
    def closed_form(self) -> Huber:
        """The loss itself."""
        return self

    def each(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See `Loss.each`."""
        size = (outputs - labels).abs()
        # With the smaller of |r| and delta, one formula serves both cases.
        near = size.clamp_max(self.delta)
        return (near * (size - near / 2)).mean(1)

    def slope(self, outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """See `ClosedForm.slope`."""
        return (outputs - wanted).clamp_(-self.delta, self.delta).div_(outputs.shape[-1])


@register("loss")
class Poisson(_OfNumbers, frozen=True, tag="poisson"):
    """exp(output) − label·output, for counts: the model's output is the logarithm of the expected count.

    This is the negative log-likelihood without the term that depends on the label alone; it may be negative.
    """

    kind: ClassVar[str] = "poisson"

    @property
    def closed_form(self) -> Poisson:
        """The loss itself."""
        return self

    def check(self, labels: NDArray[np.generic], outputs: int) -> None:
        """See `Loss.check`; counts must not be negative."""
        super().check(labels, outputs)
        # For a negative label the loss has no minimum.
        if float(labels.min()) < 0:
            raise DataError(
                f"the loss 'poisson' is for counts, but there is a label {float(labels.min()):g}: use "
                "'mse' or 'huber' for numbers that can be negative"
            )

    def each(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See `Loss.each`."""
        return (outputs.exp() - labels * outputs).mean(1)

    def slope(self, outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """See `ClosedForm.slope`."""
        return outputs.exp().sub_(wanted).div_(outputs.shape[-1])

    def predictions(self, outputs: torch.Tensor, target: str) -> torch.Tensor:
        """See `Loss.predictions`: expected counts."""
        del target
        return outputs.exp()
