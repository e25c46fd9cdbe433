"""Features computed once for all examples of a table, and modules that compute them before a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from fedavg.errors import PlanError
from fedavg.parts.imports import blamed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fedavg.models.features.interface import FixedFeatures

__all__ = ["FeaturedModel", "computed"]

_AT_ONCE = 64  # images whose wavelet coefficients are in memory together
_TOLERANCE = 1e-4


def computed(features: FixedFeatures, examples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The features of all examples, float32[n, ...].

    Args:
        features: the fixed features.
        examples: float32[n, ...], n ≥ 1.

    Raises:
        PlanError: there are no such features of these examples, or an example's features depend on the
            examples beside it.
        DataError: the module raises an error.

    Example:
        >>> import numpy as np
        >>> from fedavg import Scattering
        >>> computed(Scattering(), np.zeros((5, 64), np.float32)).shape
        (5, 324)
    """
    module = features.module(examples.shape[1:]).eval()
    rows = torch.tensor(examples)  # a copy, since the module may write to its input
    with torch.no_grad(), blamed(lambda: f"the features {features.kind!r}"):
        _check_alone(module, torch.zeros_like(rows[:1]))
        return torch.cat([module(part) for part in rows.split(_AT_ONCE)]).numpy()


def _check_alone(module: nn.Module, blank: torch.Tensor) -> None:
    """Refuse features of an example that change with the example beside it; no record is read."""
    first = torch.sin(torch.arange(blank.numel()).float()).reshape(blank.shape).abs()
    found = [module(torch.cat([first, other]))[0] for other in (blank, 1 - first)]
    if not torch.allclose(*found, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise PlanError(
            "the features of one record depend on the other records of its batch, so that clipping bounds "
            "nothing: use features of single records"
        )


class FeaturedModel(nn.Module):
    """A model behind fixed features: from examples to outputs.

    Args:
        features: the fixed features' module.
        head: the trained model.
    """

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.features, self.head = features, head

    def forward(self, examples: torch.Tensor) -> torch.Tensor:
        """Return the head's outputs for the features of float32[n, ...]."""
        return self.head(self.features(examples))
