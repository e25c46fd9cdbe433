"""Composition of events into ε and δ, known from both sides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from dp._checks import at_least, fraction, is_a, whole
from dp.accounting import gaussian, rdp
from dp.accounting.bracket import Bracket
from dp.accounting.pld import pld_delta, pld_epsilon
from dp.accounting.terms import Counted, Terms, resolve
from dp.errors import InvalidParameterError, UnsupportedEventError
from dp.events import Event, NeighboringRelation

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Accountant"]

_EXACT = 1e-10
"""Relative width given to the closed forms."""
_LOG_SMALLEST = -640.0
"""Below this log δ only the Rényi bound is used."""


@dataclass(frozen=True, slots=True)
class Accountant:
    """An immutable multiset of events under one neighbouring relation.

    Args:
        relation: what two neighbouring data sets are.
        counts: events with their counts; built by compose.

    Example:
        >>> from dp import GaussianEvent, PoissonSampling
        >>> run = Accountant().compose(GaussianEvent(1.3, PoissonSampling(0.15)), 40)
        >>> 4.36 < run.epsilon(1e-5).low <= run.epsilon(1e-5).high < 4.39
        True
    """

    relation: NeighboringRelation = NeighboringRelation.ADD_REMOVE
    counts: tuple[tuple[Event, int], ...] = ()

    def __post_init__(self) -> None:
        if not is_a(self.relation, NeighboringRelation):
            raise InvalidParameterError(
                f"relation must be a NeighboringRelation: {self.relation!r}"
            )
        for event, count in self.counts:
            _check_event(event)
            whole("count", count)

    def compose(self, event: Event, count: int = 1) -> Accountant:
        """Return the accountant that has seen `count` more of this event.

        Raises:
            UnsupportedEventError: no theorem covers the event under this relation.
            InvalidParameterError: the count is not a whole number of at least 1.
        """
        _check_event(event)
        whole("count", count)
        resolve(((event, 1),), self.relation)
        merged = dict(self.counts)
        merged[event] = merged.get(event, 0) + count
        return Accountant(self.relation, tuple(merged.items()))

    def epsilon(self, delta: float) -> Bracket:
        """Bracket the smallest ε at this δ; infinite where nothing is claimed.

        Args:
            delta: in [0, 1].
        """
        fraction("delta", delta)
        return _epsilon(self.relation, self.counts, float(delta))

    def delta(self, epsilon: float) -> Bracket:
        """Bracket the smallest δ at this ε ≥ 0."""
        at_least("epsilon", epsilon, 0)
        return _delta(self.relation, self.counts, float(epsilon))

    def quick_epsilon(self, delta: float) -> float:
        """Return a looser upper bound on ε, from Rényi curves alone: sound, and almost free."""
        fraction("delta", delta)
        terms = resolve(self.counts, self.relation)
        return _with_failure(terms, float(delta), _quick_epsilon).high


def _check_event(event: Event) -> None:
    if not is_a(event, Event):
        raise UnsupportedEventError(f"{type(event).__name__} is no event of this package")


@lru_cache(maxsize=1024)
def _epsilon(relation: NeighboringRelation, counts: Counted, delta: float) -> Bracket:
    return _with_failure(resolve(counts, relation), delta, _base_epsilon)


@lru_cache(maxsize=1024)
def _delta(relation: NeighboringRelation, counts: Counted, epsilon: float) -> Bracket:
    terms = resolve(counts, relation)
    base = _base_delta(terms, epsilon - 2 * terms.slack)
    failed = _failure_delta(terms.failure, epsilon)
    high = min(1.0, base.high * math.exp(min(terms.slack, 700.0)) + failed)
    low = 0.0 if terms.slack > 0 else max(0.0, base.low - failed)
    return Bracket(min(low, high), high)


def _failure_delta(probability: float, epsilon: float) -> float:
    """(1 + e^ε)·p: what an event outside the theorems costs."""
    if probability == 0:
        return 0.0
    return probability * (1 + math.exp(min(epsilon, 700.0))) if epsilon < 700 else math.inf


def _with_failure(terms: Terms, delta: float, rest: Callable[[Terms, float], Bracket]) -> Bracket:
    """Solve δ_rest(ε) + (1 + e^ε)·p ≤ δ for the least ε, and its mirror for the lower side.

    Any E with δ_rest(E) ≤ δ − (1 + e^E)·p is a valid claim, so each step below is certified by itself.
    """
    if delta == 1:
        return Bracket(0.0, 0.0)
    if terms.failure == 0:
        return rest(terms, delta)
    ceiling = _quick_epsilon(terms, delta).high
    reserve = _failure_delta(terms.failure, ceiling * 1.001 + 1e-3)
    if reserve <= 1e-3 * delta:
        high = rest(terms, delta - reserve).high
        if high <= ceiling * 1.001 + 1e-3:
            above = min(1.0, delta + reserve)
            return Bracket(min(high, rest(terms, above).low), high)
    high = rest(terms, delta).high
    for _ in range(200):
        cost = _failure_delta(terms.failure, high)
        needed = rest(terms, delta - cost).high if cost < delta else math.inf
        if needed <= high:
            above = min(1.0, delta + cost)
            return Bracket(min(high, rest(terms, above).low), high)
        high = needed + 1e-6 * max(needed, 1e-3)
    return Bracket(0.0, math.inf)


def _total_curve(terms: Terms) -> NDArray[np.float64]:
    total = np.zeros(len(rdp.ORDERS)) if terms.curve is None else terms.curve
    for pair, count in terms.pairs:
        total = total + count * rdp.poisson_gaussian_curve(pair.rate, pair.stddev)
    return total


def _plain_mu(terms: Terms) -> float | None:
    """μ when everything is one unsampled Gaussian, else None."""
    if terms.curve is None and len(terms.pairs) == 1 and terms.pairs[0][0].rate == 1:
        return 1 / terms.pairs[0][0].stddev
    return None


def _trivial_epsilon(terms: Terms, delta: float) -> Bracket | None:
    if delta >= 1 or (terms.exposed == 0 and terms.curve is None and not terms.pairs):
        return Bracket(0.0, 0.0)
    if terms.exposed > 0:
        return Bracket(math.inf if delta < terms.exposed else 0.0, math.inf)
    if delta <= 0:
        return Bracket(0.0, math.inf)
    return None


def _quick_epsilon(terms: Terms, delta: float) -> Bracket:
    trivial = _trivial_epsilon(terms, delta)
    if trivial is not None:
        return Bracket(0.0, trivial.high)
    inner = delta * math.exp(-terms.slack)
    return Bracket(0.0, rdp.epsilon_bound(_total_curve(terms), inner) + 2 * terms.slack)


def _base_epsilon(terms: Terms, delta: float) -> Bracket:
    """ε of everything except failure; slack by δ_true(ε) ≤ e^A·δ(ε − 2A)."""
    trivial = _trivial_epsilon(terms, delta)
    if trivial is not None:
        return trivial
    inner = delta * math.exp(-terms.slack)
    if inner == 0:
        return Bracket(0.0, math.inf)
    mu = _plain_mu(terms)
    if mu is not None:
        exact = gaussian.epsilon_of_mu(mu, math.log(inner))
        bracket = Bracket(exact * (1 - _EXACT), exact * (1 + _EXACT))
    else:
        renyi = rdp.epsilon_bound(_total_curve(terms), inner)
        bracket = Bracket(0.0, renyi)
        if terms.curve is None and renyi > 0 and math.isfinite(renyi):
            certified = pld_epsilon(terms.pairs, inner, renyi)
            high = min(renyi, certified.high)
            bracket = Bracket(min(certified.low, high), high)
    if terms.slack > 0:
        return Bracket(0.0, bracket.high + 2 * terms.slack)
    return bracket


def _base_delta(terms: Terms, epsilon: float) -> Bracket:
    if terms.exposed == 0 and terms.curve is None and not terms.pairs:
        return Bracket(0.0, 0.0)
    if terms.exposed > 0:
        return Bracket(terms.exposed, 1.0)
    if epsilon < 0:
        return Bracket(0.0, 1.0)
    mu = _plain_mu(terms)
    if mu is not None:
        exact = math.exp(gaussian.log_delta(epsilon, mu))
        return Bracket(exact * (1 - _EXACT), min(1.0, exact * (1 + _EXACT)))
    log_renyi = rdp.log_delta_bound(_total_curve(terms), epsilon)
    renyi = math.exp(log_renyi)
    if terms.curve is not None or log_renyi < _LOG_SMALLEST:
        return Bracket(0.0, renyi)
    certified = pld_delta(terms.pairs, epsilon, log_renyi)
    high = min(renyi, certified.high)
    return Bracket(min(certified.low, high), high)
