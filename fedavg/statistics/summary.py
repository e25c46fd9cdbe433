"""The result: figures with their intervals, or with the reason why one is withheld; nothing of one silo."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Cell",
    "ColumnSummary",
    "Correlation",
    "CrossTable",
    "Figure",
    "Protection",
    "Quantile",
    "Share",
    "Summary",
]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the result.

    Args:
        value: the number; None where it is withheld.
        low, high: ends of its interval under noise; None without noise.
        withheld: why there is no number; "" where there is one.

    Example:
        >>> Figure(12.0).shown, Figure(None, withheld="few people").shown
        (True, False)
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    withheld: str = ""

    @property
    def shown(self) -> bool:
        """Whether there is a number."""
        return self.value is not None


@dataclass(frozen=True, slots=True)
class Cell:
    """The rows of one word or of one bin; `edges` are those of the bin, None where it has no end."""

    label: str
    rows: Figure
    edges: tuple[float | None, float | None] | None = None


@dataclass(frozen=True, slots=True)
class Quantile:
    """The number below which a share `level` of the present cells lie."""

    level: float
    figure: Figure


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """The statistics of one column; those of numbers are None for words.

    Args:
        name: name of the column.
        missing, present: rows with a missing cell, and rows with one that is there.
        cells: rows of each word or bin.
        mean, variance, deviation: of the present cells; the variance is that of a sample (n − 1).
        quantiles: by level.
        bounds: public range of the numbers, where one is declared.
        days: whether the numbers are days since 1970-01-01, which tables show as dates.
    """

    name: str
    missing: Figure
    present: Figure
    cells: tuple[Cell, ...]
    mean: Figure | None = None
    variance: Figure | None = None
    deviation: Figure | None = None
    quantiles: tuple[Quantile, ...] = ()
    bounds: tuple[float, float] | None = None
    days: bool = False

    @property
    def beyond(self) -> tuple[Cell, ...]:
        """Counts of the rows beyond declared bounds, where exact sums found any: below, and above."""
        if self.bounds is None:
            return ()
        return tuple(cell for cell in self.cells if cell.edges is not None and None in cell.edges)

    @property
    def measured(self) -> bool:
        """Whether the column holds numbers."""
        return self.mean is not None


@dataclass(frozen=True, slots=True)
class CrossTable:
    """Rows of each pair of words of two columns; the last word of each is "missing"."""

    first: str
    second: str
    first_words: tuple[str, ...]
    second_words: tuple[str, ...]
    rows: tuple[tuple[Figure, ...], ...]


@dataclass(frozen=True, slots=True)
class Correlation:
    """Pearson's correlation of two columns, over the rows that have both."""

    first: str
    second: str
    figure: Figure


@dataclass(frozen=True, slots=True)
class Share:
    """What one part of the statistics takes of the budget, and the noise that is left on it.

    Args:
        name: name of the part.
        part: of Δ², in (0, 1).
        deviation: standard deviation of the noise of one coordinate, in rows.
    """

    name: str
    part: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Protection:
    """The noise of a release, and its cost.

    Args:
        unit: whose presence is protected, in words.
        most_rows: the most rows of one unit.
        epsilon, delta: the budget: against the server with the colluding silos.
        epsilon_spent: ε against the server with the colluding silos; None where the server sees each vector.
        epsilon_release: ε for who sees the result.
        epsilon_server: ε for the server alone; None where it sees each silo's vector.
        epsilon_two_silos: `epsilon_spent` for a person with rows in two silos; None where rows are the unit.
        colluders: c.
        mechanism: the kind of noise.
        noise_multiplier: z, its standard deviation ÷ the sensitivity, against the server with c silos.
        sensitivity: Δ in grid units.
        coordinates: d.
        alone: how many times as wide the intervals would be if each silo added the whole noise itself.
        shares: what each part of the statistics takes.
    """

    unit: str
    most_rows: int
    epsilon: float
    delta: float
    epsilon_spent: float | None
    epsilon_release: float
    epsilon_server: float | None
    epsilon_two_silos: float | None
    colluders: int
    mechanism: str
    noise_multiplier: float
    sensitivity: float
    coordinates: int
    alone: float
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """Statistics over all silos.

    Args:
        silos: number of silos.
        unit, units: what is counted against `min_people`, in words: one of them, and several.
        rows: number of rows.
        columns: the statistics of each column.
        tables: contingency tables.
        correlations: of each pair.
        secure_sum: name of the secure sum.
        hidden: whether it hides each silo's vector from the server.
        sums: number of secure sums.
        min_silos, min_people: the rules by which figures are withheld.
        confidence: of the intervals; None without noise.
        protection: the noise; None for exact sums.

    Example:
        >>> rows = Figure(120.0)
        >>> words = Cell("F", Figure(60.0)), Cell("M", Figure(60.0))
        >>> column = ColumnSummary("sex", Figure(0.0), rows, words)
        >>> summary = Summary(3, "row", "rows", rows, (column,), (), (), "secagg", True, 1, 3, 5, None, None)
        >>> print(summary.csv().splitlines()[2])
        sex,missing,,0.0,,,
    """

    silos: int
    unit: str
    units: str
    rows: Figure
    columns: tuple[ColumnSummary, ...]
    tables: tuple[CrossTable, ...]
    correlations: tuple[Correlation, ...]
    secure_sum: str
    hidden: bool
    sums: int
    min_silos: int
    min_people: int
    confidence: float | None
    protection: Protection | None

    def column(self, name: str) -> ColumnSummary:
        """The statistics of one column.

        Raises:
            KeyError: there is none of this name.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def json(self) -> bytes:
        """The whole result as JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"

    def csv(self) -> str:
        """All figures as CSV, one a line: column, statistic, cell, value, low, high, withheld."""
        out = io.StringIO()
        write = csv.writer(out, lineterminator="\n")
        write.writerow(["column", "statistic", "cell", "value", "low", "high", "withheld"])
        for column, statistic, cell, figure in self._lines():
            write.writerow(
                [column, statistic, cell, figure.value, figure.low, figure.high, figure.withheld]
            )
        return out.getvalue()

    def _lines(self) -> Iterator[tuple[str, str, str, Figure]]:
        yield "", "rows", "", self.rows
        for column in self.columns:
            yield column.name, "missing", "", column.missing
            yield column.name, "present", "", column.present
            for name, figure in (
                ("mean", column.mean),
                ("variance", column.variance),
                ("deviation", column.deviation),
            ):
                if figure is not None:
                    yield column.name, name, "", figure
            for quantile in column.quantiles:
                yield column.name, "quantile", f"{quantile.level:g}", quantile.figure
            for cell in column.cells:
                yield column.name, "rows", cell.label, cell.rows
        for table in self.tables:
            for first, row in zip(table.first_words, table.rows, strict=True):
                for second, figure in zip(table.second_words, row, strict=True):
                    name = f"{table.first} × {table.second}"
                    yield name, "rows", f"{first} × {second}", figure
        for pair in self.correlations:
            yield f"{pair.first} ~ {pair.second}", "correlation", "", pair.figure
