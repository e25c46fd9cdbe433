"""Local training: a client takes some steps on its own examples.

Fast paths (`fedavg.training.fast`) are tried first; the autograd loop (`fedavg.training.local.autograd`)
accepts every module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.training.fast import FAST_PATHS, STACKED
from fedavg.training.local.autograd import train_by_autograd

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.training.job import TrainingJob

__all__ = ["local_update", "local_updates", "stackable"]


def local_update(job: TrainingJob) -> NDArray[np.float64]:
    """Train from the broadcast model on one client's examples and return the change of the parameters.

    Run by a client.  Steps are in float32, so that Δ = trained − float32(start).  The caller sets the number
    of threads; for small models one is fastest.

    Args:
        job: the model, the examples and the training.

    Returns:
        Δ, float64[d]; a function of the job alone.

    Raises:
        LocalProtocolError: `job.start` or the module does not fit the layout.
        DataError: the model or the loss does not accept the examples or labels.
        PlanError: the module changed a buffer while training, or no trained parameter has a gradient.
    """
    path = next((path for path in FAST_PATHS if path.takes(job)), None)
    return train_by_autograd(job) if path is None else path.run(job)


def stackable(job: TrainingJob) -> bool:
    """Return whether `local_updates` accepts this job."""
    return STACKED.takes(job)


def local_updates(jobs: Sequence[TrainingJob]) -> list[NDArray[np.float64]]:
    """Train many clients at once.

    Each client's Δ equals, to the bit, the one that `local_update` returns for this client alone: its
    arithmetic does not depend on the number of clients (see `fedavg.training.fast.stacked`).

    Args:
        jobs: `stackable` jobs with equally many examples, which differ only in their examples and seeds.

    Returns:
        Δ, float64[d], for each job.
    """
    return STACKED.run_together(jobs)
