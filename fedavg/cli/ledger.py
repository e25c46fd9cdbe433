"""The commands for shared privacy budgets: `fedavg ledger create` and `fedavg ledger show`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fedavg.cli.console import console, fail
from fedavg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dp import Charge, Event

__all__ = ["ledger_app"]

ledger_app = typer.Typer(
    help="A privacy budget that several runs on the same clients share.", no_args_is_help=True
)


@ledger_app.command(
    epilog="Example:\n\nfedavg ledger create budget.json --epsilon 5 --delta 1e-5\n\n"
    "fedavg run --ledger budget.json --epsilon 2"
)
def create(
    path: Annotated[Path, typer.Argument(help="File of the new ledger; it must not exist yet.")],
    epsilon: Annotated[float, typer.Option(help="Privacy budget of all runs together.")],
    delta: Annotated[float, typer.Option(help="The delta at which epsilon is stated.")] = 1e-5,
) -> None:
    """Create a privacy budget of which nothing is spent yet."""
    from dp import DpError, Ledger, SharedLedger  # noqa: PLC0415 - loads scipy

    try:
        SharedLedger.create(path, Ledger(epsilon, delta))
    except DpError as error:
        fail(error)
    except OSError as error:
        fail(ConfigError(f"cannot make {path}: {error.strerror}"))
    console().print(
        f"{path}: epsilon {epsilon:g} at delta {delta:g}, nothing spent", highlight=False
    )


@ledger_app.command(epilog="Example:\n\nfedavg ledger show budget.json")
def show(path: Annotated[Path, typer.Argument(help="File of the ledger.")]) -> None:
    """Show the cost of each run, and the remaining budget.

    Each run's epsilon is stated alone, at the ledger's delta. All runs together cost less than the sum of
    these values; the last line states their joint epsilon.
    """
    from dp import DpError, SharedLedger  # noqa: PLC0415 - loads scipy

    try:
        ledger = SharedLedger(path).read()
        table = Table("run", "rounds", "epsilon", title=str(path), title_justify="left")
        # Each run is shown with its own cost, and the last row with that of all, which is less than the sum.
        for label in dict.fromkeys(charge.label for charge in ledger.history):
            mine = [charge for charge in ledger.history if charge.label == label]
            cost = ledger.spent_by(label).high
            table.add_row(label or "(no name)", str(_rounds(mine)), f"{cost:.3f}")
        spent = ledger.spent()
    except DpError as error:
        fail(error)
    except OSError as error:
        fail(ConfigError(f"cannot read {path}: {error.strerror}"))
    table.add_section()
    table.add_row("together", str(_rounds(ledger.history)), f"{spent.high:.3f}")
    console().print(table)
    console().print(
        f"Spent: epsilon {spent.high:.3f} of {ledger.epsilon:g} at delta {ledger.delta:g}; left: "
        f"{max(ledger.remaining(), 0.0):.3f}.",
        highlight=False,
        soft_wrap=True,
    )


def _rounds(charges: Iterable[Charge]) -> int:
    """The number of released rounds; other charges, such as failure probabilities, are no rounds."""
    return sum(charge.count for charge in charges if _releases(charge.event))


def _releases(event: Event) -> bool:
    from dp import NeighboringRelation  # noqa: PLC0415 - loads scipy

    # Failure probabilities have no pairs and no curve.
    cost = event.cost(NeighboringRelation.ADD_REMOVE)
    return bool(cost.pairs or cost.curve is not None or cost.exposed)
