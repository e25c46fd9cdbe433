"""The command line's shared budgets: `fedavg ledger create` and `fedavg ledger show`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from dp import DpError, Ledger, NeighboringRelation, SharedLedger
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
    path: Annotated[Path, typer.Argument(help="The ledger's file, which must not be there yet.")],
    epsilon: Annotated[float, typer.Option(help="What all runs together may cost.")],
    delta: Annotated[float, typer.Option(help="The delta at which epsilon is stated.")] = 1e-5,
) -> None:
    """Make a budget, of which nothing is spent yet."""
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
def show(path: Annotated[Path, typer.Argument(help="A ledger.")]) -> None:
    """Show what each run has cost, and what is left.

    Each run's epsilon is its own, at the ledger's delta. They do not add up: together runs cost less than the
    sum, and what counts is the last line.
    """
    try:
        ledger = SharedLedger(path).read()
        table = Table("run", "rounds", "epsilon", title=str(path), title_justify="left")
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
    """Releases: what may fail beside them is charged, but is no round."""
    return sum(charge.count for charge in charges if _releases(charge.event))


def _releases(event: Event) -> bool:
    cost = event.cost(NeighboringRelation.ADD_REMOVE)
    return bool(cost.pairs or cost.curve is not None or cost.exposed)
