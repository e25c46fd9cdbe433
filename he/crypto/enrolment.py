"""Clients' own signing keys, and the directory of those that are enrolled.

The group's key proves that some member made a chunk; an enrolled key proves which member. Two things follow.
No client can send in another client's name, even if the transport confuses them, and a bad chunk has a
culprit. And the key holder counts only clients that signed an upload of the round: a server cannot name
others, even with a client's help. `EncryptContext` states what does not follow: contents are still protected
only by the group's tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from he.errors import AuthenticationError, LocalProtocolError
from he.guards.calls import leaving_nothing
from he.guards.checks import check_client_id, octets
from he.secrecy import Secret

__all__ = ["Directory", "Proof", "Signer", "SigningKey"]

_KEY_BYTES = 32
_FIELD = 2**255 - 19
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_LOW_ORDER = frozenset({0, 1, _FIELD - 1, _ORDER_8, _FIELD - _ORDER_8})
"""The y of every point of order 1, 2, 4 or 8 on edwards25519: keys under which anyone can sign."""


class Signer(Protocol):
    """A client's Ed25519 key: `SigningKey`, or another object with the same methods."""

    @property
    def public(self) -> bytes:
        """The 32 bytes that are enrolled."""
        ...

    def sign(self, message: bytes, /) -> bytes:
        """Ed25519 signature, 64 bytes."""
        ...


class SigningKey(Secret):
    """A client's own Ed25519 key; its public half is enrolled before the first round.

    Example:
        >>> key = SigningKey.generate()
        >>> key
        SigningKey(<redacted>)
        >>> SigningKey.from_private_bytes(key.private_bytes()).public == key.public
        True
    """

    __slots__ = ("_key", "public")

    @leaving_nothing
    def __init__(self, key: Ed25519PrivateKey) -> None:
        if not isinstance(key, Ed25519PrivateKey):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
            raise LocalProtocolError(
                f"key must be an Ed25519PrivateKey, not {type(key).__name__}; or use generate()"
            )
        self._key = key
        self.public: bytes = key.public_key().public_bytes_raw()

    @classmethod
    @leaving_nothing
    def generate(cls) -> SigningKey:
        """Draw a key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    @leaving_nothing
    def from_private_bytes(cls, data: bytes) -> SigningKey:
        """Restore a key from the bytes of `private_bytes`.

        Raises:
            LocalProtocolError: there are not 32 bytes.
        """
        data = octets("a signing key", data)
        if len(data) != _KEY_BYTES:
            raise LocalProtocolError(f"a signing key takes {_KEY_BYTES} bytes, not {len(data)}")
        return cls(Ed25519PrivateKey.from_private_bytes(data))

    def private_bytes(self) -> bytes:
        """The key itself; a party that has it can send as this client."""
        return self._key.private_bytes_raw()

    @leaving_nothing
    def sign(self, message: bytes, /) -> bytes:
        """Ed25519 signature, 64 bytes."""
        return self._key.sign(octets("message", message))


@dataclass(frozen=True, slots=True)
class Proof:
    """Proof for a key holder that a client signed an upload, without the upload itself.

    Args:
        body: BLAKE3 of the first chunk's tags and ciphertexts.
        signature: the client's signature over that chunk.
    """

    body: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Directory:
    """The enrolled clients, which are fixed before a round.

    Args:
        keys: client id to 32-byte Ed25519 public key.

    Raises:
        LocalProtocolError: there is no client, a key is invalid or has low order, or two clients have one
            key.

    Example:
        >>> Directory({7: SigningKey.generate().public}).enrolled
        (7,)
    """

    keys: Mapping[int, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.keys, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
            raise LocalProtocolError(
                f"a directory maps client ids to keys; it cannot be {type(self.keys).__name__}"
            )
        if not self.keys:
            raise LocalProtocolError("a directory without clients lets nobody in")
        keys = {
            check_client_id(client): octets(f"client {client}'s key", key)
            for client, key in self.keys.items()
        }
        object.__setattr__(self, "keys", keys)
        for client, key in self.keys.items():
            _check_key(client, key)
        # With one key under two ids, one client would count twice towards the key holder's min_clients.
        if len(set(self.keys.values())) != len(self.keys):
            raise LocalProtocolError(
                "two clients of the directory have one key; each needs its own"
            )

    @property
    def enrolled(self) -> tuple[int, ...]:
        """Ids of the clients, ascending."""
        return tuple(sorted(self.keys))

    def verify(self, client_id: int, statement: bytes, signature: bytes) -> None:
        """Check that this client signed the statement.

        Raises:
            AuthenticationError: the client is not enrolled, or the signature is invalid.
        """
        key = self.keys.get(check_client_id(client_id))
        signed, statement = octets("signature", signature), octets("statement", statement)
        if key is None:
            raise AuthenticationError(f"client {client_id} is not enrolled")
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signed, statement)
        except (InvalidSignature, ValueError) as error:
            raise AuthenticationError(
                f"client {client_id}'s chunk is damaged, or not signed with its enrolled key"
            ) from error


def _check_key(client_id: int, key: bytes) -> None:
    if len(key) != _KEY_BYTES:
        raise LocalProtocolError(
            f"client {client_id}'s key takes {_KEY_BYTES} bytes, not {len(key)}"
        )
    y = int.from_bytes(key, "little") & (1 << 255) - 1  # without the sign of x
    if y >= _FIELD or y in _LOW_ORDER:
        raise LocalProtocolError(
            f"client {client_id}'s key is not canonical or has low order: anyone could sign under it"
        )
