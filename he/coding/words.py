"""Words in messages: coefficients of 32 to 60 bits, as planes of bytes in one canonical form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from he.coding.residues import reduce
from he.errors import WireFormatError
from he.params.capacity import DEGREE, MODULUS, WORD_BITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["body_bytes", "drop_low_bits", "pack_words", "restore_low_bits", "unpack_words"]

_NIBBLE = 4
_LOW_NIBBLE = 15


def body_bytes(ciphertexts: int, *, parts: int, bits: int) -> int:
    """Number of bytes of `parts` polynomials for each ciphertext, in words of `bits` bits."""
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
    """Decode the bytes of `pack_words`.

    Args:
        data: a multiple of bits/4 bytes.
        bits: number of bits of a word.

    Returns:
        uint64[8·len(data)/bits].

    Raises:
        WireFormatError: a word of 60 bits is not below q.
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
    # Words of 60 bits are coefficients and have one encoding; shorter words are reduced when restored.
    if bits == WORD_BITS and size and int(words.max()) >= MODULUS:
        raise WireFormatError("a coefficient of the ciphertext is not below q")
    return words


def _part(stored: NDArray[np.uint64], width: int, shift: int) -> NDArray[np.unsignedinteger]:
    """A view of `width` bits of each little-endian word, starting at bit `shift`."""
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
    """Words below q from their high bits; the error is at most half a unit of the dropped bits.

    Example:
        >>> restore_low_bits(drop_low_bits(np.array([1000], np.uint64), 52), 52).tolist()
        [896]
    """
    dropped = WORD_BITS - bits
    if not dropped:
        return words
    restored = words << np.uint64(dropped)
    restored |= np.uint64(1 << dropped - 1)  # the middle of the range that the dropped bits span
    return reduce(restored, below=2)
