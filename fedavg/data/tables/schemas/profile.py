"""The properties of one column that the proposal rules use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fedavg.data.tables.columns.boolean import NO, YES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedavg.data.tables.cells import ArrowCells

__all__ = ["Profile"]

_ODD_SHARE = 0.1  # share of the cells in a column of numbers that may be no numbers
_NAMES_ROWS = re.compile(
    r"(?:^|[\W_])(?:id|ids|uid|uuid|guid|udi|key|row|rownames?|index|idx|serial|ssn|iban|e?-?mail|phone|mrn"
    r"|barcode|unnamed)(?:$|[\W_\d])|[a-z](?:ID|Id)$",
    re.ASCII,
)


@dataclass(frozen=True, eq=False)
class Profile:
    """Properties of a column, computed at first use.

    Args:
        heading: heading of the column.
        cells: its cells; the schema names the markers of missing ones.
    """

    heading: str
    cells: ArrowCells

    @cached_property
    def coded_words(self) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """The index of each cell's text, −1 where missing, and the texts."""
        return self.cells.words()

    @property
    def words(self) -> tuple[str, ...]:
        """The different texts."""
        return self.coded_words[1]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """The number of cells with each of the texts."""
        codes = self.coded_words[0]
        return np.bincount(codes[codes >= 0], minlength=len(self.words))

    @cached_property
    def present(self) -> int:
        """The number of cells that are not missing."""
        return int(self.counts.sum())

    @cached_property
    def missing(self) -> int:
        """The number of missing cells."""
        return len(self.cells) - self.present

    @cached_property
    def numbers(self) -> NDArray[np.float64]:
        """float64[n], NaN where a cell is no number."""
        return self.cells.numbers()

    @cached_property
    def there(self) -> NDArray[np.float64]:
        """The cells that are numbers."""
        return self.numbers[np.isfinite(self.numbers)]

    @cached_property
    def odd(self) -> tuple[str, ...]:
        """The different texts that are no numbers."""
        codes, words = self.coded_words
        return tuple(
            words[code] for code in np.unique(codes[np.isnan(self.numbers) & (codes >= 0)])
        )

    @cached_property
    def numeric(self) -> bool:
        """Whether all cells are numbers, apart from a few."""
        if not len(self.there) or self.cells.boolean or self.cells.temporal or self.coded:
            return False
        odd = self.present - len(self.there)
        # A few words may stand for missing cells; many words mean that the column holds words.
        return odd <= _ODD_SHARE * self.present and len(self.odd) <= 10

    @cached_property
    def whole(self) -> bool:
        """Whether all numbers are whole."""
        return bool((self.there == np.floor(self.there)).all())

    @cached_property
    def coded(self) -> bool:
        """Whether whole numbers are written with leading zeros, as codes are."""
        return any(len(word) > 1 and word[0] == "0" and word.isdigit() for word in self.words)

    @cached_property
    def pair(self) -> tuple[str, str] | None:
        """The words for no and yes, if the column has no other words."""
        folded = {word.lower() for word in self.words}
        for no, yes in zip(NO, YES, strict=True):
            if folded == {no, yes}:
                if len(self.words) > 2:  # such as No, no and Yes
                    return no, yes
                # The words are returned as the file writes them, in the order no, yes.
                first, second = list(self.words)
                return (first, second) if second.lower() == yes else (second, first)
        return None

    @cached_property
    def names_rows(self) -> bool:
        """Whether the heading is typical of identifiers."""
        return _NAMES_ROWS.search(self.heading) is not None

    @property
    def examples(self) -> tuple[str, ...]:
        """The most frequent texts."""
        order = np.argsort(-self.counts, kind="stable")[:3]
        return tuple(self.words[at] for at in order)

    @property
    def in_order(self) -> tuple[str, ...]:
        """The words in order; numbers are ordered by value."""
        try:
            return tuple(sorted(self.words, key=float))
        except ValueError:
            return self.words
