"""Composition of events into ε and δ, known from both sides."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from dp.accounting.bracket import Bracket
from dp.accounting.moments import pair_curve
from dp.accounting.pld import pld_delta, pld_epsilon
from dp.accounting.terms import Counted, Terms, check_event, resolve
from dp.accounting.use import Use
from dp.checks import assign, at_least, fraction, is_a, whole
from dp.errors import InvalidParameterError
from dp.events import Event, NeighboringRelation
from dp.losses import renyi

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dp.losses.pairs import ExactCurve

__all__ = ["Accountant"]

_EXACT = 1e-9
"""Relative width given to the closed forms."""
_LOG_SMALLEST = -640.0
"""Below this log δ only the Rényi bound is used."""
_LARGE = 700.0
_SMALLEST = 1e-250
"""Below this δ, releases whose losses are bounded are answered by their bound."""
_LARGER = (1e-50, 1e-20, 1e-12, 1e-8, 1e-5)


@dataclass(frozen=True, slots=True)
class Accountant:
    """An immutable multiset of events under one neighbouring relation.

    `compose` returns a new accountant.  So that a result that was not assigned cannot go unnoticed, an
    accountant without events refuses to answer, and so does one from which a composition was dropped unused.

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
    _use: Use = field(default_factory=Use, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not is_a(self.relation, NeighboringRelation):
            raise InvalidParameterError(
                f"relation must be a NeighboringRelation: {self.relation!r}"
            )
        for event, _ in self.counts:
            check_event(event)
        assign(self, counts=tuple((event, whole("count", count)) for event, count in self.counts))

    def __copy__(self) -> Accountant:
        return self

    def __deepcopy__(self, memo: object) -> Accountant:
        return self

    def __del__(self) -> None:
        use: Use | None = getattr(self, "_use", None)  # absent when a check above has refused
        if use is not None:
            use.dropped()

    def compose(self, event: Event, count: int = 1) -> Accountant:
        """Return the accountant that has seen `count` more of this event.

        Raises:
            UnsupportedEventError: no theorem covers the event under this relation.
            InvalidParameterError: the count is not a whole number of at least 1.
        """
        count = whole("count", count)
        self.check(event)
        merged = dict(self.counts)
        merged[event] = merged.get(event, 0) + count
        grown = Accountant(self.relation, tuple(merged.items()))
        grown._use.comes_from(self._use, f"{event!r}, {count} times")
        return grown

    def check(self, event: Event) -> None:
        """Raise what `compose` would raise for this event, and do nothing else.

        Raises:
            UnsupportedEventError: no theorem covers the event under this relation.
        """
        check_event(event)
        resolve(((event, 1),), self.relation)

    def epsilon(self, delta: float) -> Bracket:
        """Bracket the smallest ε at this δ; infinite where nothing is claimed.

        Args:
            delta: in [0, 1].

        Raises:
            UnassignedCompositionError: no events, or a composition was dropped; so for all questions.
        """
        delta = fraction("delta", delta)
        return _epsilon(self.relation, self._known(), delta, both=True)

    def delta(self, epsilon: float) -> Bracket:
        """Bracket the smallest δ at this ε ≥ 0."""
        epsilon = at_least("epsilon", epsilon, 0)
        return _delta(self.relation, self._known(), epsilon)

    def upper_epsilon(self, delta: float) -> float:
        """Return the upper side of `epsilon` alone: half the work, and at most as tight."""
        delta = fraction("delta", delta)
        return _epsilon(self.relation, self._known(), delta, both=False).high

    def quick_epsilon(self, delta: float) -> float:
        """Return a looser upper bound on ε, from Rényi curves alone: sound, and almost free."""
        delta = fraction("delta", delta)
        terms = resolve(self._known(), self.relation)
        return _with_failure(terms, delta, _quick_epsilon).high

    def _known(self) -> Counted:
        """The events, for an answer; refused where some may be missing."""
        self._use.ask(empty=not self.counts)
        return self.counts


@lru_cache(maxsize=1024)
def _epsilon(
    relation: NeighboringRelation, counts: Counted, delta: float, *, both: bool
) -> Bracket:
    def rest(terms: Terms, delta: float) -> Bracket:
        return _base_epsilon(terms, delta, both=both)

    return _with_failure(resolve(counts, relation), delta, rest)


@lru_cache(maxsize=1024)
def _delta(relation: NeighboringRelation, counts: Counted, epsilon: float) -> Bracket:
    terms = resolve(counts, relation)
    failed = _failure_delta(terms.failure, epsilon)
    base = _base_delta(terms, epsilon)
    high = min(1.0, base.high + failed)
    return Bracket(min(max(0.0, base.low - failed), high), high)


def _failure_delta(probability: float, epsilon: float) -> float:
    """(1 + e^ε)·p: what an event outside the theorems costs."""
    if probability == 0:
        return 0.0
    return probability * (1 + math.exp(epsilon)) if epsilon < _LARGE else math.inf


def _with_failure(terms: Terms, delta: float, rest: Callable[[Terms, float], Bracket]) -> Bracket:
    """Solve δ_rest(ε) + (1 + e^ε)·p ≤ δ for the least ε, and its mirror for the lower side.

    Any E with δ_rest(E) ≤ δ − (1 + e^E)·p is a valid claim, so the result is certified by itself.
    """
    if delta == 1:
        return Bracket(0.0, 0.0)
    if terms.failure == 0:
        return rest(terms, delta)
    high = rest(terms, delta).high
    for _ in range(200):
        ceiling = high * (1 + 1e-6) + 1e-12
        cost = _failure_delta(terms.failure, ceiling)
        if not cost < delta:
            break
        needed = rest(terms, delta - cost)
        if needed.high <= ceiling:
            above = rest(terms, min(1.0, delta + cost))
            return Bracket(min(needed.high, above.low), needed.high)
        high = needed.high
    return Bracket(0.0, math.inf)


def _trivial_epsilon(terms: Terms, delta: float) -> Bracket | None:
    if delta >= 1 or (terms.exposed == 0 and terms.curve is None and not terms.pairs):
        return Bracket(0.0, 0.0)
    if terms.exposed > 0:
        return Bracket(math.inf if delta < terms.exposed else 0.0, math.inf)
    if delta <= 0 and math.isinf(terms.pure):
        return Bracket(0.0, math.inf)
    return None


def _total_curve(terms: Terms) -> tuple[NDArray[np.float64], float]:
    """The run's Rényi curve, and the mass that it leaves out."""
    total = np.zeros(len(renyi.ORDERS)) if terms.curve is None else terms.curve
    missing = 0.0
    for pair, count in terms.pairs:
        curve, tail = pair_curve(pair)
        total = total + count * curve
        missing += count * tail
    return total, missing


def _renyi_epsilon(terms: Terms, log_delta: float) -> float:
    """An upper bound on ε from Rényi curves alone, without slack and failure."""
    curve, missing = _total_curve(terms)
    if missing > 0:
        left = math.exp(log_delta) - missing
        if not left > 0:
            return math.inf
        log_delta = math.log(left)
    return renyi.epsilon_bound(curve, log_delta)


def _quick_epsilon(terms: Terms, delta: float) -> Bracket:
    trivial = _trivial_epsilon(terms, delta)
    if trivial is not None:
        return Bracket(0.0, trivial.high)
    bound = _renyi_epsilon(terms, math.log(max(delta, _SMALLEST)) - terms.slack)
    bound = bound + 2 * terms.slack if delta >= _SMALLEST else math.inf
    return Bracket(0.0, min(bound, terms.pure))


def _base_epsilon(terms: Terms, delta: float, *, both: bool) -> Bracket:
    """ε of everything except failure; slack A by δ_true(ε) ≤ e^A·δ(ε − 2A)."""
    trivial = _trivial_epsilon(terms, delta)
    if trivial is not None:
        return trivial
    if math.isinf(terms.pure):
        return _composed_epsilon(terms, math.log(delta), both=both)
    bracket = Bracket(0.0, math.inf)
    if delta > _SMALLEST:
        bracket = _composed_epsilon(terms, math.log(delta), both=both)
    if both and bracket.low == 0 and terms.curve is None:
        # close to the largest loss a mesh may claim nothing from below; ε at a larger δ is smaller
        larger = (other for other in _LARGER if other > delta)
        lows = (_composed_epsilon(terms, math.log(other), both=True).low for other in larger)
        low = next((low for low in lows if low > 0), 0.0)
        bracket = Bracket(min(low, bracket.high), bracket.high)
    return Bracket(min(bracket.low, terms.pure), min(bracket.high, terms.pure))


def _composed_epsilon(terms: Terms, log_delta: float, *, both: bool) -> Bracket:
    if not math.isfinite(terms.slack):
        return Bracket(0.0, math.inf)
    if terms.curve is not None:
        return _quick_epsilon(terms, math.exp(log_delta))
    bracket = _pairs_epsilon(terms, log_delta - terms.slack, both=both)
    if terms.slack == 0:
        return bracket
    # the limit of ever finer grids attains what one Gaussian costs (docs/privacy.md §4.4)
    low = _pairs_epsilon(terms, log_delta, both=True).low if both else 0.0
    return Bracket(low, bracket.high + 2 * terms.slack)


def _pairs_epsilon(terms: Terms, log_delta: float, *, both: bool) -> Bracket:
    single = _single(terms)
    if single is not None:
        exact = single.epsilon(log_delta)
        return Bracket(exact * (1 - _EXACT), exact * (1 + _EXACT))
    bracket = pld_epsilon(terms.pairs, log_delta, both=both)
    if math.isfinite(bracket.high):
        return bracket
    high = _renyi_epsilon(terms, log_delta)
    return Bracket(min(bracket.low, high), high)


def _single(terms: Terms) -> ExactCurve | None:
    """The curve in closed form, when everything is one release that has one."""
    if len(terms.pairs) != 1 or terms.pairs[0][1] > 1:
        return None
    return terms.pairs[0][0].exact


def _base_delta(terms: Terms, epsilon: float) -> Bracket:
    """δ of everything except failure."""
    if terms.exposed == 0 and terms.curve is None and not terms.pairs:
        return Bracket(0.0, 0.0)
    if terms.exposed > 0:
        return Bracket(terms.exposed, 1.0)
    if epsilon >= terms.pure:
        return Bracket(0.0, 0.0)
    if terms.slack == 0:
        return _pairs_delta(terms, epsilon)
    inner = epsilon - 2 * terms.slack
    shifted = _pairs_delta(terms, max(inner, 0.0)).high
    if inner < 0:  # δ(−x) ≤ δ(0) + 1 − e^(−x), for δ falls with e^ε at a slope of 1 at most
        shifted -= math.expm1(inner)
    high = min(1.0, shifted * math.exp(min(terms.slack, _LARGE)))
    return Bracket(min(_pairs_delta(terms, epsilon).low, high), high)


def _pairs_delta(terms: Terms, epsilon: float) -> Bracket:
    single = None if terms.curve is not None else _single(terms)
    if single is not None:
        exact = math.exp(single.log_delta(epsilon))
        return Bracket(exact * (1 - _EXACT), min(1.0, exact * (1 + _EXACT)))
    curve, missing = _total_curve(terms)
    log_renyi = renyi.log_delta_bound(curve, epsilon)
    bound = min(1.0, math.exp(log_renyi) + missing)
    if terms.curve is not None or log_renyi < _LOG_SMALLEST:
        return Bracket(0.0, bound)
    certified = pld_delta(terms.pairs, epsilon, log_renyi)
    high = min(bound, certified.high)
    return Bracket(min(certified.low, high), high)
