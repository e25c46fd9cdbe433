"""What a silo counts and adds up of its rows: blocks of coordinates, one after the other in its vector.

A *block* is one question about each row with several coordinates.  Of a `OneHot` block a row falls in at most
one cell.  Of a `Reals` block a row contributes a number within ±1 to every coordinate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fedavg.statistics.silos import SiloRows, Variable

__all__ = [
    "Block",
    "OneHot",
    "Reals",
    "crossed",
    "leaf_of",
    "levels",
    "moments",
    "pairs",
    "presence",
    "whole",
    "words",
]


_MOMENT_NEED = 16.0
"""Squared errors of moments count so many times as much as those of counts: their noise is half as large."""


class Block(Protocol):
    """Some coordinates of a silo's vector; their values at scale 1 are those of the statistic."""

    @property
    def name(self) -> str:
        """Name in reports."""
        ...

    @property
    def length(self) -> int:
        """Number of coordinates."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the block asks about."""
        ...

    @property
    def need(self) -> float:
        """How much the squared errors of all coordinates together count when noise is split."""
        ...

    @property
    def squared(self) -> int:
        """The largest squared Euclidean norm of one row's contribution at scale 1; a row attains it."""
        ...

    @property
    def absolute(self) -> int:
        """The largest L1 norm of one row's contribution at scale 1; a row attains it."""
        ...

    def total(self, rows: SiloRows, scale: int) -> NDArray[np.int64]:
        """int64[length]: the sum of the rows' contributions in units of 1 ÷ scale.

        Each row's contribution is rounded to whole units before the rows are added, so that the norms above
        hold exactly.
        """
        ...


@dataclass(frozen=True, slots=True)
class OneHot:
    """Counts of the rows in each of several cells, of which a row is in at most one.

    Args:
        name: name in reports.
        columns: the columns that the cells are about.
        length: number of cells.
        index: int64[n], the cell of each row; −1 for none.
    """

    name: str
    columns: tuple[str, ...]
    length: int
    index: Callable[[SiloRows], NDArray[np.int64]] = field(repr=False)
    squared: int = 1
    absolute: int = 1

    @property
    def need(self) -> float:
        """Every count alike."""
        return float(self.length)

    def total(self, rows: SiloRows, scale: int) -> NDArray[np.int64]:
        """See `Block`."""
        return scale * self._counted(self.index(rows))

    def units(self, rows: SiloRows) -> NDArray[np.int64]:
        """int64[length]: the different people, or other units, in each cell."""
        index = self.index(rows)
        there = index >= 0
        person = np.unique(rows.people[there], return_inverse=True)[1].astype(np.int64)
        # One number for each pair of a person and a cell: pairs themselves take long to sort.
        found = np.unique(person * self.length + index[there])
        return self._counted(found % self.length)

    def _counted(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.bincount(index[index >= 0], minlength=self.length).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Reals:
    """Sums of numbers within ±1; a row whose cell is missing contributes zeros.

    Args:
        name: name in reports.
        columns: the columns that the numbers are of.
        length: number of coordinates.
        values: float64[length, n], one number of each row.
    """

    name: str
    columns: tuple[str, ...]
    length: int
    values: Callable[[SiloRows], NDArray[np.float64]] = field(repr=False)

    @property
    def need(self) -> float:
        """Much: variances are small differences of these sums."""
        return _MOMENT_NEED * self.length

    @property
    def squared(self) -> int:
        """A row at a bound has ±1 in every coordinate."""
        return self.length

    @property
    def absolute(self) -> int:
        """See `squared`."""
        return self.length

    def total(self, rows: SiloRows, scale: int) -> NDArray[np.int64]:
        """See `Block`."""
        # |x| ≤ 1 and a whole scale give |rint(scale·x)| ≤ scale: rounding cannot lengthen a row.
        return np.rint(scale * self.values(rows)).astype(np.int64).sum(axis=1)


def whole() -> OneHot:
    """The number of rows."""
    return OneHot("rows", (), 1, lambda rows: np.zeros(len(rows), np.int64))


def presence(variable: Variable) -> OneHot:
    """The rows with a missing cell, and those with one that is there."""
    name = variable.name

    def index(rows: SiloRows) -> NDArray[np.int64]:
        return (~np.isnan(rows.values[name])).astype(np.int64)

    return OneHot(f"{name}: missing", (name,), 2, index)


def words(variable: Variable) -> OneHot:
    """The rows of each word, and those with a missing cell, which come last."""
    return OneHot(
        f"{variable.name}: words", (variable.name,), len(variable.categories) + 1, _coded(variable)
    )


def _coded(variable: Variable) -> Callable[[SiloRows], NDArray[np.int64]]:
    """The code of each row's word; a missing cell has a code behind the last word."""
    name, last = variable.name, len(variable.categories)

    def index(rows: SiloRows) -> NDArray[np.int64]:
        return np.where(np.isnan(rows.values[name]), last, rows.values[name]).astype(np.int64)

    return index


def leaf_of(values: NDArray[np.float64], low: float, high: float, leaves: int) -> NDArray[np.int64]:
    """int64[n]: the bin of each number among equal ones; −1 where missing; the last bin holds its upper edge.

    Numbers beyond the range are in the first or the last bin.
    """
    # Clamped first: a number far beyond a narrow range would overflow.
    place = np.floor((np.clip(values, low, high) - low) / ((high - low) / leaves))
    return np.where(np.isnan(values), -1, np.clip(np.nan_to_num(place), 0, leaves - 1)).astype(
        np.int64
    )


def levels(variable: Variable, low: float, high: float, depth: int) -> list[OneHot]:
    """The levels 1 … depth of a binary tree over the range: 2, 4, … bins, each half of one above."""
    name = variable.name

    def level(height: int) -> OneHot:
        def index(rows: SiloRows) -> NDArray[np.int64]:
            # −1, for no bin, stays −1 when it is shifted.
            return leaf_of(rows.values[name], low, high, 1 << depth) >> (depth - height)

        return OneHot(f"{name}: {1 << height} bins", (name,), 1 << height, index)

    return [level(height) for height in range(1, depth + 1)]


def crossed(first: Variable, second: Variable) -> OneHot:
    """A contingency table: the rows of each pair of words, missing ones included, row by row."""
    width, outer, inner = len(second.categories) + 1, _coded(first), _coded(second)

    def index(rows: SiloRows) -> NDArray[np.int64]:
        return outer(rows) * width + inner(rows)

    size = (len(first.categories) + 1) * width
    return OneHot(f"{first.name} × {second.name}", (first.name, second.name), size, index)


def _standard(rows: SiloRows, variable: Variable) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Whether each cell is there, and its number at the public scale: −1 and 1 at the bounds."""
    low, high = variable.bounds or (-1.0, 1.0)
    values = rows.values[variable.name]
    scaled = (np.clip(values, low, high) - (low + high) / 2) / ((high - low) / 2)
    # Clipped once more, since the division's rounding could leave a number just beyond 1.
    return ~np.isnan(values), np.clip(np.nan_to_num(scaled), -1.0, 1.0)


def moments(variable: Variable) -> Reals:
    """Σu and Σu² of a number u at its public scale."""

    def values(rows: SiloRows) -> NDArray[np.float64]:
        there, scaled = _standard(rows, variable)
        scaled = np.where(there, scaled, 0.0)
        return np.stack([scaled, scaled**2])

    return Reals(f"{variable.name}: moments", (variable.name,), 2, values)


def pairs(first: Variable, second: Variable) -> Reals:
    """What a correlation needs, of the rows that have both numbers: their count, and five moments."""

    def values(rows: SiloRows) -> NDArray[np.float64]:
        here, one = _standard(rows, first)
        there, two = _standard(rows, second)
        both = (here & there).astype(np.float64)
        return both * np.stack([np.ones(len(rows)), one, two, one**2, two**2, one * two])

    name = f"{first.name} ~ {second.name}"
    return Reals(name, (first.name, second.name), 6, values)
