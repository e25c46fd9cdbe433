"""The interface of a fast path: training without autograd, for models whose gradients it computes itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from fedavg.training.job import TrainingJob

__all__ = ["FastPath", "unhooked"]

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class FastPath(Protocol):
    """A way to train some models faster than by autograd, with the same result up to rounding."""

    def takes(self, job: TrainingJob) -> bool:
        """Return whether `run` can do this job.

        The answer depends on the job alone.  A job that does not fit the model is refused here, so that the
        autograd loop reports the error.
        """
        ...

    def run(self, job: TrainingJob) -> NDArray[np.float64]:
        """Return Δ, float64[d]; a function of the job alone."""
        ...


def unhooked(model: nn.Module) -> bool:
    """Return whether a forward pass runs only the code of the modules' classes.

    Hooks run further code, which a fast path would leave out.
    """
    return not any(getattr(part, hooks, None) for part in model.modules() for hooks in _HOOKS)
