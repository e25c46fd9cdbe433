"""Parts as a stranger would write them, in a module that worker processes have to import."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from fedavg.parts import Part, register

if TYPE_CHECKING:
    from torch import nn

    from fedavg.optimizers.custom import Batch, Examples, LoopContext


@register("loss")
class FourthPower(Part, frozen=True, tag="fourth-power"):
    """(output − one-hot)⁴ of classes."""

    weight: float = 1.0

    kind: ClassVar[str] = "fourth-power"
    targets: ClassVar[frozenset[str]] = frozenset({"classes"})

    @property
    def closed_form(self) -> None:
        """None."""

    def check(self, labels, outputs) -> None:
        """Nothing to refuse."""

    def label_weights(self, labels) -> None:
        """No weights."""

    def each(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """float[n]."""
        wanted = torch.nn.functional.one_hot(labels, outputs.shape[1])
        return self.weight * (outputs - wanted).pow(4).mean(1)

    def predictions(self, outputs: torch.Tensor, target: str) -> torch.Tensor:
        """By softmax."""
        del target
        return outputs.softmax(1)


def halved(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Half the cross-entropy."""
    return torch.nn.functional.cross_entropy(outputs, labels, reduction="none") / 2


def step(model: nn.Module, batch: Batch) -> torch.Tensor:
    """The plan's loss, doubled."""
    return 2 * batch.mean(batch.loss.each(model(batch.features), batch.labels))


def loop(model: nn.Module, examples: Examples, context: LoopContext) -> None:
    """One epoch of torch's own SGD."""
    optimiser = torch.optim.SGD(model.parameters(), lr=context.lr)
    batch = examples.batch(slice(None))
    optimiser.zero_grad()
    batch.mean(batch.loss.each(model(batch.features), batch.labels)).backward()
    optimiser.step()


def spread(labels, predicted) -> float:
    """A metric: how far the predictions of the first output reach."""
    del labels
    return float(predicted[:, 0].max() - predicted[:, 0].min())


__all__ = ["FourthPower", "halved", "loop", "spread", "step"]
