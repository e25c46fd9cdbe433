"""Whether a plan fits a population: sizes of cohorts, honest noise, and noise that can be drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dp import DpError
from fedavg.algorithms.blocks.deal import dealt_bounds
from fedavg.errors import PlanError

if TYPE_CHECKING:
    from fedavg.plan.plan import Plan
    from fedavg.privacy.sampling import CohortBounds
    from fedavg.sums.interface import SecureSum

__all__ = ["check_drawable", "cohort_bounds", "honest_fraction"]

_COHORT_TAIL = 1e-12  # per round; enters δ


class Drawn(Protocol):
    """What `check_drawable` asks of a resolved plan."""

    @property
    def plan(self) -> Plan:
        """The parts."""
        ...

    @property
    def bounds(self) -> CohortBounds:
        """Sizes between which a round runs."""
        ...

    def share_stddev(self, roster: int) -> float:
        """Standard deviation of one client's share."""
        ...

    def server_stddev(self, roster: int, survivors: int) -> float:
        """Standard deviation of what the server adds."""
        ...


def check_drawable(resolution: Drawn) -> None:
    """Draw once at the extreme strengths, so that noise that cannot be drawn is refused before any charge."""
    noise, sums = resolution.plan.noise, resolution.plan.secure_sum
    if noise is None:
        return
    rosters = range(max(resolution.bounds.floor, 1), resolution.bounds.cap + 1)
    strengths = [resolution.server_stddev(n, sums.min_survivors(n)) for n in rosters]
    if noise.distributed:
        strengths += [resolution.share_stddev(n) for n in (rosters[0], rosters[-1])]
    for stddev in {min(strengths), max(strengths)} - {0.0}:
        try:
            noise.sample(stddev, 1)
        except (DpError, ValueError, OverflowError) as error:
            raise PlanError(
                f"{noise.kind} noise of a standard deviation of {stddev:.3g} grid units cannot be drawn "
                f"({error}): the grid of {resolution.plan.encoding.bits} bits is finer than the noise "
                "needs; take fewer bits"
            ) from error


def cohort_bounds(plan: Plan, num_clients: int, num_rounds: int) -> CohortBounds:
    """Sizes between which a round runs, for one population.

    Raises:
        PlanError: cohorts too small for the threat model, or that fall outside too often.
    """
    floor = plan.secure_sum.smallest_cohort()
    if plan.noise is not None and plan.noise.distributed:
        floor = max(floor, _smallest_with_honest_noise(plan.secure_sum))
    count = 1 if plan.blocks is None else plan.blocks.count
    expected = plan.cohort.expected_size(num_clients) / count
    if expected < floor:
        what = "cohorts" if plan.blocks is None else f"rosters of one block of {count}"
        raise PlanError(
            f"{what} of about {expected:g} are too small: {plan.secure_sum.kind} under its threat "
            f"model needs at least {floor} clients a round; raise the rate or the number of "
            "clients, or assume fewer drop-outs and colluders"
        )
    attendance = 1 - plan.secure_sum.dropout_rate
    if plan.blocks is None:
        bounds = plan.cohort.bounds(num_clients, floor, _COHORT_TAIL, attendance)
    else:
        bounds = dealt_bounds(plan.cohort, count, num_clients, floor, _COHORT_TAIL, attendance)
    if plan.noise is not None and bounds.outside * num_rounds > plan.budget.delta / 100:
        raise PlanError(
            f"a roster falls outside {bounds.floor} … {bounds.cap} with probability "
            f"{bounds.outside:.1e} a round, too much for delta={plan.budget.delta:g}: "
            "raise the rate or the number of clients"
        )
    return bounds


def _smallest_with_honest_noise(sums: SecureSum) -> int:
    for n in range(1, 4096):
        if sums.min_survivors(n) - sums.colluders(n) - 1 >= 1:
            return n
    raise PlanError("with so many drop-outs and colluders no honest noise is left")


def honest_fraction(sums: SecureSum, bounds: CohortBounds, fewer: int) -> float:
    """Guaranteed honest survivors ÷ roster, the least over all cohort sizes of the run."""
    return min(
        max(sums.min_survivors(n) - sums.colluders(n) - fewer, 0) / n
        for n in range(max(bounds.floor, 1), bounds.cap + 1)
    )
