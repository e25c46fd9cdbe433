"""Canary units of one silo, and the records that an audit of people or records keeps of all silos."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fedavg.data.dataset import Dataset
from fedavg.errors import PlanError
from fedavg.records.clipped.gradients import Units, clipped_sum
from fedavg.records.silo import rounded
from fedavg.records.table import Silo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedavg.records.clipped.gradients import Gradients
    from fedavg.records.resolution import ResolvedRecords

__all__ = ["CanaryGradients", "Watched", "canary_silo"]

_LENGTH = 10.0  # length of a canary's gradient before clipping, in clip norms
_LARGEST = 1 << 24  # beyond it, a whole number is not exact in float32


def canary_silo(count: int, like: Dataset, *, by_person: bool) -> Silo:
    """A silo of so many canaries: units of the shapes of a table, whose features hold their numbers.

    Args:
        count: number of canaries, each one unit of one row.
        like: another silo's records, of which only shapes and kinds are read.
        by_person: whether the plan protects persons.

    Raises:
        PlanError: the rows hold no number at all.

    Example:
        >>> table = Dataset(np.ones((5, 2, 2)), np.array([0, 1, 1, 0, 1]))
        >>> canary_silo(3, table, by_person=False).records.features[:, 0, 0].tolist()
        [0.0, 1.0, 2.0]
    """
    shape = like.features.shape[1:]
    if not np.prod(shape) or count > _LARGEST:
        raise PlanError(f"{count} canaries cannot be numbered in rows of shape {list(shape)}")
    features = np.zeros((count, *shape), like.features.dtype)
    features.reshape(count, -1)[:, 0] = np.arange(count)
    labels = np.repeat(like.labels[:1], count, axis=0)
    return Silo(Dataset(features, labels, like.target), np.arange(count) if by_person else None)


class CanaryGradients:
    """Gradients of canaries: each has a direction of its own, deliberately too long, for every model.

    The package's own clipping shortens them, so that it is part of what is audited.

    Args:
        directions: float32[canaries, d], of norm 1, in the order of the canaries' numbers.
    """

    def __init__(self, directions: NDArray[np.float32]) -> None:
        self._directions = torch.from_numpy(directions)

    def at(self, vector: NDArray[np.floating]) -> None:
        """Take a model; the gradients do not depend on it."""

    def clipped_sum(
        self, units: Units, clip: float, *, balanced: bool = False
    ) -> NDArray[np.float64]:
        """See `Gradients.clipped_sum`."""
        numbers = units.features[:, 0].reshape(len(units.drawn), -1)[:, 0].long()
        own = self._directions[numbers] * (_LENGTH * clip)
        return clipped_sum(own, units.drawn, clip, balanced=balanced)

    def longest(self, clip: float) -> float:
        """Norm of the first canary after clipping ÷ the clip."""
        first = self._directions[:1] * (_LENGTH * clip)
        return (
            float(np.linalg.norm(clipped_sum(first, torch.ones(1, dtype=torch.bool), clip))) / clip
        )


class Watched:
    """Gradients of one silo that remember the sum of the silo's last draw, as a silo computes it.

    Differential privacy supposes an attacker who knows all other units and their coins.

    Args:
        inner: the silo's gradients.
    """

    def __init__(self, inner: Gradients) -> None:
        self._inner = inner
        self._total: NDArray[np.float64] | None = None
        self._clip = 1.0

    def at(self, vector: NDArray[np.floating]) -> None:
        """Begin another draw."""
        self._total = None
        self._inner.at(vector)

    def clipped_sum(
        self, units: Units, clip: float, *, balanced: bool = False
    ) -> NDArray[np.float64]:
        """See `Gradients.clipped_sum`."""
        found = self._inner.clipped_sum(units, clip, balanced=balanced)
        self._clip = clip
        # In the order in which the silo adds its micro-batches, so that the rounding is the same.
        self._total = found.copy() if self._total is None else self._total + found
        return found

    def vector(self, resolution: ResolvedRecords) -> NDArray[np.int64]:
        """The silo's rounded vector of its last draw, as it is summed, without noise."""
        if self._total is None:
            raise PlanError("a silo drew nothing: there is nothing to audit")
        vector = resolution.clipping.vector(self._total, self._clip)
        return rounded(vector, resolution.scale, resolution.clamp)
