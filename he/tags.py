"""Linear tags: what lets the key holder tell an honest sum from one that the server made up.

A client tags each ciphertext with ⟨r, c⟩ + F_k(context, client, nonce, number) mod q, where c is what
travels of it: c0 as the receiver restores it, or (c0, c1) in public-key mode; r ∈ Z_q^len(c) and k come from
the secret key. Tags add as ciphertexts do. The key holder recomputes ⟨r, Σc⟩ + Σ F_k over the claimed
contributors. This is a Carter–Wegman authenticator over the field Z_q: F_k is used once for each ciphertext
(an upload draws a fresh nonce), so tags say nothing about r, and a sum other than that of the claimed uploads
passes with probability 1/q < 2^-59 an attempt. Where c1 does not travel it is a function of the nonces, which
F_k covers: nobody can make the key holder open with another Σ c1.

Without it one dishonest opening gives the key away: ⌊q/t⌋ added to one coefficient of c1 makes BFV's
plaintext the key itself, and under CKKS magnified noise leaks it by linear algebra (Li and Micciancio,
Eurocrypt 2021).
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from he.capacity import DEGREE, MODULUS
from he.secrecy import Secret

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TagKey", "UploadName"]

_SPARE = 64  # a 60-bit word is not below q with probability 2^-46
_NAME = struct.Struct("<32sQ32sQI")
_MASK_BYTES = 32
_LIMB = np.uint64((1 << 20) - 1)


@dataclass(frozen=True, slots=True)
class UploadName:
    """What makes an upload unique: the inputs of F_k, beside the ciphertext's number.

    Args:
        context: 32 bytes, the hash of the round's context.
        client_id: 0 … 2^63 − 1.
        nonce: 32 random bytes, drawn anew for each upload, a repeated one included; c1 is expanded from it.
        vector_length: d.
    """

    context: bytes
    client_id: int
    nonce: bytes
    vector_length: int


class TagKey(Secret):
    """The secret r and k.

    Args:
        secret: 32 bytes derived from the secret key.
        parts: polynomials of a ciphertext that travel, 1 or 2.
    """

    __slots__ = ("_key", "_limbs")

    def __init__(self, secret: bytes, parts: int) -> None:
        self._key = hashlib.blake2b(b"he tag mask", key=secret, digest_size=32).digest()
        length = parts * DEGREE
        stream = hashlib.shake_256(b"he tag vector" + secret).digest(8 * (length + _SPARE))
        words = np.frombuffer(stream, "<u8") & np.uint64((1 << 60) - 1)
        vector = words[words < np.uint64(MODULUS)][:length].reshape(parts, DEGREE)
        low = np.uint64((1 << 30) - 1)
        self._limbs = (vector & low, vector >> np.uint64(30))

    def inner(self, parts: NDArray[np.uint64]) -> list[int]:
        """⟨r, c⟩ mod q of each ciphertext of uint64[parts, c, N], each word below q.

        Limbs of 20 bits by limbs of 30 bits: a dot product of 2^12 terms stays below 2^62.
        """
        totals = [0] * parts.shape[1]
        for number, part in enumerate(parts):
            for shift in (0, 20, 40):
                limb = (part >> np.uint64(shift)) & _LIMB
                for place, vectors in zip((0, 30), self._limbs, strict=True):
                    for index, value in enumerate(np.dot(limb, vectors[number]).tolist()):
                        totals[index] += value << (shift + place)
        return [total % MODULUS for total in totals]

    def masks(self, name: UploadName, first: int, count: int) -> list[int]:
        """F_k of a run of ciphertexts of one upload: pseudo-random modulo q (bias below 2^-190).

        SHAKE-256 with the key in front; the run's first number is part of the input, and runs never
        overlap, as chunks begin at multiples of `BLOCK`.
        """
        data = _NAME.pack(name.context, name.client_id, name.nonce, name.vector_length, first)
        stream = hashlib.shake_256(self._key + data).digest(_MASK_BYTES * count)
        pieces = (stream[i : i + _MASK_BYTES] for i in range(0, len(stream), _MASK_BYTES))
        return [int.from_bytes(piece, "little") % MODULUS for piece in pieces]

    def expected(
        self, parts: NDArray[np.uint64], names: tuple[UploadName, ...], first: int
    ) -> list[int]:
        """The tags that a sum of these uploads must carry.

        Args:
            parts: uint64[parts, c, N], each word below q.
            names: the uploads in it.
            first: number of the first ciphertext.
        """
        totals = self.inner(parts)
        for name in names:
            masks = self.masks(name, first, len(totals))
            totals = [total + mask for total, mask in zip(totals, masks, strict=True)]
        return [total % MODULUS for total in totals]
