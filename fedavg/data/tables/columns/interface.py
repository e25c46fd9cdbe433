"""The interface of a kind of column, and the values that it exchanges with other modules.

A *column* is part of a file.  A *field* is part of its encoding: one number or one category for each row.  A
column of dates becomes several fields.  `fedavg.data.tables.preprocessing` converts fields to model inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from fedavg.data.tables.columns.policies import POLICIES, PolicyName
from fedavg.errors import DataError, SchemaError
from fedavg.parts import Part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedavg.data.dataset import TargetKind

__all__ = [
    "Cells",
    "Column",
    "Encoded",
    "Field",
    "Handled",
    "Labels",
    "check_bounds",
    "clamped",
    "no_labels",
]


@dataclass(frozen=True, slots=True)
class Field:
    """A number or category for each row, with its public properties.

    Args:
        name: name in reports and in the names of inputs.
        categories: names of the categories, in the order of the codes; () for a measurement.
        named: number of declared categories; the remaining one collects all other words.
        bounds: public range of a measurement, or None.
        fixed: whether a measurement is scaled by its bounds even if statistics are available.
        missing: name of a policy in `fedavg.data.tables.columns.policies`.
        fill: value for the policy "constant", as a number or the code of a category.
        indicator: whether the model gets one more input that says whether the cell was missing.

    Raises:
        SchemaError: the bounds are no range, or a field of categories has bounds.
    """

    name: str
    categories: tuple[str, ...] = ()
    named: int = 0
    bounds: tuple[float, float] | None = None
    fixed: bool = False
    missing: PolicyName = "auto"
    fill: float | None = None
    indicator: bool = False

    def __post_init__(self) -> None:
        if self.categories and self.bounds:
            raise SchemaError(
                f"the measurement {self.name!r} has categories and bounds: leave one out"
            )
        if self.bounds is not None:
            check_bounds(self.bounds)

    @property
    def measured(self) -> bool:
        """Whether the field is a measurement."""
        return not self.categories


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """The encoded cells of one column.

    Args:
        arrays: float64[n] for each field, in order: a number, the code of a category, NaN where missing.
        odd: bool[n], True where a cell is present but has a value that the column cannot hold.
        wanted: description of a correct cell for the message, such as "a number".
        notes: sentences about lossy steps, with counts.
    """

    arrays: tuple[NDArray[np.float64], ...]
    odd: NDArray[np.bool_]
    wanted: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The encoded cells of one target column.

    Args:
        kind: kind of the labels if this is the only target.
        values: int64[n] or float64[n]; arbitrary where `known` is False.
        known: bool[n], False where the cell is missing.
        odd: bool[n], True where a cell is present but is no label.
        wanted: description of a correct cell.
        names: names of the classes in the order of their numbers; () for numbers.
        bounds: public range of numbers, or None.
        boolean: whether the classes are no and yes, so that several such targets become a multi-label target.
        notes: sentences about lossy steps, with counts.
    """

    kind: TargetKind
    values: NDArray[Any]
    known: NDArray[np.bool_]
    odd: NDArray[np.bool_]
    wanted: str
    names: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    boolean: bool = False
    notes: tuple[str, ...] = ()


class Cells(Protocol):
    """The cells of one column, as read; the schema names the markers of missing ones."""

    @property
    def heading(self) -> str:
        """The column's name."""
        ...

    @property
    def missing(self) -> NDArray[np.bool_]:
        """bool[n], True where a cell is missing."""
        ...

    def numbers(self, strip: str = "") -> NDArray[np.float64]:
        """float64[n], NaN where a cell is missing or no finite number; `strip` is removed from both ends."""
        ...

    def words(self) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """int64[n], the index of each cell's text, −1 where missing, and the distinct texts, sorted."""
        ...

    def moments(self, pattern: str) -> NDArray[np.float64]:
        """float64[n], days since 1970-01-01; NaN where a cell is missing or does not match the pattern."""
        ...


class Column(Protocol):
    """A kind of column: a registered part of family "column" with these members."""

    left_out: ClassVar[bool]
    """Whether nothing depends on the column, not even which rows are held out to score on."""

    @property
    def markers(self) -> tuple[str, ...]:
        """Texts that mark a missing cell in this column, in addition to those for all columns."""
        ...

    def fields(self, name: str) -> tuple[Field, ...]:
        """The fields of a column with this name; () for one that is left out."""
        ...

    def encode(self, cells: Cells) -> Encoded:
        """Convert the cells to the values of `fields`; each client does this with its own rows."""
        ...

    def labels(self, cells: Cells) -> Labels:
        """Convert the cells to labels, if the column is a target."""
        ...

    def undeclared(self) -> str:
        """What must still be declared before the column can be used under noise; "" for nothing."""
        ...


class Handled(Part, frozen=True, kw_only=True):
    """Base of the columns that a model reads; it adds the settings for missing cells.

    Args:
        missing: name of a policy.
        fill: value for the policy "constant".
        indicator: whether a further input tells the model that the cell was missing.
        markers: texts that mark a missing cell in this column only.
    """

    policies: ClassVar[frozenset[str]] = frozenset(POLICIES)
    left_out: ClassVar[bool] = False

    missing: PolicyName = "auto"
    fill: float | str | None = None
    indicator: bool = False
    markers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.missing not in self.policies:
            raise SchemaError(
                f"this kind of column has no missing = {self.missing!r}; choose one of "
                f"{', '.join(name for name in POLICIES if name in self.policies)}"
            )
        # A fill without the policy would be ignored, and the policy without it has nothing to put in.
        if (self.fill is None) == (self.missing == "constant"):
            raise SchemaError(
                "missing = 'constant' needs the constant as fill, and fill needs missing = 'constant': give "
                f"both or neither; missing is {self.missing!r} and fill is {self.fill!r}"
            )


def check_bounds(bounds: tuple[float, float]) -> None:
    """Refuse bounds that are no range.

    Raises:
        SchemaError: a bound is infinite, or the lower one is not below the upper one.
    """
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SchemaError(f"bounds must be finite, the lower one first, not [{low}, {high}]")


def clamped(
    values: NDArray[np.float64], bounds: tuple[float, float] | None, heading: str
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Clamp values to their bounds, and report how many were outside."""
    if bounds is None:
        return values, ()
    # Values outside are clamped, so that the public bounds hold for every row.
    low, high = bounds
    outside = int(np.count_nonzero((values < low) | (values > high)))
    if not outside:
        return values, ()
    said = f"{outside:,} of {int(np.isfinite(values).sum()):,} values lie beyond {low:g} … {high:g}"
    return np.clip(values, low, high), (f"{heading}: {said} and are clamped",)


def no_labels(cells: Cells, kind: str) -> Labels:
    """Refuse a target of a kind that cannot be predicted.

    Raises:
        DataError: always.
    """
    raise DataError(
        f"target {cells.heading!r} is declared as {kind}, and only a number, a category or a boolean can be "
        "predicted: give it one of these kinds"
    )
