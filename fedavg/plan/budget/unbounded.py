"""Why a setting has no epsilon, in words, and the noise that is enough for one."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

from dp import DpError
from fedavg.errors import PlanError
from fedavg.plan.budget.planner import answer, planned

if TYPE_CHECKING:
    from collections.abc import Callable

    from dp import FailureEvent
    from fedavg.plan.budget.planner import BudgetAnswer

__all__ = ["ceiling", "enough_noise", "why_no_bound", "why_unbounded"]

_MOST = 1e4
_STEPS = 7


@functools.lru_cache(maxsize=8)
def why_no_bound(found: BudgetAnswer) -> tuple[str, ...]:
    """The reasons why an answer has no bound for one observer or for both, with the remedies; () if it has.

    Args:
        found: an answer.

    Example:
        >>> from fedavg.plan.budget.planner import Scenario
        >>> why_no_bound(answer(Scenario(), 1.3))
        ()
    """
    setting, noise = found.setting, found.noise_multiplier
    told: list[str] = []
    if math.isinf(found.release.high):
        failure = planned(setting, noise).failure()
        limit = ceiling(setting.delta_used, failure, setting.rounds)
        enough = enough_noise(
            lambda z: math.isfinite(answer(setting, z, server=False).release.high), noise
        )
        told.append(why_unbounded("the released models", setting.delta_used, limit, enough))
    if found.server is not None and math.isinf(found.server):
        failure = planned(setting, noise).server_failure()
        limit = ceiling(setting.delta_used, failure, found.participations)

        def finite(z: float) -> bool:
            seen = planned(setting, z).server_epsilon(found.participations)
            return seen is not None and math.isfinite(seen)

        told.append(
            why_unbounded("the server", setting.delta_used, limit, enough_noise(finite, noise))
        )
    return tuple(told)


def ceiling(delta: float, failure: FailureEvent, count: int) -> float:
    """The ε at which failures alone use up δ: no ε beyond it can be claimed (docs/privacy.md §7).

    Args:
        delta: δ.
        failure: failures of one release.
        count: number of releases.

    Example:
        >>> from dp import FailureEvent
        >>> round(ceiling(1e-5, FailureEvent(1e-20), 10), 1)
        32.2
    """
    # Failures of the tables count times 1 + e^epsilon, shared failures once (docs/privacy.md §7).
    left = delta - count * failure.shared
    if left <= 0:
        return 0.0
    if failure.probability == 0:
        return math.inf
    return math.log(max(left / (count * failure.probability) - 1, 1.0))


def enough_noise(bounded: Callable[[float], bool], noise_multiplier: float) -> float | None:
    """The smallest noise multiplier with a bound, rounded up to two digits; None where none is found.

    Args:
        bounded: whether a noise multiplier has a bound; it may raise where it cannot be used.
        noise_multiplier: one that has none.

    Example:
        >>> enough_noise(lambda noise: noise >= 0.834, 0.5)
        0.84
    """

    def fits(multiplier: float) -> bool:
        try:
            return bounded(multiplier)
        except (DpError, PlanError):
            return False

    low, high = noise_multiplier, 2 * noise_multiplier
    while not fits(high):
        low, high = high, 2 * high
        if high > _MOST:
            return None
    for _ in range(_STEPS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if fits(middle) else (middle, high)
    # Rounding up to two digits keeps the number on the side that has a bound.
    unit = 10.0 ** (math.floor(math.log10(high)) - 1)
    return float(f"{math.ceil(high / unit) * unit:.2g}")


def why_unbounded(who: str, delta: float, limit: float, enough: float | None) -> str:
    """The reason and the remedy, as sentences.

    Args:
        who: the observer, such as "the server".
        delta: δ.
        limit: the `ceiling`.
        enough: a noise multiplier that has a bound; None for no advice.

    Example:
        >>> why_unbounded("the server", 1e-5, 41.43, 0.84)[:48]
        'There is no bound for the server: with so little'
    """
    remedy = (
        "Take more noise, or fewer rounds"
        if enough is None
        else f"A noise multiplier of {enough:g} or more has a bound, and so may fewer rounds"
    )
    return (
        f"There is no bound for {who}: with so little noise epsilon would be more than {limit:.1f}, where "
        f"the rounding in the tables that noise is drawn from uses up a delta of {delta:g}. {remedy}."
    )
