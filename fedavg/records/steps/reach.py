"""How far one silo moves a step: bounds of public constants, whatever the silo holds or sends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedavg.records.resolution import ResolvedRecords

__all__ = ["Reach", "longest_mean", "reach_of"]

_EXCEPTION = 30 * math.log(2)  # longer honest noise has probability ≤ 2^−30 in each sum


@dataclass(frozen=True, slots=True)
class Reach:
    """Bounds on what one silo moves the mean gradient of a step by, in Euclidean norm.

    Args:
        honest: for a silo that follows the protocol, its noise aside: b_max·C ÷ divisor, and the rounding. It
            holds for a silo of any size.
        step: the norm to which the server shortens the mean of a sum. Honest silos stay below it, except with
            probability 2^−30 a sum. A silo that sends anything moves the mean by at most twice as much.
        withstood: number of bad groups that the plan's rule withstands. A silo that sends anything spoils one
            group. While at most so many are spoiled, each coordinate of the result lies between the values of
            the others. 0 without groups.

    Example:
        >>> Reach(honest=0.01, step=0.2, withstood=1).step
        0.2
    """

    honest: float
    step: float
    withstood: int


def longest_mean(resolution: ResolvedRecords, roster: int) -> float:
    """The longest mean that a sum of honest silos gives, except with probability 2^−30.

    Args:
        resolution: the resolved plan.
        roster: number of silos in the sum.
    """
    d = resolution.vector_length
    if resolution.sends_updates:
        return resolution.update_bound * math.sqrt(d) / resolution.update_scale
    # Sums and shares of noise are rounded once each, by up to ½ in every coordinate.
    sums = roster * (resolution.most_units * resolution.unit_norm + math.sqrt(d))
    # Laurent and Massart (2000), lemma 1: the square of a Gaussian's norm.
    square = d + 2 * math.sqrt(d * _EXCEPTION) + 2 * _EXCEPTION
    noise = math.sqrt(roster * resolution.account.share_variance(roster) * square)
    return (sums + noise) / units_of_mean(resolution, roster)


def units_of_mean(resolution: ResolvedRecords, roster: int) -> float:
    """Grid units of a sum over so many silos in one unit of its mean."""
    if resolution.sends_updates:
        return resolution.update_scale * (resolution.silos if _whole(resolution) else roster)
    # A group has its part of the public divisor. One sum of all has all of it, also if silos are missing.
    part = 1.0 if _whole(resolution) else roster / resolution.silos
    return resolution.scale * resolution.plan.divisor * part


def _whole(resolution: ResolvedRecords) -> bool:
    return resolution.plan.robust is None


def reach_of(resolution: ResolvedRecords) -> Reach:
    """How far one silo moves a step of a plan.

    Example:
        >>> import fedavg
        >>> from fedavg.records.resolution import resolve_records
        >>> privacy = fedavg.RecordPrivacy(unit="record", rate=0.01, clip=1.0, max_units=5000, epsilon=3.0)
        >>> plan = fedavg.RecordPlan(privacy=privacy, steps=100, divisor=500.0)
        >>> found = reach_of(resolve_records(plan, silos=10, vector_length=100))
        >>> found.honest < 0.3 < 3.0 < found.step < 4.0, found.withstood
        (True, 0)
    """
    privacy, d, n = resolution.plan.privacy, resolution.vector_length, resolution.silos
    robust = resolution.plan.robust
    step = max(longest_mean(resolution, size) for size in resolution.sizes)
    if resolution.sends_updates:
        honest = resolution.update_bound * math.sqrt(d) / resolution.update_scale / n
    else:
        rounding = math.sqrt(d) / 2 / resolution.scale
        honest = (resolution.most_units * privacy.clip + rounding) / resolution.plan.divisor
    return Reach(honest, step, 0 if robust is None else robust.withstood(robust.groups))
