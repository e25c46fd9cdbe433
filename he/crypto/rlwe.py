"""Ring-LWE: encryption of polynomials with the secret or a public key, and the phase of a sum.

A symmetric ciphertext of p is (p + e − a·s, a). a is public and expanded from a seed; e is drawn anew, from
SEAL's distribution; SEAL multiplies by the key. With SEAL's keys and scaling the result is a SEAL ciphertext,
which SEAL's own decryptor opens.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import numpy as np

from he.coding.residues import bands, centre, reduce
from he.crypto.streams import UniformSums, sample_errors, uniform
from he.params.capacity import MODULUS
from he.scheme import Multiplier, Products, PublicEncryptor, the_ring
from he.secrecy import Secret

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

__all__ = ["Decryptor", "Encryptor", "Phases", "PublicKeyEncryptor", "SymmetricEncryptor"]

_TWO_Q = 2 * MODULUS


class Encryptor(Protocol):
    """What a client needs for encryption: new ciphertexts of polynomials."""

    def encrypt(
        self, polynomials: NDArray[np.int64], nonce: bytes, first: int
    ) -> NDArray[np.uint64]:
        """Encrypt int64[c, N] to the parts that are sent, uint64[parts, c, N] below q."""
        ...


class SymmetricEncryptor(Secret):
    """Encrypts with the secret key; c1 is expanded from the upload's nonce and is not sent.

    Args:
        secret_key: uint64[N], given by its values at the roots of x^N + 1.
    """

    __slots__ = ("_key",)

    def __init__(self, secret_key: NDArray[np.uint64]) -> None:
        self._key = Multiplier(the_ring(), secret_key)

    def encrypt(
        self, polynomials: NDArray[np.int64], nonce: bytes, first: int
    ) -> NDArray[np.uint64]:
        """Encrypt with new errors; use a nonce once, for one run of numbers.

        Args:
            polynomials: int64[c, N], magnitudes below q/2.
            nonce: the upload's 32 random bytes.
            first: number of the first ciphertext in the upload.

        Returns:
            c0, uint64[1, c, N] below q.
        """
        count = len(polynomials)
        # At the roots of x^N + 1, a is as uniform as in its coefficients, and needs no transform.
        products = self._key.multiply(uniform(nonce, first, count), values=True)
        for band in bands(count):  # p + e − a·s + 2q, in the memory of the products
            noisy = polynomials[band] + sample_errors(len(products[band]))
            noisy += _TWO_Q
            np.subtract(noisy.view(np.uint64), products[band], out=products[band])
        return reduce(products, below=3)[None]


class PublicKeyEncryptor(Secret):
    """Encrypts with a public key, by SEAL's encryptor; both parts are sent.

    Args:
        public_key: uint64[2N].
    """

    __slots__ = ("_zeros",)

    def __init__(self, public_key: NDArray[np.uint64]) -> None:
        self._zeros = PublicEncryptor(the_ring(), public_key)

    def encrypt(
        self, polynomials: NDArray[np.int64], nonce: bytes, first: int
    ) -> NDArray[np.uint64]:
        """Encrypt with SEAL's randomness; the nonce is only part of the upload's name.

        Returns:
            (c0, c1), uint64[2, c, N] below q.
        """
        del nonce, first
        parts = self._zeros.zeros(len(polynomials))
        parts[0] += (polynomials + MODULUS).view(np.uint64)  # q keeps the words positive
        reduce(parts[0], below=3)
        return parts


class Decryptor(Secret):
    """Computes the phase of sums. Only the key holder has one, and it verifies the tags first.

    Args:
        secret_key: uint64[N], given by its values at the roots of x^N + 1.
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
            nonces: nonces of the uploads in the sum.
            first: number of the first ciphertext.

        Returns:
            int64[c, N], magnitudes below q/2.
        """
        with self.phases(nonces, first) as phases:
            return phases.next(parts)

    @contextmanager
    def phases(self, nonces: list[bytes], first: int = 0) -> Generator[Phases]:
        """Compute the phases of a sum's runs of ciphertexts one after the other; see `phase`."""
        with self._key.products() as products:
            yield Phases(products, UniformSums(nonces, first))


class Phases(Secret):
    """The phases of one sum, in order.

    Args:
        products: multiplies by the secret key.
        uniform: the sum's c1, if it is not sent.
    """

    __slots__ = ("_products", "_uniform")

    def __init__(self, products: Products, uniform: UniformSums) -> None:
        self._products = products
        self._uniform = uniform

    def next(self, parts: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The phase of the next ciphertexts of the sum, int64[c, N]; see `Decryptor.phase`."""
        seeded, count = len(parts) == 1, parts.shape[1]
        second = self._uniform.take(count) if seeded else parts[1]
        # A c1 from the nonces is given at the roots of x^N + 1, and a c1 that was sent by its coefficients.
        phase = self._products.multiply(second, values=seeded)
        for band in bands(count):
            phase[band] += parts[0][band]
            centre(phase[band])
        return phase.view(np.int64)
