"""The keys of each role: the secret context, the encrypting context, and the server's public context."""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from he.crypto.digests import long_digest
from he.crypto.rlwe import Decryptor, PublicKeyEncryptor, SymmetricEncryptor
from he.crypto.tags import TagKey
from he.errors import (
    AuthenticationError,
    ContextMismatchError,
    LocalProtocolError,
    UnsafeParametersError,
    WireFormatError,
)
from he.guards.calls import leaving_nothing
from he.guards.checks import check_array, check_nonce, check_nonces, check_type, integer, octets
from he.params import BLOCK, DEGREE, MODULUS, Params
from he.scheme import the_ring
from he.secrecy import Secret

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from he.crypto.rlwe import Encryptor, Phases

__all__ = ["EncryptContext", "PublicContext", "SecretContext", "read_exported"]

_PUBLIC = struct.Struct("<4s19s32s16s")
_PUBLIC_MAGIC = b"HEV2"
_SECRET_MAGIC = b"HEK2"
_ENCRYPT_MAGIC = b"HEE2"
_LAST = 1 << 32  # largest number of a ciphertext in its upload
_RUN = range(1, BLOCK + 1)  # number of ciphertexts at a time


@dataclass(frozen=True, slots=True)
class PublicContext:
    """Everything that the server needs: parameters, and the key that verifies uploads. It has no secret.

    Args:
        params: the parameters of the sum.
        verify_key: 32 bytes, the Ed25519 public key of the group.

    Attributes:
        fingerprint: 16 bytes over parameters and key, which every message carries.

    Example:
        >>> secret = SecretContext.generate(Params.for_sum(3, max_abs=100))
        >>> data = secret.public().to_bytes()
        >>> len(data), PublicContext.from_bytes(data) == secret.public()
        (71, True)
    """

    params: Params
    verify_key: bytes
    fingerprint: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_type("params", self.params, Params)
        object.__setattr__(self, "verify_key", octets("verify_key", self.verify_key))
        if len(self.verify_key) != 32:
            raise UnsafeParametersError("an Ed25519 public key takes 32 bytes")
        digest = hashlib.sha256(b"he fingerprint" + self.params.to_bytes() + self.verify_key)
        object.__setattr__(self, "fingerprint", digest.digest()[:16])

    def verify(self, message: bytes, signature: bytes) -> None:
        """Check that a member of the group signed `message`.

        Raises:
            AuthenticationError: the signature is invalid.
        """
        try:
            key = Ed25519PublicKey.from_public_bytes(self.verify_key)
            key.verify(octets("signature", signature), _digest(octets("message", message)))
        except (InvalidSignature, ValueError) as error:
            raise AuthenticationError(
                "the signature does not hold: damaged, or not sent by this group"
            ) from error

    def to_bytes(self) -> bytes:
        """Encode in canonical form, 71 bytes."""
        return _PUBLIC.pack(
            _PUBLIC_MAGIC, self.params.to_bytes(), self.verify_key, self.fingerprint
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> PublicContext:
        """Decode the canonical form, which has no room for a secret key.

        Raises:
            WireFormatError: the bytes are no public context.
        """
        data = octets("a public context", data)
        if len(data) != _PUBLIC.size:
            raise WireFormatError(f"a public context takes {_PUBLIC.size} bytes, not {len(data)}")
        magic, params, verify_key, fingerprint = cast(
            "tuple[bytes, bytes, bytes, bytes]", _PUBLIC.unpack(data)
        )
        if magic != _PUBLIC_MAGIC:
            raise WireFormatError("these bytes are no public context")
        public = cls(Params.from_bytes(params), verify_key)
        if public.fingerprint != fingerprint:
            raise WireFormatError("the public context's fingerprint does not match its content")
        return public


class _Group(Secret):
    """The group's signing key and tag key, which clients hold in both modes."""

    __slots__ = ("public", "seeds", "signing_key", "tag_key")

    def __init__(self, params: Params, signing_seed: bytes, tag_seed: bytes) -> None:
        self.seeds = signing_seed + tag_seed
        self.signing_key = Ed25519PrivateKey.from_private_bytes(signing_seed)
        self.tag_key = TagKey(tag_seed, params.parts)
        self.public = PublicContext(params, self.signing_key.public_key().public_bytes_raw())


class _Member(Secret):
    """The part of a context that `Client` needs: to encrypt, to tag and to sign."""

    __slots__ = ("_encryptor", "_group", "params")

    def __init__(self, params: Params, group: _Group, encryptor: Encryptor) -> None:
        self.params = params
        self._group = group
        self._encryptor = encryptor

    def public(self) -> PublicContext:
        """The server's context, which has no secret."""
        return self._group.public

    @property
    def tag_key(self) -> TagKey:
        """The key of the linear tags."""
        return self._group.tag_key

    @leaving_nothing
    def encrypt(
        self, polynomials: NDArray[np.int64], nonce: bytes, first: int
    ) -> NDArray[np.uint64]:
        """Encrypt int64[c, N] polynomials with new randomness; see `he.crypto.rlwe`."""
        check_array("polynomials", polynomials, np.int64, _RUN, DEGREE)
        number = integer("first", first, 0, _LAST)
        return self._encryptor.encrypt(polynomials, check_nonce(nonce), number)

    @leaving_nothing
    def sign(self, message: bytes) -> bytes:
        """Sign for the group."""
        return self._group.signing_key.sign(_digest(octets("message", message)))


class SecretContext(_Member):
    """The secret key and everything derived from it: for the key holder, and in symmetric mode for clients.

    In symmetric mode every client holds this context and uploads have half the size. But the server together
    with any one client can read every upload, and so can a client that reads the network. `encryptor()`
    prevents the latter.

    Example:
        >>> secret = SecretContext.generate(Params.for_sum(3, max_abs=100))
        >>> secret
        SecretContext(<redacted>)
        >>> again = SecretContext.from_secret_key(secret.params, secret.export_secret_key())
        >>> again.public() == secret.public()
        True
    """

    __slots__ = ("_decryptor", "_opened", "_process", "_secret_key")

    @leaving_nothing
    def __init__(self, params: Params, secret_key: NDArray[np.uint64]) -> None:
        check_type("params", params, Params)
        _check_key(secret_key, DEGREE)
        material = secret_key.astype("<u8", copy=False).tobytes()
        # Derived, not drawn: every holder of the secret key has the group's keys, and one key is exported.
        seeds = [_derive(material, params, label) for label in (b"sign", b"tag")]
        encryptor: Encryptor = SymmetricEncryptor(secret_key)
        # All parties that encrypt under these parameters send one form of ciphertext.
        if params.public_key:
            encryptor = PublicKeyEncryptor(the_ring().public_key(secret_key))
        super().__init__(params, _Group(params, *seeds), encryptor)
        self._decryptor = Decryptor(secret_key)
        self._secret_key = secret_key
        self._opened: dict[bytes, object] = {}
        self._process = os.getpid()  # a fork would copy what was opened, and then go its own way

    @classmethod
    @leaving_nothing
    def generate(cls, params: Params) -> SecretContext:
        """Draw a key from the operating system's randomness.

        Raises:
            LocalProtocolError: `params` is no `Params`.
        """
        check_type("params", params, Params)
        return cls(params, the_ring().generate_key())

    @leaving_nothing
    def encryptor(self) -> EncryptContext:
        """A context for clients that must not decrypt: it has the public key in place of the secret key.

        Raises:
            UnsafeParametersError: the parameters leave no room for public-key noise.
        """
        if not self.params.public_key:
            raise UnsafeParametersError(
                "these parameters leave no room for the noise of public-key encryption; "
                "choose them by Params.for_sum(..., public_key=True)"
            )
        public_key = the_ring().public_key(self._secret_key)
        return EncryptContext(self.params, public_key, self._group)

    @leaving_nothing
    def export_secret_key(self) -> bytes:
        """The secret key, for storage and for other processes; a party that has it can read every upload."""
        return _seal(_SECRET_MAGIC, self.params, _octets(self._secret_key))

    def export(self) -> bytes:
        """The keys that a client's process needs, which include the secret key."""
        return self.export_secret_key()

    @classmethod
    @leaving_nothing
    def from_secret_key(cls, params: Params, data: bytes) -> SecretContext:
        """Rebuild the context from `export_secret_key()`, with the parameters of that key.

        Raises:
            WireFormatError: the bytes are no exported key.
            ContextMismatchError: the key is for other parameters.
        """
        return cls(params, _words(_unseal(_SECRET_MAGIC, params, data, 8 * DEGREE)))

    @leaving_nothing
    def phase(
        self, parts: NDArray[np.uint64], nonces: list[bytes], first: int
    ) -> NDArray[np.int64]:
        """Decrypt a sum up to its noise; see `he.crypto.rlwe`. `KeyHolder` verifies the tags first."""
        check_array("parts", parts, np.uint64, self.params.parts, _RUN, DEGREE)
        return self._decryptor.phase(parts, check_nonces(nonces), integer("first", first, 0, _LAST))

    @leaving_nothing
    def phases(self, nonces: list[bytes]) -> AbstractContextManager[Phases]:
        """Decrypt a sum's chunks in order, up to their noise; see `phase`."""
        return self._decryptor.phases(check_nonces(nonces))

    def claim_opening(self, context_hash: bytes) -> None:
        """Record that this round's sum is being opened, since two sums of one round would give a difference.

        Raises:
            LocalProtocolError: a sum of this round was opened already.
        """
        context_hash = octets("context_hash", context_hash)
        # This is one atomic step: of two threads, one opens.
        if self._opened.setdefault(context_hash, claim := object()) is not claim:
            raise LocalProtocolError(
                "a sum of this round was opened already; a second one is refused"
            )

    def check_process(self) -> None:
        """Refuse a fork: it does not know what was opened elsewhere, and nobody else what it opens.

        Raises:
            LocalProtocolError: this is another process than the one that made the object.
        """
        if self._process != os.getpid():
            raise LocalProtocolError(
                "this key belongs to another process, from which this one was forked, and neither knows "
                "which rounds the other opens: give all key holders one journal"
            )


class EncryptContext(_Member):
    """Public-key mode: clients encrypt and tag, and cannot decrypt one another's uploads.

    It is secret nevertheless, since it holds the group's signing and tag keys. Tags need a secret that the
    server lacks, and a client that gives it to the server defeats them. Enrolled keys (`he.crypto.enrolment`)
    prove the sender. But neither they, nor an addition at the key holder, would show that a member's own
    ciphertext is well formed: a ciphertext with a chosen c1 opens to the key. So, as in symmetric mode, no
    client may help a dishonest server. The advantage of this mode: a client, or the server together with a
    client that only looks, learns nothing from the uploads of others.

    Example:
        >>> params = Params.for_sum(3, max_abs=100, public_key=True)
        >>> SecretContext.generate(params).encryptor()
        EncryptContext(<redacted>)
    """

    __slots__ = ("_public_key",)

    @leaving_nothing
    def __init__(self, params: Params, public_key: NDArray[np.uint64], group: _Group) -> None:
        check_type("params", params, Params)
        _check_key(public_key, 2 * DEGREE)
        super().__init__(params, group, PublicKeyEncryptor(public_key))
        self._public_key = public_key

    @leaving_nothing
    def export_encryption_keys(self) -> bytes:
        """This context, for a client in another process; do not give it to the server."""
        return _seal(_ENCRYPT_MAGIC, self.params, self._group.seeds + _octets(self._public_key))

    def export(self) -> bytes:
        """The keys that a client's process needs, which do not include the secret key."""
        return self.export_encryption_keys()

    @classmethod
    @leaving_nothing
    def from_encryption_keys(cls, params: Params, data: bytes) -> EncryptContext:
        """Rebuild the context from `export_encryption_keys()`.

        Raises:
            WireFormatError: the bytes are no exported keys.
            ContextMismatchError: the keys are for other parameters.
        """
        content = _unseal(_ENCRYPT_MAGIC, params, data, 64 + 16 * DEGREE)
        group = _Group(params, content[:32], content[32:64])
        return cls(params, _words(content[64:]), group)


@leaving_nothing
def read_exported(params: Params, data: bytes) -> SecretContext | EncryptContext:
    """Rebuild either context from the bytes of its `export()`.

    Raises:
        WireFormatError: the bytes are no exported keys.
        ContextMismatchError: the keys are for other parameters.
    """
    if octets("exported keys", data)[:4] == _ENCRYPT_MAGIC:
        return EncryptContext.from_encryption_keys(params, data)
    return SecretContext.from_secret_key(params, data)


def _digest(message: bytes) -> bytes:
    """The bytes that are signed: a hash, since Ed25519 reads its message twice, and slowly."""
    return long_digest(b"he upload chunk", message)


def _derive(material: bytes, params: Params, label: bytes) -> bytes:
    info = b"he group key " + label + b" " + params.to_bytes()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(material)


def _check_key(key: object, size: int) -> None:
    """Raise LocalProtocolError unless a key is uint64[size] with words below q; the message has no key."""
    if type(key) is not np.ndarray or key.dtype != np.uint64 or key.shape != (size,):
        raise LocalProtocolError(
            f"a key is a numpy array of {size} uint64; use SecretContext.generate(params), or what "
            "export_secret_key() gave with from_secret_key()"
        )
    if bool((key >= np.uint64(MODULUS)).any()):
        raise LocalProtocolError("a coefficient of the key is not below q")


def _octets(words: NDArray[np.uint64]) -> bytes:
    return words.astype("<u8", copy=False).tobytes()


def _words(data: bytes) -> NDArray[np.uint64]:
    words = np.frombuffer(data, "<u8").astype(np.uint64)
    if bool((words >= np.uint64(MODULUS)).any()):
        raise WireFormatError("a coefficient of the key is not below q")
    return words


def _seal(magic: bytes, params: Params, content: bytes) -> bytes:
    data = magic + params.identifier + content
    return data + hashlib.sha256(data).digest()


def _unseal(magic: bytes, params: Params, data: bytes, size: int) -> bytes:
    """The complete content of exported keys; the checksum detects damage, but not forgery."""
    check_type("params", params, Params)
    data = octets("exported keys", data)
    if len(data) != 20 + size + 32 or data[:4] != magic:
        raise WireFormatError("these bytes are no exported keys of this kind")
    if not hmac.compare_digest(hashlib.sha256(data[:-32]).digest(), data[-32:]):
        raise WireFormatError("the exported keys are damaged")
    if data[4:20] != params.identifier:
        raise ContextMismatchError("the exported keys belong to other parameters")
    return data[20:-32]
