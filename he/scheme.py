"""SEAL behind one door: encode, encrypt, add and decrypt one ciphertext; the only user of tenseal."""

from __future__ import annotations

import os
import struct
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from tenseal import sealapi

from he.errors import RemoteProtocolError, UnsafeParametersError, WireFormatError
from he.layout import SealFiles, file_version, pack_coefficients, read_seeded, stored_content
from he.params import DEGREE, MODULUS

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from he.params import Params

__all__ = ["Ciphertext", "Decryptor", "Encrypted", "Encryptor", "Ring", "ring_for"]

Ciphertext = sealapi.Ciphertext

_SEAL_ERRORS = (ValueError, RuntimeError)


class _Saved(Protocol):
    def save(self, path: str, /) -> None: ...


class _Loadable(Protocol):
    def load(self, context: sealapi.SEALContext, path: str, /) -> None: ...


_T = TypeVar("_T", bound=_Loadable)


@dataclass(frozen=True, slots=True, eq=False)
class Encrypted:
    """A fresh ciphertext: its body for the wire, and the coefficients that the tag is taken over.

    Args:
        body: packed c0 and the seed of c1, or packed (c0, c1).
        coefficients: (c0, c1) as uint64[2N].
    """

    body: bytes
    coefficients: NDArray[np.uint64]


class _Batched:
    """BFV: N slots modulo t."""

    def __init__(self, context: sealapi.SEALContext, params: Params) -> None:
        self._seal = sealapi.BatchEncoder(context)
        self._modulus = params.plain_modulus

    def encode(self, slots: NDArray[np.int64], plain: sealapi.Plaintext) -> None:
        self._seal.encode(np.where(slots < 0, slots + self._modulus, slots).tolist(), plain)

    def decode(self, plain: sealapi.Plaintext) -> NDArray[np.int64]:
        return np.array(self._seal.decode_int64(plain), np.int64)


class _Complex:
    """CKKS: N/2 complex slots, the first half of the integers real, the second imaginary."""

    def __init__(self, context: sealapi.SEALContext, params: Params) -> None:
        self._seal = sealapi.CKKSEncoder(context)
        self._scale = params.scale
        self._tolerance = params.rounding_error

    def encode(self, slots: NDArray[np.int64], plain: sealapi.Plaintext) -> None:
        values = np.empty(DEGREE // 2, np.complex128)
        values.real, values.imag = slots[: DEGREE // 2], slots[DEGREE // 2 :]
        self._seal.encode(values.tolist(), self._scale, plain)

    def decode(self, plain: sealapi.Plaintext) -> NDArray[np.int64]:
        values = np.array(self._seal.decode_complex(plain), np.complex128)
        slots = np.concatenate((values.real, values.imag))
        rounded = np.rint(slots)
        if not float(np.abs(slots - rounded).max()) <= self._tolerance:
            raise RemoteProtocolError("the opened sum carries more noise than honest clients add")
        return rounded.astype(np.int64)


class Ring:
    """SEAL's context for one parameter set, without any key; every role can share one.

    Raises:
        UnsafeParametersError: SEAL refuses the parameters at 128-bit security, or this SEAL lays out
            its files in another way than the one known here.
    """

    def __init__(self, params: Params) -> None:
        self.params = params
        bfv = params.scheme == "bfv"
        kind = sealapi.SCHEME_TYPE.BFV if bfv else sealapi.SCHEME_TYPE.CKKS
        try:
            parameters = sealapi.EncryptionParameters(kind)
            parameters.set_poly_modulus_degree(DEGREE)
            parameters.set_coeff_modulus([sealapi.Modulus(MODULUS)])
            if bfv:
                parameters.set_plain_modulus(params.plain_modulus)
            self.context = sealapi.SEALContext(parameters, True, sealapi.SEC_LEVEL_TYPE.TC128)
        except _SEAL_ERRORS as error:
            raise UnsafeParametersError(f"SEAL refuses the parameters: {error}") from error
        if not self.context.parameters_set():
            reason = self.context.parameters_error_message()
            raise UnsafeParametersError(f"SEAL refuses the parameters: {reason}")
        self._identifier = struct.pack("<4Q", *self.context.first_parms_id())
        self._files = SealFiles(file_version(_save(Ciphertext())))
        self._evaluator = sealapi.Evaluator(self.context)
        self._encoder = (_Batched if bfv else _Complex)(self.context, params)

    def encode(self, slots: NDArray[np.int64]) -> sealapi.Plaintext:
        """Put int64[N] slots into a plaintext."""
        plain = sealapi.Plaintext()
        self._encoder.encode(slots, plain)
        return plain

    def decode(self, plain: sealapi.Plaintext) -> NDArray[np.int64]:
        """Read int64[N] slots; under CKKS, round them.

        Raises:
            RemoteProtocolError: CKKS noise beyond what honest ciphertexts carry.
        """
        return self._encoder.decode(plain)

    def ciphertext(self, coefficients: NDArray[np.uint64], seed: bytes = b"") -> Ciphertext:
        """Build a ciphertext from (c0, c1), or from c0 and the seed that c1 is expanded from.

        Args:
            coefficients: uint64[2N], or uint64[N] with a seed; each below q.
            seed: no bytes, or 64.

        Raises:
            WireFormatError: SEAL refuses them.
        """
        ntt = self.params.scheme == "ckks"
        head = self._identifier + struct.pack("<?3QdQ", ntt, 2, DEGREE, 1, self.params.scale, 1)
        tail = self._files.seed(seed) if seed else b""
        return self._load(Ciphertext(), head + self._files.array(coefficients) + tail)

    def coefficients(self, ciphertext: Ciphertext) -> NDArray[np.uint64]:
        """(c0, c1) of a ciphertext, uint64[2N]."""
        content = stored_content(_save(ciphertext))
        if content is None:  # squeezed after all: slower, as right
            return _words(ciphertext)
        return np.frombuffer(content[-16 * DEGREE :], "<u8").astype(np.uint64)

    def add(self, left: Ciphertext, right: Ciphertext) -> Ciphertext:
        """The sum of two ciphertexts, as a new one.

        Raises:
            RemoteProtocolError: SEAL refuses, as it does when c1 cancels out.
        """
        total = Ciphertext()
        try:
            self._evaluator.add(left, right, total)
        except _SEAL_ERRORS as error:
            raise RemoteProtocolError(f"SEAL refuses to add the ciphertext: {error}") from error
        return total

    def generate_key(self) -> NDArray[np.uint64]:
        """A fresh secret key, uint64[N], in SEAL's form (values at the roots of x^N + 1)."""
        generator = sealapi.KeyGenerator(self.context)
        secret_key = generator.secret_key()
        values = secret_key.data()  # a view: generator and key must outlive it
        return np.array([values[i] for i in range(DEGREE)], np.uint64)

    def public_key(self, secret_key: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """A public key to `secret_key`, uint64[2N]."""
        public_key = sealapi.PublicKey()
        generator = sealapi.KeyGenerator(self.context, self.load_secret_key(secret_key))
        generator.create_public_key(public_key)
        return _words(public_key.data())

    def load_secret_key(self, secret_key: NDArray[np.uint64]) -> sealapi.SecretKey:
        """Hand a secret key, uint64[N], back to SEAL."""
        head = self._identifier + struct.pack("<Qd", DEGREE, 1.0)
        return self._load(sealapi.SecretKey(), head + self._files.array(secret_key))

    def load_public_key(self, public_key: NDArray[np.uint64]) -> sealapi.PublicKey:
        """Hand a public key, uint64[2N], back to SEAL."""
        head = self._identifier + struct.pack("<?3QdQ", True, 2, DEGREE, 1, 1.0, 1)
        return self._load(sealapi.PublicKey(), head + self._files.array(public_key))

    def _load(self, value: _T, content: bytes) -> _T:
        with _scratch_file() as (descriptor, path):
            os.write(descriptor, self._files.file(content))
            try:
                value.load(self.context, path)
            except _SEAL_ERRORS as error:
                raise WireFormatError(f"SEAL refuses to load: {error}") from error
        return value


@lru_cache(maxsize=16)
def ring_for(params: Params) -> Ring:
    """The ring of these parameters, built once a process: it holds no key."""
    return Ring(params)


class Encryptor:
    """Encrypts slots, under the secret key (seeded, half the size) or under a public key.

    Args:
        ring: the parameters' ring.
        key: uint64[N] for a secret key, uint64[2N] for a public one.
    """

    def __init__(self, ring: Ring, key: NDArray[np.uint64]) -> None:
        self._ring = ring
        self._symmetric = key.size == DEGREE
        loaded = ring.load_secret_key(key) if self._symmetric else ring.load_public_key(key)
        self._seal = sealapi.Encryptor(ring.context, loaded)

    def encrypt(self, slots: NDArray[np.int64]) -> Encrypted:
        """Encrypt int64[N] slots with fresh randomness from the operating system."""
        plain = self._ring.encode(slots)
        if self._symmetric:
            content = stored_content(_save(self._seal.encrypt_symmetric(plain)))
            if content is not None:
                first, seed = read_seeded(content)
                both = self._ring.coefficients(self._ring.ciphertext(first, seed))
                return Encrypted(pack_coefficients(first) + seed, both)
        ciphertext = Ciphertext()
        if self._symmetric:
            self._seal.encrypt_symmetric(plain, ciphertext)
        else:
            self._seal.encrypt(plain, ciphertext)
        both = self._ring.coefficients(ciphertext)
        return Encrypted(pack_coefficients(both), both)


class Decryptor:
    """Opens sums. Only the key holder has one, and it verifies the tag first.

    Args:
        ring: the parameters' ring.
        secret_key: uint64[N].
    """

    def __init__(self, ring: Ring, secret_key: NDArray[np.uint64]) -> None:
        self._ring = ring
        self._seal = sealapi.Decryptor(ring.context, ring.load_secret_key(secret_key))

    def decrypt(self, coefficients: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Open (c0, c1), uint64[2N], to int64[N] slots.

        Raises:
            RemoteProtocolError: more noise than honest ciphertexts carry.
        """
        plain = sealapi.Plaintext()
        self._seal.decrypt(self._ring.ciphertext(coefficients), plain)
        return self._ring.decode(plain)


def _words(ciphertext: Ciphertext) -> NDArray[np.uint64]:
    array = ciphertext.dyn_array()
    return np.array([array.at(i) for i in range(array.size())], np.uint64)


def _save(value: _Saved) -> bytes:
    with _scratch_file() as (descriptor, path):
        value.save(path)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return os.read(descriptor, os.fstat(descriptor).st_size)


@contextmanager
def _scratch_file() -> Generator[tuple[int, str]]:
    """SEAL saves and loads by path: give it an anonymous file in memory, or a private temporary one.

    A new one for each use, so that threads never share it and no key outlives the call.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("he", os.MFD_CLOEXEC)
        try:
            yield descriptor, f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory(prefix="he-") as folder:
        path = Path(folder) / "object"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        try:
            yield descriptor, str(path)
        finally:
            os.close(descriptor)
