"""The ring Z_2^b: reduction, centring, and b-bit packing for the wire.

Sums are kept modulo 2^32 (b ≤ 32) or 2^64 and reduced to b bits once, at the end: 2^b divides both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from secagg.errors import WireFormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    RingArray = NDArray[np.uint32 | np.uint64]

__all__ = [
    "MAX_RING_BITS",
    "bits_for",
    "centre",
    "pack",
    "packed_size",
    "ring_dtype",
    "to_ring",
    "unpack",
]

MAX_RING_BITS = 62
"""A centred sum and every intermediate of its reduction fit int64."""


def bits_for(n_clients: int, max_abs: int) -> int:
    """Smallest b with 2^b > n·(2·max_abs + 1): no sum of n inputs within ±max_abs can wrap.

    Example:
        >>> bits_for(4, 10)
        7
    """
    return (n_clients * (2 * max_abs + 1)).bit_length()


def ring_dtype(bits: int) -> type[np.uint32 | np.uint64]:
    """The word that carries b bits: uint32 up to 32, uint64 beyond."""
    return np.uint32 if bits <= 32 else np.uint64


def to_ring(vector: NDArray[np.int64], bits: int) -> RingArray:
    """Reduce int64[d] modulo 2^bits into words of `ring_dtype(bits)`.

    Example:
        >>> to_ring(np.array([-1, 256, 5]), 8).tolist()
        [255, 0, 5]
    """
    return (vector & np.int64((1 << bits) - 1)).astype(ring_dtype(bits))


def centre(values: RingArray, bits: int) -> NDArray[np.int64]:
    """Map words modulo 2^bits to int64 in [−2^(bits−1), 2^(bits−1)).

    Example:
        >>> centre(np.array([255, 127, 128], dtype=np.uint32), 8).tolist()
        [-1, 127, -128]
    """
    residue = values.astype(np.int64) & np.int64((1 << bits) - 1)
    half = np.int64(1 << (bits - 1))
    return (residue ^ half) - half


def packed_size(length: int, bits: int) -> int:
    """Bytes that `length` values of `bits` bits occupy."""
    return (length * bits + 7) // 8


def pack(values: RingArray, bits: int) -> bytes:
    """Write values modulo 2^bits as one little-endian bit string, zero-padded to a byte.

    Eight values of b bits fill b bytes exactly, so the work is one pass for each of the eight lanes
    and each byte that a lane touches, over all groups at once.

    Example:
        >>> pack(np.array([1, 2, 3], dtype=np.uint32), 4).hex()
        '2103'
    """
    groups = -(-values.size // 8)
    lanes = np.zeros((groups, 8), dtype=values.dtype)
    lanes.reshape(-1)[: values.size] = values & values.dtype.type((1 << bits) - 1)
    out = np.zeros((groups, bits), dtype=np.uint8)
    for lane in range(8):
        start = lane * bits
        column = lanes[:, lane]
        for byte in range(start // 8, (start + bits - 1) // 8 + 1):
            shift = 8 * byte - start
            piece = column >> shift if shift >= 0 else column << -shift
            out[:, byte] |= piece.astype(np.uint8)
    return out.tobytes()[: packed_size(values.size, bits)]


def unpack(data: bytes, length: int, bits: int) -> RingArray:
    """Read back what `pack` wrote.

    Raises:
        WireFormatError: wrong size, or padding bits that are not zero.

    Example:
        >>> unpack(bytes.fromhex("2103"), 3, 4).tolist()
        [1, 2, 3]
    """
    check_packed(data, length, bits)
    groups = -(-length // 8)
    raw = np.zeros(groups * bits, dtype=np.uint8)
    raw[: len(data)] = np.frombuffer(data, dtype=np.uint8)
    table = raw.reshape(groups, bits)
    dtype = ring_dtype(bits)
    lanes = np.zeros((groups, 8), dtype=dtype)
    for lane in range(8):
        start = lane * bits
        for byte in range(start // 8, (start + bits - 1) // 8 + 1):
            shift = 8 * byte - start
            piece = table[:, byte].astype(dtype)
            lanes[:, lane] |= piece << shift if shift >= 0 else piece >> -shift
    lanes &= dtype((1 << bits) - 1)
    return lanes.reshape(-1)[:length]


def check_packed(data: bytes, length: int, bits: int) -> None:
    """Raise WireFormatError unless `data` is a canonical packing, without unpacking it."""
    if len(data) != packed_size(length, bits):
        expected = packed_size(length, bits)
        raise WireFormatError(
            f"{length} values of {bits} bits take {expected} bytes, not {len(data)}"
        )
    used = length * bits % 8
    if used and data[-1] >> used:
        raise WireFormatError("padding bits after the last value are not zero")
