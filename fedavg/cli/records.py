"""The command `fedavg records`: privacy of people or records across silos."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from fedavg.cli.console import console, correctable, errors, fail
from fedavg.reports.epsilons import epsilon_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedavg.records.federation import RecordFederation

__all__ = ["RECORDS_EPILOG", "RECORDS_HELP", "records"]

_SAME = 1e-3  # brackets of one ε differ by less

RECORDS_HELP = """Protect people or records across a few silos, in place of whole clients.

CONFIG is a TOML file with a table "records"; without one, the built-in example runs. Options override it.
"""
RECORDS_EPILOG = """Examples:

fedavg records                                        ten silos with records of images, one or two minutes

fedavg records --epsilon 1 --steps 200                less may be lost, in more steps

fedavg records CONFIG.toml --dry-run                  checks it; the noise and every epsilon, at no charge

fedavg records CONFIG.toml --out runs/clinics         all settings from a file
"""


def records(
    config: Annotated[
        Path | None,
        typer.Argument(help="TOML configuration; without it, the built-in example runs."),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(help="person | record; a record states: every row is another person."),
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(help="Budget of one unit against the server with its colluding silos."),
    ] = None,
    delta: Annotated[float | None, typer.Option(help="The delta of every epsilon.")] = None,
    steps: Annotated[int | None, typer.Option(help="Number of secure sums.")] = None,
    silo: Annotated[
        str | None,
        typer.Option(help="Column of a table whose values are the silos, such as the hospital."),
    ] = None,
    silos: Annotated[
        int | None,
        typer.Option(help="Number of silos to deal the data over, without such a column."),
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Probability of each unit's coin.")] = None,
    secure_sum: Annotated[
        str | None,
        typer.Option(help="secagg | one-shot | ckks | bfv | encrypted-secagg | insecure-plain."),
    ] = None,
    robust: Annotated[
        str | None,
        typer.Option(
            help="none | group-median | trimmed-mean, of the means of groups, against bad silos."
        ),
    ] = None,
    groups: Annotated[
        int | None, typer.Option(help="Number of groups, each with a secure sum of its own.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Built-in name, a .csv, .parquet or .npz, or a folder.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Built-in name, or module:function.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory to create.")] = None,
    seed: Annotated[int | None, typer.Option(help="Public seed of split and weights.")] = None,
    dry_run: Annotated[  # noqa: FBT002 - a command-line flag
        bool,
        typer.Option(
            "--dry-run",
            help="Check everything, and print the noise and every epsilon; run, charge and write nothing.",
        ),
    ] = False,
) -> None:
    """See RECORDS_HELP."""
    overrides: dict[str, object] = {
        "records.unit": unit,
        "records.epsilon": epsilon,
        "records.delta": delta,
        "steps": steps,
        "records.silo": silo,
        "records.silos": silos,
        "records.rate": rate,
        "secure_sum.kind": secure_sum,
        "robust.kind": robust,
        "robust.groups": groups,
        "data.name": data,
        "model.name": model,
        "seed": seed,
    }
    # Options that were not given must not replace settings of the file.
    chosen = {key: value for key, value in overrides.items() if value is not None}
    from fedavg.runs.records.run import execute_records, planned_records  # noqa: PLC0415 - loads torch

    place = out or Path("runs") / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    try:
        if dry_run:
            _planned_table(planned_records(config, chosen, console()))
            return
        summary = execute_records(config, chosen, place, console())
    except correctable() as error:
        fail(error)
    _closing_table(summary, place)
    # As in `fedavg run`: scripts see that a run was cut short, or has learnt nothing.
    if summary["stopped"] == "interrupted":
        raise typer.Exit(130)
    if not summary["steps"]:
        raise typer.Exit(3)
    if summary["unscored"] is not None:
        errors().print(Text.assemble(("Not scored: ", "bold red"), summary["unscored"]))
        raise typer.Exit(3)


def _planned_table(run: RecordFederation) -> None:
    """What all steps would cost, if no silo is ever missing."""
    from rich.table import Table  # noqa: PLC0415 - help starts without it

    found, three = run.resolution, run.planned_epsilons()
    table = Table(title="Planned", show_header=False, title_justify="left")
    two = (
        "no bound" if three.colluding is None else epsilon_text(found.in_silos(2, found.plan.steps))
    )
    for name, value in (
        *_three(asdict(three)),
        (f"the last, of a {found.plan.privacy.unit} with rows in two silos", two),
        ("delta", f"{three.delta:g}"),
        ("noise multiplier", f"{found.noise_multiplier:.3f} ({found.plan.privacy.noise})"),
        ("secure sum", f"{found.plan.secure_sum.kind}, {found.silos} silos"),
        ("parameters", f"{found.vector_length:,}"),
        ("steps", str(found.plan.steps)),
        ("work of a silo in a draw", f"{found.most_units:,} {found.plan.privacy.unit}s"),
    ):
        table.add_row(name, value)
    console().print(table)
    console().print("Nothing was run, charged or written.", highlight=False)


def _three(three: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The three epsilons, each with its observer."""
    silos = "1 silo" if three["colluders"] == 1 else f"{three['colluders']} silos"
    return [
        ("epsilon, for an observer of the released models", epsilon_text(three["release"])),
        ("epsilon, for the server", epsilon_text(three["server"])),
        (f"epsilon, for the server with {silos} (the budget)", epsilon_text(three["colluding"])),
    ]


def _closing_table(summary: Mapping[str, Any], place: Path) -> None:
    from rich.table import Table  # noqa: PLC0415 - help starts without it

    from fedavg.protocol.result import figure_of_row  # noqa: PLC0415 - loads numpy; the run has loaded it
    from fedavg.reports.runs.ending import of_no_use  # noqa: PLC0415 - with the run

    table = Table(title="Result", show_header=False, title_justify="left")
    figures, three = list(map(figure_of_row, summary["figures"])), summary["epsilon"]
    rows = [
        *((figure.name, figure.words) for figure in figures),
        *_three(three),
        *_ledgers(summary),
        ("delta", f"{three['delta']:g}"),
        ("protected unit", f"one {summary['unit']} of one silo"),
        ("noise multiplier", f"{summary['noise_multiplier']:.3f} ({summary['noise']})"),
        ("secure sum", f"{summary['secure_sum']}, {summary['silos']} silos"),
        *_clip(summary),
        *_reach(summary),
        ("steps", f"{summary['steps']} of {summary['steps_planned']}, {summary['stopped']}"),
        ("void attempts", str(summary["voided"])),
        ("report", str(place / "report.html")),
    ]
    for name, value in rows:
        table.add_row(name, value)
    console().print(table)
    says = of_no_use(figures[0], protected=f"{summary['unit']}s") if figures else ""
    if says:
        console().print(says, style="yellow", highlight=False, markup=False)
    more = {
        "person": "A person with rows in two silos loses more than these",
        "record": "A person with two records, in one silo or in two, loses more than these",
    }
    two = summary["epsilon_two_silos"]
    bound = "" if two is None else f" (with rows in two silos: {epsilon_text(two)})"
    console().print(
        f"{more[summary['unit']]}{bound}. Epsilon hides no property of a whole silo.",
        highlight=False,
    )
    if summary["stopped"] == "budget":
        console().print(
            f"Stopped after {summary['steps']} of {summary['steps_planned']} steps: a silo's ledger has no "
            f"room for another. The ledgers hold at most {epsilon_text(summary['ledgers'])}, earlier runs "
            "included, and keep the budget with which they were made.",
            highlight=False,
        )


def _ledgers(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the silos' ledgers hold, where earlier runs are in them."""
    held, own = summary["ledgers"], summary["epsilon"]["colluding"]
    if held is None or own is None or held <= own * (1 + _SAME):
        return []
    return [
        ("epsilon in the silos' ledgers, earlier runs included", f"at most {epsilon_text(held)}")
    ]


def _clip(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Where a clip that follows the median has come to."""
    return [("clip, after the last step", f"{summary['clip']:.3g}")] if summary["clip_told"] else []


def _reach(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What one silo moves, and what was shortened."""
    reach = summary["reach"]
    bad = f"a bad one a step by {2 * reach['step']:.3g}"
    if summary["groups"]:
        bad = f"a bad one spoils one of {len(summary['groups'])} groups; {reach['withstood']} withstood"
    found = [("one silo moves a mean by", f"at most {reach['honest']:.3g}; {bad}")]
    if summary["shortened"]:
        found.append(("sums that no honest silos make", f"{summary['shortened']}, shortened"))
    return found
