"""A study as one offline page: the cost of accuracy in privacy and bytes, and the cost of the study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedavg.errors import ReportError
from fedavg.metrics.interface import figure_text
from fedavg.reports.page import payload, render_page
from fedavg.studies.results.figures import (
    accuracy_by_bytes,
    accuracy_by_epsilon,
    front_of,
    label_of,
)
from fedavg.studies.results.table import groups_of
from fedavg.studies.results.troubles import notices_of, troubles_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from fedavg.studies.directory import StudyDirectory
    from fedavg.studies.results.comparison import Comparison
    from fedavg.studies.results.figures import Key, Picture
    from fedavg.studies.results.table import Group, Row, Table

__all__ = ["write_study_page"]

_NO_VALUE = "–"
_ENDS = {
    "budget": ", budget spent",
    "early": ", stopped early",
    "nothing-learnt": ", nothing learnt",
}
_DASH_ARRAYS = {"dot": "2 3", "dash": "6 4", "longdash": "10 4"}


def write_study_page(directory: StudyDirectory, table: Table) -> Path:
    """Write `study.html`: both pictures, the groups, every cell, and how to read them.

    Raises:
        ReportError: the file cannot be written.
    """
    page = render_page("study.html.j2", **_content(table))
    try:
        directory.write("study.html", page.encode())
    except OSError as error:
        raise ReportError(f"cannot write {directory.path}: {error.strerror}") from error
    return directory.path / "study.html"


def _content(table: Table) -> dict[str, Any]:
    groups, by = groups_of(table), table.comparison
    by_epsilon, by_bytes = accuracy_by_epsilon(groups), accuracy_by_bytes(groups)
    done, form = [row for row in table.rows if row.state == "done"], table.form
    seeds = sorted({len(group.rows) for group in groups})
    return {
        "title": table.title,
        "tiles": _tiles(table, groups, done),
        "by_epsilon": _payload(by_epsilon),
        "epsilon_legend": _legend(by_epsilon),
        "by_bytes": _payload(by_bytes),
        "bytes_legend": _legend(by_bytes),
        "bytes_fixed": "" if by_bytes is None else by_bytes.fixed,
        "plain": any(not row.values["hides_updates"] for row in done),
        "words": form.words,
        "remarks": form.remarks([row.values for row in done]),
        "central": any(form.central(row.settings) for row in done),
        "ceiling": not all(form.noisy(row.settings) for row in done),
        "open": any(g.epsilon is None and form.noisy(g.rows[0].settings) for g in groups),
        "lone": by_epsilon is not None and by_epsilon.partial,
        "seeds": _seeds(seeds),
        "several_seeds": bool(seeds) and seeds[-1] > 1,
        "groups": _group_rows(groups),
        "varied": _varied(table),
        "held": _held(table),
        "spent": _spent(table, done),
        "figure": by.name,
        "rule": by.rule,
        "cells": [_cell_row(table, row) for row in table.rows if row.state in ("done", "missing")],
        "troubles": troubles_of(table),
        "excluded": table.excluded,
        "missing": table.count("missing"),
        "warnings": notices_of(table),
    }


def _payload(picture: Picture | None) -> str | None:
    return None if picture is None else payload(picture.figure)


def _legend(picture: Picture | None) -> list[dict[str, Any]]:
    return [] if picture is None else [_swatch(key) for key in picture.legend]


def _swatch(key: Key) -> dict[str, Any]:
    return {
        "label": key.label,
        "colour": key.colour,
        "symbol": key.symbol,
        "line": key.dash is not None,
        "dashes": _DASH_ARRAYS.get(key.dash or "", "none"),
    }


def _tiles(
    table: Table, groups: Sequence[Group], done: Sequence[Row]
) -> list[tuple[str, str, str]]:
    other = [
        f"{table.count(state)} {state}"
        for state in ("failed", "refused", "missing")
        if table.count(state)
    ]
    others = f" Besides them: {', '.join(other)}." if other else ""
    tiles = [("Cells", f"{len(done):,}", f"Runs that finished.{others}")]
    private = [group for group in groups if group.epsilon is not None]
    figure = table.comparison.name
    ends = [
        ("at the least epsilon", _best(private, min)),
        ("at the largest epsilon", _best(private, max)),
    ]
    if len({group.told for group in private}) == 1:
        ends = [("with noise", ends[0][1])]
    for where, group in ends:
        if group is not None and len(private) > 1:
            tiles.append((f"Best {figure} {where}", group.by.text(group.score), _note(group)))
    exact = [group for group in groups if not table.form.noisy(group.rows[0].settings)]
    if exact:
        best = max(exact, key=lambda group: group.worth)
        tiles.append((f"Best {figure} without noise", best.by.text(best.score), _note(best)))
    return tiles


def _best(groups: Sequence[Group], end: Callable[[Iterable[float]], float]) -> Group | None:
    """The best group at the smallest or largest epsilon."""
    if not groups:
        return None
    at = end(group.told for group in groups)
    return max((group for group in groups if group.told == at), key=lambda group: group.worth)


def _note(group: Group) -> str:
    budget, _ = group.form.strength
    settings = {key: value for key, value in group.settings.items() if key != budget}
    size = f"mean of {len(group.rows)} seeds" if len(group.rows) > 1 else "one seed"
    epsilon = "no epsilon" if group.epsilon is None else f"epsilon {group.epsilon:.3g}"
    return f"{epsilon}: {label_of(settings)}, {size}."


def _seeds(seeds: Sequence[int]) -> str:
    return "no" if not seeds else "to".join(f" {n} " for n in sorted({seeds[0], seeds[-1]})).strip()


def _number(value: float | None, digits: int = 3) -> str:
    return "no bound" if value is None else f"{value:.{digits}g}"


def _group_rows(groups: Sequence[Group]) -> list[dict[str, Any]]:
    front = front_of(groups)
    return [
        {
            "label": label_of(group.settings),
            "n": len(group.rows),
            "score": group.by.text(group.score),
            "baseline": group.by.text(group.baseline),
            "spread": group.spread,
            "stddev": group.by.text(group.stddev),
            "epsilons": [_number(epsilon) for epsilon in group.epsilons],
            "bytes": f"{group.bytes_up / 1000:.2f} kB",
            "cpu": f"{group.cpu_seconds:.1f}",
            "front": index in front,
        }
        for index, group in enumerate(groups)
    ]


def _text(value: object) -> str:
    if value is None:
        return _NO_VALUE
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cells(table: Table) -> list[Row]:
    return [row for row in table.rows if row.state != "refused" and row.id]


def _varied(table: Table) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key in (*table.varied, "seed"):
        values = [row.settings.get(key) for row in _cells(table)]
        names = list(dict.fromkeys(_text(value) for value in values if value is not None))
        found.append((key, ", ".join(names) or _NO_VALUE))
    return found


def _held(table: Table) -> list[tuple[str, str]]:
    cells = _cells(table)
    if not cells:
        return []
    rows = [row for row in cells if table.form.noisy(row.settings)] or cells
    settings = rows[0].settings
    return [
        (key, _text(value))
        for key, value in settings.items()
        if key not in (*table.varied, "seed") and value not in (None, "", {})
    ]


def _spent(table: Table, done: Sequence[Row]) -> dict[str, Any]:
    """The cost of all cells together by basic composition: epsilons and deltas add up."""
    column = table.form.words.axis.column
    known = [row for row in done if row.values[column] is not None]
    return {
        "cells": len(known),
        "epsilon": f"{sum(row.values[column] for row in known):.4g}",
        "delta": f"{sum(row.values['delta'] for row in known):.2g}",
        "unbounded": len(done) - len(known),
    }


def _cell_row(table: Table, row: Row) -> dict[str, Any]:
    value, by, observers = row.values, table.comparison, table.form.words.observers
    multiplier = value.get("noise_multiplier")
    return {
        "id": row.id[:8],
        "label": label_of({k: v for k, v in _short(table, row).items() if v is not None}),
        "seed": row.settings.get("seed"),
        "score": by.text(value.get(by.value)),
        "figures": _others(value, by),
        "loss": f"{value['loss']:.3f}" if value.get("loss") is not None else _NO_VALUE,
        "epsilons": [
            _number(value.get(observer.column), 4) if value else _NO_VALUE for observer in observers
        ],
        "multiplier": _NO_VALUE if multiplier is None else f"{multiplier:.3f}",
        "ring": _text(value.get("ring_bits")),
        "exchanges": _exchanges(table, value),
        "bytes": f"{value['bytes_up'] / 1000:.2f}" if value.get("bytes_up") else _NO_VALUE,
        "cpu": f"{value['cpu_seconds']:.1f}" if value else _NO_VALUE,
    }


def _others(value: dict[str, Any], by: Comparison) -> str:
    """The figures beside the one by which cells are compared, such as those of single targets."""
    found: dict[str, float | None] = value.get("figures") or {}
    shown = ((name.replace("_", " "), number) for name, number in found.items())
    return ", ".join(
        f"{name} {figure_text(number, share=False)}" for name, number in shown if name != by.name
    )


def _exchanges(table: Table, value: dict[str, Any]) -> str:
    if not value:
        return _NO_VALUE
    words = table.form.words
    lost = f" ({value[words.lost]} {words.lost_said})" if value[words.lost] else ""
    return f"{value[words.count]}{lost}{_ENDS.get(value['stopped'], '')}"


def _short(table: Table, row: Row) -> dict[str, Any]:
    settings = table.form.in_effect(row.settings)
    return {key: settings.get(key) for key in table.varied}
