"""Runs a study's cells, several at once: all are checked first, and each result is stored at once."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fedavg.errors import ConfigError
from fedavg.studies.directory import Record, StudyDirectory, environment
from fedavg.studies.results.page import write_study_page
from fedavg.studies.results.table import table_of, write_tables
from fedavg.studies.study import DEFAULT_STUDY, Cell, Refusal, Study
from fedavg.studies.trials.settings import flatten
from fedavg.studies.workers import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from rich.console import Console

    from fedavg.studies.executors import Executor
    from fedavg.studies.results.table import Table
    from fedavg.studies.trials.catalogue import AnyDerived
    from fedavg.studies.trials.interface import Measured
    from fedavg.studies.workers import CellAnswer

__all__ = ["Outlook", "Swept", "look_ahead", "sweep"]


@dataclass(frozen=True, slots=True)
class Outlook:
    """The result of checking a study.

    Args:
        records: records of the study's cells from earlier sweeps; the finished ones are `done`.
        ready: cells to run, by id, with the result of their check.
        refused: combinations that are refused.
    """

    study: Study
    records: Mapping[str, Record]
    ready: Mapping[str, AnyDerived]
    refused: tuple[Refusal, ...]

    @property
    def done(self) -> dict[str, Record]:
        """Cells with a stored result."""
        return _finished(self.records)

    def cells(self) -> Iterable[tuple[Cell, AnyDerived, bool]]:
        """Every cell that has or will have a result, and whether it has one."""
        for cell in self.study.cells:
            if cell.id in self.done:
                yield cell, self.done[cell.id].derived, True
            elif cell.id in self.ready:
                yield cell, self.ready[cell.id], False


@dataclass(frozen=True, slots=True)
class Swept:
    """The result of a sweep.

    Args:
        ran: cells that were finished now.
        found: cells that had been finished before.
        interrupted: whether cells remain to be run.
    """

    directory: Path
    page: Path
    table: Table
    ran: int
    found: int
    interrupted: bool


def look_ahead(study: Study, out: Path, executor: Executor, console: Console) -> Outlook:
    """Check every cell of a study without running or writing anything.

    Args:
        study: the study, from `read_study`.
        out: directory of the study; it may be missing.
        executor: checks the cells; it is closed at the end.
        console: console for progress.

    Raises:
        ConfigError: the folder is no study, or every cell of the study is refused.
    """
    # A look ahead must not create the folder.
    directory = StudyDirectory(out) if out.exists() else None
    with closing(executor):
        return _outlook(study, directory, executor, console)


def sweep(
    study: Study, path: Path | None, out: Path, executor: Executor, console: Console
) -> Swept:
    """Run the missing cells of a study, and write its tables and its page.

    Ctrl-C or a kill loses the cells that were running; the next call continues with the others.

    Args:
        study: the study, from `read_study`.
        path: path of its file, which is stored beside the results; None for the built-in study.
        out: directory of the study, created if it does not exist.
        executor: runs the cells; it is closed at the end.
        console: console for progress.

    Raises:
        ConfigError: another process sweeps there, the folder is no study, or every cell is refused.
    """
    directory = StudyDirectory(out)
    # One process sweeps at a time, because two would run the same cells.
    with directory.locked(), closing(executor):
        outlook = _outlook(study, directory, executor, console)
        directory.keep_study((path or DEFAULT_STUDY).read_bytes())
        work = _Work(outlook, directory, console)
        interrupted = work.run(executor)
        records = _records(
            study, directory
        )  # an interrupt may come between writing a file and recording it here
        table = table_of(study, records, outlook.refused)
        write_tables(directory, table)
        page = write_study_page(directory, table)
    ran = len(_finished(records).keys() - outlook.done.keys())
    return Swept(out, page, table, ran, len(outlook.done), interrupted)


def _outlook(
    study: Study, directory: StudyDirectory | None, executor: Executor, console: Console
) -> Outlook:
    records = {} if directory is None else _records(study, directory)
    done = _finished(records)
    missing = {cell.id: cell for cell in study.cells if cell.id not in done}
    ready: dict[str, AnyDerived] = {}
    refused = list(study.refused)
    with _progress(console) as progress:
        bar = progress.add_task("checked", total=len(missing), left="")
        for answer in executor.work(Request(id=c.id, trial=c.trial) for c in missing.values()):
            progress.advance(bar)
            if answer.derived is not None:
                ready[answer.id] = answer.derived
            else:
                # A refused cell keeps its settings, which the page needs to name the reason.
                settings = flatten(missing[answer.id].trial.config)
                broken = answer.outcome == "failed"
                refused.append(Refusal(settings, answer.reason, answer.id, broken=broken))
    # One refused cell is a result; a study without a single cell to run is a mistake.
    if not done and not ready:
        reason = refused[0].reason if refused else "everything is excluded"
        raise ConfigError(f"no cell of this study adds up; the first: {reason}")
    return Outlook(study, records, ready, tuple(refused))


def _records(study: Study, directory: StudyDirectory) -> dict[str, Record]:
    found = ((cell.id, directory.read(cell.id)) for cell in study.cells)
    return {key: record for key, record in found if record is not None}


def _finished(records: Mapping[str, Record]) -> dict[str, Record]:
    return {key: record for key, record in records.items() if record.state == "done"}


@dataclass(frozen=True, slots=True)
class _Work:
    """The cells that are being run."""

    outlook: Outlook
    directory: StudyDirectory
    console: Console

    def run(self, executor: Executor) -> bool:
        """Run all cells that are ready; return True when interrupted."""
        cells = {c.id: c for c in self.outlook.study.cells if c.id in self.outlook.ready}
        requests = [
            Request(id=cell.id, trial=cell.trial, derived=self.outlook.ready[cell.id])
            for cell in cells.values()
        ]
        left = _TimeLeft(executor.width, {c.id: c.trial.kind for c in self.outlook.study.cells})
        for key, record in self.outlook.done.items():
            left.note(key, record.measured)
        began = environment()
        missing = set(cells)
        with _progress(self.console) as progress:
            bar = progress.add_task("cells", total=len(requests), left="")
            try:
                for answer in executor.work(requests):
                    record = _record(cells[answer.id], self.outlook.ready, answer, began)
                    # The record is on the disk before the next cell is handed out.
                    self.directory.keep(record)
                    self._say(cells[answer.id], record)
                    left.note(answer.id, record.measured)
                    missing.remove(answer.id)
                    progress.update(bar, advance=1, left=left.text(missing))
            except KeyboardInterrupt:
                self.console.print("Interrupted: every finished cell is kept.")
                return True
        return False

    def _say(self, cell: Cell, record: Record) -> None:
        if record.state == "failed":
            self.console.print(
                f"cell {cell.id[:8]} failed: {record.reason}", highlight=False, markup=False
            )


def _record(
    cell: Cell, ready: Mapping[str, AnyDerived], answer: CellAnswer, began: dict[str, str]
) -> Record:
    return Record(
        id=cell.id,
        state="done" if answer.outcome == "done" else "failed",
        trial=cell.trial,
        derived=ready[cell.id],
        measured=answer.measured,
        reason=answer.reason,
        environment=answer.environment or began,
    )


class _TimeLeft:
    """Estimates the remaining time from the finished cells, with a mean for each kind."""

    def __init__(self, jobs: int, kinds: Mapping[str, tuple[object, ...]]) -> None:
        self._jobs = jobs
        self._kinds = kinds
        self._spent: dict[tuple[object, ...], list[float]] = {}

    def note(self, cell_id: str, measured: Measured | None) -> None:
        if measured is not None:
            self._spent.setdefault(self._kinds[cell_id], []).append(measured.seconds)

    def text(self, open_cells: Iterable[str]) -> str:
        known = [seconds for spent in self._spent.values() for seconds in spent]
        if not known:
            return ""
        total = sum(fmean(self._spent.get(self._kinds[cell], known)) for cell in open_cells)
        minutes, seconds = divmod(math.ceil(total / self._jobs), 60)
        return f"about {minutes // 60}:{minutes % 60:02}:{seconds:02} left"


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
    )
