"""Hand-written steps of McMahan's CNN: convolutions in the fastest layout for CPUs, fused dense layers.

A step of the dense layers (97 % of the parameters) is one product that adds in place. Autograd would first
compute a gradient as large as the model and then add it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedavg.models.zoo import McMahanCNN
from fedavg.training.fast.dense import DenseNet, through_relu
from fedavg.training.fast.interface import unhooked
from fedavg.training.fast.slopes import SOFTMAX, fits, output_slope
from fedavg.training.local.batches import served

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedavg.training.fast.slopes import Slope
    from fedavg.training.job import TrainingJob

__all__ = ["ConvNet", "ConvolutionalPath"]

_PIXELS = 28 * 28

_CONVOLUTIONS = 2
_POOL = (2, 2)
_pool = torch.ops.aten.max_pool2d_with_indices
_unpool = torch.ops.aten.max_pool2d_with_indices_backward
_slopes = torch.ops.aten.convolution_backward


class ConvNet:
    """Two convolutions that keep the size, each with ReLU and 2×2 max pooling, then dense layers.

    Args:
        flat: float32[d], the parameters; `descend` overwrites the dense layers' part, `store` the rest.
        shapes: shapes of the weight and bias of each layer, inputs first.
        slope: see `DenseNet`.
    """

    def __init__(
        self,
        flat: torch.Tensor,
        shapes: Sequence[tuple[int, ...]],
        slope: Slope = SOFTMAX,
    ) -> None:
        first, rest = shapes[: 2 * _CONVOLUTIONS], shapes[2 * _CONVOLUTIONS :]
        sizes = [math.prod(shape) for shape in first]
        *pieces, tail = flat.split([*sizes, flat.numel() - sum(sizes)])
        self._stored = [piece.view(shape) for piece, shape in zip(pieces, first, strict=True)]
        # The copies are updated in their own layout and written back once, by `store`.
        self._weights = [
            weight.to(memory_format=torch.channels_last, copy=True) for weight in self._stored[0::2]
        ]
        self._biases = self._stored[1::2]
        self._dense = DenseNet(tail, rest, slope=slope)

    def descend(self, images: torch.Tensor, targets: torch.Tensor, lr: float) -> None:
        """Take one step of plain SGD.

        Args:
            images: float32[n, 1, 28, 28].
            targets: float32[n, m], the targets of `slope`.
            lr: learning rate.
        """
        passed: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        hidden = images
        for weight, bias in zip(self._weights, self._biases, strict=True):
            active = torch.conv2d(hidden, weight, bias, padding=weight.shape[-1] // 2).relu_()
            pooled, places = _pool(active, _POOL, _POOL)
            passed.append((hidden, active, places))
            hidden = pooled
        signal = self._dense.descend_below(hidden.flatten(1), targets, lr)
        signal = signal.view(hidden.shape).contiguous(memory_format=torch.channels_last)
        scale = -lr / images.shape[0]
        for layer in reversed(range(_CONVOLUTIONS)):
            weight, bias, (inputs, active, places) = (
                self._weights[layer],
                self._biases[layer],
                passed[layer],
            )
            signal = _unpool(signal, active, _POOL, _POOL, (0, 0), (1, 1), False, places)
            signal = through_relu(signal, active, 0)
            pad = weight.shape[-1] // 2
            signal, slope, bias_slope = _slopes(
                signal,
                inputs,
                weight,
                [len(bias)],
                (1, 1),
                (pad, pad),
                (1, 1),
                False,
                (0, 0),
                1,
                # The images need no gradient, so none is computed below the lowest layer.
                (layer > 0, True, True),
            )
            weight.add_(slope, alpha=scale)
            bias.add_(bias_slope, alpha=scale)

    def store(self) -> None:
        """Write the convolutions back into the vector."""
        for stored, weight in zip(self._stored[0::2], self._weights, strict=True):
            stored.copy_(weight)


class ConvolutionalPath:
    """Plain SGD on McMahan's CNN, all of whose parameters are trained."""

    def takes(self, job: TrainingJob) -> bool:
        """See `FastPath.takes`."""
        model, data = job.model, job.dataset
        # A subclass may compute something else, so only the class itself is known.
        if type(model) is not McMahanCNN or not job.plain or not unhooked(model):
            return False
        if data.features[0].size != _PIXELS or not fits(job, model.output.out_features):
            return False
        return all(
            part.requires_grad and part.dtype == torch.float32 for part in model.parameters()
        )

    @torch.inference_mode()
    def run(self, job: TrainingJob) -> NDArray[np.float64]:
        """See `FastPath.run`."""
        begun, lr = job.layout.as_float32(job.start), job.lr
        flat = torch.empty(begun.size).copy_(torch.from_numpy(begun))
        targets, slope = output_slope(job, job.layout.shapes[-1][0])
        net = ConvNet(flat, job.layout.shapes, slope)
        images = torch.from_numpy(job.dataset.features).reshape(-1, 1, 28, 28)
        for inputs, wanted in served(images, targets, job.batches()):
            net.descend(inputs, wanted, lr)
            lr *= job.training.step_decay
        net.store()
        return np.subtract(flat.numpy(), begun, dtype=np.float64)
