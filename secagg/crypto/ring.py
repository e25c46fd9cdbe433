"""The ring Z_2^b: reduction, centring, and b-bit packing for the wire.

Sums are kept modulo 2^16, 2^32 or 2^64 and reduced to b bits once, at the end: 2^b divides all three.
Packing shifts whole 64-bit words: neighbours are combined until each word is one lane, and then lanes are
placed end to end, one column of all groups at a time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from secagg.errors import WireFormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    RingArray = NDArray[np.uint16 | np.uint32 | np.uint64]
    Lanes = NDArray[np.uint64]

T = TypeVar("T", bound="np.generic")

__all__ = [
    "MAX_RING_BITS",
    "Unpacker",
    "add_packed",
    "bits_for",
    "centre",
    "check_packed",
    "pack",
    "packed_size",
    "ring_dtype",
    "to_ring",
    "unpack",
]

MAX_RING_BITS = 62
"""A centred sum and every intermediate of its reduction fit int64."""

# Number of values: enough to hide numpy's cost per call, and few compared with a vector.
_BLOCK = 1 << 17


def bits_for(n_clients: int, max_abs: int) -> int:
    """The smallest b with 2^b > n·(2·max_abs + 1): then no sum of n inputs within ±max_abs wraps.

    Example:
        >>> bits_for(4, 10)
        7
    """
    return (n_clients * (2 * max_abs + 1)).bit_length()


def ring_dtype(bits: int) -> type[np.uint16 | np.uint32 | np.uint64]:
    """The word type for b bits, of which a mask has one for each coordinate: 16, 32 or 64 bits.

    Example:
        >>> [ring_dtype(bits).__name__ for bits in (16, 17, 33)]
        ['uint16', 'uint32', 'uint64']
    """
    if bits <= 16:
        return np.uint16
    return np.uint32 if bits <= 32 else np.uint64


def to_ring(vector: NDArray[np.int64], bits: int) -> RingArray:
    """Reduce int64[d] modulo 2^bits into words of `ring_dtype(bits)`.

    Example:
        >>> to_ring(np.array([-1, 256, 5]), 8).tolist()
        [255, 0, 5]
    """
    # In two's complement, the low bits of a negative number are its residue.
    return (vector & np.int64((1 << bits) - 1)).astype(ring_dtype(bits))


def centre(values: RingArray, bits: int) -> NDArray[np.int64]:
    """Map words modulo 2^bits to int64 in [−2^(bits−1), 2^(bits−1)).

    Example:
        >>> centre(np.array([255, 127, 128], dtype=np.uint32), 8).tolist()
        [-1, 127, -128]
    """
    residue = values.astype(np.int64) & np.int64((1 << bits) - 1)
    half = np.int64(1 << (bits - 1))
    return (residue ^ half) - half  # extends the sign bit of b bits to 64


def packed_size(length: int, bits: int) -> int:
    """Number of bytes of `length` packed values of `bits` bits."""
    return (length * bits + 7) // 8


def pack(values: RingArray, bits: int) -> bytes:
    """Write values modulo 2^bits as one little-endian bit string, zero-padded to a byte.

    The wire carries b bits, not whole bytes: at a million coordinates 23 bits take about a
    millisecond longer than 24, which is less than 125 kB of upload.

    Args:
        values: uint16[d], uint32[d] or uint64[d], no narrower than `bits`; higher bits are ignored.
        bits: 2 … 62.

    Example:
        >>> pack(np.array([1, 2, 3], dtype=np.uint32), 4).hex()
        '2103'
    """
    parts: list[memoryview] = []
    for start in range(0, values.size, _BLOCK):
        block = values[start : start + _BLOCK]
        packed = _weave(*_fold(_padded(block, 64), bits))  # 64 values fill b whole words, for any b
        parts.append(packed.view(np.uint8)[: packed_size(block.size, bits)].data)
    return b"".join(parts)


def unpack(data: bytes | Sequence[bytes], length: int, bits: int) -> RingArray:
    """Decode the bytes of `pack` into words of `ring_dtype(bits)`.

    Args:
        data: the packed bytes, whole or in consecutive pieces.
        length: number of values.
        bits: number of bits of each value.

    Raises:
        WireFormatError: the size is wrong, or padding bits are not zero.

    Example:
        >>> unpack(bytes.fromhex("2103"), 3, 4).tolist()
        [1, 2, 3]
    """
    check_packed(data, length, bits)
    values, start = np.empty(length, dtype=ring_dtype(bits)), 0
    for block in Unpacker(length, bits).blocks(data):
        values[start : start + block.size] = block
        start += block.size
    return values


def add_packed(
    total: RingArray,
    data: bytes | Sequence[bytes],
    bits: int,
    unpacker: Unpacker | None = None,
) -> None:
    """Add a packed vector in place, modulo the word size, without a second vector in memory.

    Args:
        total: words of `ring_dtype(bits)`, one for each value.
        data: the packed bytes, whole or in consecutive pieces.
        bits: number of bits of each value.
        unpacker: for this length and these bits, where many vectors are added; made anew if left out.

    Raises:
        WireFormatError: the size is wrong, or padding bits are not zero; `total` has not changed.

    Example:
        >>> total = np.array([1, 1, 65_535], dtype=np.uint16)
        >>> add_packed(total, [bytes.fromhex("21"), bytes.fromhex("03")], 4)
        >>> total.tolist()
        [2, 3, 2]
    """
    # Before the first word is added: a message that is refused leaves the sum as it was.
    check_packed(data, total.size, bits)
    start = 0
    for block in (unpacker or Unpacker(total.size, bits)).blocks(data):
        part = total[start : start + block.size]
        np.add(part, block, out=part)
        start += block.size


class Unpacker:
    """Unpacks vectors of one length, in buffers that serve again for each vector.

    A server adds one vector a client.  Fresh arrays for each of them cost more than the arithmetic where the
    system takes freed memory back, because their pages are then touched for the first time again.

    Args:
        length: number of values.
        bits: number of bits of each value.

    Example:
        >>> [block.tolist() for block in Unpacker(3, 4).blocks(bytes.fromhex("2103"))]
        [[1, 2, 3]]
    """

    __slots__ = (
        "_bits",
        "_columns",
        "_high",
        "_lanes",
        "_length",
        "_raw",
        "_row",
        "_size",
        "_woven",
    )

    def __init__(self, length: int, bits: int) -> None:
        self._length, self._bits = length, bits
        self._size = 8 * np.dtype(ring_dtype(bits)).itemsize
        per_group, words = _shape(self._width)
        values = min(_BLOCK, length + -length % 64)
        groups = values * self._size // 64 // per_group
        self._raw = np.zeros((groups, words), dtype="<u8")
        self._columns = np.empty((words, groups), dtype="<u8")
        self._lanes = np.empty((per_group, groups), dtype="<u8")
        self._row = np.empty(groups, dtype="<u8")
        self._woven = np.empty((groups, per_group), dtype="<u8")
        self._high = np.empty(groups * per_group, dtype="<u8")

    @property
    def _width(self) -> int:
        """Bits of a lane: as many values as the words of a 64-bit word."""
        return self._bits * (64 // self._size)

    def blocks(self, data: bytes | Sequence[bytes]) -> Iterator[RingArray]:
        """Blocks of values of a vector that was checked; each is valid until the next one is asked for."""
        left = self._length
        for _ in self._filled(_pieces(data)):
            self._unweave()
            block = self._unfold()[:left]
            yield block
            left -= block.size

    def _filled(self, pieces: Iterable[memoryview]) -> Iterator[None]:
        """Fill `_raw` with the next bytes, again and again; zeros follow the last ones."""
        raw: NDArray[np.uint8] = self._raw.reshape(-1).view(np.uint8)
        room, held = raw.data, 0
        for piece in pieces:
            at = 0
            while at < len(piece):
                taken = piece[at : at + len(room) - held]
                room[held : held + len(taken)] = taken
                at, held = at + len(taken), held + len(taken)
                if held == len(room):
                    yield
                    held = 0
        if held:
            raw[held:] = 0
            yield

    def _unweave(self) -> None:
        """Undo `_weave`, from `_raw` to `_woven`; bits above the low ones of a lane are undefined."""
        np.copyto(self._columns, self._raw.T)
        for index, lane in enumerate(self._lanes):
            word, shift = divmod(index * self._width, 64)
            np.right_shift(self._columns[word], shift, out=lane)
            if shift + self._width > 64:
                np.left_shift(self._columns[word + 1], 64 - shift, out=self._row)
                np.bitwise_or(lane, self._row, out=lane)
        np.copyto(self._woven, self._lanes.T)

    def _unfold(self) -> RingArray:
        """Undo `_fold`: words from the low bits of `_woven`, in its place; higher bits are dropped."""
        lanes: NDArray[Any] = self._woven.reshape(-1)
        high: NDArray[Any] = self._high
        width, held = 64, self._width
        if self._size == 64:
            lanes &= (1 << self._bits) - 1
        while width > self._size:
            width, held = width // 2, held // 2
            low = (1 << held) - 1
            np.left_shift(lanes, width - held, out=high)
            high &= low << width
            lanes &= low
            lanes |= high
            lanes, high = lanes.view(f"<u{width // 8}"), high.view(f"<u{width // 8}")
        return lanes


def check_packed(data: bytes | Sequence[bytes], length: int, bits: int) -> None:
    """Raise WireFormatError unless `data` is a canonical packing, without unpacking it."""
    pieces = _pieces(data)
    size, expected = sum(map(len, pieces)), packed_size(length, bits)
    if size != expected:
        raise WireFormatError(f"{length} values of {bits} bits take {expected} bytes, not {size}")
    # A vector has one encoding: padding must not carry bits that no check reads.
    used = length * bits % 8
    last = next((piece[-1] for piece in reversed(pieces) if piece), 0)
    if used and last >> used:
        raise WireFormatError("padding bits after the last value are not zero")


# Blocks ------------------------------------------------------------------------------------------------


def _pieces(data: bytes | Sequence[bytes]) -> list[memoryview]:
    whole = isinstance(data, (bytes, bytearray, memoryview))
    return [memoryview(data)] if whole else [memoryview(piece) for piece in data]


def _padded(block: NDArray[T], multiple: int) -> NDArray[T]:
    """The block itself, or followed by zeros up to a multiple of a size."""
    missing = -block.size % multiple
    return np.concatenate([block, np.zeros(missing, dtype=block.dtype)]) if missing else block


# Words -------------------------------------------------------------------------------------------------


def _fold(values: RingArray, bits: int) -> tuple[Lanes, int]:
    """Values as the low bits of 64-bit words, as many in a word as their dtype allows, and their bits."""
    size = 8 * values.itemsize
    lanes: NDArray[Any] = values.astype(f"<u{values.itemsize}", copy=False)
    if size == 64:
        return np.bitwise_and(lanes, np.uint64((1 << bits) - 1)), bits
    while size < 64:
        pairs: NDArray[Any] = lanes.view(f"<u{size // 4}")  # two lanes as one wider word
        low = (1 << bits) - 1
        # The upper lane moves down to the end of the lower one.
        lanes = np.right_shift(pairs, size - bits)
        lanes &= low << bits
        lanes |= pairs & low
        size, bits = 2 * size, 2 * bits
    return lanes, bits


def _shape(width: int) -> tuple[int, int]:
    """Lanes of `width` bits, and 64-bit words, in the smallest group in which both end together."""
    common = math.gcd(width, 64)
    return 64 // common, width // common


def _weave(lanes: Lanes, width: int) -> Lanes:
    """Place the low `width` bits of each word end to end; the higher bits must be zero."""
    per_group, words_out = _shape(width)
    columns = np.ascontiguousarray(lanes.reshape(-1, per_group).T)
    words = np.zeros((words_out, columns.shape[1]), dtype="<u8")
    for index, column in enumerate(columns):
        word, shift = divmod(index * width, 64)
        words[word] |= column << shift
        if shift + width > 64:
            words[word + 1] = column >> (64 - shift)  # its first bits: none are lost
    return np.ascontiguousarray(words.T).reshape(-1)
