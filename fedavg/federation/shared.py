"""One privacy budget for several runs on the same clients: a `dp.SharedLedger` beside a run's own ledger.

Both are charged before a release, the shared one first. If a run is interrupted in between, the shared ledger
shows too much spent, and never too little.  A run's own ledger states what the run spent, and lets the run
resume after a crash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dp import BudgetExhaustedError, DpError, NeighboringRelation, SharedLedger
from fedavg.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from dp import Event, Ledger
    from fedavg.plan.resolution import ResolvedPlan

__all__ = ["SharedBudget", "charge_failure", "charge_round", "charged_undrawn"]


class SharedBudget:
    """A run's access to a ledger in a file that other runs charge as well.

    Args:
        path: path of the ledger.
        label: name of the run in the ledger's entries.

    Raises:
        ConfigError: the ledger is missing, cannot be used, or counts under another relation or other absent
            clients.
    """

    def __init__(self, path: Path, label: str) -> None:
        try:
            self._ledger = SharedLedger(path)
            present = self._ledger.read()
        except FileNotFoundError as error:
            raise ConfigError(
                f"there is no ledger at {path}: make one with "
                f"'fedavg ledger create {path} --epsilon … --delta …'"
            ) from error
        except (OSError, DpError) as error:
            raise ConfigError(f"the ledger {path} cannot be used: {error}") from error
        # Runs are accounted under ADD_REMOVE, and costs under two relations do not add up.
        relation = present.accountant.relation
        if relation is not NeighboringRelation.ADD_REMOVE:
            raise ConfigError(
                f"the ledger {path} counts under {relation.name}, and runs count under ADD_REMOVE: "
                "make one for runs"
            )
        if charged_undrawn(present):
            raise ConfigError(
                f"the ledger {path} holds cohorts of fixed size from which absent clients are not drawn. In "
                "runs they are drawn and do not answer (docs/privacy.md §3.4), and no epsilon covers both: "
                "make a ledger of its own for runs"
            )
        self._label = label

    @property
    def path(self) -> Path:
        """The path of the ledger, absolute and without links."""
        return self._ledger.path

    def check(self, resolution: ResolvedPlan) -> int:
        """The number of a new run's rounds that fit into the ledger; nothing is charged.

        Raises:
            ConfigError: the run has no noise, or no round fits.
        """
        event = resolution.release_event()
        if event is None:
            raise ConfigError(
                "privacy.ledger counts what noise costs, and this run has none: its releases cost more "
                "than any budget; choose privacy.noise, or leave the ledger out"
            )
        ledger = self.read()
        try:
            # The ledger is a copy, so these charges answer a question and spend nothing.
            ledger.charge(resolution.failure(), resolution.num_rounds)
        except BudgetExhaustedError:
            low = 0
        else:
            low = _fitting(ledger, event, resolution.num_rounds)
        if low == 0:
            raise ConfigError(
                f"{self.status()} It has no room for a single round of this run: use more noise (a smaller "
                "privacy.epsilon, --epsilon on the command line), or end here"
            )
        return low

    def charge(self, event: Event, count: int = 1) -> None:
        """Record a release that is about to be made.

        Raises:
            BudgetExhaustedError: the release does not fit; the ledger has not changed.
            ConfigError: the ledger cannot be read or written any more; nothing is released.
        """
        try:
            self._ledger.charge(event, count, label=self._label)
        except BudgetExhaustedError:
            raise
        except (OSError, DpError) as error:
            raise ConfigError(
                f"the ledger {self.path} cannot be charged: {error}; nothing is released"
            ) from error

    def read(self) -> Ledger:
        """A copy of the ledger as it is now."""
        try:
            return self._ledger.read()
        except (OSError, DpError) as error:
            raise ConfigError(f"the ledger {self.path} cannot be read: {error}") from error

    def status(self) -> str:
        """The amount that all runs have spent, as a sentence."""
        ledger = self.read()
        return (
            f"The ledger {self.path} stands at epsilon {ledger.spent().high:.3f} of {ledger.epsilon:g} "
            f"(delta {ledger.delta:g}), over all its runs."
        )


def _fitting(ledger: Ledger, event: Event, most: int) -> int:
    """The largest number of releases, up to `most`, that fits."""
    if not ledger.would_exceed(event, most):
        return most
    low, high = 0, most
    # Epsilon grows with the number of releases, so bisection finds the last number that fits.
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if ledger.would_exceed(event, middle) else (middle, high)
    return low


def charged_undrawn(ledger: Ledger) -> bool:
    """Whether a ledger counts cohorts of fixed size as if absent clients were not enrolled.

    Such charges are proved for clients that are not drawn (docs/privacy.md §3.2), and in runs all are.

    Example:
        >>> from dp import FixedSizeSampling, GaussianEvent, Ledger
        >>> def counted(**enrolled: bool) -> bool:
        ...     ledger = Ledger(9.0, 1e-5)
        ...     ledger.charge(GaussianEvent(2.0, FixedSizeSampling(5, 100, **enrolled)))
        ...     return charged_undrawn(ledger)
        >>> counted(), counted(enrolled=True)
        (True, False)
    """
    samplings = (getattr(entry.event, "sampling", None) for entry in ledger.history)
    return not all(getattr(sampling, "enrolled", True) for sampling in samplings)


def charge_failure(ledger: Ledger, shared: SharedBudget | None, resolution: ResolvedPlan) -> None:
    """Charge the failure probability of a run, once, when it begins; nothing for a run without noise.

    Raises:
        BudgetExhaustedError: it does not fit; neither ledger has changed.
    """
    # A ledger with entries belongs to a resumed run, which was charged when it began.
    if resolution.release_event() is None or ledger.history:
        return
    failure, rounds = resolution.failure(), resolution.num_rounds
    # The shared ledger is charged only if the run's own has room: its charges cannot be taken back.
    if shared is not None and not ledger.would_exceed(failure, rounds):
        shared.charge(failure, rounds)
    ledger.charge(failure, rounds)


def charge_round(ledger: Ledger, shared: SharedBudget | None, event: Event) -> bool:
    """Charge one round to the run's own ledger and to the shared one; False if it does not fit into either.

    Nothing is charged to either when the run's own budget is used up.
    """
    try:
        if shared is not None:
            # The run's own budget is asked first, because a charge to the shared ledger cannot be taken back.
            if ledger.would_exceed(event):
                return False
            shared.charge(event)
        ledger.charge(event)
    except BudgetExhaustedError:
        return False
    return True
