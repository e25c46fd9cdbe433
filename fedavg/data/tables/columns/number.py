"""Columns of measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fedavg.data.dataset import NUMBERS
from fedavg.data.tables.columns.interface import (
    Encoded,
    Field,
    Handled,
    Labels,
    check_bounds,
    clamped,
)
from fedavg.errors import SchemaError
from fedavg.parts import register

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedavg.data.tables.columns.interface import Cells

__all__ = ["WANTED", "Number"]

WANTED = "a number within ±1e30"
"""What a cell of such a column has to be, in messages."""


@register("column")
class Number(Handled, frozen=True, tag="number", kw_only=True):
    """A measurement.

    Args:
        unit: unit for names in reports, such as "years".
        bounds: public range; values outside it are clamped, and counted.
        log: whether to replace x by sign(x)·log(1 + |x|), for quantities over several powers of ten.
        strip: characters to remove from both ends of a cell, such as "%" or "$".

    Raises:
        SchemaError: bounds are no range, numbers do not have the policy, or the fill is no number.

    Example:
        >>> Number(bounds=(0, 120), missing="median").fields("age")[0].bounds
        (0.0, 120.0)
    """

    policies: ClassVar[frozenset[str]] = frozenset({"auto", "drop", "constant", "mean", "median"})

    unit: str = ""
    bounds: tuple[float, float] | None = None
    log: bool = False
    strip: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bounds is not None:
            check_bounds(self.bounds)
        if isinstance(self.fill, str):
            raise SchemaError(f"the fill of a number must be a number, not {self.fill!r}")

    def fields(self, name: str) -> tuple[Field, ...]:
        """One measurement."""
        bounds, fill = self.bounds, None if self.fill is None else float(self.fill)
        if self.log:
            # The bounds pass through the same logarithm as the values.
            bounds = None if bounds is None else (_log(bounds[0]), _log(bounds[1]))
            fill = None if fill is None else _log(fill)
            name = f"log {name}"
        return (
            Field(
                name,
                bounds=bounds,
                missing=self.missing,
                fill=fill,
                indicator=self.indicator,
            ),
        )

    def encode(self, cells: Cells) -> Encoded:
        """The numbers, clamped to the bounds."""
        values, odd, notes = self._read(cells)
        if self.log:
            # The sign is kept, so that negative numbers have a logarithm too.
            values = np.sign(values) * np.log1p(np.abs(values))
        return Encoded((values,), odd, WANTED, notes)

    def labels(self, cells: Cells) -> Labels:
        """The numbers themselves; they are never turned into classes."""
        if self.log:
            raise SchemaError(
                f"target {cells.heading!r}: log is for what a model reads; take the logarithm in the file, "
                "so that errors are stated in what is predicted"
            )
        values, odd, notes = self._read(cells)
        known = ~cells.missing & ~odd
        return Labels(NUMBERS, values, known, odd, WANTED, bounds=self.bounds, notes=notes)

    def undeclared(self) -> str:
        """Bounds, which scale the column when no statistics may be used."""
        return "" if self.bounds else "bounds"

    def _read(self, cells: Cells) -> tuple[NDArray[np.float64], NDArray[np.bool_], tuple[str, ...]]:
        values = cells.numbers(self.strip)
        # A cell that holds something else than a number is odd; an empty one is only missing.
        odd = np.isnan(values) & ~cells.missing
        inside, notes = clamped(values, self.bounds, cells.heading)
        return inside, odd, notes


def _log(value: float) -> float:
    return float(np.sign(value) * np.log1p(abs(value)))
