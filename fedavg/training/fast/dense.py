"""Hand-written gradients of dense layers, with parameters that are views of one vector.

The autograd loop spends two thirds of a small model's step outside matrix products.  Here a step of SGD is
W ← W − lr·(δᵀx)/n: one product that adds in place, without a tape, zeroing or copies.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from fedavg.models.zoo import FeedForward
from fedavg.training.fast.interface import unhooked
from fedavg.training.fast.slopes import SOFTMAX, fits, output_slope
from fedavg.training.local.batches import aligned, served
from fedavg.training.local.steps import Descent, forces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedavg.training.fast.slopes import Slope
    from fedavg.training.job import TrainingJob

__all__ = ["DenseNet", "DensePath", "known", "passed", "through_relu"]

through_relu = torch.ops.aten.threshold_backward  # in one pass: δ where the unit was active, else 0


class DenseNet:
    """Dense layers with ReLU between them.

    Args:
        flat: float32[d], the trained parameters, overwritten by `descend`.
        shapes: shapes of the trained parameters, inputs first; a weight, then its bias.
        held: one entry for each parameter of the net: the parameter if it is frozen, else None; () if all
            are trained.
        slope: derivative of each example's loss by the outputs (`output_slope`); by default that of
            cross-entropy.
    """

    def __init__(
        self,
        flat: torch.Tensor,
        shapes: Sequence[tuple[int, ...]],
        held: Sequence[torch.Tensor | None] = (),
        slope: Slope = SOFTMAX,
    ) -> None:
        self._slope = slope
        pieces = flat.split([math.prod(shape) for shape in shapes])
        moved = [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
        self._moves = [part is None for part in held] or [True] * len(moved)
        rest = iter(moved)
        parts = [next(rest) if part is None else part for part in held] if held else moved
        self.weights, self.biases = parts[0::2], parts[1::2]
        self._turned = [weight.mT for weight in self.weights]
        self._ones = torch.ones(0)
        self._hidden = list(zip(self._turned[:-1], self.biases[:-1], strict=True))
        self._last = self._turned[-1], self.biases[-1]
        moves = zip(self._moves[0::2], self._moves[1::2], strict=True)
        layers = zip(range(len(self.weights)), self.weights, self.biases, moves, strict=True)
        self._upwards = list(layers)[::-1]

    def errors(
        self, inputs: torch.Tensor, targets: torch.Tensor
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Every layer's inputs, and the gradient of n times the loss at its outputs.

        Args:
            inputs: float32[n, features].
            targets: float32[n, m], the targets of `slope`.
        """
        values = [inputs]
        for turned, bias in zip(self._turned[:-1], self.biases[:-1], strict=True):
            values.append(torch.addmm(bias, values[-1], turned).relu_())
        logits = torch.addmm(self.biases[-1], values[-1], self._turned[-1])
        errors = [self._slope(logits, targets)]
        for weight, value in zip(self.weights[:0:-1], values[:0:-1], strict=True):
            errors.append(through_relu(torch.mm(errors[-1], weight), value, 0))
        return values, errors[::-1]

    def descend(self, inputs: torch.Tensor, targets: torch.Tensor, lr: float) -> None:
        """Take one step of plain SGD, in place; a weight moves as soon as the error has passed through it."""
        count = inputs.shape[0]
        # The vector of ones is kept, since nearly all batches have one size.
        if self._ones.shape[0] != count:
            self._ones = torch.ones(count)
        ones, scale, hidden, values = self._ones, -lr / count, inputs, [inputs]
        for turned, bias in self._hidden:
            hidden = torch.addmm(bias, hidden, turned).relu_()
            values.append(hidden)
        turned, bias = self._last
        error = self._slope(torch.addmm(bias, hidden, turned), targets)
        for layer, weight, bias, (both, alone) in self._upwards:
            value, over = values[layer], error.mT
            # The error passes through the weight before the weight moves.
            if layer:
                error = through_relu(torch.mm(error, weight), value, 0)
            if both:
                weight.addmm_(over, value, alpha=scale)
            if alone:
                bias.addmv_(over, ones, alpha=scale)

    def descend_below(self, inputs: torch.Tensor, targets: torch.Tensor, lr: float) -> torch.Tensor:
        """Like `descend`; also return the gradient of n times the loss at the inputs, for earlier layers."""
        values, errors = self.errors(inputs, targets)
        signal = torch.mm(errors[0], self.weights[0])  # computed before the weights move
        # `keep` is 1 to add to the weights, and 0 to overwrite the last gradient.
        self._add(self, values, errors, keep=1, scale=-lr / inputs.shape[0])
        return signal

    def gradient(self, inputs: torch.Tensor, targets: torch.Tensor, into: DenseNet) -> None:
        """Write the gradient of the mean loss over `into`, a net of the same shapes."""
        values, errors = self.errors(inputs, targets)
        self._add(into, values, errors, keep=0, scale=1 / inputs.shape[0])

    def _add(
        self,
        into: DenseNet,
        values: list[torch.Tensor],
        errors: list[torch.Tensor],
        *,
        keep: int,
        scale: float,
    ) -> None:
        if self._ones.shape[0] != values[0].shape[0]:
            self._ones = torch.ones(values[0].shape[0])
        ones = self._ones
        moves = zip(self._moves[0::2], self._moves[1::2], strict=True)
        for (both, alone), weight, bias, value, error in zip(
            moves, into.weights, into.biases, values, errors, strict=True
        ):
            turned = error.mT
            if both:
                weight.addmm_(turned, value, beta=keep, alpha=scale)
            if alone:
                bias.addmv_(turned, ones, beta=keep, alpha=scale)


def passed(features: torch.Tensor, layers: Sequence[torch.Tensor]) -> torch.Tensor:
    """Outputs of frozen layers for all features, computed once for all steps.

    Args:
        features: float32[n, inputs].
        layers: weight, bias, weight, bias, …, inputs first.
    """
    features = aligned(features)
    for weight, bias in zip(layers[0::2], layers[1::2], strict=True):
        features = torch.addmm(bias, features, weight.mT).relu_()
    return features


def known(job: TrainingJob) -> FeedForward | None:
    """The job's model, if it consists of dense layers in float32 that fit the examples; else None."""
    model = job.model
    # Hooks run code that these formulas do not know.
    if type(model) is not FeedForward or not unhooked(model):
        return None
    layers = model.dense()
    if any(
        type(layer) is not nn.Linear for layer in layers
    ):  # a subclass, such as a parametrised layer
        return None
    if any(part.dtype != torch.float32 for part in model.parameters()):
        return None
    if job.dataset.features[0].size != layers[0].in_features:
        return None
    return model if fits(job, layers[-1].out_features) else None


def _outputs(model: nn.Module) -> int:
    *_, last = model.parameters()  # its bias
    return last.numel()


class DensePath:
    """Dense layers with ReLU between them, some of them frozen: gradients without a tape."""

    def takes(self, job: TrainingJob) -> bool:
        """See `FastPath.takes`."""
        return known(job) is not None

    @torch.inference_mode()
    def run(self, job: TrainingJob) -> NDArray[np.float64]:
        """See `FastPath.run`; all parameters are views of one vector."""
        held = [None if part.requires_grad else part.detach() for part in job.model.parameters()]
        lowest = held.index(None) // 2 * 2  # layers below are frozen, and need no gradient
        below = [part for part in held[:lowest] if part is not None]
        held = held[lowest:]
        begun = job.layout.as_float32(job.start)
        flat = torch.empty(begun.size).copy_(torch.from_numpy(begun))
        targets, slope_of = output_slope(job, _outputs(job.model))
        net = DenseNet(flat, job.layout.shapes, held, slope_of)
        features = passed(torch.from_numpy(job.dataset.features).flatten(1), below)
        examples = served(features, targets, job.batches())
        if job.plain:
            lr = job.lr
            for inputs, wanted in examples:
                net.descend(inputs, wanted, lr)
                lr *= job.training.step_decay
        else:
            acting = forces(lambda v: [torch.from_numpy(job.layout.as_float32(v))], job)
            descent = Descent(job.training, job.lr, [torch.from_numpy(begun)], *acting)
            slope = torch.empty_like(flat)
            into = DenseNet(slope, job.layout.shapes, held)
            for inputs, wanted in examples:
                net.gradient(inputs, wanted, into)
                descent.step([flat], [slope])
        return np.subtract(flat.numpy(), begun, dtype=np.float64)
