"""Counts of rows, people and silos in each cell of the result, and the sums that tie the cells together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedavg.statistics.exact.withheld import FEW, OTHERS, Sums, hidden_cells
from fedavg.statistics.summary import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedavg.statistics.blocks import OneHot
    from fedavg.statistics.question import Question
    from fedavg.statistics.silos import SiloRows

__all__ = ["Cells", "Tally", "tallied"]


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Rows, people and silos of each cell of a block: int64[k] each."""

    rows: NDArray[np.int64]
    people: NDArray[np.int64]
    silos: NDArray[np.int64]

    def few(self, question: Question) -> bool:
        """Whether any cell with rows has fewer people or silos than the rules allow."""
        least = (self.people < question.min_people) | (self.silos < question.min_silos)
        return bool(((self.rows > 0) & least).any())

    def part(self, at: slice) -> Tally:
        """Some of the cells."""
        return Tally(self.rows[at], self.people[at], self.silos[at])


def tallied(block: OneHot, rows: SiloRows) -> NDArray[np.int64]:
    """int64[3k]: one silo's rows and people of each cell, and whether it has any there."""
    counts = block.total(rows, 1)
    return np.concatenate([counts, block.units(rows), (counts > 0).astype(np.int64)])


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """All counts of a result.

    Args:
        tallies: of the blocks, one after the other.
        sums: which cells add up to which, by their place in all tallies together.
    """

    tallies: tuple[Tally, ...]
    sums: Sums

    def figures(self, question: Question) -> tuple[tuple[Figure, ...], ...]:
        """A figure for each cell of each block; some of them withheld."""
        rows, people, silos = (
            np.concatenate([part[at] for part in map(_parts, self.tallies)]) for at in range(3)
        )
        few, hidden = hidden_cells(
            rows,
            people,
            silos,
            self.sums,
            min_people=question.min_people,
            min_silos=question.min_silos,
        )
        figures = [
            _figure(count, must=must, too=too)
            for count, must, too in zip(rows.tolist(), few.tolist(), hidden.tolist(), strict=True)
        ]
        ends = np.cumsum([len(tally.rows) for tally in self.tallies]).tolist()
        starts: Sequence[int] = [0, *ends[:-1]]
        return tuple(tuple(figures[start:end]) for start, end in zip(starts, ends, strict=True))


def _parts(tally: Tally) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    return tally.rows, tally.people, tally.silos


def _figure(count: int, *, must: bool, too: bool) -> Figure:
    if not too:
        return Figure(float(count))
    return Figure(None, withheld=FEW if must else OTHERS)
