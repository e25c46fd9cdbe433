"""Checks of a plan against its population: cohort sizes, honest noise, sums and noise that are possible."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Protocol

from dp import DpError
from fedavg.algorithms.blocks.deal import dealt_bounds
from fedavg.errors import CohortSizeError, GridError, PlanError
from fedavg.plan.deltas import too_large_delta
from fedavg.plan.remedies import in_words, smaller_rate
from secagg import SecAggError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedavg.plan.plan import Plan
    from fedavg.privacy.sampling import CohortBounds
    from fedavg.sums.interface import SecureSum, SumSpec

__all__ = [
    "check_drawable",
    "check_summable",
    "cohort_bounds",
    "honest_fraction",
    "noise_to_signal",
    "skipped_share",
    "warnings",
]

_COHORT_TAIL = 1e-12  # per round; enters δ
_RATIO_WARNING = 2.0  # noise norm ÷ largest possible signal norm, per round


class Derived(Protocol):
    """The members of a resolved plan that checks and warnings use."""

    @property
    def plan(self) -> Plan:
        """The parts."""
        ...

    @property
    def num_clients(self) -> int:
        """Size of the population."""
        ...

    @property
    def vector_length(self) -> int:
        """Parameters of the model."""
        ...

    @property
    def encoded_length(self) -> int:
        """Length of the summed vectors."""
        ...

    @property
    def noise_multiplier_added(self) -> float | None:
        """The noise multiplier in a round without drop-outs and colluders."""
        ...

    @property
    def expected_cohort(self) -> float:
        """Public expected cohort size."""
        ...

    @property
    def expected_roster(self) -> float:
        """Public expected size of the roster of one sum."""
        ...

    @property
    def bounds(self) -> CohortBounds:
        """Smallest and largest roster of a round."""
        ...

    def share_stddev(self, roster: int) -> float:
        """Standard deviation of one client's share."""
        ...

    def server_stddev(self, roster: int, survivors: int) -> float:
        """Standard deviation of what the server adds."""
        ...

    def spec(self, roster: int, context: bytes) -> SumSpec:
        """The secure sum of one round."""
        ...


def check_summable(resolution: Derived, again: Callable[[Plan], object]) -> None:
    """Ask the secure sum for parameters of the largest and of the smallest cohort.

    Args:
        resolution: the resolved plan.
        again: resolves another plan for the same population, to find a rate with smaller cohorts.

    Raises:
        PlanError: cohorts are too large for the secure sum; the message names a rate that is not.
        secagg.SecAggError, he.CapacityError, …: the secure sum has no such parameters.
    """
    plan, bounds = resolution.plan, resolution.bounds
    try:
        plan.secure_sum.check(resolution.spec(bounds.cap, b""))
    except SecAggError as error:
        remedy = smaller_rate(plan, again)
        if not remedy:
            raise
        raise PlanError(
            f"a round asks about {resolution.expected_cohort:,.0f} of {resolution.num_clients:,} clients, "
            f"and sometimes {bounds.cap:,}, too many for {plan.secure_sum.kind}{remedy} ({error})"
        ) from error
    plan.secure_sum.check(resolution.spec(max(bounds.floor, 1), b""))  # the smallest too


def check_drawable(resolution: Derived) -> None:
    """Draw once at each extreme strength, so that noise that cannot be drawn is refused before any charge."""
    noise, sums = resolution.plan.noise, resolution.plan.secure_sum
    if noise is None:
        return
    rosters = range(max(resolution.bounds.floor, 1), resolution.bounds.cap + 1)
    # The server adds most where only the smallest allowed number of clients survives.
    strengths = [resolution.server_stddev(n, sums.min_survivors(n)) for n in rosters]
    if noise.distributed:
        strengths += [resolution.share_stddev(n) for n in (rosters[0], rosters[-1])]
    # The range of strengths that can be drawn has no gaps, so the two extremes suffice.
    for stddev in {min(strengths), max(strengths)} - {0.0}:
        try:
            noise.sample(stddev, 1)
        except (DpError, ValueError, OverflowError) as error:
            finer = stddev < 1
            bits, how = resolution.plan.encoding.bits, "coarser" if finer else "finer"
            raise GridError(
                f"{noise.kind} noise of a standard deviation of {stddev:.3g} grid units cannot be drawn "
                f"({error}): the grid of {bits} bits is {how} than the noise needs; choose "
                f"{'more' if finer else 'fewer'} bits ([encoding] bits)",
                finer=finer,
            ) from error


def cohort_bounds(plan: Plan, num_clients: int, num_rounds: int) -> CohortBounds:
    """Smallest and largest roster of a round, for one population.

    Raises:
        CohortSizeError: cohorts are too small for the threat model, or their size is outside the bounds too
            often; the message says which rate or number of clients is enough.
    """
    try:
        return _sound_bounds(plan, num_clients, num_rounds)
    except CohortSizeError as error:
        check = functools.partial(_sound_bounds, num_rounds=num_rounds)
        raise CohortSizeError(f"{error}: {in_words(plan, num_clients, check)}") from None


def _sound_bounds(plan: Plan, num_clients: int, num_rounds: int) -> CohortBounds:
    floor = _floor(plan)
    count = 1 if plan.blocks is None else plan.blocks.count
    expected = plan.cohort.expected_size(num_clients) / count
    # Bounds would still exist, but about half of the rounds or more would be too small for a sum.
    if expected < floor:
        what = "a round" if plan.blocks is None else f"one block of {count}"
        noisy = plan.noise is not None and plan.noise.distributed
        raise CohortSizeError(
            f"{what} asks about {expected:g} of {num_clients:,} clients, too few: {plan.secure_sum.kind} "
            f"under its threat model needs {floor} or more"
            f"{', so that enough noise comes from honest clients' if noisy else ''}"
        )
    # Clients that drop out before the sum begins make the roster smaller than the cohort.
    attendance = 1 - plan.secure_sum.dropout_rate
    if plan.blocks is None:
        bounds = plan.cohort.bounds(num_clients, floor, _COHORT_TAIL, attendance)
    else:
        bounds = dealt_bounds(plan.cohort, count, num_clients, floor, _COHORT_TAIL, attendance)
    # Rosters outside may use up a hundredth of delta, so that they hardly cost epsilon.
    if plan.noise is not None and bounds.outside * num_rounds > plan.budget.delta / 100:
        raise CohortSizeError(
            f"a round asks about {expected:g} of {num_clients:,} clients, and their number is outside the "
            f"range {bounds.floor} … {bounds.cap}, where {plan.secure_sum.kind} is sound, with a probability "
            f"of {bounds.outside:.1e}; a delta of {plan.budget.delta:g} over {num_rounds:,} rounds allows "
            f"{plan.budget.delta / 100 / num_rounds:.0e}"
        )
    return bounds


def skipped_share(plan: Plan, num_clients: int, bounds: CohortBounds) -> float:
    """Share of the rounds that are skipped as too small; without noise, neighbours do not count."""
    if plan.blocks is not None:
        return bounds.outside
    attendance = 1 - plan.secure_sum.dropout_rate
    # The bounds also cover a population with one client less; bounds for one client more are this
    # population's.
    return plan.cohort.bounds(num_clients + 1, _floor(plan), _COHORT_TAIL, attendance).outside


def _floor(plan: Plan) -> int:
    floor = plan.secure_sum.smallest_cohort()
    if plan.noise is not None and plan.noise.distributed:
        return max(floor, _smallest_with_honest_noise(plan.secure_sum))
    return floor


def _smallest_with_honest_noise(sums: SecureSum) -> int:
    for n in range(1, 4096):
        # The server's epsilon of a client counts the noise of other honest survivors only, so one is taken
        # off.
        if sums.min_survivors(n) - sums.colluders(n) - 1 >= 1:
            return n
    raise PlanError("with this many drop-outs and colluders no honest noise is left")


def honest_fraction(sums: SecureSum, bounds: CohortBounds, fewer: int) -> float:
    """Guaranteed honest survivors ÷ roster: the smallest value over all cohort sizes of the run."""
    # The counts are rounded, so the ratio is not monotone in the roster, and all sizes are tried.
    return min(
        max(sums.min_survivors(n) - sums.colluders(n) - fewer, 0) / n
        for n in range(max(bounds.floor, 1), bounds.cap + 1)
    )


def noise_to_signal(resolution: Derived) -> float:
    """Noise norm ÷ norm of the longest possible sum of one round, or of its longest block: √d·z ÷ roster.

    Example: 1,970 parameters, z = 1.45 and 150 clients give 0.43; 199,210 parameters and 10 clients
    give 65.
    """
    added = resolution.noise_multiplier_added
    if added is None:
        return 0.0
    return math.sqrt(resolution.encoded_length) * added / resolution.expected_roster


def warnings(resolution: Derived) -> tuple[str, ...]:
    """What will disappoint although it is sound, one sentence each."""
    ratio = noise_to_signal(resolution)
    found: list[str] = []
    if ratio > _RATIO_WARNING:
        found.append(
            f"the noise is {ratio:.1f} times as long as the longest mean update "
            f"({resolution.vector_length:,} parameters, cohorts of about {resolution.expected_cohort:.0f}): "
            "client-level privacy needs many clients or a small model, this one will hardly learn"
        )
    if resolution.plan.noise is not None:
        loose = too_large_delta(resolution.plan.budget.delta, resolution.num_clients, "clients")
        found += [loose] if loose else []
    else:
        skipped = skipped_share(resolution.plan, resolution.num_clients, resolution.bounds)
        if skipped > 0.01:
            found.append(f"{skipped:.0%} of the rounds will be skipped as too small")
    return tuple(found)
