"""Statistics as one offline page: every column with its picture, and where the guarantee ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedavg.errors import ReportError
from fedavg.files import replace_file
from fedavg.reports.page import payload, render_page
from fedavg.reports.statistics.figures import (
    column_figure,
    correlation_figure,
    cross_figure,
    missing_figure,
)
from fedavg.reports.statistics.words import (
    WITHHELD,
    count_words,
    facts,
    figure_words,
    guarantee,
    place_words,
)

if TYPE_CHECKING:
    from pathlib import Path

    from fedavg.statistics.summary import ColumnSummary, Summary

__all__ = ["write_statistics_page"]


def write_statistics_page(path: Path, summary: Summary, title: str) -> None:
    """Write one HTML page that needs no network.

    Args:
        path: path of the file, which is replaced if it exists.
        summary: the statistics.
        title: title of the page, such as the table's name.

    Raises:
        ReportError: the file cannot be written.
    """
    page = render_page("statistics.html.j2", **_content(summary, title))
    try:
        replace_file(path, page.encode())
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}") from error


def _content(summary: Summary, title: str) -> dict[str, Any]:
    return {
        "title": title,
        "summary": summary,
        "tiles": _tiles(summary),
        "facts": facts(summary),
        "guarantee": guarantee(summary),
        "missing": payload(missing_figure(summary)),
        "columns": [_column(column) for column in summary.columns],
        "tables": [
            (table, [(word, [*map(count_words, row)]) for word, row in _lines(table)])
            for table in summary.tables
        ],
        "crosses": [payload(cross_figure(table)) for table in summary.tables],
        "correlation": payload(correlation_figure(summary.correlations))
        if summary.correlations
        else "",
        "correlations": [
            (pair.first, pair.second, figure_words(pair.figure)) for pair in summary.correlations
        ],
        "shares": [] if summary.protection is None else summary.protection.shares,
        "withheld": WITHHELD,
    }


def _lines(table: Any) -> Any:  # noqa: ANN401 - words and rows of a contingency table
    return zip(table.first_words, table.rows, strict=True)


def _tiles(summary: Summary) -> list[tuple[str, str, str]]:
    cost = summary.protection
    rows = summary.rows.value or 0.0
    found = [
        ("Silos", f"{summary.silos:,}", "Who they are is public."),
        (
            "Rows",
            f"{rows:,.0f}",
            "The exact number."
            if cost is None
            else f"Between {summary.rows.low or 0:,.0f} and {summary.rows.high or 0:,.0f}.",
        ),
        (
            "Columns",
            f"{len(summary.columns):,}",
            f"In {summary.sums} secure sum{'s' if summary.sums > 1 else ''}.",
        ),
    ]
    if cost is None:
        rule = f"Counts of fewer {summary.units} or of fewer than {summary.min_silos} silos are withheld."
        return [*found, ("At least", f"{summary.min_people}", rule)]
    return [
        *found,
        (
            "Epsilon",
            f"{cost.epsilon:g}",
            f"For all statistics together, at delta {cost.delta:g}, of one {cost.unit}.",
        ),
    ]


def _column(column: ColumnSummary) -> dict[str, Any]:
    picture = column_figure(column)
    lines = [("missing", count_words(column.missing)), ("present", count_words(column.present))]
    if column.measured:
        lines += [
            ("mean", place_words(column, column.mean)),
            ("variance", figure_words(column.variance)),
            ("deviation", figure_words(column.deviation)),
        ]
        lines += [
            (f"quantile {quantile.level:.4g}", place_words(column, quantile.figure))
            for quantile in column.quantiles
        ]
    why = sorted(
        {
            figure.withheld
            for figure in (*_own(column), *(cell.rows for cell in column.cells))
            if figure.withheld
        }
    )
    return {
        "name": column.name,
        "picture": "" if picture is None else payload(picture),
        "lines": lines,
        "cells": [(cell.label, count_words(cell.rows)) for cell in column.cells],
        "why": why,
    }


def _own(column: ColumnSummary) -> list[Any]:
    own = [column.mean, column.variance, column.deviation, column.missing, column.present]
    return [figure for figure in own if figure is not None] + [
        quantile.figure for quantile in column.quantiles
    ]
