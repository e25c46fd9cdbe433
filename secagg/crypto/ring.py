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
    values = np.empty(length, dtype=ring_dtype(bits))
    for start, block in _unpacked(data, length, bits):
        values[start : start + block.size] = block
    return values


def add_packed(total: RingArray, data: bytes | Sequence[bytes], bits: int) -> None:
    """Add a packed vector in place, modulo the word size, without a second vector in memory.

    Args:
        total: words of `ring_dtype(bits)`, one for each value.
        data: the packed bytes, whole or in consecutive pieces.
        bits: number of bits of each value.

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
    for start, block in _unpacked(data, total.size, bits):
        part = total[start : start + block.size]
        np.add(part, block, out=part)


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


def _unpacked(
    data: bytes | Sequence[bytes], length: int, bits: int
) -> Iterator[tuple[int, RingArray]]:
    """Blocks of values, each with the index of its first value."""
    size = 8 * np.dtype(ring_dtype(bits)).itemsize
    start = 0
    for raw in _regrouped(_pieces(data), _BLOCK // 8 * bits):
        words = _padded(np.frombuffer(raw, dtype=np.uint8), 8 * bits).view("<u8")
        lanes = _unweave(words, bits * (64 // size))
        block = _unfold(lanes, bits, size)[: length - start]
        yield start, block
        start += block.size


def _regrouped(pieces: Iterable[memoryview], size: int) -> Iterator[bytearray]:
    """The same bytes in pieces of `size`, the last one shorter."""
    block = bytearray()
    for piece in pieces:
        at = 0
        while at < len(piece):
            taken = piece[at : at + size - len(block)]
            block += taken
            at += len(taken)
            if len(block) == size:
                yield block
                block = bytearray()
    if block:
        yield block


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


def _unfold(lanes: Lanes, bits: int, size: int) -> RingArray:
    """Words of `size` bits from the low bits of 64-bit words; higher bits are dropped."""
    width, held = 64, bits * (64 // size)
    if size == 64:
        lanes &= (1 << bits) - 1
    while width > size:
        width, held = width // 2, held // 2
        low = (1 << held) - 1
        high = lanes << (width - held)
        high &= low << width
        lanes &= low
        lanes |= high
        lanes = lanes.view(f"<u{width // 8}")
    return lanes


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


def _unweave(words: Lanes, width: int) -> Lanes:
    """Undo `_weave`; bits above the low `width` bits are undefined."""
    per_group, words_in = _shape(width)
    columns = np.ascontiguousarray(words.reshape(-1, words_in).T)
    lanes = np.empty((per_group, columns.shape[1]), dtype="<u8")
    for index in range(per_group):
        word, shift = divmod(index * width, 64)
        np.right_shift(columns[word], shift, out=lanes[index])
        if shift + width > 64:
            lanes[index] |= columns[word + 1] << (64 - shift)
    return np.ascontiguousarray(lanes.T).reshape(-1)
