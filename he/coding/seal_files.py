"""SEAL's files, written and read here.

SEAL compresses its files with zstd, and their headers have fields that a receiver would have to trust. None
of that is sent. A body in a message consists of words only, in one canonical form; the loading party itself
writes the header that SEAL's loader needs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from he.errors import UnsafeParametersError, WireFormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SealFiles", "file_version", "stored_content"]

# SEAL 4's file header: magic, its own size, version, compression, reserved, size with the header.
_HEADER = struct.Struct("<HB2sBHQ")
_MAGIC = 0xA15E
_OLDEST_MINOR = 3
_STORED, _ZSTD = 0, 2
_ZSTD_MAGIC = 0xFD2FB528
_ZSTD_SIZE_BYTES = (0, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class SealFiles:
    """Writes SEAL's files, uncompressed, for the version of SEAL that reads them.

    Args:
        version: two bytes, major and minor, which `file_version` finds in a file of that SEAL.
    """

    version: bytes

    def __post_init__(self) -> None:
        if len(self.version) != 2 or self.version[0] != 4 or self.version[1] < _OLDEST_MINOR:
            raise UnsafeParametersError(
                f"this tenseal carries SEAL {'.'.join(map(str, self.version))}, and SEAL 4.3 or a later 4 is "
                "needed: install tenseal 0.3.17 or newer"
            )

    def file(self, *content: bytes | memoryview) -> tuple[bytes | memoryview, ...]:
        """A file with stored content, in pieces to be written one after the other."""
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
    """The content of a file that SEAL saved; None if zstd compressed it.

    60-bit coefficients hold 7.89 bits of entropy a byte, and zstd stores a block unchanged unless compression
    saves 1/64. So the content is there verbatim, split into zstd's stored blocks.
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
    # A single-segment frame has no window byte, but a size of at least one byte (RFC 8878, 3.1.1.1).
    single = descriptor >> 5 & 1
    size_bytes = _ZSTD_SIZE_BYTES[descriptor >> 6] or single
    position = 5 + (1 - single) + size_bytes
    parts: list[memoryview] = []
    last = False
    while not last:
        block = int.from_bytes(frame[position : position + 3], "little")
        last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
        if kind or position + 3 + size > len(frame):  # compressed or repeated: not verbatim
            return None
        parts.append(frame[position + 3 : position + 3 + size])
        position += 3 + size
    return bytearray().join(parts)
