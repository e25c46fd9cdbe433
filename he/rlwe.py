"""Ring-LWE: encrypt polynomials symmetrically or under a public key, and take the phase of a sum.

A symmetric ciphertext of p is (p + e − a·s, a). a is public and expanded from a seed; e is drawn anew and as
SEAL draws it; SEAL multiplies by the key. With SEAL's keys and scaling the result is a SEAL ciphertext: its
own decryptor opens it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from he.capacity import DEGREE, MODULUS
from he.scheme import Multiplier, PublicEncryptor, the_ring
from he.secrecy import Secret
from he.streams import sample_errors, sum_uniform, uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Decryptor", "Encryptor", "PublicKeyEncryptor", "SymmetricEncryptor", "reduce"]

_Q = np.uint64(MODULUS)
_TWO_Q = np.uint64(2 * MODULUS)


class Encryptor(Protocol):
    """What a client needs: fresh ciphertexts of polynomials."""

    def encrypt(
        self, polynomials: NDArray[np.int64], nonce: bytes, first: int
    ) -> NDArray[np.uint64]:
        """Encrypt int64[c, N] to the parts that travel, uint64[parts, c, N] below q."""
        ...


def reduce(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Words below 3q, modulo q, in place: what is below q wraps when q is taken off, and is kept.

    Example:
        >>> reduce(np.array([MODULUS + 5, 2 * MODULUS, 7], np.uint64)).tolist()
        [5, 0, 7]
    """
    for _ in range(2):
        np.minimum(words, words - _Q, out=words)
    return words


class SymmetricEncryptor(Secret):
    """Encrypts under the secret key; c1 is expanded from the upload's nonce and does not travel.

    Args:
        secret_key: uint64[N], by its values at the roots of x^N + 1.
    """

    __slots__ = ("_key",)

    def __init__(self, secret_key: NDArray[np.uint64]) -> None:
        self._key = Multiplier(the_ring(), secret_key)

    def encrypt(
        self, polynomials: NDArray[np.int64], nonce: bytes, first: int
    ) -> NDArray[np.uint64]:
        """Encrypt with fresh errors; a nonce serves once, and for one run of numbers.

        Args:
            polynomials: int64[c, N], magnitudes below q/2.
            nonce: the upload's 32 random bytes.
            first: the first ciphertext's number in the upload.

        Returns:
            c0, uint64[1, c, N] below q.
        """
        count = len(polynomials)
        products = self._key.multiply(uniform(nonce, first, count), values=True)
        noisy = polynomials + sample_errors(count)
        return reduce(noisy.view(np.uint64) - products + _TWO_Q)[None]


class PublicKeyEncryptor(Secret):
    """Encrypts under a public key, with SEAL's encryptor; both parts travel.

    Args:
        public_key: uint64[2N].
    """

    __slots__ = ("_zeros",)

    def __init__(self, public_key: NDArray[np.uint64]) -> None:
        self._zeros = PublicEncryptor(the_ring(), public_key)

    def encrypt(
        self, polynomials: NDArray[np.int64], nonce: bytes, first: int
    ) -> NDArray[np.uint64]:
        """Encrypt with SEAL's randomness; the nonce only names the upload.

        Returns:
            (c0, c1), uint64[2, c, N] below q.
        """
        del nonce, first
        parts = self._zeros.zeros(len(polynomials))
        parts[0] = reduce(parts[0] + polynomials.view(np.uint64) + _Q)
        return parts


class Decryptor(Secret):
    """Takes the phase of sums. Only the key holder has one, and it verifies the tags first.

    Args:
        secret_key: uint64[N], by its values at the roots of x^N + 1.
    """

    __slots__ = ("_key",)

    def __init__(self, secret_key: NDArray[np.uint64]) -> None:
        self._key = Multiplier(the_ring(), secret_key)

    def phase(
        self, parts: NDArray[np.uint64], nonces: list[bytes], first: int
    ) -> NDArray[np.int64]:
        """c0 + c1·s, centred modulo q.

        Args:
            parts: the sum, uint64[1, c, N] with c1 to be expanded from the nonces, or uint64[2, c, N].
            nonces: of the uploads in the sum.
            first: number of the first ciphertext.

        Returns:
            int64[c, N], magnitudes below q/2.
        """
        seeded = len(parts) == 1
        count = parts.shape[1]
        second = sum_uniform(nonces, first, count) if seeded else parts[1]
        phase = reduce(parts[0] + self._key.multiply(second, values=seeded))
        signed = phase.view(np.int64).reshape(count, DEGREE)
        signed -= MODULUS * (signed > MODULUS // 2)
        return signed
