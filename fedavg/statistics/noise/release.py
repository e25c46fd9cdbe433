"""One noisy release of all statistics: charged, summed, and read.

Each silo adds its share of the noise to its vector before the secure sum, so neither the server nor a silo
ever has an exact sum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from fedavg.errors import PlanError
from fedavg.privacy.noise import share_stddev
from fedavg.statistics.noise.budget import priced
from fedavg.statistics.noise.consistent import Estimates, agreed, leaves_of
from fedavg.statistics.noise.intervals import Moments, correlation_of, count_figure, quantiles_of
from fedavg.statistics.noise.layout import Asked, Layout, asked, laid_out
from fedavg.statistics.summary import (
    Cell,
    ColumnSummary,
    Correlation,
    CrossTable,
    Protection,
    Share,
    Summary,
)
from fedavg.statistics.summing import largest_input, spec_of, total_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedavg.statistics.blocks import Block
    from fedavg.statistics.noise.budget import Chargeable, Priced, PrivacyBudget
    from fedavg.statistics.question import Question
    from fedavg.statistics.silos import SiloRows, Silos, Variable
    from fedavg.sums.interface import SecureSum

__all__ = ["MISSING", "noisy_summary"]

MISSING = "missing"
"""The last word of each side of a contingency table."""


def noisy_summary(
    silos: Silos,
    question: Question,
    secure_sum: SecureSum,
    budget: PrivacyBudget,
    ledger: Chargeable | None,
    label: str,
) -> Summary:
    """Release all statistics at once under noise.  See `fedavg.statistics.summarise`."""
    most = _public(silos)
    count = len(silos.rows)
    colluders = secure_sum.colluders(count) if budget.colluders is None else budget.colluders
    parts = asked(question, silos.variables)
    layout = laid_out(parts.all, question, most, budget.start(), budget.finest())
    cost = priced(budget, layout.sensitivity, count, colluders)
    # Everything that can be refused is refused before the charge.
    secure_sum.check_population(count)
    secure_sum.check(spec_of(count, layout.length))
    stddev = share_stddev(cost.noise, layout.sensitivity, cost.honest_fraction, count)
    cost.noise.sample(stddev, 0)
    if ledger is not None:
        ledger.charge(cost.event, label=label)
    # A sum that fails after this point stays charged: masked vectors may have left.
    total = total_of(secure_sum, [_sent(rows, layout, cost, count) for rows in silos.rows])
    noisy = _Noisy(parts, layout, total, count * stddev**2)
    reading = _Reading(silos.variables, question, noisy)
    return reading.summary(silos, secure_sum, _protection(budget, cost, noisy, silos, secure_sum))


def _public(silos: Silos) -> int:
    """The most rows of a unit; refuse columns of which anything is not public."""
    open_ends = [
        variable.name
        for variable in silos.variables
        if variable.measured and variable.bounds is None
    ]
    if open_ends:
        raise PlanError(
            f"under noise the bounds of {', '.join(map(repr, open_ends))} are public and have to be "
            "declared: they come from a form or a standard, not from the rows"
        )
    if silos.unit.most_rows is None:
        raise PlanError(
            "under noise the most rows of one person are public and have to be declared "
            f"(Person({silos.unit.column!r}, most_rows=…), --rows-per-person): noise is sized for them"
        )
    return silos.unit.most_rows


def _sent(rows: SiloRows, layout: Layout, cost: Priced, silos: int) -> NDArray[np.int64]:
    """One silo's vector with its share of the noise; nothing that it sends depends on its rows otherwise."""
    stddev = share_stddev(cost.noise, layout.sensitivity, cost.honest_fraction, silos)
    vector = layout.encode(rows.at_most(layout.most_rows))
    vector += cost.noise.sample(stddev, layout.length)
    # Never refused for its size, which would depend on the rows; 2^30 rows are far from this limit.
    most = largest_input(silos)
    return np.clip(vector, -most, most)


@dataclass(frozen=True, slots=True, eq=False)
class _Noisy:
    """The sum, by blocks and in the units of the statistics.

    Args:
        parts: the blocks.
        layout: their places.
        total: int64[d].
        variance: of the noise of each coordinate, in grid units.
    """

    parts: Asked
    layout: Layout
    total: NDArray[np.int64]
    variance: float

    def of(self, block: Block) -> NDArray[np.float64]:
        place = self.layout.place_of(block)
        return self.total[place.at] / place.scale

    def variance_of(self, block: Block) -> float:
        return self.variance / self.layout.place_of(block).scale ** 2

    def estimates(self, block: Block) -> Estimates:
        return Estimates.independent(self.of(block), self.variance_of(block))


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """The statistics that the sum tells of."""

    variables: tuple[Variable, ...]
    question: Question
    noisy: _Noisy

    @property
    def width(self) -> float:
        return float(ndtri((1 + self.question.confidence) / 2))

    def summary(self, silos: Silos, secure_sum: SecureSum, protection: Protection) -> Summary:
        rows, columns, tables = self._counts()
        named = {variable.name: variable for variable in self.variables}
        return Summary(
            silos=len(silos.rows),
            unit=silos.unit.name,
            units=silos.unit.plural,
            rows=count_figure(float(rows.values[0]), float(rows.covariance[0, 0]), self.width),
            columns=tuple(self._column(named[name], found) for name, found in columns.items()),
            tables=tuple(self._table(pair, named, found) for pair, found in tables.items()),
            correlations=tuple(
                Correlation(
                    *pair,
                    correlation_of(
                        self.noisy.of(block),
                        self.noisy.variance_of(block),
                        self.width,
                        self.question.min_people,
                    ),
                )
                for pair, block in self.noisy.parts.pairs.items()
            ),
            secure_sum=secure_sum.kind,
            hidden=secure_sum.hides_updates,
            sums=1,
            min_silos=self.question.min_silos,
            min_people=self.question.min_people,
            confidence=self.question.confidence,
            protection=protection,
        )

    def _measured(self, variable: Variable) -> Estimates:
        """Counts of the missing cells, which come last, and of the words or bins."""
        parts, noisy = self.noisy.parts, self.noisy
        if not variable.measured:
            return noisy.estimates(parts.words[variable.name])
        there = parts.presence[variable.name]
        missing, present = noisy.of(there)
        levels = parts.levels[variable.name]
        tree = leaves_of(
            [np.array([present]), *(noisy.of(level) for level in levels)],
            [noisy.variance_of(there), *(noisy.variance_of(level) for level in levels)],
        )
        return tree.beside(Estimates.independent(np.array([missing]), noisy.variance_of(there)))

    def _counts(
        self,
    ) -> tuple[Estimates, dict[str, Estimates], dict[tuple[str, str], Estimates]]:
        """All counts, made to agree: every column divides all rows, and every table two columns."""
        groups = [self.noisy.estimates(self.noisy.parts.rows)]
        groups += [self._measured(variable) for variable in self.variables]
        tables = self.noisy.parts.tables
        groups += [self.noisy.estimates(block) for block in tables.values()]
        starts = np.cumsum([0, *(len(group.values) for group in groups)])
        place = {variable.name: at for at, variable in enumerate(self.variables, 1)}
        sums: list[NDArray[np.float64]] = []
        for at in place.values():
            row = np.zeros(starts[-1])
            row[0], row[starts[at] : starts[at + 1]] = 1.0, -1.0
            sums.append(row)
        for at, (first, second) in enumerate(tables, 1 + len(place)):
            rows, columns = len(groups[place[first]].values), len(groups[place[second]].values)
            grid = np.arange(starts[at], starts[at + 1]).reshape(rows, columns)
            for margin, lines in ((first, grid), (second, grid.T)):
                for word, line in enumerate(lines):
                    row = np.zeros(starts[-1])
                    row[starts[place[margin]] + word], row[line] = 1.0, -1.0
                    sums.append(row)
        found = agreed(groups, np.array(sums))
        return (
            found[0],
            {name: found[at] for name, at in place.items()},
            dict(zip(tables, found[1 + len(place) :], strict=True)),
        )

    def _column(self, variable: Variable, found: Estimates) -> ColumnSummary:
        counts, spread = found.values, np.diag(found.covariance)
        figures = [
            count_figure(*pair, self.width)
            for pair in zip(counts.tolist(), spread.tolist(), strict=True)
        ]
        cells = Estimates(counts[:-1], found.covariance[:-1, :-1])
        present, present_variance = float(cells.values.sum()), float(cells.covariance.sum())
        there = count_figure(present, present_variance, self.width)
        if variable.bounds is None:
            named = zip(variable.categories, figures[:-1], strict=True)
            words = tuple(Cell(word, figure) for word, figure in named)
            return ColumnSummary(variable.name, figures[-1], there, words)
        block = self.noisy.parts.moments[variable.name]
        first, second = self.noisy.of(block)
        moments = Moments(
            float(first),
            float(second),
            self.noisy.variance_of(block),
            present,
            present_variance,
            0.5 / self.noisy.layout.place_of(block).scale,
            variable.bounds,
            self.question.min_people,
        )
        edges = np.linspace(*variable.bounds, len(cells.values) + 1)
        bins = tuple(
            Cell(f"{low:.6g} … {high:.6g}", figure, (float(low), float(high)))
            for low, high, figure in zip(edges[:-1], edges[1:], figures[:-1], strict=True)
        )
        quantiles = quantiles_of(
            cells, edges, self.question.quantiles, self.width, self.question.min_people
        )
        return ColumnSummary(
            variable.name,
            figures[-1],
            there,
            bins,
            *moments.figures(self.width),
            quantiles,
            days=variable.days,
        )

    def _table(
        self, pair: tuple[str, str], named: dict[str, Variable], found: Estimates
    ) -> CrossTable:
        first, second = (((*named[name].categories, MISSING)) for name in pair)
        figures = [
            count_figure(float(value), float(variance), self.width)
            for value, variance in zip(found.values, np.diag(found.covariance), strict=True)
        ]
        width = len(second)
        rows = tuple(
            tuple(figures[start : start + width]) for start in range(0, len(figures), width)
        )
        return CrossTable(*pair, first, second, rows)


def _protection(
    budget: PrivacyBudget, cost: Priced, noisy: _Noisy, silos: Silos, secure_sum: SecureSum
) -> Protection:
    hidden, layout, count = secure_sum.hides_updates, noisy.layout, len(silos.rows)
    honest = round(cost.honest_fraction * count)
    return Protection(
        unit=silos.unit.name,
        most_rows=layout.most_rows,
        epsilon=budget.epsilon,
        delta=budget.delta,
        # On a single vector there is one share of the noise, for which nothing is claimed.
        epsilon_spent=cost.epsilon if hidden else None,
        epsilon_release=cost.epsilon_release,
        epsilon_server=cost.epsilon_release if hidden else None,
        # A row is in one silo; a person may have been to two.
        epsilon_two_silos=cost.epsilon_two_silos if hidden and silos.unit.column else None,
        colluders=count - honest,
        mechanism=cost.noise.kind,
        noise_multiplier=cost.noise.noise_multiplier,
        sensitivity=layout.sensitivity.l2,
        coordinates=layout.length,
        alone=math.sqrt(honest),
        shares=tuple(
            Share(place.block.name, layout.share(place), math.sqrt(noisy.variance) / place.scale)
            for place in layout.places
        ),
    )
