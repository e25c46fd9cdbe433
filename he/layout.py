"""Byte layouts of ciphertexts: coefficients of 32 to 60 bits on the wire, and SEAL's files.

SEAL compresses its files with zstd and heads them with fields that a receiver would have to trust.
Nothing of that travels. A body on the wire is words alone, in one canonical form; the header that SEAL's
loader wants is written here by whoever loads.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from he.capacity import DEGREE, MODULUS, WORD_BITS
from he.errors import UnsafeParametersError, WireFormatError
from he.residues import reduce

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "SealFiles",
    "body_bytes",
    "drop_low_bits",
    "file_version",
    "pack_words",
    "restore_low_bits",
    "stored_content",
    "unpack_words",
]

# SEAL 4's file header: magic, its own size, version, compression, reserved, size with the header.
_HEADER = struct.Struct("<HB2sBHQ")
_MAGIC = 0xA15E
_STORED, _ZSTD = 0, 2
_ZSTD_MAGIC = 0xFD2FB528
_ZSTD_SIZE_BYTES = (0, 2, 4, 8)

_NIBBLE = 4
_LOW_NIBBLE = 15


def body_bytes(ciphertexts: int, *, parts: int, bits: int) -> int:
    """Bytes of `parts` polynomials for each of some ciphertexts, in words of `bits` bits."""
    return parts * ciphertexts * DEGREE * bits // 8


def pack_words(words: NDArray[np.uint64], bits: int) -> bytes:
    """Write words as planes, little-endian: the low 32 bits of all, then the next 16, 8 and 4 as `bits` says.

    Args:
        words: uint64 of any shape, an even number, each below 2^bits.
        bits: a multiple of 4 in 32 … 60.

    Example:
        >>> pack_words(np.array([1, 2 + 3 * 2**32], np.uint64), 36).hex()
        '010000000200000030'
    """
    stored = np.ascontiguousarray(words.reshape(-1), "<u8")
    planes = [_part(stored, 32, 0).tobytes()]
    for width, shift in _planes(bits):
        if width == _NIBBLE:
            digits = _part(stored, 8, shift)
            pairs = (digits[0::2] & _LOW_NIBBLE) | (digits[1::2] << _NIBBLE)
            planes.append(pairs.tobytes())
        else:
            planes.append(_part(stored, width, shift).tobytes())
    return b"".join(planes)


def unpack_words(data: bytes | memoryview, bits: int) -> NDArray[np.uint64]:
    """Read what `pack_words` wrote.

    Args:
        data: a multiple of bits/4 bytes.
        bits: bits of a word.

    Returns:
        uint64[8·len(data)/bits].

    Raises:
        WireFormatError: a word of 60 bits is q or more.
    """
    size = 8 * len(data) // bits
    stored = np.zeros(size, "<u8")
    _part(stored, 32, 0)[:] = np.frombuffer(data, "<u4", size)
    start = 4 * size
    for width, shift in _planes(bits):
        if width == _NIBBLE:
            pairs = np.frombuffer(data, "<u1", size // 2, start)
            digits = _part(stored, 8, shift)
            digits[0::2], digits[1::2] = pairs & _LOW_NIBBLE, pairs >> _NIBBLE
        else:
            kind = f"<u{width // 8}"
            _part(stored, width, shift)[:] = np.frombuffer(data, kind, size, start)
        start += size * width // 8
    words = stored.astype(np.uint64, copy=False)
    if bits == WORD_BITS and size and int(words.max()) >= MODULUS:
        raise WireFormatError("a coefficient of the ciphertext is not below q")
    return words


def _part(stored: NDArray[np.uint64], width: int, shift: int) -> NDArray[np.unsignedinteger]:
    """A view of `width` bits of each little-endian word, from bit `shift` on."""
    return stored.view(f"<u{width // 8}")[shift // width :: 64 // width]


def _planes(bits: int) -> list[tuple[int, int]]:
    """(width, shift) of the planes above the lowest 32 bits."""
    planes: list[tuple[int, int]] = []
    shift = 32
    for width in (16, 8, _NIBBLE):
        if bits - 32 & width:
            planes.append((width, shift))
            shift += width
    return planes


def drop_low_bits(words: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    """The high `bits` bits of 60-bit words."""
    return words >> np.uint64(WORD_BITS - bits)


def restore_low_bits(words: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    """Words below q from their high bits: off by at most half a unit of what was dropped.

    Example:
        >>> restore_low_bits(drop_low_bits(np.array([1000], np.uint64), 52), 52).tolist()
        [896]
    """
    dropped = WORD_BITS - bits
    if not dropped:
        return words
    restored = words << np.uint64(dropped)
    restored |= np.uint64(1 << dropped - 1)
    return reduce(restored, below=2)


@dataclass(frozen=True, slots=True)
class SealFiles:
    """Writes SEAL's files, uncompressed, for the version of SEAL that is to read them.

    Args:
        version: two bytes, major and minor, as `file_version` finds them in a file of that SEAL.
    """

    version: bytes

    def __post_init__(self) -> None:
        if len(self.version) != 2 or self.version[0] != 4:
            raise UnsafeParametersError("only files of SEAL 4 are known; install tenseal 0.3.16 …")

    def file(self, *content: bytes | memoryview) -> tuple[bytes | memoryview, ...]:
        """A file with stored content, in pieces that are to be written one after the other."""
        size = _HEADER.size + sum(len(piece) for piece in content)
        return _HEADER.pack(_MAGIC, _HEADER.size, self.version, _STORED, 0, size), *content

    def array(self, words: NDArray[np.uint64]) -> tuple[bytes | memoryview, ...]:
        """A file of an array of words, in pieces."""
        octets = np.ascontiguousarray(words.reshape(-1), "<u8").view(np.uint8).data
        return self.file(struct.pack("<Q", words.size), octets)


def file_version(saved: bytes) -> bytes:
    """The version of SEAL that saved a file."""
    return saved[3:5]


def stored_content(saved: bytes) -> bytearray | None:
    """The content of a file that SEAL saved; None if zstd did squeeze it.

    60-bit coefficients hold 7.89 bits of entropy a byte; zstd keeps a block as it is unless it saves
    1/64, which that is not. So the content is there verbatim, split in zstd's stored blocks.
    """
    _, _, _, mode, _, size = _HEADER.unpack_from(saved)
    if size != len(saved):
        raise WireFormatError("SEAL saved a file of another size than it says")
    if mode == _STORED:
        return bytearray(saved[_HEADER.size :])
    return _stored_blocks(memoryview(saved)[_HEADER.size :]) if mode == _ZSTD else None


def _stored_blocks(frame: memoryview) -> bytearray | None:
    """Join a zstd frame's stored blocks (RFC 8878, section 3.1.1); None at the first compressed one."""
    magic, descriptor = struct.unpack_from("<IB", frame)
    if magic != _ZSTD_MAGIC:
        return None
    single = descriptor >> 5 & 1
    size_bytes = _ZSTD_SIZE_BYTES[descriptor >> 6] or single
    position = 5 + (1 - single) + size_bytes
    parts: list[memoryview] = []
    last = False
    while not last:
        block = int.from_bytes(frame[position : position + 3], "little")
        last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
        if kind or position + 3 + size > len(frame):
            return None
        parts.append(frame[position + 3 : position + 3 + size])
        position += 3 + size
    return bytearray().join(parts)
