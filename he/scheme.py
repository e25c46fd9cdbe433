"""All use of SEAL, and of tenseal: keys, public-key encryption, and products by the secret key."""

from __future__ import annotations

import os
import struct
import tempfile
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from tenseal import sealapi

from he.coding.seal_files import SealFiles, file_version, stored_content
from he.errors import RemoteProtocolError, UnsafeParametersError, WireFormatError
from he.params.capacity import DEGREE, MODULUS
from he.secrecy import Secret

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from numpy.typing import NDArray

__all__ = ["Multiplier", "Products", "PublicEncryptor", "Ring", "the_ring"]

_SEAL_ERRORS = (ValueError, RuntimeError)
# BFV keeps ciphertexts as coefficients. Its plain modulus is never used, since messages are added outside.
_ANY_PLAIN_MODULUS = 65537


class _Saved(Protocol):
    def save(self, path: str, /) -> None: ...


class _Loadable(Protocol):
    def load(self, context: sealapi.SEALContext, path: str, /) -> None: ...


_T = TypeVar("_T", bound=_Loadable)


class Ring:
    """SEAL's context of Z_q[x]/(x^N + 1), without any key; all roles can share it.

    Raises:
        UnsafeParametersError: SEAL refuses the parameters at 128-bit security, or this SEAL writes its files
            in an unknown format.
    """

    def __init__(self) -> None:
        try:
            parameters = sealapi.EncryptionParameters(sealapi.SCHEME_TYPE.BFV)
            parameters.set_poly_modulus_degree(DEGREE)
            parameters.set_coeff_modulus([sealapi.Modulus(MODULUS)])
            parameters.set_plain_modulus(_ANY_PLAIN_MODULUS)
            self.context = sealapi.SEALContext(parameters, True, sealapi.SEC_LEVEL_TYPE.TC128)
        except _SEAL_ERRORS as error:
            raise UnsafeParametersError(f"SEAL refuses the parameters: {error}") from error
        if not self.context.parameters_set():
            reason = self.context.parameters_error_message()
            raise UnsafeParametersError(f"SEAL refuses the parameters: {reason}")
        self._identifier = struct.pack("<4Q", *self.context.first_parms_id())
        with _scratch_file() as scratch:
            # Files carry the version of the SEAL that reads them, which a saved empty ciphertext shows.
            self._files = SealFiles(file_version(scratch.save(sealapi.Ciphertext())))

    def generate_key(self) -> NDArray[np.uint64]:
        """A new secret key, uint64[N], in SEAL's form (values at the roots of x^N + 1)."""
        generator = sealapi.KeyGenerator(self.context)
        secret_key = generator.secret_key()
        values = secret_key.data()  # a view, so generator and key must outlive it
        return np.array([values[i] for i in range(DEGREE)], np.uint64)

    def public_key(self, secret_key: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """A public key for `secret_key`, uint64[2N]."""
        public_key = sealapi.PublicKey()
        loaded = self._load(sealapi.SecretKey(), self._plain_head(), secret_key)
        sealapi.KeyGenerator(self.context, loaded).create_public_key(public_key)
        with _scratch_file() as scratch:
            return _read_polynomials(public_key.data(), scratch, 2).ravel()

    def load_public_key(self, public_key: NDArray[np.uint64]) -> sealapi.PublicKey:
        """Load a public key, uint64[2N], into SEAL."""
        return self._load(sealapi.PublicKey(), self._cipher_head(2, values=True), public_key)

    def load_plain(self, values: NDArray[np.uint64]) -> sealapi.Plaintext:
        """Load a polynomial, given by its values at the roots of x^N + 1, uint64[N]."""
        return self._load(sealapi.Plaintext(), self._plain_head(), values)

    def load_polynomials(
        self, polynomials: NDArray[np.uint64], scratch: _Scratch, *, values: bool
    ) -> sealapi.Ciphertext:
        """Load a ciphertext of 2 … 16 polynomials, uint64[c, N], given by values or coefficients."""
        head = self._cipher_head(len(polynomials), values=values)
        return self._load(sealapi.Ciphertext(), head, polynomials, scratch)

    def _cipher_head(self, size: int, *, values: bool) -> bytes:
        # SEAL's fields: values or coefficients, polynomials, N, primes, scale, correction factor.
        return self._identifier + struct.pack("<?3QdQ", values, size, DEGREE, 1, 1.0, 1)

    def _plain_head(self) -> bytes:
        return self._identifier + struct.pack("<Qd", DEGREE, 1.0)

    def _load(
        self, value: _T, head: bytes, words: NDArray[np.uint64], scratch: _Scratch | None = None
    ) -> _T:
        if scratch is None:
            with _scratch_file() as own:
                return self._load(value, head, words, own)
        try:
            scratch.load(value, self.context, self._files.file(head, *self._files.array(words)))
        except _SEAL_ERRORS as error:
            raise WireFormatError(f"SEAL refuses to load: {error}") from error
        return value


@lru_cache(maxsize=1)
def the_ring() -> Ring:
    """The ring, built once in a process; it holds no key."""
    return Ring()


class Multiplier(Secret):
    """Products of polynomials by the secret key: all that symmetric encryption and opening need of SEAL.

    Args:
        ring: the ring.
        secret_key: uint64[N], given by its values at the roots of x^N + 1.
    """

    __slots__ = ("_key", "_ring")

    def __init__(self, ring: Ring, secret_key: NDArray[np.uint64]) -> None:
        self._ring = ring
        self._key = ring.load_plain(secret_key)

    def multiply(self, polynomials: NDArray[np.uint64], *, values: bool) -> NDArray[np.uint64]:
        """One product of `products`."""
        with self.products() as products:
            return products.multiply(polynomials, values=values)

    @contextmanager
    def products(self) -> Generator[Products]:
        """Multiply several times through the same files, which are deleted afterwards."""
        with _scratch_file() as inward, _scratch_file() as outward:
            yield Products(self._ring, self._key, inward, outward)


class Products(Secret):
    """Products by the secret key, through files that stay open: see `Multiplier.products`."""

    __slots__ = ("_evaluator", "_inward", "_key", "_outward", "_ring")

    def __init__(
        self, ring: Ring, key: sealapi.Plaintext, inward: _Scratch, outward: _Scratch
    ) -> None:
        self._ring = ring
        self._key = key
        self._inward = inward
        self._outward = outward
        self._evaluator = sealapi.Evaluator(ring.context)

    def multiply(self, polynomials: NDArray[np.uint64], *, values: bool) -> NDArray[np.uint64]:
        """Multiply up to 16 polynomials by the key.

        Args:
            polynomials: uint64[c, N], each word below q.
            values: whether they are given by their values at the roots of x^N + 1, or by coefficients.

        Returns:
            uint64[c, N] coefficients.

        Raises:
            RemoteProtocolError: SEAL refuses the polynomials, for example if all are zero.
        """
        count = len(polynomials)
        if count == 1:
            # SEAL has no ciphertext of one polynomial, and would compress two that are equal.
            polynomials = np.concatenate((polynomials, polynomials[:, ::-1]))
        loaded = self._ring.load_polynomials(polynomials, self._inward, values=values)
        try:
            if not values:
                self._evaluator.transform_to_ntt_inplace(loaded)
            self._evaluator.multiply_plain_inplace(loaded, self._key)
            self._evaluator.transform_from_ntt_inplace(loaded)
        except _SEAL_ERRORS as error:
            raise RemoteProtocolError(f"SEAL refuses the polynomials: {error}") from error
        return _read_polynomials(loaded, self._outward, len(polynomials))[:count]


class PublicEncryptor(Secret):
    """Encryptions of zero under a public key, by SEAL's encryptor.

    Args:
        ring: the ring.
        public_key: uint64[2N].
    """

    __slots__ = ("_seal",)

    def __init__(self, ring: Ring, public_key: NDArray[np.uint64]) -> None:
        self._seal = sealapi.Encryptor(ring.context, ring.load_public_key(public_key))

    def zeros(self, count: int) -> NDArray[np.uint64]:
        """`count` new ciphertexts (c0, c1) of zero, uint64[2, count, N] coefficients."""
        result = np.empty((2, count, DEGREE), np.uint64)
        with _scratch_file() as scratch:
            for index in range(count):
                ciphertext = sealapi.Ciphertext()
                self._seal.encrypt_zero(ciphertext)
                result[:, index] = _read_polynomials(ciphertext, scratch, 2)
        return result


def _read_polynomials(
    ciphertext: sealapi.Ciphertext, scratch: _Scratch, count: int
) -> NDArray[np.uint64]:
    """The words of a ciphertext, uint64[count, N], the caller's own."""
    content = stored_content(scratch.save(ciphertext))
    if content is None:  # compressed after all: slower, but equally correct
        return _words(ciphertext).reshape(count, DEGREE)
    words = np.frombuffer(content, "<u8", offset=len(content) - 8 * DEGREE * count)
    return words.astype(np.uint64, copy=False).reshape(count, DEGREE)


def _words(ciphertext: sealapi.Ciphertext) -> NDArray[np.uint64]:
    array = ciphertext.dyn_array()
    return np.array([array.at(i) for i in range(array.size())], np.uint64)


class _Scratch:
    """An open file that SEAL saves to and loads from by its path."""

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self._path = path

    def save(self, value: _Saved) -> bytes:
        value.save(self._path)  # this truncates the file
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return os.read(self._descriptor, os.fstat(self._descriptor).st_size)

    def load(
        self, value: _Loadable, context: sealapi.SEALContext, content: Iterable[bytes | memoryview]
    ) -> None:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        for piece in content:
            os.write(self._descriptor, piece)
        value.load(context, self._path)


@contextmanager
def _scratch_file() -> Generator[_Scratch]:
    """A file for SEAL, which saves and loads by path: anonymous in memory, or temporary and private.

    Each use gets a new file, so that threads never share one and no key outlives the call.
    """
    # In memory no key reaches a disk, and programs that this process starts do not inherit the file.
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("he", os.MFD_CLOEXEC)
        try:
            yield _Scratch(descriptor, f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory(prefix="he-") as folder:
        path = Path(folder) / "object"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        try:
            yield _Scratch(descriptor, str(path))
        finally:
            os.close(descriptor)
