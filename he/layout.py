"""Byte layouts of ciphertexts: 60-bit coefficients on the wire, and the files that SEAL reads and writes.

SEAL compresses its files with zstd and heads them with fields that a receiver would have to trust.
Nothing of that travels. A body on the wire is coefficients alone, in one canonical form and checked to
be below q; the header that SEAL's loader wants is written here by the receiver itself.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from he.errors import UnsafeParametersError, WireFormatError
from he.params import DEGREE, MODULUS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "FULL_BYTES",
    "SEEDED_BYTES",
    "SealFiles",
    "file_version",
    "pack_coefficients",
    "read_body",
    "read_seeded",
    "stored_content",
    "unpack_coefficients",
]

SEED_BYTES = 64
_PACKED_BYTES = DEGREE // 2 * 15  # two 60-bit coefficients in 15 bytes

SEEDED_BYTES = _PACKED_BYTES + SEED_BYTES
"""A body of c0 and the seed that c1 is expanded from."""

FULL_BYTES = 2 * _PACKED_BYTES
"""A body of c0 and c1."""

_LOW_BITS = np.uint64((1 << 60) - 1)
_SIXTY, _FOUR = np.uint64(60), np.uint64(4)

# SEAL 4's file header: magic, its own size, version, compression, reserved, size with the header.
_HEADER = struct.Struct("<HB2sBHQ")
_MAGIC = 0xA15E
_STORED, _ZSTD = 0, 2
_BLAKE2XB = b"\x01"
_ZSTD_MAGIC = 0xFD2FB528
_ZSTD_SIZE_BYTES = (0, 2, 4, 8)


def pack_coefficients(coefficients: NDArray[np.uint64]) -> bytes:
    """Write an even number of 60-bit coefficients, two to 15 bytes, little-endian.

    Example:
        >>> pack_coefficients(np.array([1, 2], np.uint64)).hex()
        '010000000000002000000000000000'
    """
    first, second = coefficients[0::2], coefficients[1::2]
    words = np.empty((first.size, 2), "<u8")
    words[:, 0] = first | (second << _SIXTY)
    words[:, 1] = second >> _FOUR
    return words.view(np.uint8)[:, :15].tobytes()


def unpack_coefficients(data: bytes) -> NDArray[np.uint64]:
    """Read what `pack_coefficients` wrote.

    Args:
        data: a multiple of 15 bytes.

    Returns:
        uint64[2·len(data)/15].

    Raises:
        WireFormatError: a coefficient is q or more.
    """
    octets = np.zeros((len(data) // 15, 16), np.uint8)
    octets[:, :15] = np.frombuffer(data, np.uint8).reshape(-1, 15)
    words = octets.view("<u8")
    coefficients = np.empty(2 * words.shape[0], np.uint64)
    coefficients[0::2] = words[:, 0] & _LOW_BITS
    coefficients[1::2] = (words[:, 0] >> _SIXTY) | (words[:, 1] << _FOUR)
    if bool((coefficients >= np.uint64(MODULUS)).any()):
        raise WireFormatError("a coefficient of the ciphertext is not below q")
    return coefficients


def read_body(body: bytes) -> tuple[NDArray[np.uint64], bytes]:
    """Coefficients and seed of a ciphertext's body.

    Returns:
        (c0 as uint64[N], 64 bytes of seed), or ((c0, c1) as uint64[2N], no bytes).

    Raises:
        WireFormatError: neither form, or a coefficient is q or more.
    """
    if len(body) == SEEDED_BYTES:
        return unpack_coefficients(body[:_PACKED_BYTES]), body[_PACKED_BYTES:]
    if len(body) == FULL_BYTES:
        return unpack_coefficients(body), b""
    raise WireFormatError(f"a ciphertext of {len(body)} bytes has neither of the two lengths")


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

    def file(self, content: bytes) -> bytes:
        """A file with stored content."""
        size = _HEADER.size + len(content)
        return _HEADER.pack(_MAGIC, _HEADER.size, self.version, _STORED, 0, size) + content

    def array(self, words: NDArray[np.uint64]) -> bytes:
        """A file of an array of words."""
        return self.file(struct.pack("<Q", words.size) + words.astype("<u8", copy=False).tobytes())

    def seed(self, seed: bytes) -> bytes:
        """A file of the generator that expands c1."""
        return self.file(_BLAKE2XB + seed)


def file_version(saved: bytes) -> bytes:
    """The version of SEAL that saved a file."""
    return saved[3:5]


def read_seeded(content: bytes) -> tuple[NDArray[np.uint64], bytes]:
    """c0 and the seed at the end of what SEAL saves for a seeded ciphertext."""
    end = len(content) - _HEADER.size - len(_BLAKE2XB) - SEED_BYTES
    first = np.frombuffer(content[end - 8 * DEGREE : end], "<u8").astype(np.uint64)
    return first, content[-SEED_BYTES:]


def stored_content(saved: bytes) -> bytes | None:
    """The content of a file that SEAL saved; None if zstd did squeeze it.

    60-bit coefficients hold 7.89 bits of entropy a byte; zstd keeps a block as it is unless it saves
    1/64, which that is not. So the content is there verbatim, split in zstd's stored blocks.
    """
    _, _, _, mode, _, size = _HEADER.unpack_from(saved)
    if size != len(saved):
        raise WireFormatError("SEAL saved a file of another size than it says")
    if mode == _STORED:
        return saved[_HEADER.size :]
    return _stored_blocks(saved[_HEADER.size :]) if mode == _ZSTD else None


def _stored_blocks(frame: bytes) -> bytes | None:
    """Join a zstd frame's stored blocks (RFC 8878, section 3.1.1); None at the first compressed one."""
    magic, descriptor = struct.unpack_from("<IB", frame)
    if magic != _ZSTD_MAGIC:
        return None
    single = descriptor >> 5 & 1
    size_bytes = _ZSTD_SIZE_BYTES[descriptor >> 6] or single
    position = 5 + (1 - single) + size_bytes
    parts: list[bytes] = []
    last = False
    while not last:
        block = int.from_bytes(frame[position : position + 3], "little")
        last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
        if kind or position + 3 + size > len(frame):
            return None
        parts.append(frame[position + 3 : position + 3 + size])
        position += 3 + size
    return b"".join(parts)
