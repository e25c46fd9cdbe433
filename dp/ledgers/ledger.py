"""A hard budget: every release is charged before it is made; a charge beyond it changes nothing."""

from __future__ import annotations

import math
import os
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from dp.accounting.accountant import Accountant
from dp.checks import assign, is_a, positive_or_infinite, proper_fraction, whole
from dp.composition.bracket import Bracket
from dp.errors import BudgetExhaustedError, DpError, InvalidParameterError, NonFiniteError
from dp.events import Event, NeighboringRelation
from dp.ledgers.digest import from_file, to_file
from dp.ledgers.durable import read_file, write_file
from dp.ledgers.records import decode_event, encode_event

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike


__all__ = ["Charge", "Ledger"]

_VERSION = 3
_REMEDY = (
    "Put back the newest intact copy and charge to it what was released since that copy was made; a new "
    "ledger would forget all that was spent"
)
_KEYS = frozenset({"version", "epsilon", "delta", "relation", "events", "history"})


@dataclass(frozen=True, slots=True)
class Charge:
    """One call of `Ledger.charge`.

    Args:
        event: the charged event.
        count: number of releases.
        label: owner of the charge, such as a run's directory; for readers of a ledger that runs share.

    Example:
        >>> from dp import GaussianEvent
        >>> ledger = Ledger(8.0, 1e-5)
        >>> ledger.charge(GaussianEvent(4.0), 10, label="pilot")
        >>> ledger.charge(GaussianEvent(4.0), label="final")
        >>> [(charge.label, charge.count) for charge in ledger.history]
        [('pilot', 10), ('final', 1)]
    """

    event: Event
    count: int
    label: str = ""

    def __post_init__(self) -> None:
        if type(self.label) is not str:
            raise InvalidParameterError(f"label must be a str, not {type(self.label).__name__}")
        assign(self, count=whole("count", self.count))


class Ledger:
    """Accumulates events against a budget of (ε, δ).  Run by the releasing party; threads may share it.

    Args:
        epsilon: the budget; with math.inf the ledger only counts.
        delta: δ, in (0, 1).
        relation: neighbouring relation of data sets.

    Raises:
        InvalidParameterError: a parameter is NaN, negative or out of range.

    Example:
        >>> from dp import GaussianEvent
        >>> ledger = Ledger(2.5, 1e-5)
        >>> ledger.charge(GaussianEvent(2.0))
        >>> ledger.would_exceed(GaussianEvent(2.0))
        True
        >>> round(ledger.spent().high, 4)
        1.9931
    """

    __slots__ = ("_accountant", "_delta", "_epsilon", "_history", "_lock", "_process")

    def __init__(
        self,
        epsilon: float,
        delta: float,
        *,
        relation: NeighboringRelation = NeighboringRelation.ADD_REMOVE,
    ) -> None:
        self._epsilon = positive_or_infinite("epsilon", epsilon)
        self._delta = proper_fraction("delta", delta)
        self._accountant = Accountant(relation)
        self._history: tuple[Charge, ...] = ()
        self._lock = threading.Lock()
        self._process = os.getpid()  # a fork would copy the budget

    def __reduce__(self) -> NoReturn:
        # A copy has all that is left, and so has the original: together they would spend it twice.
        raise InvalidParameterError(
            "a ledger cannot be copied or pickled, as a copy would be a second budget: use the one object, "
            "save() and load() it, or share a file with SharedLedger; would_exceed() only asks"
        )

    @property
    def epsilon(self) -> float:
        """The budget ε."""
        return self._epsilon

    @property
    def delta(self) -> float:
        """The δ at which ε is stated."""
        return self._delta

    @property
    def accountant(self) -> Accountant:
        """The charges so far, as a copy that is independent of the ledger."""
        return replace(self._accountant)

    @property
    def history(self) -> tuple[Charge, ...]:
        """All charges, in order."""
        return self._history

    def charge(self, event: Event, count: int = 1, *, label: str = "") -> None:
        """Record `count` releases that are about to happen.

        Args:
            event: event that is about to happen.
            count: number of releases.
            label: see `Charge`.

        Raises:
            BudgetExhaustedError: the certified upper ε would exceed the budget; nothing was recorded.
            UnsupportedEventError: no theorem covers the event; nothing was recorded.
            InvalidParameterError: this is a fork of the process that made the ledger.
        """
        entry = Charge(event, count, label)
        if self._process != os.getpid():
            raise InvalidParameterError(
                "this ledger belongs to another process, from which this one was forked, and both would "
                "spend what is left: make it after the fork, or share a file with SharedLedger"
            )
        # Check and record are one step: two threads cannot both spend what is left.
        with self._lock:
            grown = self._accountant.compose(event, count)
            if self._over(grown):
                raise BudgetExhaustedError(
                    f"{count} more {type(event).__name__} would take ε past the budget of "
                    f"{self._epsilon:g} at δ = {self._delta:g}; stop here, or plan more noise"
                )
            self._accountant = grown
            self._history = (*self._history, entry)

    def would_exceed(self, event: Event, count: int = 1) -> bool:
        """Whether `charge` would refuse; nothing changes."""
        return self._over(self._accountant.compose(event, count))

    def spent(self) -> Bracket:
        """ε so far, bounded from both sides; 0 before the first charge."""
        return self._spent(self._accountant)

    def upper_spent(self) -> float:
        """The certified upper side of `spent` alone: half the work, for a figure shown every round."""
        # An accountant without events refuses to answer; a ledger knows that nothing was charged.
        return self._accountant.upper_epsilon(self._delta) if self._accountant.counts else 0.0

    def spent_after(self, charges: int) -> Bracket:
        """ε after the first `charges` entries of the history, for a report of its growth."""
        history = self._history
        if whole("charges", charges, 0) > len(history):
            raise InvalidParameterError(
                f"the history has {len(history)} charges; {charges} is none of 0 … that"
            )
        return self._spent(_composed(self._accountant.relation, history[:charges]))

    def spent_by(self, label: str) -> Bracket:
        """ε of the charges with this label alone; those of different labels do not simply add up."""
        chosen = [entry for entry in self._history if entry.label == label]
        return self._spent(_composed(self._accountant.relation, chosen))

    def remaining(self) -> float:
        """Budget minus the certified upper ε spent."""
        return self._epsilon - self.spent().high if math.isfinite(self._epsilon) else math.inf

    def state_dict(self) -> dict[str, Any]:
        """The whole ledger as JSON-ready values; an unlimited budget is None."""
        with self._lock:
            accountant, history = self._accountant, self._history
        places = {event: place for place, (event, _) in enumerate(accountant.counts)}
        return {
            "version": _VERSION,
            "epsilon": self._epsilon if math.isfinite(self._epsilon) else None,
            "delta": self._delta,
            "relation": accountant.relation.value,
            "events": [
                {"event": encode_event(event), "count": count} for event, count in accountant.counts
            ],
            "history": [[places[entry.event], entry.count, entry.label] for entry in history],
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Ledger:
        """Restore a ledger; all charges are kept, even above the budget.

        Raises:
            InvalidParameterError: `state_dict` did not produce this state.
        """
        if not is_a(state, dict) or sorted(state) != sorted(_KEYS) or state["version"] != _VERSION:
            raise InvalidParameterError(
                f"a ledger's state has the keys {sorted(_KEYS)}, version {_VERSION}"
            )
        try:
            relation = NeighboringRelation(state["relation"])
            events = tuple(
                (decode_event(entry["event"]), entry["count"]) for entry in state["events"]
            )
            charges = tuple(
                # from the end, a place below 0 would be another name for an event
                Charge(events[whole("a place", place, 0)][0], count, label)
                for place, count, label in state["history"]
            )
        except (KeyError, IndexError, TypeError, ValueError) as cause:
            raise InvalidParameterError(f"not a ledger's state: {cause}") from cause
        epsilon = math.inf if state["epsilon"] is None else state["epsilon"]
        ledger = cls(epsilon, state["delta"], relation=relation)
        # The total is computed anew from the history, and must agree with the file's own.
        accountant = _composed(relation, charges)
        if accountant.counts != events:
            raise InvalidParameterError(
                "not a ledger's state: the history does not add up to the events"
            )
        ledger._accountant = accountant
        ledger._history = charges
        return ledger

    def save(self, path: str | PathLike[str]) -> None:
        """Write the ledger to a file, as a whole or not at all; it is on the disk when this returns.

        Two processes that charge one file need `SharedLedger`.
        """
        write_file(path, to_file(self.state_dict()))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Ledger:
        """Read a file of `save`; a file of an older version has no digest, so damage may pass unnoticed.

        Raises:
            InvalidParameterError: the file holds no ledger, or not all of it as it was written.
            FileNotFoundError: there is no file.
        """
        data = read_file(path)
        try:
            return cls.from_state_dict(from_file(data))
        except DpError as cause:
            raise InvalidParameterError(
                f"{path} is no intact ledger: {cause}. {_REMEDY}"
            ) from cause

    def _spent(self, accountant: Accountant) -> Bracket:
        # An accountant without events refuses to answer; a ledger knows that nothing was charged.
        return accountant.epsilon(self._delta) if accountant.counts else Bracket(0.0, 0.0)

    def _over(self, accountant: Accountant) -> bool:
        # The Rényi bound is valid and cheap: if it fits, no tighter bound is needed.
        if accountant.quick_epsilon(self._delta) <= self._epsilon:
            return False
        high = accountant.epsilon(self._delta).high
        if math.isnan(high):
            raise NonFiniteError("epsilon came out as NaN; refusing to release")
        return not high <= self._epsilon


def _composed(relation: NeighboringRelation, charges: Iterable[Charge]) -> Accountant:
    accountant = Accountant(relation)
    for entry in charges:
        accountant = accountant.compose(entry.event, entry.count)
    return accountant
