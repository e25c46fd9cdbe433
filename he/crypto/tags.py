"""Linear tags, with which the key holder distinguishes an honest sum from one that the server forged.

A client tags each ciphertext with ⟨r, c⟩ + F_k(context, client, nonce, number) mod q. Here c is the part of
the ciphertext that is sent: c0 as the receiver restores it, or (c0, c1) in public-key mode. r ∈ Z_q^len(c)
and k come from the secret key. Tags add in the same way as ciphertexts. The key holder recomputes ⟨r, Σc⟩ + Σ
F_k over the claimed contributors.

This is a Carter–Wegman authenticator over the field Z_q. F_k is used once for each ciphertext (an upload
draws a new nonce), so tags reveal nothing about r, and a sum other than that of the claimed uploads passes
with probability 1/q < 2^-59 an attempt. Where c1 is not sent it is a function of the nonces, which F_k
covers, so nobody can make the key holder open with another Σ c1.

Without tags, one dishonest opening reveals the key: ⌊q/t⌋ added to one coefficient of c1 turns BFV's
plaintext into the key itself, and under CKKS magnified noise leaks the key by linear algebra (Li and
Micciancio, Eurocrypt 2021).
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from he.coding.residues import BAND, bands
from he.params.capacity import DEGREE, MODULUS
from he.secrecy import Secret

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TagKey", "UploadName"]

_SPARE = 64  # a 60-bit word is not below q with probability 2^-46
_NAME = struct.Struct("<32sQ32sQI")
_MASK_BYTES = 32
_KEY_BITS = 10
_HALF_BITS = np.uint64(30)
_LOW_HALF = np.uint64((1 << 30) - 1)
_EXPONENT = np.uint64(0x433 << 52)  # the double 2^52 + m has the mantissa m


@dataclass(frozen=True, slots=True)
class UploadName:
    """The unique name of an upload: the inputs of F_k, beside the ciphertext's number.

    Args:
        context: 32 bytes, the hash of the round's context.
        client_id: 0 … 2^63 − 1.
        nonce: 32 random bytes, drawn anew for each upload, even a repeated one; c1 is expanded from it.
        vector_length: d, number of integers.
    """

    context: bytes
    client_id: int
    nonce: bytes
    vector_length: int


class TagKey(Secret):
    """The secrets r and k.

    Args:
        secret: 32 bytes derived from the secret key.
        parts: number of polynomials of a ciphertext that are sent, 1 or 2.
    """

    __slots__ = ("_key", "_limbs")

    def __init__(self, secret: bytes, parts: int) -> None:
        # One secret gives k and r through two functions, so that neither says anything about the other.
        self._key = hashlib.blake2b(b"he tag mask", key=secret, digest_size=32).digest()
        length = parts * DEGREE
        stream = hashlib.shake_256(b"he tag vector" + secret).digest(8 * (length + _SPARE))
        words = np.frombuffer(stream, "<u8") & np.uint64((1 << 60) - 1)
        vector = words[words < np.uint64(MODULUS)][:length].reshape(parts, 1, DEGREE)
        shifts = np.arange(0, 60, _KEY_BITS, dtype=np.uint64)[:, None]
        self._limbs = (vector >> shifts & np.uint64((1 << _KEY_BITS) - 1)).astype(np.float64)

    def inner(self, parts: NDArray[np.uint64]) -> list[int]:
        """⟨r, c⟩ mod q of each ciphertext of uint64[parts, c, N], each word below q.

        It multiplies limbs of 30 bits by limbs of 10 bits in double precision: 2^12 terms stay below 2^52, so
        every sum is exact, in any order.
        """
        count = parts.shape[1]
        dots = np.empty((2, count, 60 // _KEY_BITS))
        room = np.empty((min(count, BAND), DEGREE), np.uint64)
        totals = [0] * count
        for part, limbs in zip(parts, self._limbs, strict=True):
            for band in bands(count):
                words, limb = part[band], room[: len(part[band])]
                np.matmul(
                    _as_floats(np.bitwise_and(words, _LOW_HALF, out=limb)), limbs.T, dots[0, band]
                )
                np.matmul(
                    _as_floats(np.right_shift(words, _HALF_BITS, out=limb)), limbs.T, dots[1, band]
                )
            whole = dots.astype(np.int64)
            pairs = whole[..., 0::2] + (whole[..., 1::2] << _KEY_BITS)
            for half, rows in enumerate(pairs.tolist()):
                for index, row in enumerate(rows):
                    for place, value in enumerate(row):
                        totals[index] += value << 30 * half + 2 * _KEY_BITS * place
        return [total % MODULUS for total in totals]

    def masks(self, name: UploadName, first: int, count: int) -> list[int]:
        """F_k of a run of ciphertexts of one upload: pseudo-random modulo q (bias below 2^-190).

        It is SHAKE-256 with the key as prefix. The run's first number is part of the input, and runs never
        overlap, since chunks begin at multiples of `BLOCK`.
        """
        words = self._mask_words(name, first, count)
        return [number % MODULUS for number in _numbers(words.astype(np.uint64))]

    def _mask_words(self, name: UploadName, first: int, count: int) -> NDArray[np.uint32]:
        """The masks' 256 bits before reduction, uint32[count, 8] little-endian."""
        data = _NAME.pack(name.context, name.client_id, name.nonce, name.vector_length, first)
        stream = hashlib.shake_256(self._key + data).digest(_MASK_BYTES * count)
        return np.frombuffer(stream, "<u4").reshape(count, -1)

    def expected(
        self, parts: NDArray[np.uint64], names: tuple[UploadName, ...], first: int
    ) -> list[int]:
        """The tags that a sum of these uploads must carry.

        Args:
            parts: uint64[parts, c, N], each word below q.
            names: names of the uploads in the sum.
            first: number of the first ciphertext.
        """
        inner = self.inner(parts)
        # Words of 32 bits are added up in 64 bits, so that no carry is lost: there are at most 2^20 names.
        masks = np.zeros((len(inner), _MASK_BYTES // 4), np.uint64)
        for name in names:
            masks += self._mask_words(name, first, len(inner))
        return [(a + b) % MODULUS for a, b in zip(inner, _numbers(masks), strict=True)]


def _numbers(words: NDArray[np.uint64]) -> list[int]:
    """Integers from words of 32 bits each, which may have grown beyond 32 bits."""
    return [sum(word << 32 * place for place, word in enumerate(row)) for row in words.tolist()]


def _as_floats(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Words below 2^52 as doubles, in place; processors without AVX-512 have no such conversion."""
    words |= _EXPONENT
    floats = words.view(np.float64)
    floats -= 2.0**52
    return floats
