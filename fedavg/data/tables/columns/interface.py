"""What a kind of column has to do, and the values that pass between it and the rest.

A *column* is what a file has; a *field* is what a column becomes: one number a row, or one category a row.  A
column of dates becomes several fields.  How fields become a model's inputs is the business of
`fedavg.data.tables.preprocessing`.
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
    """One number or one category a row, and what is publicly known of it.

    Args:
        name: for reports and for the names of inputs.
        categories: their names, in the order of the codes; () for a measurement.
        named: how many of the categories are declared; the rest collects the other words.
        bounds: public range of a measurement, or None.
        fixed: whether a measurement is scaled by its bounds even where statistics are at hand.
        missing: name of a policy out of `fedavg.data.tables.columns.policies`.
        fill: what the policy "constant" puts in, as a number or the code of a category.
        indicator: whether the model gets one more input that says that the cell was missing.

    Raises:
        SchemaError: bounds that are no range, or bounds of categories.
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
            raise SchemaError(f"{self.name!r} has either categories or bounds")
        if self.bounds is not None:
            check_bounds(self.bounds)

    @property
    def measured(self) -> bool:
        """Whether it is a measurement."""
        return not self.categories


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What the cells of one column have become.

    Args:
        arrays: float64[n] for each field, in order: a number, the code of a category, NaN where missing.
        odd: bool[n], where a cell is there but is nothing that the column can hold.
        wanted: what such a cell should be, for the message: "a number".
        notes: sentences about lossy steps, with counts.
    """

    arrays: tuple[NDArray[np.float64], ...]
    odd: NDArray[np.bool_]
    wanted: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What the cells of one target column have become.

    Args:
        kind: of the labels, were this the only target.
        values: int64[n] or float64[n]; anything where `known` is False.
        known: bool[n], False where the cell is missing.
        odd: bool[n], where a cell is there but is no label.
        wanted: what such a cell should be.
        names: of the classes in the order of their numbers; () for numbers.
        bounds: public range of numbers, or None.
        boolean: whether the classes are no and yes, so that several such targets are labels of one example.
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
    """The cells of one column, as they were read; missing ones are those that the schema names so."""

    @property
    def heading(self) -> str:
        """The column's name."""
        ...

    @property
    def missing(self) -> NDArray[np.bool_]:
        """bool[n]."""
        ...

    def numbers(self, strip: str = "") -> NDArray[np.float64]:
        """float64[n], NaN where a cell is missing or no finite number; `strip` goes from both ends."""
        ...

    def words(self) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """int64[n], −1 where missing, and the distinct texts that these number, sorted."""
        ...

    def moments(self, pattern: str) -> NDArray[np.float64]:
        """float64[n], days since 1970-01-01, NaN where a cell is missing or no date of that pattern."""
        ...


class Column(Protocol):
    """A kind of column: a registered part of family "column" with these members."""

    left_out: ClassVar[bool]
    """Whether nothing depends on the column, not even which rows are held out to score on."""

    @property
    def markers(self) -> tuple[str, ...]:
        """What stands for a missing cell in this column, besides what stands for it everywhere."""
        ...

    def fields(self, name: str) -> tuple[Field, ...]:
        """What a column of this name becomes; () for one that is left out."""
        ...

    def encode(self, cells: Cells) -> Encoded:
        """Turn the cells into the numbers of `fields`; run by each client on its own rows."""
        ...

    def labels(self, cells: Cells) -> Labels:
        """Turn the cells into labels, where the column is the target."""
        ...

    def undeclared(self) -> str:
        """What must still be declared where only public knowledge may be used; "" for nothing."""
        ...


class Handled(Part, frozen=True, kw_only=True):
    """Base of the columns that a model reads: what to do about missing cells.

    Args:
        missing: name of a policy.
        fill: what the policy "constant" puts in.
        indicator: whether the model is told that the cell was missing.
        markers: what stands for a missing cell in this column alone.
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
                f"missing = {self.missing!r} does not go with this kind of column; choose out of "
                f"{', '.join(name for name in POLICIES if name in self.policies)}"
            )
        if (self.fill is None) == (self.missing == "constant"):
            raise SchemaError("missing = 'constant' and fill, the constant, go together")


def check_bounds(bounds: tuple[float, float]) -> None:
    """Refuse bounds that are no range.

    Raises:
        SchemaError: infinite bounds, or none between which a number fits.
    """
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SchemaError(f"bounds need low < high, both finite, not {low} … {high}")


def clamped(
    values: NDArray[np.float64], bounds: tuple[float, float] | None, heading: str
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Bring values into their bounds, and say how many were outside."""
    if bounds is None:
        return values, ()
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
        f"target {cells.heading!r} is declared as {kind}: what is predicted is a number, a category or a "
        "boolean"
    )
