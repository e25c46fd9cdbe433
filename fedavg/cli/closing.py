"""The end of the commands run and resume: the table of results, and the exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table
from rich.text import Text

from fedavg.cli.console import console, errors
from fedavg.metrics.interface import figure_text
from fedavg.protocol.result import NOTHING_LEARNT, figure_of_row
from fedavg.reports.epsilons import epsilon_text
from fedavg.reports.runs.ending import lost_rounds, of_no_use
from fedavg.reports.runs.personal import by_another_figure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedavg.runs.run import Outcome

__all__ = ["close"]


def close(outcome: Outcome) -> None:
    """Print the results of a run, and exit with another status where it has none.

    Args:
        outcome: of a run or a resumption.

    Raises:
        typer.Exit: with status 3 where nothing was learnt or scored, 130 where the run was interrupted.
    """
    _closing_table(outcome)
    # Scripts see by the status that a run has no model, although it ended as planned.
    if outcome.summary["stopped"] == NOTHING_LEARNT:
        errors().print(Text.assemble(("Nothing was learnt: ", "bold red"), outcome.summary["why"]))
        raise typer.Exit(3)
    if outcome.summary["stopped"] == "interrupted":
        console().print(f"Continue with: fedavg resume {outcome.directory}", highlight=False)
        raise typer.Exit(130)
    if outcome.summary["unscored"] is not None:
        errors().print(Text.assemble(("Not scored: ", "bold red"), outcome.summary["unscored"]))
        raise typer.Exit(3)


def _rounds(summary: Mapping[str, Any]) -> str:
    done = f"{summary['rounds']} of {summary['rounds_planned']}, {summary['stopped']}"
    lost = len(summary["skipped"])
    return f"{done}; {lost} of them without a sum" if lost else done


def _closing_table(outcome: Outcome) -> None:
    summary = outcome.summary
    table = Table(title="Result", show_header=False, title_justify="left")
    rows = [
        *_scored(summary),
        (
            "epsilon, for an observer of the released models",
            epsilon_text(summary["epsilon_release"]),
        ),
        ("epsilon, for the server", epsilon_text(summary["epsilon_server"])),
        ("delta", f"{summary['delta']:g}" if _private(summary) else "–"),
        ("noise multiplier, claimed / added", _noise(summary)),
        ("secure sum", f"{summary['secure_sum']} ({summary['threat_model']})"),
        ("rounds", _rounds(summary)),
        ("report", str(outcome.report)),
    ]
    for name, value in rows:
        table.add_row(name, value)
    console().print(table)
    # The note stands next to the table, where figures are copied from.
    if summary["figures"] and _private(summary):
        covered = summary["figures"][0]["covered_by_epsilon"]
        console().print(_PUBLIC_ROWS if covered else _HELD_OUT_ROWS, highlight=False, markup=False)
    if summary["figures"]:
        protected = "clients" if _private(summary) else ""
        says = of_no_use(figure_of_row(summary["figures"][0]), protected=protected)
        if says:
            console().print(says, style="yellow", highlight=False, markup=False)
    if summary["fairness"] is not None:
        _fairness_table(summary["fairness"])
    if summary["personalization"] is not None:
        _personal_table(summary["personalization"])
    lost = lost_rounds(summary["skipped"], summary["rounds"], private=_private(summary))
    if lost:
        console().print(lost, highlight=False)
    if summary["stopped"] == "budget":
        console().print(
            "The next round would have exceeded the privacy budget. All results so far are kept."
        )


def _private(summary: Mapping[str, Any]) -> bool:
    return summary["noise_multiplier"] is not None


_HELD_OUT_ROWS = (
    "* Epsilon does not cover figures on held-out rows, since no noise protects these rows. Think before "
    "you publish them, or state that the rows are public ([evaluation] public = true)."
)
_PUBLIC_ROWS = "Figures are on held-out rows that are public, so they add nothing to epsilon."


def _scored(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures and their baselines; the headline comes first, and also without protection."""
    if not summary["figures"]:
        return [("accuracy", figure_text(None, share=True))]
    first, *others = (figure_of_row(row) for row in summary["figures"])
    mark = " *" if _private(summary) and not first.covered_by_epsilon else ""
    chosen = f" (round {summary['best_round']}, the best)" if summary["best_round"] else ""
    rows = [(f"{first.name}{mark}{chosen}", first.words)]
    if summary["unprotected"] is not None:
        rows.append((f"{first.name} without protection", first.text(summary["unprotected"])))
    return rows + [(f"{figure.name}{mark}", figure.words) for figure in others]


def _personal_table(personal: dict[str, Any]) -> None:
    """The distribution of the figure over the clients, each on its own examples, from the lowest."""
    title = f"{personal['kind']}: {personal['figure']} of {personal['clients']:,} clients"
    table = Table(
        "model", "mean", "worst", "10 %", "median", "90 %", title=title, title_justify="left"
    )
    always = (f"always the {personal['rule']}", "baseline")
    for name, key in (("released", "shared"), ("each client's own", "personal"), always):
        spread = personal[key]
        if spread is not None:
            shown = (spread[part] for part in ("mean", "worst", "q10", "median", "q90"))
            table.add_row(name, *(figure_text(value, share=personal["share"]) for value in shown))
    console().print(table)
    other = by_another_figure(personal["figure"], personal["headline"])
    if other:
        console().print(other, highlight=False)
    console().print(
        "These are private to each client, and no epsilon covers them: personal.jsonl has them one by one.",
        highlight=False,
    )


def _fairness_table(fairness: dict[str, Any]) -> None:
    """The distribution of the figure over the clients' own rows, with the first and the last model."""
    title = f"{fairness['figure']} of {fairness['clients']:,} clients on their own rows"
    table = Table(
        "model", "mean", "worst", "10 %", "median", "90 %", title=title, title_justify="left"
    )
    for name in ("before", "after"):
        shown = (fairness[name][part] for part in ("mean", "worst", "q10", "median", "q90"))
        texts = (figure_text(value, share=fairness["share"]) for value in shown)
        table.add_row(f"{name} training", *texts)
    console().print(table)
    console().print(
        f"{fairness['better']:,} are better off, {fairness['worse']:,} worse off. These figures are private "
        "to each client: fairness.jsonl has them one by one.",
        highlight=False,
    )


def _noise(summary: dict[str, object]) -> str:
    claimed, added = summary["noise_multiplier"], summary["noise_multiplier_added"]
    if not isinstance(claimed, float) or not isinstance(added, float):
        return "none"
    return f"{summary['noise']} {claimed:.3f} / {added:.3f}"
