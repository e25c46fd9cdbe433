"""Columns of two values, no and yes, which a model reads as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedavg.data.dataset import CLASSES
from fedavg.data.tables.columns.interface import Encoded, Field, Handled, Labels
from fedavg.errors import SchemaError
from fedavg.parts import register

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedavg.data.tables.columns.interface import Cells

__all__ = ["NO", "YES", "Boolean"]

NO = ("false", "f", "no", "n", "0", "0.0", "off")
YES = ("true", "t", "yes", "y", "1", "1.0", "on")


@register("column")
class Boolean(Handled, frozen=True, tag="boolean", kw_only=True):
    """No or yes; becomes 0 or 1, which the model reads as −1 or 1.

    Args:
        values: the words for no and yes, in this order, in upper or lower case; () accepts false/true, f/t,
            no/yes, n/y, 0/1 and off/on.

    Raises:
        SchemaError: the values are not two different words, or the fill is outside [0, 1].

    Example:
        >>> Boolean(values=("absent", "present")).fields("rash")[0].bounds
        (0.0, 1.0)
    """

    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.values and (len(self.values) != 2 or self.values[0] == self.values[1]):
            raise SchemaError(
                "values of a boolean must be two different words, first the one for no, such as "
                f"['no', 'yes']; they are {list(self.values)}"
            )
        if isinstance(self.fill, str) or (self.fill is not None and not 0 <= self.fill <= 1):
            raise SchemaError(f"the fill of a boolean must lie between 0 and 1, not {self.fill!r}")

    def fields(self, name: str) -> tuple[Field, ...]:
        """One measurement between 0 and 1."""
        return (
            Field(
                name,
                bounds=(0.0, 1.0),
                fixed=True,
                missing=self.missing,
                fill=None if self.fill is None else float(self.fill),
                indicator=self.indicator,
            ),
        )

    def encode(self, cells: Cells) -> Encoded:
        """0 for no, 1 for yes."""
        values = self._read(cells)
        return Encoded((values,), np.isnan(values) & ~cells.missing, self._wanted)

    def labels(self, cells: Cells) -> Labels:
        """Two classes, no and yes; several such targets are the labels of one example."""
        values = self._read(cells)
        known = ~np.isnan(values)
        return Labels(
            CLASSES,
            np.where(known, values, 0).astype(np.int64),
            known,
            ~known & ~cells.missing,
            self._wanted,
            names=self.values or ("no", "yes"),
            boolean=True,
        )

    def undeclared(self) -> str:
        """Nothing, because the two values are fixed."""
        return ""

    @property
    def _wanted(self) -> str:
        return "one of " + ", ".join(map(repr, self.values)) if self.values else "a no or a yes"

    def _read(self, cells: Cells) -> NDArray[np.float64]:
        codes, words = cells.words()
        no, yes = ({self.values[0]}, {self.values[1]}) if self.values else (NO, YES)
        # Case counts only if the two declared words differ in nothing else.
        fold = not self.values or self.values[0].lower() != self.values[1].lower()
        no, yes = ({word.lower() if fold else word for word in said} for said in (no, yes))
        read = np.full(len(words) + 1, np.nan)  # a missing cell's index −1 selects the last element
        for place, word in enumerate(words):
            said = word.lower() if fold else word
            read[place] = 0.0 if said in no else 1.0 if said in yes else np.nan
        return read[codes]
