"""What a client does with the model: some steps on its own examples.

Fast paths come first (`fedavg.training.fast`); the autograd loop here takes every module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from fedavg.errors import DataError, PlanError
from fedavg.training.batches import served
from fedavg.training.fast import FAST_PATHS, STACKED
from fedavg.training.steps import Descent, forces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import nn

    from fedavg.training.job import TrainingJob

__all__ = ["local_update", "local_updates", "stackable", "train_by_autograd"]


def local_update(job: TrainingJob) -> NDArray[np.float64]:
    """Train from the broadcast model on one client's examples and return how far the parameters moved.

    Run by a client.  Training is in float32, so that Δ = trained − float32(start).  The number of
    threads is the caller's to set: for small models one is fastest.

    Args:
        job: the model, the examples and how to train.

    Returns:
        Δ, float64[d]; a function of the job alone.

    Raises:
        LocalProtocolError: `job.start` or the module does not fit the layout.
        DataError: examples that the module does not take, or labels beyond its outputs.
        PlanError: the module changed a buffer while training.
    """
    path = next((path for path in FAST_PATHS if path.takes(job)), None)
    return train_by_autograd(job) if path is None else path.run(job)


def stackable(job: TrainingJob) -> bool:
    """Return whether `local_updates` takes this job."""
    return STACKED.takes(job)


def local_updates(jobs: Sequence[TrainingJob]) -> list[NDArray[np.float64]]:
    """Train many clients at once.

    Each client's Δ is the one that `local_update` returns for this client alone, to the bit: its arithmetic
    does not depend on the number of clients (see `fedavg.training.fast.stacked`).

    Args:
        jobs: each of them `stackable`, with equally many examples; they differ in examples and seeds only.

    Returns:
        Δ, float64[d], for each job.
    """
    return STACKED.run_together(jobs)


def train_by_autograd(job: TrainingJob) -> NDArray[np.float64]:
    """`local_update` of any module, one step after the other."""
    model, layout = job.model, job.layout
    layout.load_vector(model, job.start)
    before = layout.flatten(model)
    parameters = [part for part in model.parameters() if part.requires_grad]
    origin = [part.detach().clone() for part in parameters] if job.training.proximal else []
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    acting = forces(lambda v: list(layout.unflatten(v).values()), job)
    descent = Descent(job.training, job.lr, origin, *acting)
    examples = torch.from_numpy(job.dataset.features), torch.from_numpy(job.dataset.labels)
    model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence(job.order).generate_state(1)[0]))  # noqa: TID251 - public seed
        for features, labels in served(*examples, job.batches()):
            loss = _loss(model, features, labels)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            with torch.no_grad():
                descent.step(parameters, gradients)
    _check_buffers(model, buffers)
    return np.subtract(layout.flatten(model), before)


def _check_buffers(model: nn.Module, before: dict[str, torch.Tensor]) -> None:
    for name, buffer in model.named_buffers():
        if not torch.equal(buffer, before[name]):
            raise PlanError(
                f"training changed the buffer {name!r}, which is no parameter: it would leave the "
                "client neither clipped nor averaged; use a layer without such state (GroupNorm or "
                "LayerNorm for BatchNorm, no spectral norm, no moving averages or counters)"
            )


def _loss(model: nn.Module, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    try:
        return functional.cross_entropy(model(features), labels)
    except (RuntimeError, IndexError) as error:
        raise DataError(
            f"the model does not take examples of shape {tuple(features.shape[1:])} with labels up "
            f"to {int(labels.max())}: {error}"
        ) from error
