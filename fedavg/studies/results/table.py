"""A study's results as a table of cells, as groups over seeds, and as Pareto fronts."""

from __future__ import annotations

import csv
import functools
import io
import json
import math
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import msgspec

from fedavg.studies.directory import environment
from fedavg.studies.identity import code_version
from fedavg.studies.results.comparison import ACCURACY, Comparison, comparison_of
from fedavg.studies.trials.clients import CLIENTS
from fedavg.studies.trials.settings import flatten, usual

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fedavg.studies.directory import Record, StudyDirectory
    from fedavg.studies.study import Refusal, Study
    from fedavg.studies.trials.interface import Form, Settings

__all__ = ["Group", "Row", "Table", "groups_of", "pareto_front", "table_of", "write_tables"]


@dataclass(frozen=True, slots=True)
class Row:
    """One cell of a table.

    Args:
        id: id of the cell; "" for settings that are no cell.
        state: "done", "failed", "refused" or "missing".
        reason: why there are no figures.
        settings: the requested settings; those that a cell cannot vary are left out.
        values: derived and measured values, by name; None where there is none.
        form: the form of the study's configurations.
    """

    id: str
    state: str
    reason: str
    settings: Settings
    values: dict[str, Any]
    form: Form = CLIENTS

    def flat(self) -> dict[str, Any]:
        """All values by column, in the order of the columns."""
        head = {"id": self.id, "state": self.state, "reason": self.reason}
        settings = {key: self.settings.get(key) for key in _settings_keys(self.form)}
        return head | settings | {key: self.values.get(key) for key in self.form.columns}


@dataclass(frozen=True, slots=True)
class Table:
    """A study's rows.

    Args:
        excluded: number of combinations that the study excludes.
        varied: settings with more than one value among the cells, without the seed.
        form: the form of the study's configurations.
    """

    title: str
    rows: tuple[Row, ...]
    excluded: int
    varied: tuple[str, ...]
    form: Form = CLIENTS

    @property
    def comparison(self) -> Comparison:
        """The figure by which the finished cells are compared."""
        return comparison_of([row.values for row in self.rows if row.state == "done"])

    def count(self, state: str) -> int:
        """Rows in a state."""
        return sum(row.state == state for row in self.rows)


@dataclass(frozen=True, slots=True)
class Group:
    """Finished cells that differ in their seed only.

    Args:
        settings: the study's varied settings, without the seed; None where a setting has no effect.
        scores: values of the figure by which cells are compared, one for each seed.
        epsilons: towards each observer of the form, the largest value over the seeds; None for no bound.
        bytes_up: mean bytes for each party and secure sum.
        baseline: that figure of the constant prediction, mean over the seeds; None if it is not known.
        by: the figure by which the cells of the study are compared.
    """

    settings: Settings
    rows: tuple[Row, ...]
    scores: tuple[float, ...]
    epsilons: tuple[float | None, ...]
    bytes_up: float
    cpu_seconds: float
    baseline: float | None = None
    by: Comparison = ACCURACY
    form: Form = CLIENTS

    @property
    def epsilon(self) -> float | None:
        """The epsilon by which cells are compared; None for no bound."""
        return self.epsilons[self.form.words.observers.index(self.form.words.axis)]

    @property
    def told(self) -> float:
        """That epsilon as the page prints it, to three digits; infinity for no bound.

        Calibrations to one budget end at numbers that differ far behind the point. Such a difference is none
        between settings.
        """
        return math.inf if self.epsilon is None else float(f"{self.epsilon:.3g}")

    @property
    def worth(self) -> float:
        """The mean score, with its sign changed if smaller is better."""
        return self.by.worth(self.score)

    @property
    def spread(self) -> str:
        """The worst and the best seed's score as text."""
        return f"{self.by.text(min(self.scores))} to {self.by.text(max(self.scores))}"

    @property
    def score(self) -> float:
        """Mean over the seeds."""
        return fmean(self.scores)

    @property
    def stddev(self) -> float | None:
        """Standard deviation over the seeds, with n − 1; None for one seed."""
        return stdev(self.scores) if len(self.scores) > 1 else None


@functools.cache
def _settings_keys(form: Form) -> tuple[str, ...]:
    return tuple(key for key in usual(form) if key not in form.without_effect)


def table_of(study: Study, records: Mapping[str, Record], refused: Iterable[Refusal]) -> Table:
    """The table of a study's results, its cells in the study's order, then the refused ones."""
    refused = tuple(refused)
    turned_down = {refusal.cell_id for refusal in refused}
    rows: list[Row] = []
    for cell in study.cells:
        settings = _shown(study.form, flatten(cell.trial.config))
        record = records.get(cell.id)
        if record is not None:
            rows.append(_row(study.form, record, settings))
        # A cell that was refused is listed once, below.
        elif cell.id not in turned_down:
            rows.append(Row(cell.id, "missing", "not run yet", settings, {}, study.form))
    varied = _varied(study.form, [row.settings for row in rows])
    for refusal in refused:
        state = "failed" if refusal.broken else "refused"
        shown = _shown(study.form, refusal.settings)
        rows.append(Row(refusal.cell_id, state, refusal.reason, shown, {}, study.form))
    return Table(study.title, tuple(rows), study.excluded, varied, study.form)


def _row(form: Form, record: Record, settings: Settings) -> Row:
    values: dict[str, Any] = msgspec.to_builtins(record.derived)
    if record.measured is not None:
        values |= msgspec.to_builtins(record.measured)
    return Row(record.id, record.state, record.reason, settings, _finite(values), form)


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Replace infinity and NaN, which JSON does not have, by None, as in "no bound"."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }


def _shown(form: Form, settings: Settings) -> Settings:
    return _finite({k: value for k, value in settings.items() if k not in form.without_effect})


def _varied(form: Form, all_settings: Sequence[Settings]) -> tuple[str, ...]:
    """Settings with several values among the cells in which they have an effect."""
    effective = [form.in_effect(settings) for settings in all_settings]
    found: list[str] = []
    for key in _settings_keys(form):
        values = [settings.get(key) for settings in effective if key in settings]
        if key != "seed" and len({json.dumps(value, sort_keys=True) for value in values}) > 1:
            found.append(key)
    return tuple(found)


def groups_of(table: Table) -> tuple[Group, ...]:
    """Groups of finished cells with a figure that differ in their seed only."""
    by = table.comparison
    found: dict[str, list[Row]] = {}
    for row in table.rows:
        # A cell without the figure cannot be compared, but it stays in the table of cells.
        if row.state == "done" and row.values.get(by.value) is not None:
            found.setdefault(json.dumps(_chosen(table, row), sort_keys=True), []).append(row)
    return tuple(_group(table, rows, by) for rows in found.values())


def _chosen(table: Table, row: Row) -> Settings:
    settings = table.form.in_effect(row.settings)
    return {key: settings.get(key) for key in table.varied}


def _group(table: Table, rows: list[Row], by: Comparison) -> Group:
    return Group(
        settings=_chosen(table, rows[0]),
        rows=tuple(rows),
        scores=tuple(row.values[by.value] for row in rows),
        epsilons=tuple(
            _largest(row.values[observer.column] for row in rows)
            for observer in table.form.words.observers
        ),
        bytes_up=fmean(row.values["bytes_up"] or 0.0 for row in rows),
        cpu_seconds=fmean(row.values["cpu_seconds"] for row in rows),
        baseline=_mean(row.values.get(by.baseline) for row in rows),
        by=by,
        form=table.form,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _largest(values: Iterable[float | None]) -> float | None:
    known: list[float] = []
    for value in values:
        # One seed without a bound leaves the group without one.
        if value is None:
            return None
        known.append(value)
    return max(known)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the (cost, value) pairs that no other pair beats, in ascending order of cost.

    A pair beats another if it costs no more, is worth no less, and differs.

    Example:
        >>> pareto_front([(1.0, 0.7), (2.0, 0.9), (2.0, 0.8), (4.0, 0.9)])
        [0, 1]
    """
    # Among equal costs the best value comes first, so that one pass finds the front.
    order = sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1]))
    front: list[int] = []
    for index in order:
        best = points[front[-1]] if front else (0.0, -math.inf)
        if points[index][1] > best[1] or points[index] == best:
            front.append(index)
    return front


def write_tables(directory: StudyDirectory, table: Table) -> None:
    """Write `cells.csv` and `cells.json`: every cell, every setting, every figure."""
    rows = [row.flat() for row in table.rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(Row("", "", "", {}, {}, table.form).flat()))
    writer.writeheader()
    writer.writerows({key: _csv_value(value) for key, value in row.items()} for row in rows)
    directory.write("cells.csv", text.getvalue().encode())
    whole = {
        "title": table.title,
        "code": code_version(),
        "environment": environment(),
        "excluded": table.excluded,
        "cells": rows,
    }
    directory.write("cells.json", json.dumps(whole, indent=1, allow_nan=False).encode())


def _csv_value(value: object) -> str:
    """A text itself, "" for None, and JSON for anything else."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
