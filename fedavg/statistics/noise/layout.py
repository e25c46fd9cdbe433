"""The vector under noise: blocks, each at a scale of its own, and the exact sensitivity of the whole.

All statistics are one release: one Gaussian vector.  A block at a larger scale stands further above the noise
and takes a larger part of the sensitivity, so the scales split one budget among the statistics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from fedavg.errors import PlanError
from fedavg.privacy.noise import Sensitivity
from fedavg.statistics import blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedavg.statistics.blocks import Block
    from fedavg.statistics.question import Question
    from fedavg.statistics.silos import SiloRows, Variable

__all__ = ["Asked", "Layout", "Placed", "asked", "laid_out"]

_COARSEST = 32
"""Least scale: a row's number is rounded by at most 1 ÷ 128 of its range, which intervals include."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The blocks of a question, by what they are for.

    Args:
        rows: the number of rows.
        words: a block for each column of words.
        presence, moments, levels: the blocks of each column of numbers, and the levels of its tree.
        tables: a block for each contingency table.
        pairs: a block for each pair of correlated columns.
    """

    rows: Block
    words: dict[str, Block]
    presence: dict[str, Block]
    moments: dict[str, Block]
    levels: dict[str, tuple[Block, ...]]
    tables: dict[tuple[str, str], Block]
    pairs: dict[tuple[str, str], Block]

    @property
    def all(self) -> tuple[Block, ...]:
        """All blocks, in the order of the vector."""
        return (
            self.rows,
            *self.words.values(),
            *self.presence.values(),
            *self.moments.values(),
            *(level for own in self.levels.values() for level in own),
            *self.tables.values(),
            *self.pairs.values(),
        )


def asked(question: Question, variables: Sequence[Variable]) -> Asked:
    """The blocks under noise, for numbers with public bounds.

    Args:
        question: the question; its names are names of the variables.
        variables: the columns.
    """
    by_name = {variable.name: variable for variable in variables}
    numbers = [variable for variable in variables if variable.measured]
    depth = question.bins.bit_length() - 1
    trees: dict[str, tuple[Block, ...]] = {
        number.name: tuple(blocks.levels(number, *(number.bounds or (-1.0, 1.0)), depth))
        for number in numbers
    }
    return Asked(
        rows=blocks.whole(),
        words={own.name: blocks.words(own) for own in variables if not own.measured},
        presence={number.name: blocks.presence(number) for number in numbers},
        moments={number.name: blocks.moments(number) for number in numbers},
        levels=trees,
        tables={
            (first, second): blocks.crossed(by_name[first], by_name[second])
            for first, second in question.tables
        },
        pairs={
            (first, second): blocks.pairs(by_name[first], by_name[second])
            for first, second in combinations(question.correlate, 2)
        },
    )


@dataclass(frozen=True, slots=True)
class Placed:
    """A block at its scale and its place in the vector."""

    block: Block
    scale: int
    start: int

    @property
    def at(self) -> slice:
        """The block's coordinates."""
        return slice(self.start, self.start + self.block.length)


@dataclass(frozen=True, slots=True)
class Layout:
    """The vector of a silo, and how far one unit moves the sum.

    Args:
        places: the blocks, one after the other.
        most_rows: m, the most rows of one unit.
    """

    places: tuple[Placed, ...]
    most_rows: int

    @property
    def length(self) -> int:
        """d, the number of coordinates."""
        return sum(place.block.length for place in self.places)

    @property
    def squared(self) -> int:
        """Δ² in grid units, an integer: m² times the largest squared norm of one row's contribution.

        A row attains the largest norm in every block at once, and a unit may have m equal rows, so this is
        the sensitivity and not only a bound on it (docs/statistics.md).
        """
        row = sum(place.scale**2 * place.block.squared for place in self.places)
        return self.most_rows**2 * row

    @property
    def sensitivity(self) -> Sensitivity:
        """The sensitivities in grid units, rounded upwards where a float does not hold them."""
        absolute = self.most_rows * sum(place.scale * place.block.absolute for place in self.places)
        return Sensitivity(
            l2=math.nextafter(math.sqrt(self.squared), math.inf),
            l1=math.nextafter(float(absolute), math.inf),
            dimension=self.length,
        )

    def encode(self, rows: SiloRows) -> NDArray[np.int64]:
        """int64[d]: one silo's vector, from at most m rows of each unit."""
        return np.concatenate([place.block.total(rows, place.scale) for place in self.places])

    def place_of(self, block: Block) -> Placed:
        """Where a block is."""
        return next(place for place in self.places if place.block is block)

    def share(self, place: Placed) -> float:
        """The part of Δ², and so of the budget, that a block takes."""
        return self.most_rows**2 * place.scale**2 * place.block.squared / self.squared


def laid_out(
    every: Sequence[Block],
    question: Question,
    most_rows: int,
    noise_multiplier: float,
    finest: float,
) -> Layout:
    """Choose the scales that make the sum of the squared errors of all coordinates least.

    A coordinate at scale s has the squared error (σ ÷ s)², where σ = zΔ and Δ² = m²·Σ s²·c² over the blocks,
    with c² the largest squared norm of a row in a block.  The least sum of w·(σ ÷ s)², with w the need of
    a block (its coordinates, and 16 times as much for moments) times the emphasis on it, has s² ∝ √w ÷ c.

    Args:
        every: the blocks.
        question: its emphasis on columns.
        most_rows: m.
        noise_multiplier: z, about.
        finest: the noise's standard deviation in grid units that the scales aim for.

    Raises:
        PlanError: the blocks need scales too far apart for the grid.
    """
    need = [
        max([question.emphasis.get(column, 1.0) for column in block.columns], default=1.0)
        * block.need
        for block in every
    ]
    wanted = [(weight / block.squared) ** 0.25 for weight, block in zip(need, every, strict=True)]
    norm = most_rows * math.sqrt(
        sum(scale**2 * block.squared for scale, block in zip(wanted, every, strict=True))
    )
    unit = finest / (max(noise_multiplier, 1e-3) * norm)
    scales = [max(1, math.floor(unit * scale)) for scale in wanted]
    if min(scales) < _COARSEST:
        raise PlanError(
            f"noise of {noise_multiplier:g} times the sensitivity leaves no room on the grid for "
            f"{len(scales)} statistics of units with {most_rows} rows: ask for fewer columns, lower the most "
            "rows of a person, or raise epsilon"
        )
    places: list[Placed] = []
    start = 0
    for block, scale in zip(every, scales, strict=True):
        places.append(Placed(block, scale, start))
        start += block.length
    return Layout(tuple(places), most_rows)
