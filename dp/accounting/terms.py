"""The costs of a run's events, added up by kind: pairs with counts, one Rényi curve, slack and failure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from dp.checks import is_a
from dp.errors import UnsupportedEventError
from dp.events import Event
from dp.losses import Cost, MixturePair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dp.events import NeighboringRelation
    from dp.losses import Pair

__all__ = ["Counted", "Terms", "check_event", "cost_of", "resolve"]

Counted = tuple[tuple[Event, int], ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """A run's events, resolved.

    Args:
        pairs: releases with a dominating pair, with counts.
        curve: summed Rényi curve of releases that are known by their curve only; None if there is none.
        slack: A, where the true δ(ε) is at most e^A·δ(ε − 2A) of the rest.
        failure: total probability of events outside the theorems.
        shared: total weight of parts outside the theorems that both neighbours have with the same weights.
        exposed: largest probability that a single release reveals the client's part.
        pure: an ε at which everything except failure is private with δ = 0.
        least: pairs that some data attain in every release, with counts.
        least_slack: B, where the true δ(ε) is at least e^(−B)·δ(ε + 2B) of these.
    """

    pairs: tuple[tuple[Pair, int], ...]
    curve: NDArray[np.float64] | None
    slack: float
    failure: float
    shared: float
    exposed: float
    pure: float
    least: tuple[tuple[Pair, int], ...]
    least_slack: float = 0.0


def check_event(event: object) -> None:
    """Refuse an object that states no cost, or cannot be counted.

    Raises:
        UnsupportedEventError: the object is refused; the message names its type and what it lacks.
    """
    if not is_a(event, Event) or is_a(event, type):  # a class has the method, too
        raise UnsupportedEventError(
            f"{type(event).__name__} is no event: it has no method cost(relation) (see dp.Event)"
        )
    try:
        hash(event)
    except TypeError as cause:
        raise UnsupportedEventError(
            f"{type(event).__name__} cannot be counted: {cause}; make it a frozen dataclass"
        ) from cause


@lru_cache(maxsize=1024)
def cost_of(event: Event, relation: NeighboringRelation) -> Cost:
    """The cost of one event.

    Raises:
        UnsupportedEventError: no theorem covers it; the message names the event and the missing part.
    """
    try:
        cost = event.cost(relation)
    except UnsupportedEventError as cause:
        raise UnsupportedEventError(f"{type(event).__name__}: {cause}") from cause
    if not is_a(cost, Cost):
        raise UnsupportedEventError(
            f"{type(event).__name__}.cost returned {type(cost).__name__}; it must return a dp.Cost"
        )
    return cost


def resolve(counts: Counted, relation: NeighboringRelation) -> Terms:
    """Add up the costs of events.

    Raises:
        UnsupportedEventError: no theorem covers an event; the message names the event and the part.
    """
    pairs: dict[Pair, int] = {}
    least: dict[Pair, int] = {}
    curve: NDArray[np.float64] | None = None
    slack = exposed = least_slack = 0.0
    totals: list[tuple[int, tuple[float, float, float]]] = []
    for event, count in counts:
        cost = cost_of(event, relation)
        for pair in cost.pairs:
            pairs[pair] = pairs.get(pair, 0) + count
        # A release of which nothing is attained is left out: who sees the others alone learns no more.
        for pair in _least(cost):
            least[pair] = least.get(pair, 0) + count
        least_slack += count * cost.least_slack
        if cost.curve is not None:
            curve = count * cost.curve if curve is None else curve + count * cost.curve
        slack += count * cost.slack
        exposed = max(exposed, cost.exposed)
        totals.append((count, (cost.failure, cost.shared, cost.pure)))
    # probabilities add up, and so do pure ε (basic composition)
    failure, shared, pure = (
        _total_up([(count, parts[i]) for count, parts in totals]) for i in range(3)
    )
    merged = _merged(pairs), _merged(least)
    return Terms(merged[0], curve, slack, failure, shared, exposed, pure, merged[1], least_slack)


def _least(cost: Cost) -> tuple[Pair, ...]:
    """Pairs that some data attain."""
    if cost.least is not None:
        return cost.least
    return tuple(attained for pair in cost.pairs if (attained := pair.attained) is not None)


def _total_up(counted: list[tuple[int, float]]) -> float:
    """The least float that is at least the sum."""
    if not all(math.isfinite(value) for _, value in counted):
        return math.inf
    exact = sum(count * Fraction(value) for count, value in counted)
    try:
        found = float(exact)
    except OverflowError:
        return math.inf
    return math.nextafter(found, math.inf) if found < exact else found


def _merged(pairs: dict[Pair, int]) -> tuple[tuple[Pair, int], ...]:
    """Merge unsampled Gaussians into one: their precisions add (Dong, Roth, Su 2019, corollary 3.3)."""
    kept = [(pair, count) for pair, count in pairs.items() if pair.precision is None]
    total = math.fsum(count * (pair.precision or 0.0) for pair, count in pairs.items())
    if total > 0:
        kept.append((MixturePair(1.0, 1 / math.sqrt(total)), 1))
    return tuple(kept)
