"""Linear tags: what lets the key holder tell an honest sum from one that the server made up.

A client tags the coefficients c = (c0, c1) of each ciphertext with ⟨r, c⟩ + F_k(context, client, nonce,
chunk) mod q, where r ∈ Z_q^2N and k come from the secret key. Tags add as ciphertexts do. The key holder
recomputes ⟨r, Σc⟩ + Σ F_k over the claimed contributors. This is a Carter–Wegman authenticator over the
field Z_q: F_k is used once for each ciphertext (an upload draws a fresh nonce), so tags say nothing about
r, and a sum other than that of the claimed uploads passes with probability 1/q < 2^-59 an attempt.

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

from he.params import DEGREE, MODULUS
from he.secrecy import Secret

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TagKey", "UploadName"]

_LENGTH = 2 * DEGREE
_SPARE = 64  # a 60-bit word is not below q with probability 2^-46
_NAME = struct.Struct("<32sQ16sQI")


@dataclass(frozen=True, slots=True)
class UploadName:
    """What makes an upload unique: the inputs of F_k, beside the chunk's index.

    Args:
        context: 32 bytes, the hash of the round's context.
        client_id: 0 … 2^63 − 1.
        nonce: 16 random bytes, drawn anew for each upload, a repeated one included.
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
    """

    __slots__ = ("_key", "_limbs")

    def __init__(self, secret: bytes) -> None:
        self._key = hashlib.blake2b(b"he tag mask", key=secret, digest_size=32).digest()
        stream = hashlib.shake_256(b"he tag vector" + secret).digest(8 * (_LENGTH + _SPARE))
        words = np.frombuffer(stream, "<u8") & np.uint64((1 << 60) - 1)
        vector = words[words < np.uint64(MODULUS)][:_LENGTH]
        low = np.uint64((1 << 30) - 1)
        self._limbs = (vector & low, vector >> np.uint64(30))

    def inner(self, coefficients: NDArray[np.uint64]) -> int:
        """⟨r, c⟩ mod q for c = uint64[2N], each below q.

        Limbs of 20 bits by limbs of 30 bits: a dot product of 2^13 terms stays below 2^63.
        """
        mask = np.uint64((1 << 20) - 1)
        total = 0
        for shift in (0, 20, 40):
            limb = (coefficients >> np.uint64(shift)) & mask
            for place, part in zip((0, 30), self._limbs, strict=True):
                total += int(np.dot(limb, part)) << (shift + place)
        return total % MODULUS

    def mask(self, name: UploadName, index: int) -> int:
        """F_k of one chunk of one upload: pseudo-random modulo q (bias below 2^-190)."""
        data = _NAME.pack(name.context, name.client_id, name.nonce, name.vector_length, index)
        digest = hashlib.blake2b(data, key=self._key, digest_size=32).digest()
        return int.from_bytes(digest, "little") % MODULUS

    def tag(self, coefficients: NDArray[np.uint64], name: UploadName, index: int) -> int:
        """The tag of one ciphertext."""
        return (self.inner(coefficients) + self.mask(name, index)) % MODULUS
