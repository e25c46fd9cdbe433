"""The mean of a step, from the sums of its groups: decoded, shortened to a public norm, and combined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedavg.records.steps.reach import longest_mean, units_of_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedavg.records.resolution import ResolvedRecords

__all__ = ["OpenedSum", "StepMean", "mean_of"]


@dataclass(frozen=True, slots=True, eq=False)
class OpenedSum:
    """One secure sum of a step.

    Args:
        total: int64[d], the sum in grid units.
        roster: number of silos in it.
        group: number of the group; None if the step has one sum.
    """

    total: NDArray[np.int64]
    roster: int
    group: int | None


@dataclass(frozen=True, slots=True, eq=False)
class StepMean:
    """The change of the model that a step asks for.

    Args:
        delta: float64[d], minus the mean gradient, or the mean update.
        shortened: number of sums that were longer than honest silos can make them.
        balance: float64[0 or 1], what the mean vector holds after the gradient, by which the clip moves.
    """

    delta: NDArray[np.float64]
    shortened: int
    balance: NDArray[np.float64]


def mean_of(resolution: ResolvedRecords, sums: Sequence[OpenedSum], clip: float) -> StepMean:
    """Decode the sums of a step, shorten each mean to its public norm, and combine them by the plan's rule.

    All of it is computed from released sums, and so costs no privacy. Shortening changes the sum of honest
    silos with probability 2^−30 at most.

    Args:
        resolution: the resolved plan.
        sums: the sum of all silos, or those of the groups.
        clip: the step's clip.
    """
    sign, shortened = (1.0 if resolution.sends_updates else -1.0), 0
    means, d = np.empty((len(sums), resolution.summed_length)), resolution.vector_length
    for place, opened in enumerate(sums):
        units = units_of_mean(resolution, opened.roster, clip)
        mean = opened.total[:d] / (sign * units)
        limit, norm = longest_mean(resolution, opened.roster, clip), float(np.linalg.norm(mean))
        means[place, :d] = mean * min(1.0, limit / max(norm, limit))
        # In units of the vector: what is beside the gradient is not divided by the clip.
        means[place, d:] = opened.total[d:] / (units * resolution.clipping.gradient_units(clip))
        shortened += norm > limit
    rule = resolution.plan.robust
    found = means[0] if rule is None else rule.combined(means)
    return StepMean(found[:d], shortened, found[d:])
