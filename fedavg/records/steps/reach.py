"""How far one silo moves a step: bounds of public constants, for anything that the silo holds or sends."""

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
    """Bounds on what one silo moves the mean gradient of a step by, in Euclidean norm, at the largest clip.

    Args:
        honest: for a silo that follows the protocol, its noise aside: b_max·C ÷ divisor, and the rounding. It
            holds for a silo of any size. With groups the divisor is a group's part of it, in the smallest
            sum that a group may have: rules over groups may follow one group's mean all the way.
        step: the longest norm to which the server shortens the mean of a sum. Honest silos stay below it,
            except with probability 2^−30 a sum. A silo that sends anything moves the mean of its sum by at
            most twice as much.
        withstood: number of bad groups that the plan's rule withstands when all groups give a sum. A silo
            that sends anything spoils one group. While at most so many are spoiled, each coordinate of the
            result lies between the values of the others. 0 without groups.

    Example:
        >>> Reach(honest=0.01, step=0.2, withstood=1).step
        0.2
    """

    honest: float
    step: float
    withstood: int


def longest_mean(resolution: ResolvedRecords, roster: int, clip: float) -> float:
    """The longest mean that a sum of honest silos gives, except with probability 2^−30.

    Args:
        resolution: the resolved plan.
        roster: number of silos in the sum.
        clip: the step's clip.
    """
    d = resolution.vector_length
    if resolution.sends_updates:
        return resolution.update_bound * math.sqrt(d) / resolution.update_scale
    # Sums and shares of noise are rounded once each, by up to ½ in every coordinate.
    sums = roster * (resolution.most_units * resolution.gradient_norm + math.sqrt(d))
    # Laurent and Massart (2000), lemma 1: the square of a Gaussian's norm.
    square = d + 2 * math.sqrt(d * _EXCEPTION) + 2 * _EXCEPTION
    noise = math.sqrt(roster * resolution.account.share_variance(roster) * square)
    return (sums + noise) / units_of_mean(resolution, roster, clip)


def units_of_mean(resolution: ResolvedRecords, roster: int, clip: float) -> float:
    """Grid units of a sum over so many silos in one unit of its mean gradient, or mean update."""
    if resolution.sends_updates:
        return resolution.update_scale * (resolution.silos if _whole(resolution) else roster)
    # A group has its part of the public divisor. One sum of all has all of it, also if silos are missing.
    part = 1.0 if _whole(resolution) else roster / resolution.silos
    scale = resolution.scale / resolution.clipping.gradient_units(clip)
    return scale * resolution.plan.divisor * part


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
        >>> found.honest < 0.3 < 2.0 < found.step < 2.2, found.withstood
        (True, 0)
    """
    d, robust = resolution.vector_length, resolution.plan.robust
    # Silos may be missing, and a smaller sum has a smaller part of the divisor, and larger shares of noise.
    rosters = range(resolution.floor, resolution.summed + 1)
    clip = resolution.clipping.largest
    step = max(longest_mean(resolution, roster, clip) for roster in rosters)
    if resolution.sends_updates:
        own = resolution.update_bound * math.sqrt(d)
    else:
        own = resolution.most_units * resolution.gradient_norm + math.sqrt(d) / 2
    honest = own / min(units_of_mean(resolution, roster, clip) for roster in rosters)
    return Reach(honest, step, 0 if robust is None else robust.withstood(robust.groups))
