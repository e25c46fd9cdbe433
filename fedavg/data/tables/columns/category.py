"""Columns of categories, with a declared vocabulary or with the buckets of a public hash."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fedavg.data.dataset import CLASSES
from fedavg.data.tables.columns.interface import Encoded, Field, Handled, Labels
from fedavg.errors import SchemaError
from fedavg.parts import register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedavg.data.tables.columns.interface import Cells

__all__ = ["Category", "bucket_of", "listed"]

OTHER = "other"
_WHOLE = re.compile(r"(-?\d+)\.0+")
_SHOWN = 3


@register("column")
class Category(Handled, frozen=True, tag="category", kw_only=True):
    """A word from a public vocabulary.

    Args:
        categories: the vocabulary, in the order of the codes.
        other: whether all other words form one more category; otherwise a cell with such a word is an error.
        buckets: number of buckets into which the words are hashed, instead of a vocabulary.  Words that share
            a bucket become one category; a note says how many do.

    Raises:
        SchemaError: both or neither of categories and buckets are given, a word occurs twice, or the fill is
            no category.

    Example:
        >>> Category(categories=("F", "M")).fields("sex")[0].categories
        ('F', 'M', 'other')
    """

    policies: ClassVar[frozenset[str]] = frozenset({"auto", "drop", "constant", "most_frequent"})

    categories: tuple[str, ...] = ()
    other: bool = True
    buckets: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        words = self.categories
        if bool(words) == bool(self.buckets):
            raise SchemaError(
                "a category needs a vocabulary (categories = ['red', 'blue']) or a number of buckets that "
                f"its words are hashed into (buckets = 64), and {'both are' if words else 'neither is'} given"
            )
        if self.buckets and self.buckets < 2:
            raise SchemaError(f"buckets must be 2 or more, not {self.buckets}")
        if len(set(words)) != len(words):
            twice = next(word for word in words if words.count(word) > 1)
            raise SchemaError(f"the vocabulary names the category {twice!r} twice: delete one")
        if self.fill is not None and self.fill not in self._all:
            raise SchemaError(f"the fill {self.fill!r} is none of the categories {list(self._all)}")

    @property
    def _all(self) -> tuple[str, ...]:
        if self.buckets:
            return tuple(f"bucket {number}" for number in range(self.buckets))
        return self.categories + ((_rest(self.categories),) if self.other else ())

    def fields(self, name: str) -> tuple[Field, ...]:
        """One category."""
        words = self._all
        fill = None if self.fill is None else float(words.index(str(self.fill)))
        return (
            Field(
                name,
                categories=words,
                named=self.buckets or len(self.categories),
                missing=self.missing,
                fill=fill,
                indicator=self.indicator,
            ),
        )

    def encode(self, cells: Cells) -> Encoded:
        """The code of each word, which is its index in the vocabulary or its bucket."""
        codes, words = cells.words()
        if self.buckets:
            # Each different word is hashed once.
            places = np.array([bucket_of(word, self.buckets) for word in words], np.int64)
            return Encoded(
                (_taken(codes, places),),
                np.zeros(len(codes), bool),
                "a word",
                _collisions(cells.heading, words, places, self.buckets),
            )
        places = _places(words, self.categories)
        unknown = _taken(codes, places) < 0
        notes: tuple[str, ...] = ()
        if self.other:
            notes = _outside(cells.heading, codes, words, places)
            # A word outside the vocabulary becomes the category of all others, and is counted in a note.
            places = np.where(places < 0, len(self.categories), places)
        values = _taken(codes, places)
        values[values < 0] = np.nan
        odd = np.zeros(len(codes), bool) if self.other else unknown
        return Encoded((values,), odd, f"one of {listed(self.categories)}", notes)

    def labels(self, cells: Cells) -> Labels:
        """The classes, in the order of the vocabulary; rows of any other word have no label.

        Raises:
            SchemaError: the column has buckets, or a single class.
        """
        if self.buckets:
            raise SchemaError(
                f"target {cells.heading!r}: classes need names and cannot be hashed into buckets; give "
                "categories"
            )
        if len(self.categories) < 2:
            raise SchemaError(
                f"target {cells.heading!r}: a classification needs two classes or more"
            )
        codes, words = cells.words()
        places = _places(words, self.categories)
        values = _taken(codes, places)
        outside = values < 0  # False for NaN, a missing cell
        known = ~cells.missing & ~outside
        notes = ()
        # The vocabulary is public, so a word that only some rows hold adds no class.
        if bool(outside.any()):
            which = [word for word, place in zip(words, places, strict=True) if place < 0]
            said = f"hold no declared class but {listed(which)}, and are left out"
            notes = (f"{cells.heading}: {int(outside.sum()):,} rows {said}",)
        return Labels(
            CLASSES,
            np.where(known, values, 0).astype(np.int64),
            known,
            np.zeros(len(codes), bool),
            f"one of {listed(self.categories)}",
            names=self.categories,
            notes=notes,
        )

    def undeclared(self) -> str:
        """Nothing, because a category has its vocabulary or its buckets."""
        return ""


def bucket_of(word: str, buckets: int) -> int:
    """The bucket of a word by a public hash, so that all clients agree without communication.

    Example:
        >>> [bucket_of(word, 16) for word in ("Rome", "Oslo", "")]
        [13, 2, 14]
    """
    digest = hashlib.blake2b(word.encode(), digest_size=8, person=b"fedavg table").digest()
    return int.from_bytes(digest, "big") % buckets


def _rest(words: Sequence[str]) -> str:
    """The name of the category of all other words: "other", or a name that no word has."""
    return OTHER if OTHER not in words else "any other"


def _taken(codes: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[n]: the index of each cell's word; NaN where it is missing."""
    values = np.full(len(codes), np.nan)
    there = codes >= 0
    values[there] = places[codes[there]]
    return values


def _places(words: Sequence[str], vocabulary: Sequence[str]) -> NDArray[np.int64]:
    """int64[w]: the index of each word in the vocabulary, −1 if it is not there; "1.0" is found as "1"."""
    exact = {word: place for place, word in enumerate(vocabulary)}
    whole = {_whole(word): place for word, place in exact.items()}
    return np.array([exact.get(word, whole.get(_whole(word), -1)) for word in words], np.int64)


def _whole(word: str) -> str:
    """A whole number without the ".0" that some programs append."""
    found = _WHOLE.fullmatch(word)
    return word if found is None else found[1]


def _outside(
    heading: str, codes: NDArray[np.int64], words: Sequence[str], places: NDArray[np.int64]
) -> tuple[str, ...]:
    unknown = [word for word, place in zip(words, places, strict=True) if place < 0]
    if not unknown:
        return ()
    cells = int(np.count_nonzero(_taken(codes, places) < 0))
    said = f"of {len(unknown):,} words outside the vocabulary count as the other category"
    return (f"{heading}: {cells:,} cells {said}: {listed(unknown)}",)


def _collisions(
    heading: str, words: Sequence[str], places: NDArray[np.int64], buckets: int
) -> tuple[str, ...]:
    counts = np.bincount(places, minlength=buckets) if len(words) else np.zeros(buckets, np.int64)
    sharing = int(counts[counts > 1].sum())
    if not sharing:
        return (f"{heading}: {len(words):,} words in {buckets} buckets, none of them shared",)
    first = int(np.flatnonzero(counts > 1)[0])
    together = [word for word, place in zip(words, places, strict=True) if place == first]
    said = f"{sharing:,} share one with another word, such as {listed(together)}"
    return (
        f"{heading}: {len(words):,} words in {buckets} buckets: {said}, and cannot be told apart",
    )


def listed(words: Sequence[str]) -> str:
    """The first few of some words, and the number of the remaining ones."""
    shown = ", ".join(repr(word) for word in words[:_SHOWN])
    return shown + (f" and {len(words) - _SHOWN:,} more" if len(words) > _SHOWN else "")
