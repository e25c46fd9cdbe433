"""What a client does with the model: some steps on its own examples.

Fast paths come first (`fedavg.training.fast`); the autograd loop (`fedavg.training.autograd`) takes every
module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.training.autograd import train_by_autograd
from fedavg.training.fast import FAST_PATHS, STACKED

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.training.job import TrainingJob

__all__ = ["local_update", "local_updates", "stackable"]


def local_update(job: TrainingJob) -> NDArray[np.float64]:
    """Train from the broadcast model on one client's examples and return how far the parameters moved.

    Run by a client.  Steps are in float32, so that Δ = trained − float32(start).  The number of threads is
    the caller's to set: for small models one is fastest.

    Args:
        job: the model, the examples and how to train.

    Returns:
        Δ, float64[d]; a function of the job alone.

    Raises:
        LocalProtocolError: `job.start` or the module does not fit the layout.
        DataError: examples or labels that the model or the loss does not take.
        PlanError: the module changed a buffer while training, or nothing that is trained has a gradient.
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
