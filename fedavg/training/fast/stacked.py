"""Small models of many clients trained at once: parameters stacked, products batched.

A step of a few thousand parameters is mostly what surrounds its products, and that is spent once for all
clients of a stack.  Larger models do not gain: a stack of them leaves the cache.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from fedavg.training.fast.dense import known, through_relu

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedavg.data.dataset import Dataset
    from fedavg.optimizers.local import LocalTraining
    from fedavg.training.job import TrainingJob

__all__ = ["StackedPath"]

_LARGEST_MODEL = 8192  # parameters
_LARGEST_COPY = 1 << 18  # numbers that one client's examples make over all steps
_STACK = 1 << 20  # numbers of all examples of a stack


class StackedPath:
    """Small dense models under plain SGD, alone or many clients at once."""

    def takes(self, job: TrainingJob) -> bool:
        """See `FastPath.takes`: the same in every process and company, as rounding must be."""
        if job.layout.size > _LARGEST_MODEL or not job.plain:
            return False
        model = known(job)
        if model is None or not all(part.requires_grad for part in model.parameters()):
            return False
        return _numbers(job.dataset, job.training) <= _LARGEST_COPY

    def run(self, job: TrainingJob) -> NDArray[np.float64]:
        """See `FastPath.run`."""
        return self.run_together([job])[0]

    @torch.inference_mode()
    def run_together(self, jobs: Sequence[TrainingJob]) -> list[NDArray[np.float64]]:
        """Train clients that are sent one model and have equally many examples each.

        Args:
            jobs: at least one, each of them taken; they differ in their examples and seeds only.

        Returns:
            Δ, float64[d], for each client; it does not depend on who else is in the stack.
        """
        begun = jobs[0].layout.as_float32(jobs[0].start)
        height = max(1, _STACK // _numbers(jobs[0].dataset, jobs[0].training))
        updates: list[NDArray[np.float64]] = []
        for low in range(0, len(jobs), height):
            flat = _descend(begun, jobs[low : low + height])
            updates += list(np.subtract(flat.numpy(), begun, dtype=np.float64))
        return updates


def _numbers(dataset: Dataset, training: LocalTraining) -> int:
    batch = min(training.batch_size or len(dataset), len(dataset))
    return training.steps_for(len(dataset)) * batch * dataset.features[0].size


def _descend(begun: NDArray[np.float32], jobs: Sequence[TrainingJob]) -> torch.Tensor:
    datasets, layout, lr = [job.dataset for job in jobs], jobs[0].layout, jobs[0].lr
    orders = [list(job.batches()) for job in jobs]
    flat = torch.from_numpy(begun).repeat(len(datasets), 1)
    pieces = flat.split([math.prod(shape) for shape in layout.shapes], dim=1)
    weights = [
        piece.view(-1, *shape)
        for piece, shape in zip(pieces[0::2], layout.shapes[0::2], strict=True)
    ]
    biases = [piece.unsqueeze(1) for piece in pieces[1::2]]
    everything = torch.arange(len(datasets[0]))
    chosen = [
        torch.cat([everything if batch is None else batch for batch in order]) for order in orders
    ]
    sizes = [len(everything) if batch is None else len(batch) for batch in orders[0]]
    inputs = torch.stack(
        [
            torch.from_numpy(data.features).flatten(1).index_select(0, order)
            for data, order in zip(datasets, chosen, strict=True)
        ]
    )
    labels = torch.stack(
        [
            torch.from_numpy(data.labels).index_select(0, order)
            for data, order in zip(datasets, chosen, strict=True)
        ]
    )
    targets = functional.one_hot(labels, biases[-1].shape[-1]).float()
    for batch, truth in zip(inputs.split(sizes, 1), targets.split(sizes, 1), strict=True):
        _step(weights, biases, batch, truth, lr)
        lr *= jobs[0].training.step_decay
    return flat


def _step(
    weights: Sequence[torch.Tensor],
    biases: Sequence[torch.Tensor],
    inputs: torch.Tensor,
    targets: torch.Tensor,
    lr: float,
) -> None:
    """As `dense.DenseNet.descend`, for all clients: [clients, n, width]."""
    values = [inputs]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        values.append(torch.baddbmm(bias, values[-1], weight.mT).relu_())
    logits = torch.baddbmm(biases[-1], values[-1], weights[-1].mT)
    errors = [torch.softmax(logits, 2).sub_(targets)]
    for weight, value in zip(weights[:0:-1], values[:0:-1], strict=True):
        errors.append(through_relu(torch.bmm(errors[-1], weight), value, 0))
    scale = -lr / inputs.shape[1]
    for weight, bias, value, error in zip(weights, biases, values, errors[::-1], strict=True):
        weight.baddbmm_(error.mT, value, alpha=scale)
        bias.add_(error.sum(1, keepdim=True), alpha=scale)
