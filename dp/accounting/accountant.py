"""Composition of events, with ε and δ bounded from both sides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dp.accounting.answers import curve_of, delta_of, epsilon_of, quick_epsilon_of
from dp.accounting.curve import group_size
from dp.accounting.terms import check_event, resolve
from dp.accounting.use import Use
from dp.checks import assign, at_least, fraction, is_a, proper_fraction, whole
from dp.errors import InvalidParameterError
from dp.events import Event, NeighboringRelation

if TYPE_CHECKING:
    from dp.accounting.curve import PrivacyCurve
    from dp.accounting.terms import Counted
    from dp.composition.bracket import Bracket

__all__ = ["Accountant"]

_MOST = 2**53


@dataclass(frozen=True, slots=True)
class Accountant:
    """An immutable multiset of events under one neighbouring relation.

    `compose` returns a new accountant.  To detect a result that was not assigned, an accountant without
    events refuses to answer, and so does one from which a composition was dropped unused.

    Args:
        relation: neighbouring relation of data sets.
        counts: events with their counts; built by `compose`.

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
        assign(self, counts=tuple((event, _count(count)) for event, count in self.counts))

    def __copy__(self) -> Accountant:
        # It is immutable, and a second object would not know of compositions that were dropped.
        return self

    def __deepcopy__(self, memo: object) -> Accountant:
        return self

    def __del__(self) -> None:
        # Python frees a dropped composition here, and its origin must learn of it.
        use: Use | None = getattr(self, "_use", None)  # missing if a check above has raised
        if use is not None:
            use.dropped()

    def compose(self, event: Event, count: int = 1) -> Accountant:
        """Return the accountant that includes `count` more of this event.

        Raises:
            UnsupportedEventError: no theorem covers the event under this relation.
            InvalidParameterError: the count is not a whole number from 1 to 2^53.
        """
        count = _count(count)
        self.check(event)
        merged = dict(self.counts)
        merged[event] = merged.get(event, 0) + count
        grown = Accountant(self.relation, tuple(merged.items()))
        grown._use.comes_from(self._use, f"{event!r}, {count} times")
        return grown

    def check(self, event: Event) -> None:
        """Raise the error that `compose` would raise for this event; do nothing else.

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
            UnassignedCompositionError: there are no events, or a composition was dropped; this holds for all
                questions.
        """
        delta = fraction("delta", delta)
        return epsilon_of(self.relation, self._known(), delta, both=True)

    def delta(self, epsilon: float) -> Bracket:
        """Bracket the smallest δ at this ε ≥ 0."""
        epsilon = at_least("epsilon", epsilon, 0)
        return delta_of(self.relation, self._known(), epsilon)

    def upper_epsilon(self, delta: float) -> float:
        """Return only the upper side of `epsilon`: half the work, and at most as tight."""
        delta = fraction("delta", delta)
        return epsilon_of(self.relation, self._known(), delta, both=False).high

    def quick_epsilon(self, delta: float) -> float:
        """Return a looser upper bound on ε, from Rényi curves alone: it is sound and takes almost no time."""
        delta = fraction("delta", delta)
        return quick_epsilon_of(self.relation, self._known(), delta)

    def curve(self, *, smallest: float = 1e-12, group: int = 1, points: int = 257) -> PrivacyCurve:
        """Return δ at every ε, from both sides, and with it the trade-off function.

        Args:
            smallest: smallest δ of the curve, in (0, 1), as far as δ falls at all.
            group: number of clients whose joint presence an adversary must not detect, at most 1,000.
            points: number of points of the curve, at least 3.

        Example:
            >>> from dp import GaussianEvent
            >>> three = Accountant().compose(GaussianEvent(3.0)).curve(group=3)
            >>> round(three.epsilon(1e-5).high, 2)  # three clients move the sum three times as far
            4.38
        """
        smallest = proper_fraction("smallest", smallest)
        group, points = group_size(group), whole("points", points, 3)
        return curve_of(self.relation, self._known(), smallest, group, points)

    def _known(self) -> Counted:
        """The events, for an answer; refused if some may be missing."""
        self._use.ask(empty=not self.counts)
        return self.counts


def _count(count: object) -> int:
    known = whole("count", count)
    if known > _MOST:
        raise InvalidParameterError(
            f"count must be at most 2^53 = {_MOST:,}, the largest exact float"
        )
    return known
