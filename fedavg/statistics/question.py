"""What is asked of the silos, whose privacy counts, and which figures are withheld; all of it is public."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from fedavg import checks
from fedavg.errors import PlanError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Person", "Question", "Record", "Unit"]

_MOST_BINS = 1024


class Unit(Protocol):
    """Whose presence must not show: the thing that is counted, and that neighbouring tables differ in.

    Example:
        >>> units: list[Unit] = [Record(), Person("patient", most_rows=5)]
        >>> [(unit.name, unit.most_rows) for unit in units]
        [('row', 1), ('person', 5)]
    """

    name: ClassVar[str]
    """One unit, in words."""

    plural: ClassVar[str]
    """Several units, in words."""

    @property
    def column(self) -> str:
        """The column that names the unit of each row; "" where every row is a unit of its own."""
        ...

    @property
    def most_rows(self) -> int | None:
        """The most rows of one unit in a silo that enter a release under noise; None for no limit."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """Every row is another person, or the row itself is what needs protection.

    Example:
        >>> Record().most_rows
        1
    """

    name: ClassVar[str] = "row"
    plural: ClassVar[str] = "rows"

    @property
    def column(self) -> str:
        """No column: the row itself is the unit."""
        return ""

    @property
    def most_rows(self) -> int:
        """Always one."""
        return 1


@dataclass(frozen=True, slots=True)
class Person:
    """A column names the person of each row, and a person may have several rows.

    Args:
        column: heading of the column.
        most_rows: m; under noise, m rows of each person in a silo are drawn and the others are left out.
            None takes all rows, which only exact sums allow.

    Raises:
        PlanError: the heading is no text or empty, or m is no whole number of at least 1.

    Example:
        >>> Person("patient", most_rows=5).name
        'person'
    """

    column: str
    most_rows: int | None = None
    name: ClassVar[str] = "person"
    plural: ClassVar[str] = "people"

    def __post_init__(self) -> None:
        _text("the column of people", self.column)
        if self.most_rows is not None:
            checks.plan.whole("the most rows of a person", self.most_rows)


@dataclass(frozen=True, slots=True)
class Question:
    """The statistics that are asked for, and the rules that withhold some of them.

    Counts, missing cells, and the histogram or the words of each column are always asked; of numbers also
    mean, variance, deviation and quantiles.

    Args:
        columns: names of the columns; () for all.
        bins: bins of a histogram, a power of two up to 1,024.
        quantiles: levels in (0, 1), in order.
        tables: pairs of columns of words for contingency tables.
        correlate: names of columns of numbers, which are correlated pair by pair.
        emphasis: by column, a factor by which its squared errors count for more than those of others, when
            noise is split among the statistics.
        min_silos: a count is withheld where rows of fewer silos are in it; of exact sums only.
        min_people: a count is withheld where fewer people (or rows, if these are the unit) are in it.
        confidence: of the intervals under noise.

    Raises:
        PlanError: a value is out of range; the message names it.

    Example:
        >>> Question(bins=16, quantiles=(0.5,), tables=(("sex", "ward"),)).min_silos
        3
        >>> Question(bins=20)
        Traceback (most recent call last):
        fedavg.errors.PlanError: bins must be a power of two from 2 to 1,024, not 20
    """

    columns: tuple[str, ...] = ()
    bins: int = 32
    quantiles: tuple[float, ...] = (0.05, 0.25, 0.5, 0.75, 0.95)
    tables: tuple[tuple[str, str], ...] = ()
    correlate: tuple[str, ...] = ()
    emphasis: dict[str, float] = field(default_factory=dict[str, float])
    min_silos: int = 3
    min_people: int = 5
    confidence: float = 0.95

    def __post_init__(self) -> None:
        bins = checks.plan.whole("bins", self.bins)
        if not 2 <= bins <= _MOST_BINS or bins & (bins - 1):
            raise PlanError(
                f"bins must be a power of two from 2 to {_MOST_BINS:,}, not {self.bins}"
            )
        levels = [checks.plan.proper_fraction("a quantile", level) for level in self.quantiles]
        if levels != sorted(set(levels)):
            raise PlanError(f"quantiles must be different and in order, not {self.quantiles}")
        for name in (*self.columns, *self.correlate, *self.emphasis):
            _text("a column", name)
        for pair in self.tables:
            if type(pair) is not tuple or len(pair) != 2 or pair[0] == pair[1]:
                raise PlanError(f"a contingency table has two different columns, not {pair!r}")
            _text("a column", pair[0])
            _text("a column", pair[1])
        for factor in self.emphasis.values():
            checks.plan.positive("an emphasis", factor)
        for name, many in (
            ("columns", self.columns),
            ("correlate", self.correlate),
            ("tables", tuple(frozenset(pair) for pair in self.tables)),
        ):
            if len(set(many)) < len(many):
                raise PlanError(f"{name} names something twice: {many}")
        if len(self.correlate) == 1:
            raise PlanError(f"a correlation needs two columns, not {self.correlate[0]!r} alone")
        checks.plan.whole("min_silos", self.min_silos)
        checks.plan.whole("min_people", self.min_people)
        checks.plan.proper_fraction("confidence", self.confidence)


def _text(what: str, value: object) -> None:
    if type(value) is not str or not value:
        raise PlanError(f"{what} is named by its heading, a text, not {value!r}")


def capped(people: NDArray[np.int64], most: int, keys: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of at most `most` rows of each person, those with the smallest keys, in the order of the rows.

    Args:
        people: int64[n], the person of each row.
        most: m.
        keys: float64[n], random and independent of the rows; a person's rows are chosen by its own keys
            alone, so that no other person changes the choice.

    Example:
        >>> capped(np.array([7, 7, 8, 7]), 2, np.array([0.5, 0.1, 0.9, 0.2])).tolist()
        [1, 2, 3]
    """
    order = np.lexsort((keys, people))
    ranked = people[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    sizes = np.diff(np.r_[starts, len(ranked)])
    place = np.arange(len(ranked)) - np.repeat(starts, sizes)
    return np.sort(order[place < most])
