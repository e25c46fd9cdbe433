"""Columns that no model reads: identifiers, and columns that a schema leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fedavg.data.tables.columns.interface import Encoded, Field, Labels, no_labels
from fedavg.parts import Part, register

if TYPE_CHECKING:
    from fedavg.data.tables.columns.interface import Cells

__all__ = ["Identifier", "Ignored"]


class _LeftOut(Part, frozen=True, kw_only=True):
    """Base of the columns without fields."""

    what: ClassVar[str] = ""
    left_out: ClassVar[bool] = True

    markers: tuple[str, ...] = ()

    def fields(self, name: str) -> tuple[Field, ...]:
        """No fields."""
        del name
        return ()

    def encode(self, cells: Cells) -> Encoded:
        """No values, for any cells."""
        return Encoded((), np.zeros(len(cells.missing), bool), "anything")

    def labels(self, cells: Cells) -> Labels:
        """Refuse a column that is left out as a target."""
        return no_labels(cells, self.what)

    def undeclared(self) -> str:
        """Nothing."""
        return ""


@register("column")
class Identifier(_LeftOut, frozen=True, tag="identifier", kw_only=True):
    """A name or number of the row or of a person, from which nothing can be learnt about other rows.

    Example:
        >>> Identifier().fields("patient_id")
        ()
    """

    what: ClassVar[str] = "an identifier"


@register("column")
class Ignored(_LeftOut, frozen=True, tag="ignored", kw_only=True):
    """A column that is left out, such as one that is known only after the target.

    Example:
        >>> Ignored().fields("total_paid")
        ()
    """

    what: ClassVar[str] = "ignored"
