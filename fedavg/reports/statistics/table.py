"""Statistics as tables for a terminal: one row a column, then the contingency tables and correlations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from fedavg.reports.statistics.words import (
    WITHHELD,
    count_words,
    facts,
    figure_words,
    place_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedavg.statistics.summary import ColumnSummary, CrossTable, Figure, Summary

__all__ = ["tables"]

_MOST_WORDS = 4
_DIGITS = 4


def tables(summary: Summary, title: str) -> Iterator[Table]:
    """The result as tables for the console.

    Args:
        summary: the statistics.
        title: title above the first table.
    """
    told = Table(title=title, title_justify="left", show_header=False, box=box.SIMPLE_HEAD)
    for name, value in facts(summary):
        told.add_row(name, value)
    yield told
    numbers = [column for column in summary.columns if column.measured]
    if numbers:
        yield _numbers(numbers)
    words = [column for column in summary.columns if not column.measured]
    if words:
        yield _words(words)
    for table in summary.tables:
        yield _cross(table)
    if summary.correlations:
        yield _correlations(summary)


def _headed(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    first, *others = headings
    table.add_column(first, style="bold", overflow="fold", max_width=28)
    for heading in others:
        table.add_column(heading, justify="right", overflow="fold")
    return table


def _numbers(columns: list[ColumnSummary]) -> Table:
    levels = [f"{quantile.level:.4g}" for quantile in columns[0].quantiles]
    # A row with seven intervals does not fit a terminal; the page and the files have those of quantiles.
    title = "Numbers (the page has the intervals of quantiles)"
    table = _headed(title, "column", "missing", "mean", "deviation", *levels)
    for column in columns:
        table.add_row(
            Text(column.name),
            count_words(column.missing),
            place_words(column, column.mean, _DIGITS),
            figure_words(column.deviation, _DIGITS),
            *(_place(column, quantile.figure) for quantile in column.quantiles),
        )
    return table


def _place(column: ColumnSummary, figure: Figure) -> str:
    return place_words(column, replace(figure, low=None, high=None), _DIGITS)


def _words(columns: list[ColumnSummary]) -> Table:
    table = _headed("Words", "column", "missing", "rows of each word")
    for column in columns:
        shown = sorted(
            (cell for cell in column.cells if cell.rows.value is not None),
            key=lambda cell: -(cell.rows.value or 0.0),
        )
        said = [f"{cell.label} {count_words(cell.rows)}" for cell in shown[:_MOST_WORDS]]
        left = len(column.cells) - len(said)
        said += [f"{left} more"] if left else []
        table.add_row(
            Text(column.name), count_words(column.missing), Text(", ".join(said) or WITHHELD)
        )
    return table


def _cross(table: CrossTable) -> Table:
    shown = _headed(f"{table.first} × {table.second}", table.first, *table.second_words)
    for word, row in zip(table.first_words, table.rows, strict=True):
        shown.add_row(Text(word), *map(count_words, row))
    return shown


def _correlations(summary: Summary) -> Table:
    table = _headed("Correlations", "columns", "correlation")
    for pair in summary.correlations:
        table.add_row(Text(f"{pair.first} ~ {pair.second}"), figure_words(pair.figure, _DIGITS))
    return table
