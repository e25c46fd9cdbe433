"""A hard budget: every release is charged before it happens, and a charge too many changes nothing."""

from __future__ import annotations

import math
import threading
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from dp._checks import fraction, is_a, positive
from dp.accounting.accountant import Accountant
from dp.errors import BudgetExhaustedError, InvalidParameterError, NonFiniteError
from dp.events import (
    DiscreteGaussianSumEvent,
    Event,
    FailureEvent,
    FixedSizeSampling,
    GaussianEvent,
    NeighboringRelation,
    NoSampling,
    PoissonSampling,
    RoundedGaussianSumEvent,
    SkellamEvent,
    TruncatedPoissonSampling,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dp.accounting.bracket import Bracket

__all__ = ["Ledger"]

_VERSION = 1
_EVENTS = {
    kind.__name__: kind
    for kind in (
        GaussianEvent,
        RoundedGaussianSumEvent,
        SkellamEvent,
        DiscreteGaussianSumEvent,
        FailureEvent,
    )
}
_SAMPLINGS = {
    kind.__name__: kind
    for kind in (NoSampling, PoissonSampling, TruncatedPoissonSampling, FixedSizeSampling)
}


class Ledger:
    """Accumulates events against a budget of (ε, δ).  Run by whoever releases; safe to share by threads.

    Args:
        epsilon: the budget; math.inf only keeps track.
        delta: in (0, 1).
        relation: what two neighbouring data sets are.

    Raises:
        InvalidParameterError: a parameter is NaN, negative or out of range.

    Example:
        >>> ledger = Ledger(2.5, 1e-5)
        >>> ledger.charge(GaussianEvent(2.0))
        >>> ledger.would_exceed(GaussianEvent(2.0))
        True
        >>> round(ledger.spent().high, 4)
        1.9931
    """

    __slots__ = ("_accountant", "_delta", "_epsilon", "_lock")

    def __init__(
        self,
        epsilon: float,
        delta: float,
        *,
        relation: NeighboringRelation = NeighboringRelation.ADD_REMOVE,
    ) -> None:
        self._epsilon = math.inf if epsilon == math.inf else positive("epsilon", epsilon)
        self._delta = fraction("delta", positive("delta", delta))
        if self._delta == 1:
            raise InvalidParameterError("delta 1 protects nobody; choose it far below 1/clients")
        self._accountant = Accountant(relation)
        self._lock = threading.Lock()

    @property
    def epsilon(self) -> float:
        """The budget."""
        return self._epsilon

    @property
    def delta(self) -> float:
        """The δ at which ε is read."""
        return self._delta

    @property
    def accountant(self) -> Accountant:
        """What has been charged so far; immutable."""
        return self._accountant

    def charge(self, event: Event, count: int = 1) -> None:
        """Record `count` releases that are about to happen.

        Raises:
            BudgetExhaustedError: the certified upper ε would pass the budget; nothing was recorded.
            UnsupportedEventError: no theorem covers the event; nothing was recorded.
        """
        with self._lock:
            grown = self._accountant.compose(event, count)
            if self._over(grown):
                raise BudgetExhaustedError(
                    f"{count} more {type(event).__name__} would take ε past the budget of "
                    f"{self._epsilon:g} at δ = {self._delta:g}; stop here, or plan more noise"
                )
            self._accountant = grown

    def would_exceed(self, event: Event, count: int = 1) -> bool:
        """Whether charge would refuse; changes nothing."""
        return self._over(self._accountant.compose(event, count))

    def spent(self) -> Bracket:
        """ε so far, from both sides."""
        return self._accountant.epsilon(self._delta)

    def remaining(self) -> float:
        """Budget minus the certified upper ε spent."""
        return self._epsilon - self.spent().high if math.isfinite(self._epsilon) else math.inf

    def state_dict(self) -> dict[str, Any]:
        """All of the ledger as JSON-ready values; an unlimited budget is None."""
        return {
            "version": _VERSION,
            "epsilon": self._epsilon if math.isfinite(self._epsilon) else None,
            "delta": self._delta,
            "relation": self._accountant.relation.value,
            "events": [
                {"event": _encode(event), "count": count}
                for event, count in self._accountant.counts
            ],
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Ledger:
        """Restore a ledger; what was charged stays charged, even above the budget.

        Raises:
            InvalidParameterError: the state is not one that state_dict wrote.
        """
        if not is_a(state, dict) or sorted(state) != sorted(_KEYS) or state["version"] != _VERSION:
            raise InvalidParameterError(f"a ledger's state has the keys {sorted(_KEYS)}, version 1")
        try:
            relation = NeighboringRelation(state["relation"])
            counts = tuple((_decode(entry["event"]), entry["count"]) for entry in state["events"])
        except (KeyError, TypeError, ValueError) as cause:
            raise InvalidParameterError(f"not a ledger's state: {cause}") from cause
        epsilon = math.inf if state["epsilon"] is None else state["epsilon"]
        ledger = cls(epsilon, state["delta"], relation=relation)
        accountant = Accountant(relation)
        for event, count in counts:
            accountant = accountant.compose(event, count)
        ledger._accountant = accountant
        return ledger

    def _over(self, accountant: Accountant) -> bool:
        if math.isinf(self._epsilon):
            return False
        # The Rényi bound is valid and cheap: when it fits, nothing tighter is needed to say yes.
        if accountant.quick_epsilon(self._delta) <= self._epsilon:
            return False
        high = accountant.epsilon(self._delta).high
        if math.isnan(high):
            raise NonFiniteError("epsilon came out as NaN; refusing to release")
        return not high <= self._epsilon


_KEYS = frozenset({"version", "epsilon", "delta", "relation", "events"})


def _encode(event: Event) -> dict[str, Any]:
    values: dict[str, Any] = {"kind": type(event).__name__}
    for item in fields(event):
        value = getattr(event, item.name)
        if item.name == "sampling":
            inner = {part.name: getattr(value, part.name) for part in fields(value)}
            value = {"kind": type(value).__name__, **inner}
        values[item.name] = value
    return values


def _decode(values: Mapping[str, Any]) -> Event:
    arguments = dict(values)
    kind = _EVENTS[arguments.pop("kind")]
    if "sampling" in arguments:
        inner = dict(arguments["sampling"])
        arguments["sampling"] = _SAMPLINGS[inner.pop("kind")](**inner)
    return kind(**arguments)
