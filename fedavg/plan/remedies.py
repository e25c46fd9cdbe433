"""Remedies, in numbers, for plans whose cohorts are too small or too large to be sound."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from dp import DpError
from fedavg.errors import FedAvgError
from he import HeError
from secagg import SecAggError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedavg.plan.plan import Plan

__all__ = ["enough_clients", "enough_rate", "in_words", "smaller_rate"]

_MOST_CLIENTS = 10_000_000
_STEPS = 140  # of 5 % each, down to a thousandth
_TOLD = (FedAvgError, DpError, SecAggError, HeError)


def enough_rate(
    plan: Plan, num_clients: int, check: Callable[[Plan, int], object]
) -> tuple[Plan, float] | None:
    """The smallest rate, to one part in a hundred, at which the plan passes a check.

    Args:
        plan: a plan that does not pass the check.
        num_clients: size of the population, which stays fixed.
        check: raises where a plan does not fit a number of clients.

    Returns:
        The plan at that rate, and the rate; None if no rate is enough, or if the cohort has no rate.
    """
    if "rate" not in getattr(plan.cohort, "__struct_fields__", ()):
        return None

    def at(percent: int) -> Plan:
        cohort = msgspec.structs.replace(plan.cohort, rate=percent / 100)  # pyright: ignore[reportArgumentType] - it has that field
        return replace(plan, cohort=cohort)

    # Whole percents are searched, which keeps the number short.
    low, high = 0, 100
    if not _passes(at(high), num_clients, check):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _passes(at(middle), num_clients, check) else (middle, high)
    return at(high), high / 100


def enough_clients(
    plan: Plan, num_clients: int, check: Callable[[Plan, int], object]
) -> int | None:
    """The smallest number of clients, rounded up to two digits, with which the plan passes a check.

    Args:
        plan: a plan that does not pass the check with so few clients.
        num_clients: size of the population, which is too small.
        check: raises where a plan does not fit a number of clients.

    Returns:
        The number of clients; None if ten million are not enough.
    """
    # The check failed with the present number, which is therefore the lower end.
    low, high = num_clients, 2 * num_clients
    while not _passes(plan, high, check):
        low, high = high, 2 * high
        if high > _MOST_CLIENTS:
            return None
    while high - low > max(high // 100, 1):
        middle = (low + high) // 2
        low, high = (low, middle) if _passes(plan, middle, check) else (middle, high)
    # Two digits are easy to read; rounding goes up, the side on which the check passes.
    unit = 10 ** max(len(str(high)) - 2, 0)
    return math.ceil(high / unit) * unit


def smaller_rate(plan: Plan, check: Callable[[Plan], object]) -> str:
    """A rate, to two digits, at which cohorts are small enough, as the end of a sentence.

    Args:
        plan: whose cohorts are too large for its secure sum.
        check: raises where a plan does not fit.

    Returns:
        "" where no rate is found, or where the cohort has none.
    """
    rate = getattr(plan.cohort, "rate", None)
    if not isinstance(rate, float):
        return ""

    def fits(at: float) -> bool:
        cohort = msgspec.structs.replace(plan.cohort, rate=at)  # pyright: ignore[reportArgumentType] - it has that field
        return _passes(replace(plan, cohort=cohort), 0, lambda tried, _: check(tried))

    # A rate may also be too small for a sound cohort, so bisection does not apply.
    steps = (float(f"{rate * 0.95**step:.2g}") for step in range(1, _STEPS))
    found = next((at for at in steps if fits(at)), None)
    return "" if found is None else f": take a rate of {found:g} or less"


_COSTS = (
    "; 'fedavg budget' shows what each costs. Few clients with many rows each, such as hospitals, can "
    "protect people or single rows in place of whole clients: 'fedavg records --help'"
)


def in_words(plan: Plan, num_clients: int, check: Callable[[Plan, int], object]) -> str:
    """The remedies as a sentence.

    Args:
        plan: a plan that does not pass the check.
        num_clients: size of the population, which is too small.
        check: raises where a plan does not fit a number of clients.
    """
    rate = enough_rate(plan, num_clients, check)
    clients = enough_clients(plan, num_clients, check)
    ways: list[str] = []
    if rate is not None:
        ways.append(f"a rate of {rate[1]:g} or more with these {num_clients:,} clients")
    if clients is not None:
        own = getattr(plan.cohort, "rate", None)
        at = "" if own is None else f" at the rate of {own:g}"
        ways.append(f"{clients:,} clients or more{at}")
        if own is not None and own < 1 and rate is None:
            # Fewer clients are enough if every round asks all of them.
            cohort = msgspec.structs.replace(plan.cohort, rate=1.0)  # pyright: ignore[reportArgumentType] - it has that field
            fewest = enough_clients(replace(plan, cohort=cohort), num_clients, check)
            if fewest is not None and fewest < clients:
                ways.append(f"{fewest:,} clients or more of which each round asks all, a rate of 1")
    size = _enough_size(plan, num_clients, check)
    if size is not None:
        enrolled = f", with {size:,} or more enrolled" if size > num_clients else ""
        ways.append(f"a cohort of {size:,} clients or more{enrolled}")
    if not ways:
        return "assume fewer drop-outs and colluders"
    # A budget is a cost of noise only.
    costs = "" if plan.noise is None else _COSTS
    return f"it takes {', or '.join(ways)}{costs}"


def _enough_size(plan: Plan, num_clients: int, check: Callable[[Plan, int], object]) -> int | None:
    """The smallest fixed size of a cohort at which the plan passes; None if the cohort has no fixed size."""
    size = getattr(plan.cohort, "size", None)
    if not isinstance(size, int):
        return None
    for more in (*range(size + 1, size + _STEPS), *(size * 2**step for step in range(8, 17))):
        cohort = msgspec.structs.replace(plan.cohort, size=more)  # pyright: ignore[reportArgumentType] - it has that field
        if _passes(replace(plan, cohort=cohort), max(num_clients, more), check):
            return more
    return None


def _passes(plan: Plan, num_clients: int, check: Callable[[Plan, int], object]) -> bool:
    try:
        check(plan, num_clients)
    # Any typed refusal means that the plan does not pass; other errors are faults and are raised.
    except _TOLD:
        return False
    return True
