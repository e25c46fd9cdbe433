"""A node's privacy ledger: a budget that its operator makes, and that outlives runs and agreements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dp.errors import BudgetExhaustedError, DpError
from fedavg.adapters.exchange.errors import RefusedRequestError
from fedavg.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from dp import Event
    from fedavg.adapters.exchange.vectors.costs import Cost

__all__ = ["LEDGER_FILE", "Chargeable", "charge", "open_ledger"]

LEDGER_FILE = "ledger.json"


class Chargeable(Protocol):
    """A node's privacy ledger: `dp.SharedLedger`, or `dp.Ledger` for as long as a process lives.

    Example:
        >>> from dp import GaussianEvent, Ledger
        >>> ledger: Chargeable = Ledger(2.5, 1e-5)
        >>> ledger.charge(GaussianEvent(2.0), label="run 1, train")
    """

    def charge(self, event: Event, count: int = 1, *, label: str = "") -> None:
        """Record a release that is about to be made, or refuse."""
        ...


def charge(ledger: Chargeable | None, cost: Cost, label: str) -> None:
    """Charge one answer of a node before it is made, whether or not its round will have a sum.

    Args:
        ledger: the node's ledger.
        cost: the cost of an answer.
        label: what the answer is about, for readers of the ledger.

    Raises:
        RefusedRequestError: the budget has no room; nothing may leave the node.
        ConfigError: there is no ledger, or it cannot be charged; nothing may leave the node.

    Example:
        >>> from dp import FailureEvent, GaussianEvent, Ledger
        >>> from fedavg.adapters.exchange.vectors.costs import Cost
        >>> ledger, cost = Ledger(2.5, 1e-5), Cost(GaussianEvent(2.0), FailureEvent(1e-12), None)
        >>> charge(ledger, cost, "train 1 of run 7")
        >>> charge(ledger, cost, "train 2 of run 7")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        fedavg.adapters.exchange.errors.RefusedRequestError: this node's privacy budget has no room ...
    """
    if ledger is None:
        raise ConfigError("this node has no privacy ledger, and the record has noise")
    try:
        # The small one first: if the other is refused, the ledger says too much, and never too little.
        ledger.charge(cost.failure, label=label)
        ledger.charge(cost.release, label=label)
    except BudgetExhaustedError:
        raise RefusedRequestError(
            f"this node's privacy budget has no room for {label}: nothing leaves it"
        ) from None
    except (OSError, DpError) as error:
        raise ConfigError(f"the privacy ledger cannot be charged: {error}") from error


def open_ledger(folder: Path) -> Chargeable | None:
    """The ledger in a node's folder; None if there is none.

    Raises:
        ConfigError: the file holds no ledger, or is not its only name.
    """
    from dp import SharedLedger  # noqa: PLC0415 - loads the accountant, which only noise needs

    try:
        return SharedLedger(folder / LEDGER_FILE)
    except FileNotFoundError:
        return None
    except (OSError, DpError) as error:
        raise ConfigError(f"the privacy ledger cannot be used: {error}") from error
