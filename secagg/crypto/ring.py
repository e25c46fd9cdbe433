"""The ring Z_2^b: reduction, centring, and b-bit packing for the wire.

Sums are kept modulo 2^16, 2^32 or 2^64 and reduced to b bits once, at the end: 2^b divides all three.
`secagg.crypto.lanes` has the arithmetic of packing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from secagg.crypto.lanes import Lanes, ring_dtype
from secagg.errors import WireFormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from secagg.crypto.lanes import RingArray

__all__ = [
    "MAX_RING_BITS",
    "Unpacker",
    "add_packed",
    "bits_for",
    "centre",
    "check_packed",
    "pack",
    "pack_in_place",
    "packed_size",
    "reduce_into",
    "ring_dtype",
    "to_ring",
    "unpack",
]

MAX_RING_BITS = 62
"""A centred sum and every intermediate of its reduction fit int64."""

# Number of values: enough to hide numpy's cost per call, and few enough for the second-level cache.
_BLOCK = 1 << 15


def bits_for(n_clients: int, max_abs: int) -> int:
    """The smallest b with 2^b > n·(2·max_abs + 1): then no sum of n inputs within ±max_abs wraps.

    Example:
        >>> bits_for(4, 10)
        7
    """
    return (n_clients * (2 * max_abs + 1)).bit_length()


def to_ring(vector: NDArray[np.int64], bits: int) -> RingArray:
    """Reduce int64[d] modulo 2^bits into words of `ring_dtype(bits)`.

    Example:
        >>> to_ring(np.array([-1, 256, 5]), 8).tolist()
        [255, 0, 5]
    """
    words = np.empty(vector.size, ring_dtype(bits))
    reduce_into(words, vector, bits)
    return words


def reduce_into(words: RingArray, vector: NDArray[np.int64], bits: int) -> None:
    """Write int64[d] modulo 2^bits into words of `ring_dtype(bits)`.

    Example:
        >>> words = np.empty(3, ring_dtype(8))
        >>> reduce_into(words, np.array([-1, 256, 5]), 8)
        >>> words.tolist()
        [255, 0, 5]
    """
    # In two's complement, the low bits of a negative number are its residue, and the low words hold them.
    np.copyto(words, vector, casting="unsafe")
    np.bitwise_and(words, words.dtype.type((1 << bits) - 1), out=words)


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
    return pack_in_place(values.astype(ring_dtype(bits)), bits).tobytes()


def pack_in_place(words: RingArray, bits: int) -> memoryview:
    """Pack words of `ring_dtype(bits)` into the first bytes of their own memory, as `pack` does.

    A block's bytes end before the next block's words begin, so no memory is touched for the first time.

    Returns:
        The packed bytes: a view, valid as long as the words are not written to.

    Example:
        >>> pack_in_place(np.array([1, 2, 3], dtype=np.uint16), 4).hex()
        '2103'
    """
    lanes, packed, end = Lanes(min(_BLOCK, words.size), bits), words.view(np.uint8), 0
    for start in range(0, words.size, lanes.words.size):
        block = words[start : start + lanes.words.size]
        lanes.words[: block.size] = block
        lanes.words[block.size :] = 0
        lanes.weave()
        size = packed_size(block.size, bits)
        packed[end : end + size] = lanes.octets[:size]
        end += size
    return packed[:end].data


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

    __slots__ = ("_lanes", "_length")

    def __init__(self, length: int, bits: int) -> None:
        self._length, self._lanes = length, Lanes(min(_BLOCK, length), bits)

    def blocks(self, data: bytes | Sequence[bytes]) -> Iterator[RingArray]:
        """Blocks of values of a vector that was checked; each is valid until the next one is asked for."""
        left, words = self._length, self._lanes.words
        for _ in self._filled(_pieces(data)):
            self._lanes.unweave()
            yield words[:left]
            left -= min(left, words.size)

    def _filled(self, pieces: Iterable[memoryview]) -> Iterator[None]:
        """Fill the bytes of the block with the next ones, again and again; others stay."""
        room, held = self._lanes.octets.data, 0
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
            yield


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
