"""Exact statistics: two secure sums, of counts and moments first and of histograms second.

The server learns the totals of all cells, small ones included; who reads the result learns those that the
rules of the question leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from fedavg.errors import DataError
from fedavg.statistics import blocks
from fedavg.statistics.blocks import OneHot
from fedavg.statistics.exact.cells import Cells, Tally, tallied
from fedavg.statistics.exact.digits import GRAIN, Digits
from fedavg.statistics.exact.numbers import (
    LEAVES,
    Range,
    correlation_figure,
    moment_figures,
    moment_sums,
    pair_sums,
    quantiles_of,
)
from fedavg.statistics.exact.withheld import FEW, OTHERS, Sums
from fedavg.statistics.summary import (
    Cell,
    ColumnSummary,
    Correlation,
    CrossTable,
    Figure,
    Quantile,
    Summary,
)
from fedavg.statistics.summing import total_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from fedavg.statistics.question import Question
    from fedavg.statistics.silos import SiloRows, Silos, Variable
    from fedavg.sums.interface import SecureSum

__all__ = ["exact_summary"]

MISSING = "missing"


def exact_summary(silos: Silos, question: Question, secure_sum: SecureSum) -> Summary:
    """Take the statistics by exact sums.  See `fedavg.statistics.summarise`."""
    first = _First(silos, question, secure_sum)
    totals = first.totals()
    if totals.rows.few(question) or not int(totals.rows.rows[0]):
        raise DataError(
            f"all silos together have fewer than {question.min_people} {silos.unit.plural}, or fewer than "
            f"{question.min_silos} silos have rows: nothing can be shown"
        )
    ranges = {
        variable.name: Range.of(variable, mean.value, deviation.value, totals.negative[at])
        for at, variable in enumerate(first.numbers)
        for mean, _, deviation in [totals.moments[variable.name]]
        if mean.value is not None and deviation.value is not None
    }
    histograms = _histograms(silos, question, secure_sum, ranges)
    return _Told(silos, question, totals, ranges, histograms).summary(
        secure_sum, sums=2 if ranges else 1
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Totals:
    """What the first sum says."""

    rows: Tally
    presence: dict[str, Tally]
    words: dict[str, Tally]
    tables: dict[tuple[str, str], Tally]
    moments: dict[str, tuple[Figure, Figure, Figure]]
    correlations: dict[tuple[str, str], Figure]
    negative: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class _First:
    """The first sum."""

    silos: Silos
    question: Question
    secure_sum: SecureSum

    @property
    def numbers(self) -> tuple[Variable, ...]:
        return tuple(variable for variable in self.silos.variables if variable.measured)

    @property
    def pairs(self) -> list[tuple[Variable, Variable]]:
        named = {variable.name: variable for variable in self.silos.variables}
        return [(named[one], named[two]) for one, two in combinations(self.question.correlate, 2)]

    def _counts(self) -> list[OneHot]:
        named = {variable.name: variable for variable in self.silos.variables}
        return [
            blocks.whole(),
            *map(blocks.presence, self.silos.variables),
            *(blocks.words(own) for own in self.silos.variables if not own.measured),
            *(blocks.crossed(named[one], named[two]) for one, two in self.question.tables),
            *(_both(one, two) for one, two in self.pairs),
            *map(_negative, self.numbers),
        ]

    def _exact(self) -> tuple[list[Digits], Callable[[SiloRows], list[int]]]:
        """The digits of each exact sum, and the sums of one silo."""
        count = len(self.silos.rows)
        single, double = (Digits(GRAIN * power, power, count) for power in (1, 2))
        shapes = [single, double] * len(self.numbers)
        shapes += [single, single, double, double, double] * len(self.pairs)

        def own(rows: SiloRows) -> list[int]:
            found = [total for number in self.numbers for total in moment_sums(rows, number)]
            return found + [total for pair in self.pairs for total in pair_sums(rows, *pair)]

        return shapes, own

    def totals(self) -> _Totals:
        counts, (shapes, own) = self._counts(), self._exact()

        def vector(rows: SiloRows) -> NDArray[np.int64]:
            digits = [shape.of(sum_) for shape, sum_ in zip(shapes, own(rows), strict=True)]
            return np.concatenate([*(tallied(block, rows) for block in counts), *digits])

        total = total_of(self.secure_sum, [vector(rows) for rows in self.silos.rows])
        tallies, rest = _tallies(total, counts)
        sums: list[int] = []
        for shape in shapes:
            sums.append(shape.value(rest[: shape.length]))
            rest = rest[shape.length :]
        return self._told(iter(tallies), iter(sums))

    def _told(self, tallies: Iterator[Tally], sums: Iterator[int]) -> _Totals:
        variables, question = self.silos.variables, self.question
        rows = next(tallies)
        presence = {variable.name: next(tallies) for variable in variables}
        words = {own.name: next(tallies) for own in variables if not own.measured}
        tables = {pair: next(tallies) for pair in question.tables}
        both = [next(tallies) for _ in self.pairs]
        negative = [int(next(tallies).rows[0]) for _ in self.numbers]
        moments = {
            number.name: _moments(presence[number.name], next(sums), next(sums), question)
            for number in self.numbers
        }
        correlations = {
            (one.name, two.name): _correlation(tally, [next(sums) for _ in range(5)], question)
            for (one, two), tally in zip(self.pairs, both, strict=True)
        }
        return _Totals(rows, presence, words, tables, moments, correlations, negative)


def _both(first: Variable, second: Variable) -> OneHot:
    def index(rows: SiloRows) -> NDArray[np.int64]:
        gone = np.isnan(rows.values[first.name]) | np.isnan(rows.values[second.name])
        return -gone.astype(np.int64)

    return OneHot(f"{first.name} ~ {second.name}", (first.name, second.name), 1, index)


def _negative(variable: Variable) -> OneHot:
    def index(rows: SiloRows) -> NDArray[np.int64]:
        return np.where(rows.values[variable.name] < 0, 0, -1)

    return OneHot(f"{variable.name}: below zero", (variable.name,), 1, index)


def _tallies(
    total: NDArray[np.int64], counts: Sequence[OneHot]
) -> tuple[list[Tally], NDArray[np.int64]]:
    """The tallies of some blocks, and the rest of the sum."""
    found: list[Tally] = []
    for block in counts:
        own, total = total[: 3 * block.length], total[3 * block.length :]
        found.append(Tally(*own.reshape(3, block.length)))
    return found, total


def _moments(
    presence: Tally, first: int, second: int, question: Question
) -> tuple[Figure, Figure, Figure]:
    there = presence.part(slice(1, 2))
    if there.few(question) or not int(there.rows[0]):
        gone = Figure(None, withheld=FEW)
        return gone, gone, gone
    return moment_figures(int(there.rows[0]), first, second)


def _correlation(both: Tally, sums: list[int], question: Question) -> Figure:
    if both.few(question) or int(both.rows[0]) < 2:
        return Figure(None, withheld=FEW)
    return correlation_figure(int(both.rows[0]), sums)


def _histograms(
    silos: Silos, question: Question, secure_sum: SecureSum, ranges: dict[str, Range]
) -> dict[str, tuple[Tally, NDArray[np.int64]]]:
    """By column the tally of the bins, and the rows of the finest bins."""
    if not ranges:
        return {}
    named = {variable.name: variable for variable in silos.variables}
    shown = [own.counted(named[name], question.bins) for name, own in ranges.items()]
    fine = [own.counted(named[name], LEAVES) for name, own in ranges.items()]

    def vector(rows: SiloRows) -> NDArray[np.int64]:
        finest = [block.total(rows, 1) for block in fine]
        return np.concatenate([*(tallied(block, rows) for block in shown), *finest])

    total = total_of(secure_sum, [vector(rows) for rows in silos.rows])
    tallies, rest = _tallies(total, shown)
    return dict(
        zip(ranges, zip(tallies, rest.reshape(len(fine), LEAVES + 2), strict=True), strict=True)
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """The result out of both sums."""

    silos: Silos
    question: Question
    totals: _Totals
    ranges: dict[str, Range]
    histograms: dict[str, tuple[Tally, NDArray[np.int64]]]

    def summary(self, secure_sum: SecureSum, *, sums: int) -> Summary:
        figures = iter(self._cells().figures(self.question))
        (rows,) = next(figures)
        columns = tuple(
            self._column(variable, next(figures), next(figures))
            for variable in self.silos.variables
        )
        tables = tuple(self._table(pair, next(figures)) for pair in self.question.tables)
        return Summary(
            silos=len(self.silos.rows),
            unit=self.silos.unit.name,
            units=self.silos.unit.plural,
            rows=rows,
            columns=columns,
            tables=tables,
            correlations=self._correlations(columns),
            secure_sum=secure_sum.kind,
            hidden=secure_sum.hides_updates,
            sums=sums,
            min_silos=self.question.min_silos,
            min_people=self.question.min_people,
            confidence=None,
            protection=None,
        )

    def _correlations(self, columns: Sequence[ColumnSummary]) -> tuple[Correlation, ...]:
        counts = {column.name: (column.missing, column.present) for column in columns}
        return tuple(
            Correlation(*pair, _over(figure, (*counts[pair[0]], *counts[pair[1]])))
            for pair, figure in self.totals.correlations.items()
        )

    def _own(self, variable: Variable) -> Tally:
        """The cells of one column; none for numbers without a histogram."""
        if not variable.measured:
            return self.totals.words[variable.name].part(slice(0, -1))
        if variable.name in self.histograms:
            return self.histograms[variable.name][0]
        return Tally(*np.zeros((3, 0), np.int64))

    def _cells(self) -> Cells:
        """All counts, and their sums: missing + present = rows, a column's cells = present, and tables."""
        tallies, wholes, parts = [self.totals.rows], list[int](), list[tuple[int, ...]]()
        at, places = 1, dict[str, list[int]]()
        for variable in self.silos.variables:
            own = self._own(variable)
            missing, present = at, at + 1
            cells = list(range(at + 2, at + 2 + len(own.rows)))
            wholes.append(0)
            parts.append((missing, present))
            if cells:
                wholes.append(present)
                parts.append(tuple(cells))
            places[variable.name] = [*cells, missing]
            tallies += [self.totals.presence[variable.name], own]
            at += 2 + len(cells)
        for pair, table in self.totals.tables.items():
            first, second = (places[name] for name in pair)
            grid = np.arange(at, at + len(table.rows)).reshape(len(first), len(second))
            wholes += [*first, *second]
            parts += [tuple(line.tolist()) for line in (*grid, *grid.T)]
            tallies.append(table)
            at += len(table.rows)
        return Cells(tuple(tallies), Sums(tuple(wholes), tuple(parts)))

    def _column(
        self, variable: Variable, there: Sequence[Figure], own: Sequence[Figure]
    ) -> ColumnSummary:
        missing, present = there
        if not variable.measured:
            named = zip(variable.categories, own, strict=True)
            words = tuple(Cell(word, figure) for word, figure in named)
            return ColumnSummary(variable.name, missing, present, words)
        mean, variance, deviation = (
            _over(figure, there) for figure in self.totals.moments[variable.name]
        )
        if not own:
            withheld = tuple(
                Quantile(level, Figure(None, withheld=FEW)) for level in self.question.quantiles
            )
            return ColumnSummary(
                variable.name, missing, present, (), mean, variance, deviation, withheld
            )
        found = self.ranges[variable.name]
        quantiles = tuple(
            Quantile(quantile.level, _over(quantile.figure, there))
            for quantile in quantiles_of(
                self.histograms[variable.name][1],
                found,
                self.question,
                np.array([figure.shown for figure in own]),
            )
        )
        return ColumnSummary(
            variable.name,
            missing,
            present,
            _bins(found, own),
            mean,
            variance,
            deviation,
            quantiles,
            variable.bounds,
            variable.days,
        )

    def _table(self, pair: tuple[str, str], figures: Sequence[Figure]) -> CrossTable:
        named = {variable.name: variable for variable in self.silos.variables}
        first, second = ((*named[name].categories, MISSING) for name in pair)
        width = len(second)
        rows = tuple(
            tuple(figures[start : start + width]) for start in range(0, len(figures), width)
        )
        return CrossTable(*pair, first, second, rows)


def _over(figure: Figure, counts: Sequence[Figure]) -> Figure:
    """A figure of the cells that are counted; withheld with their number, which it would give away.

    A mean of ages with one decimal times n times ten is whole, and few n near the number of rows make it so.
    """
    if not figure.shown or all(count.shown for count in counts):
        return figure
    return Figure(None, withheld=OTHERS)


def _bins(found: Range, figures: Sequence[Figure]) -> tuple[Cell, ...]:
    """Cells of a histogram; those beyond the range only where it is not declared."""
    edges = [float(edge) for edge in found.edges(len(figures) - 2)]
    below, *inside, above = figures
    cells = [
        Cell(f"{low:.6g} … {high:.6g}", figure, (low, high))
        for low, high, figure in zip(edges[:-1], edges[1:], inside, strict=True)
    ]
    # Where nothing lies beyond declared bounds, nothing is said of it.
    if found.declared and below.value == above.value == 0.0:
        return tuple(cells)
    return (
        Cell(f"below {found.low:.6g}", below, (None, found.low)),
        *cells,
        Cell(f"above {found.high:.6g}", above, (found.high, None)),
    )
