"""Columns of free text: left out, or read as the presence of words in the buckets of a public hash."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fedavg.data.tables.columns.category import bucket_of
from fedavg.data.tables.columns.interface import Encoded, Field, Labels, no_labels
from fedavg.errors import SchemaError
from fedavg.parts import Part, register

if TYPE_CHECKING:
    from fedavg.data.tables.columns.interface import Cells

__all__ = ["Text"]

_WORD = re.compile(r"\w+")


@register("column")
class Text(Part, frozen=True, tag="text", kw_only=True):
    """Free text.

    Args:
        buckets: 0 leaves the column out.  Otherwise each word of a cell, in lower case, is hashed into one of
            this number of buckets, and the model reads for every bucket whether one of its words occurs.
        markers: texts that mark a missing cell in this column; a missing cell has no words.

    Raises:
        SchemaError: there is one bucket, or a negative number.

    Example:
        >>> len(Text(buckets=64).fields("complaint")), Text().fields("complaint")
        (64, ())
    """

    left_out: ClassVar[bool] = False

    buckets: int = 0
    markers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.buckets < 0 or self.buckets == 1:
            raise SchemaError(
                f"buckets must be 2 or more, or 0 to leave the text out, not {self.buckets}"
            )

    def fields(self, name: str) -> tuple[Field, ...]:
        """A measurement of 0 or 1 for each bucket."""
        return tuple(
            Field(f"{name} # {bucket}", bounds=(0.0, 1.0), fixed=True)
            for bucket in range(self.buckets)
        )

    def encode(self, cells: Cells) -> Encoded:
        """Whether a word of each bucket occurs."""
        if not self.buckets:
            return Encoded((), np.zeros(len(cells.missing), bool), "text")
        codes, texts = cells.words()
        present = np.zeros((len(texts) + 1, self.buckets))  # the last row is for missing cells
        # Words are hashed once for the whole column.
        place: dict[str, int] = {}
        for row, text in enumerate(texts):
            for word in _WORD.findall(text.lower()):
                if word not in place:
                    place[word] = bucket_of(word, self.buckets)
                present[row, place[word]] = 1.0
        counts = np.bincount(np.array(list(place.values()), np.int64), minlength=self.buckets)
        sharing = int(counts[counts > 1].sum())
        note = (
            f"{cells.heading}: {len(place):,} words in {self.buckets} buckets, of which {sharing:,} share "
            "one with another word"
        )
        return Encoded(tuple(present[codes].T), np.zeros(len(codes), bool), "text", (note,))

    def labels(self, cells: Cells) -> Labels:
        """Refuse the column as a target, because classes need names."""
        return no_labels(cells, "text")

    def undeclared(self) -> str:
        """Nothing, because the hash is public."""
        return ""
