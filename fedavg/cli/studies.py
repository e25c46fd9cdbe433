"""The command for studies: `fedavg sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from fedavg.cli.console import console, correctable, fail
from fedavg.cli.privacy import number

if TYPE_CHECKING:
    from fedavg.studies.runner import Outlook, Swept

__all__ = ["SWEEP_EPILOG", "SWEEP_HELP", "sweep"]

_MOST_REASONS = 10

SWEEP_HELP = (
    "Run a study: one training for each combination of settings, on several processes. A study whose base "
    "has a table \\[records] compares runs of `fedavg records`, any other one those of `fedavg run`.\n\n"
    "Writes cells.csv, cells.json and study.html, a page of accuracy against epsilon and bytes. A finished "
    "cell is never run again: the same command continues after Ctrl-C or a crash, and a changed study runs "
    "only what is new. Status 1 means that cells failed; they are tried again the next time.\n\n"
    "Every cell is a release. Sweep over public or simulated data, or account for the sum of all cells."
)
SWEEP_EPILOG = r"""Examples:

fedavg sweep                             the built-in study: 80 cells

fedavg sweep STUDY.toml --dry-run        checks and lists the cells, and runs nothing

fedavg sweep STUDY.toml --out studies/mine --jobs 4

RAY_ADDRESS=auto fedavg sweep STUDY.toml --engine ray     on the Ray cluster of this machine

A study:

\[base]                                   a run's configuration; or base = "config.toml"

data.name = "digits"

\[grid]                                   every combination; several \[\[grid]] are joined

"privacy.noise" = \["gaussian", "none"]

"privacy.epsilon" = \[1, 2, 4, 8]         without noise, one cell a seed

seed = \[0, 1, 2]

\[\[exclude]]                              leave out what matches all of these

"privacy.epsilon" = 8

seed = \[1, 2]

A study of people or records in silos:

\[base.records]                           the file format of fedavg records

unit = "record"

\[grid]

"records.epsilon" = \[1, 3, 8]

"records.clip" = \[0.1, 0.5]
"""


def sweep(
    study: Annotated[
        Path | None,
        typer.Argument(metavar="[STUDY.toml]", help="The study; by default, the built-in one."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Directory of the study.", show_default="studies/NAME"),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Largest number of cells at a time; each has one process.",
            show_default="one a core",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="Where the cells run: local, or ray for a cluster (docs/embedding/ray.md)."
        ),
    ] = "local",
    dry_run: Annotated[  # noqa: FBT002 - a command-line flag
        bool, typer.Option("--dry-run", help="Check and list the cells; run and write nothing.")
    ] = False,
) -> None:
    """Run a study: see `SWEEP_HELP`."""
    from fedavg.studies.executors import executor_for  # noqa: PLC0415 - loads torch
    from fedavg.studies.runner import look_ahead  # noqa: PLC0415 - as above
    from fedavg.studies.runner import sweep as run_study  # noqa: PLC0415 - as above
    from fedavg.studies.study import read_study  # noqa: PLC0415 - loads torch

    folder = out or Path("studies") / ("built-in" if study is None else study.stem)
    try:
        executor = executor_for(engine, jobs)
        asked = read_study(study)
        # A dry run writes nothing, not even the folder.
        if dry_run:
            _list(look_ahead(asked, folder, executor, console()))
            return
        swept = run_study(asked, study, folder, executor, console())
    except correctable() as error:
        fail(error)
    except KeyboardInterrupt as error:
        # Results are stored cell by cell, so nothing is lost.
        console().print("Interrupted. The same command continues with the missing cells.")
        raise typer.Exit(130) from error
    _close(swept)


def _list(outlook: Outlook) -> None:
    from fedavg.studies.results.figures import label_of  # noqa: PLC0415 - as above
    from fedavg.studies.results.table import table_of  # noqa: PLC0415 - as above
    from fedavg.studies.trials.settings import flatten  # noqa: PLC0415 - as above

    varied = table_of(outlook.study, outlook.records, outlook.refused).varied
    table = Table("cell", "setting", "seed", "noise multiplier", "", title_justify="left")
    for cell, derived, done in outlook.cells():
        settings = flatten(cell.trial.config)
        multiplier = derived.noise_multiplier
        table.add_row(
            cell.id[:8],
            label_of({key: settings[key] for key in varied}),
            str(cell.trial.seed),
            "–" if multiplier is None else f"{multiplier:.3f}",
            "done" if done else "to run",
        )
    console().print(table)
    total = len(outlook.done) + len(outlook.ready)
    console().print(
        f"{total} cells: {len(outlook.done)} done, {len(outlook.ready)} to run; "
        f"{len(outlook.refused)} refused, {outlook.study.excluded} excluded.",
        highlight=False,
    )
    _reasons([refusal.reason for refusal in outlook.refused])


def _reasons(reasons: list[str]) -> None:
    counts = {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}
    for reason, count in list(counts.items())[:_MOST_REASONS]:
        console().print(f"refused, {count} times: {reason}", highlight=False, markup=False)


def _close(swept: Swept) -> None:
    from fedavg.studies.results.figures import label_of  # noqa: PLC0415 - loads plotly's neighbours late
    from fedavg.studies.results.table import groups_of  # noqa: PLC0415 - as above
    from fedavg.studies.results.troubles import troubles_of  # noqa: PLC0415 - as above

    by = swept.table.comparison
    # Without vertical lines, eight columns fit into eighty characters.
    table = Table(
        title=swept.table.title,
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    table.add_column("setting")
    names = (
        "seeds",
        by.name,
        by.rule,
        "lowest to highest",
        *(observer.heading.lower() for observer in swept.table.form.words.observers),
    )
    for name in names:
        table.add_column(name, justify="right", max_width=9)
    for group in groups_of(swept.table):
        table.add_row(
            label_of(group.settings),
            str(len(group.rows)),
            group.by.text(group.score),
            group.by.text(group.baseline),
            group.spread,
            *map(number, group.epsilons),
        )
    console().print(table)
    for trouble in troubles_of(swept.table)[:_MOST_REASONS]:
        shared = f", all with {trouble.shared}" if trouble.shared else ""
        differs = "; ".join(f"{key} {values}" for key, values in trouble.differs)
        more = f" (they differ in {differs})" if differs else ""
        text = f"{trouble.cells} {trouble.state}{shared}: {trouble.reason}{more}"
        console().print(text, highlight=False, markup=False)
    failed = swept.table.count("failed")
    console().print(
        f"{swept.ran} cells run now, {swept.found} found finished, {failed} failed, "
        f"{swept.table.count('refused')} refused, {swept.table.excluded} excluded.",
        highlight=False,
    )
    console().print(str(swept.page))
    if swept.interrupted:
        console().print("Continue with the same command.")
        raise typer.Exit(130)
    if failed:
        raise typer.Exit(1)
