"""Words of a ring ↔ one bit string, a block at a time: 64-bit lanes at byte offsets.

As many values as fit are joined to a *lane* of at most 64 bits.  Lanes lie end to end, so every eighth lane,
or every fourth or second one, starts at the same bit of a byte.  All lanes that do are read or written as one
strided array of 64-bit words that need no alignment, in one call, and shifted by less than a byte.

All calls work in buffers that serve for each block, and that the second-level cache holds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    RingArray = NDArray[np.uint16 | np.uint32 | np.uint64]

__all__ = ["Lanes", "ring_dtype"]


def ring_dtype(bits: int) -> type[np.uint16 | np.uint32 | np.uint64]:
    """The word type for b bits, of which a mask has one for each coordinate: 16, 32 or 64 bits.

    Example:
        >>> [ring_dtype(bits).__name__ for bits in (16, 17, 33)]
        ['uint16', 'uint32', 'uint64']
    """
    if bits <= 16:
        return np.uint16
    return np.uint32 if bits <= 32 else np.uint64


class _Column(NamedTuple):
    """The lanes that start at one place of each group.

    Args:
        lanes: uint64[groups], strided.
        octets: uint64[groups]: the eight bytes of each group in which such a lane starts.
        shift: the bit of the first of these bytes at which it starts.
        more: uint8[groups]: the byte after them, if the lane reaches into it.
    """

    lanes: NDArray[np.uint64]
    octets: NDArray[np.uint64]
    shift: int
    more: NDArray[np.uint8] | None


class Lanes:
    """A block of words, its packed bytes, and the way from either to the other.

    Args:
        values: number of words of a block, about; at least one group's.
        bits: bits of each packed value, 2 … 62.

    Example:
        >>> lanes = Lanes(1, 4)
        >>> lanes.words[:3], lanes.words[3:] = (1, 2, 3), 0
        >>> lanes.weave()
        >>> lanes.octets[:2].tobytes().hex()
        '2103'
        >>> lanes.unweave()
        >>> lanes.words[:4].tolist()
        [1, 2, 3, 0]
    """

    __slots__ = (
        "_all",
        "_bits",
        "_columns",
        "_lanes",
        "_many",
        "_row",
        "_spare",
        "octets",
        "words",
    )

    def __init__(self, values: int, bits: int) -> None:
        word = np.dtype(ring_dtype(bits)).itemsize
        self._bits, self._many = bits, 8 // word
        width = self._many * bits
        # In a group, lanes end where a byte does; eight bytes of two groups must not overlap when written.
        per_group = 8 // math.gcd(width, 8)
        per_group *= -(-64 // (per_group * width))
        groups, stride = -(-values // (per_group * self._many)), per_group * width // 8
        self._all = np.zeros(
            groups * stride + 9, np.uint8
        )  # the last lane's eight bytes reach beyond
        self.octets = self._all[: groups * stride]
        lanes = np.zeros((groups, per_group), "<u8")
        self._lanes: NDArray[np.uint64] = lanes.reshape(-1)
        self._spare: NDArray[np.uint64] = np.empty(groups * per_group, "<u8")
        self._row: NDArray[np.uint64] = np.empty(groups, "<u8")
        self.words: RingArray = self._lanes.view(f"<u{word}")
        self._columns: list[_Column] = []
        for index in range(per_group):
            start, shift = divmod(index * width, 8)
            octets = np.ndarray((groups,), "<u8", self._all, start, (stride,))
            more: NDArray[np.uint8] | None = None
            if shift + width > 64:
                more = np.ndarray((groups,), np.uint8, self._all, start + 8, (stride,))
            self._columns.append(_Column(lanes[:, index], octets, shift, more))

    def weave(self) -> None:
        """Pack `words` into `octets`; bits of a word above the low ones are ignored."""
        self._join()
        self._all[:] = 0
        for lanes, octets, shift, more in self._columns:
            np.left_shift(lanes, shift, out=self._row)
            np.bitwise_or(octets, self._row, out=octets)
            if more is not None:
                np.right_shift(lanes, 64 - shift, out=self._row)
                np.bitwise_or(more, self._row, out=more, casting="unsafe")

    def unweave(self) -> None:
        """Unpack `octets` into `words`."""
        for lanes, octets, shift, more in self._columns:
            np.right_shift(octets, shift, out=lanes)
            if more is not None:
                np.left_shift(more, np.uint64(64 - shift), out=self._row)
                np.bitwise_or(lanes, self._row, out=lanes)
        self._part()

    def _join(self) -> None:
        """Move the low bits of the words of each lane together, to its low end."""
        size, bits = 64 // self._many, self._bits
        lanes: NDArray[Any] = self.words
        if size == 64:
            lanes &= (1 << bits) - 1
        while size < 64:
            # Two lanes are one wider word; the upper one moves down to the end of the lower one.
            lanes = lanes.view(f"<u{size // 4}")
            upper: NDArray[Any] = self._spare.view(lanes.dtype)
            low = (1 << bits) - 1
            np.right_shift(lanes, size - bits, out=upper)
            upper &= low << bits
            lanes &= low
            lanes |= upper
            size, bits = 2 * size, 2 * bits

    def _part(self) -> None:
        """Undo `_join`, and drop the bits above the low ones of each word."""
        spare: RingArray = self._spare.view(self.words.dtype)
        # From the last value on, since a value's word lies above all bits of those before it.
        for place in range(self._many - 1, 0, -1):
            np.right_shift(self._lanes, place * self._bits, out=self._spare)
            self.words[place :: self._many] = spare[:: self._many]
        self.words &= self.words.dtype.type((1 << self._bits) - 1)
