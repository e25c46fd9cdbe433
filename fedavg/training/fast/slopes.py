"""Derivatives of a job's loss by a model's outputs, for paths with hand-written gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fedavg.errors import DataError
from fedavg.losses.classification import CrossEntropy

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from fedavg.training.job import TrainingJob

    Slope: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

__all__ = ["SOFTMAX", "fits", "output_slope"]

SOFTMAX: Slope = CrossEntropy().slope
"""The slope of cross-entropy, for one-hot rows."""


def fits(job: TrainingJob, outputs: int) -> bool:
    """Return whether hand-written paths can train a model with this number of outputs and the job's loss.

    A job whose labels do not fit goes to the autograd loop, which reports the error.
    """
    if job.training.custom or not job.compute.plain or job.loss.closed_form is None:
        return False
    try:
        job.loss.check(job.dataset.labels, outputs)
    except DataError:
        return False
    return True


def output_slope(job: TrainingJob, outputs: int) -> tuple[torch.Tensor, Slope]:
    """The targets, one row an example, and the derivative of each example's loss.

    Args:
        job: a job that `fits`.
        outputs: number of the model's outputs.

    Returns:
        float32[n, m], and a function of outputs float32[b, outputs] and the rows of a batch, float32[b, m].
    """
    form = job.loss.closed_form
    if form is None:
        raise DataError(f"the loss {job.loss.kind!r} has no derivative in closed form")
    wanted = form.wanted(torch.from_numpy(job.dataset.labels), outputs)
    if job.weights is None:
        return wanted, form.slope
    weights = torch.from_numpy(job.weights)[:, None]

    # The weights travel as one more column, so that batches take them along.
    def weighted(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return form.slope(values, rows[:, :-1]).mul_(rows[:, -1:])

    return torch.hstack([wanted, weights]), weighted
