"""Lists of fixed-size records, read one by one from the bytes of a message when they are needed.

A session's lists are long and mostly passed on; as bytes they take no more memory than in the message.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Generic, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Records", "column"]

T = TypeVar("T")


class Records(Sequence[T], Generic[T]):
    """A read-only sequence over packed records; equal to any sequence of equal items.

    Args:
        data: the records, one after the other.
        size: number of bytes of one record.
        read: function from the bytes of one record to an item.

    Raises:
        ValueError: the bytes are not a whole number of records.

    Example:
        >>> list(Records(b"abcd", 2, bytes))
        [b'ab', b'cd']
    """

    __slots__ = ("_read", "_size", "data")

    def __init__(self, data: bytes, size: int, read: Callable[[bytes], T]) -> None:
        if len(data) % size:
            raise ValueError(f"{len(data)} bytes are no whole number of records of {size}")
        self.data = data
        self._size = size
        self._read = read

    def __len__(self) -> int:
        return len(self.data) // self._size

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        if isinstance(index, slice):
            return tuple(self[at] for at in range(*index.indices(len(self))))
        data, size = self.data, self._size
        at = index * size if index >= 0 else len(data) + index * size
        if not 0 <= at < len(data):
            raise IndexError(f"record {index} of {len(self)}")
        return self._read(data[at : at + size])

    def __iter__(self) -> Iterator[T]:
        return map(self._read, self.column(0, self._size))

    def column(self, start: int, stop: int) -> Iterator[bytes]:
        """Bytes start … stop of each record."""
        parts = struct.iter_unpack(f"{start}x{stop - start}s{self._size - stop}x", self.data)
        return itertools.chain.from_iterable(parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


def column(items: Sequence[bytes], start: int, stop: int) -> Iterator[bytes]:
    """Bytes start … stop of each of some items, which may be records.

    Example:
        >>> list(column(Records(b"abcdef", 3, bytes), 1, 3)) == list(column([b"abc", b"def"], 1, 3))
        True
    """
    if isinstance(items, Records):
        return items.column(start, stop)
    return map(itemgetter(slice(start, stop)), items)


def joined(items: Sequence[bytes]) -> bytes:
    """Some items one after the other; for records, their own bytes without a copy.

    Example:
        >>> joined(Records(b"abcd", 2, bytes)) == joined([b"ab", b"cd"])
        True
    """
    return items.data if isinstance(items, Records) else b"".join(items)
