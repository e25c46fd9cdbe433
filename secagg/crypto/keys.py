"""Keys and derivations: X25519, Ed25519, labelled HKDF-SHA256, the directory of identities.

Python cannot erase memory: to erase a key here means to drop the last reference to it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from contextvars import ContextVar
from typing import TYPE_CHECKING, NoReturn

from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from secagg.errors import LocalProtocolError, RemoteProtocolError
from secagg.guards.calls import leaving_nothing
from secagg.guards.checks import instance, mapping, octets, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "AgreementKey",
    "Directory",
    "Identity",
    "Secret",
    "TrustServerDirectory",
    "digest",
    "entropy",
    "hkdf",
    "vector_digest",
]

KEY_SIZE = 32
SIGNATURE_SIZE = 64
MAX_CLIENT_ID = 2**32 - 1
_MAX_REMEMBERED = 1 << 15

_PROTOCOL = b"secagg v2 "
_FIELD = 2**255 - 19
_ORDER_8 = 0xB8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0
_LOW_ORDER = frozenset({0, 1, _FIELD - 1, _ORDER_8, pow(_ORDER_8, -1, _FIELD)})
"""The u of every point of order 1, 2, 4 or 8 on Curve25519 or its twist, which X25519 maps to zero."""

_ORDER_8_EDWARDS = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_LOW_ORDER_EDWARDS = frozenset({0, 1, _FIELD - 1, _ORDER_8_EDWARDS, _FIELD - _ORDER_8_EDWARDS})
"""The y of every point of order 1, 2, 4 or 8 on edwards25519: identities under which anyone can sign."""

_source: ContextVar[Callable[[int], bytes]] = ContextVar("entropy of secagg", default=os.urandom)


def entropy(size: int) -> bytes:
    """New random bytes from the operating system; only `secagg.testing` may replace the source."""
    return _source.get()(size)


def digest(label: bytes, *parts: bytes) -> bytes:
    """SHA-256 of a label and length-prefixed parts, so that no two inputs run together.

    Example:
        >>> digest(b"x", b"ab", b"c") == digest(b"x", b"a", b"bc")
        False
    """
    state = hashlib.sha256(_PROTOCOL + label + b"\0")
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.digest()


def vector_digest(packed: bytes | memoryview) -> bytes:
    """BLAKE3 of a long vector, 32 bytes, on one core.

    A server hashes every masked vector, so a slow hash would take as long as the removal of all masks. BLAKE3
    uses the vector instructions of any processor; SHA-256 is fast only where it is an instruction.

    Example:
        >>> vector_digest(b"").hex()[:16]  # the first test vector of BLAKE3
        'af1349b9f5f9a1a6'
    """
    return blake3(packed).digest()


def hkdf(secret: bytes, *, salt: bytes, info: bytes, length: int = 32) -> bytes:
    """HKDF-SHA256 (RFC 5869), extract and expand."""
    key = hmac.digest(salt or bytes(32), secret, "sha256")  # no salt: zeros (RFC 5869, 2.2)
    block, out = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([counter]), "sha256")
        out += block
    return out[:length]


def derive(
    secret: bytes, label: bytes, *, session: bytes, info: bytes = b"", length: int = 16
) -> bytes:
    """A key for one labelled purpose in one session."""
    return hkdf(secret, salt=session, info=_PROTOCOL + label + b"\0" + info, length=length)


class Secret:
    """Base class of everything that holds a key: it prints no key, and cannot be pickled or copied."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<redacted>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds keys and cannot be pickled or copied")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__reduce__()


class Identity(Secret):
    """A client's long-lived signing key (Ed25519).

    It remembers the sessions that it has joined or goes on in, and refuses an offer that is announced again.

    Example:
        >>> len(Identity.generate().public)
        32
        >>> Identity.generate()
        Identity(<redacted>)
    """

    __slots__ = ("_joined", "_key", "public")

    @leaving_nothing
    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = instance("key", key, Ed25519PrivateKey)
        self._joined: dict[tuple[bytes, int], object] = {}
        self.public: bytes = key.public_key().public_bytes_raw()

    @classmethod
    @leaving_nothing
    def generate(cls) -> Identity:
        """A fresh identity."""
        return cls.from_private_bytes(entropy(KEY_SIZE))

    @classmethod
    @leaving_nothing
    def from_private_bytes(cls, data: bytes) -> Identity:
        """Restore an identity from the bytes of `private_bytes`.

        Raises:
            LocalProtocolError: there are not 32 bytes.
        """
        data = octets("a private identity", data)
        if len(data) != KEY_SIZE:
            raise LocalProtocolError(f"a private identity takes {KEY_SIZE} bytes, not {len(data)}")
        return cls(Ed25519PrivateKey.from_private_bytes(data))

    def private_bytes(self) -> bytes:
        """The private key itself; a party that has it can pose as this client."""
        return self._key.private_bytes_raw()

    @leaving_nothing
    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature, 64 bytes."""
        return self._key.sign(octets("message", message))

    def join(self, session: bytes, client_id: int) -> None:
        """Record that this client takes part in a session.

        Raises:
            RemoteProtocolError: it took part before; the server announces an old session again.
        """
        mark = object()
        if self._mark(session, client_id, mark) is not mark:
            raise RemoteProtocolError(
                "announced a session that this client has joined before", "server"
            )

    def rejoin(self, session: bytes, client_id: int) -> None:
        """Record that this client goes on in a session, so that it does not join the session anew."""
        self._mark(session, client_id, object())

    def _mark(self, session: bytes, client_id: int, mark: object) -> object:
        """The first mark of a client in a session: of two threads, one sets it, in one atomic step."""
        place = octets("session", session), check_client_id(client_id)
        return self._joined.setdefault(place, mark)


class Directory:
    """The identities that clients know beforehand, independently of the server.

    It caches parsed keys and valid signatures, so that many clients of one process that share a directory
    check each signature once.  To measure one client, give it a directory of its own.

    Args:
        identities: client id (0 … 2^32 − 1) to 32-byte public key; no key twice.

    Raises:
        LocalProtocolError: an id is out of range, a key has another size, is not canonical or of low order,
            two ids have one key, or a value has another type.

    Example:
        >>> len(Directory({5: Identity.generate().public}))
        1
    """

    __slots__ = ("_facts", "_held", "_identities", "_keys")

    pinned = True

    def __init__(self, identities: Mapping[int, bytes]) -> None:
        self._identities: dict[int, bytes] = {}
        for given, key in mapping("identities", identities):
            client_id = check_client_id(given)
            public = octets(f"client {client_id}'s identity", key)
            if len(public) != KEY_SIZE:
                raise LocalProtocolError(
                    f"client {client_id}'s identity takes {KEY_SIZE} bytes, not {len(public)}"
                )
            if not acceptable_identity(public):
                raise LocalProtocolError(
                    f"client {client_id}'s identity is not canonical or of low order: "
                    "anyone could sign under it"
                )
            self._identities[client_id] = public
        # With one identity under two ids, one client would count twice in a quorum.
        if len(set(self._identities.values())) != len(self._identities):
            raise LocalProtocolError(
                "two clients of the directory have one identity; each needs its own"
            )
        self._keys: dict[bytes, Ed25519PublicKey] = {}
        self._held: set[bytes] = set()  # valid signatures
        self._facts: set[bytes] = set()  # apart from them: a fact must never pass for a signature

    def __len__(self) -> int:
        """Number of clients in the directory."""
        return len(self._identities)

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of all clients, ascending."""
        return tuple(sorted(self._identities))

    def identity(self, client_id: int) -> bytes | None:
        """The 32-byte identity known for a client; None for a stranger.

        Example:
            >>> Directory({}).identity(5) is None
            True
        """
        return self._identities.get(check_client_id(client_id))

    def check(self, client_id: int, public: bytes) -> None:
        """Raise RemoteProtocolError unless `public` is the identity known for `client_id`."""
        client_id, public = check_client_id(client_id), octets("public", public)
        known = self._identities.get(client_id)
        if known is None:
            raise RemoteProtocolError(
                f"put client {client_id}, unknown to the directory, on the roster", "server"
            )
        if known != public:
            raise RemoteProtocolError(
                f"gave client {client_id} another identity than the directory's", "server"
            )

    def verify(self, public: bytes, signature: bytes, message: bytes) -> bool:
        """Whether a 64-byte signature by a 32-byte identity is valid; other sizes are invalid."""
        parts = octets("public", public), octets("signature", signature), octets("message", message)
        public, signature, message = parts
        if len(public) != KEY_SIZE or len(signature) != SIGNATURE_SIZE:
            return False
        fact = b"".join(parts)  # the first two have fixed sizes
        if fact in self._held:  # only valid signatures are kept here, so forgeries cannot fill it
            return True
        if not self._signed(public, signature, message):
            return False
        _remember(self._held, fact)
        return True

    def once(self, fact: bytes, check: Callable[[], None]) -> None:
        """Run a check that depends on this directory and on a fact alone, unless it has passed before.

        Many clients of one process check the same roster with one directory.

        Args:
            fact: what the check is about: a label and hashes, so that it equals no other check's.
            check: raises if the fact does not hold.
        """
        if fact not in self._facts:
            check()
            _remember(self._facts, fact)

    def _signed(self, public: bytes, signature: bytes, message: bytes) -> bool:
        key = self._keys.get(public)
        if key is None:
            if not acceptable_identity(public):
                return False
            try:
                key = Ed25519PublicKey.from_public_bytes(public)
            except ValueError:
                return False
            self._keys[public] = key
        try:
            key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def _remember(facts: set[bytes], fact: bytes) -> None:
    if len(facts) >= _MAX_REMEMBERED:  # a directory may serve any number of sessions
        facts.clear()
    facts.add(fact)


class TrustServerDirectory(Directory):
    """Accepts every identity from the server, which can then pose as any client: semi-honest model only.

    Example:
        >>> stranger = Identity.generate().public
        >>> TrustServerDirectory().check(5, stranger)  # accepted
        >>> known = Directory({5: Identity.generate().public})
        >>> known.check(5, stranger)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        secagg.errors.RemoteProtocolError: gave client 5 another identity than the directory's ...
    """

    __slots__ = ()

    pinned = False

    def __init__(self) -> None:
        super().__init__({})

    def check(self, client_id: int, public: bytes) -> None:
        """Accept any identity."""
        check_client_id(client_id)
        octets("public", public)


class AgreementKey(Secret):
    """An ephemeral X25519 key pair, for one session."""

    __slots__ = ("_key", "public")

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key
        self.public: bytes = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> AgreementKey:
        """A fresh pair."""
        return cls.from_private_bytes(entropy(KEY_SIZE))

    @classmethod
    def from_private_bytes(cls, data: bytes) -> AgreementKey:
        """The pair of a 32-byte private key."""
        return cls(X25519PrivateKey.from_private_bytes(data))

    def private_bytes(self) -> bytes:
        """The private key, to be shared among the neighbours."""
        return self._key.private_bytes_raw()

    def agree(self, public: bytes) -> bytes:
        """X25519 with a peer's public key, 32 bytes.

        Raises:
            ValueError: the peer's key is of low order, not canonical, or of another size.
        """
        # RFC 7748 would reduce a larger number, so that one key had two encodings.
        if int.from_bytes(public, "little") >= _FIELD:
            raise ValueError("not a canonical X25519 key")
        # The library raises ValueError if the agreement is zero, so keys of low order are refused as well.
        return self._key.exchange(X25519PublicKey.from_public_bytes(public))


def check_client_id(client_id: object) -> int:
    """Return the id; raise LocalProtocolError unless it is an integer of 32 bits."""
    exact = whole("a client id", client_id)
    if not 0 <= exact <= MAX_CLIENT_ID:
        raise LocalProtocolError(f"client ids lie in 0…{MAX_CLIENT_ID}, not {exact}")
    return exact


def acceptable_agreement_key(public: bytes) -> bool:
    """Whether a peer's X25519 key is canonical and not of low order (RFC 7748, section 6.1).

    `AgreementKey.agree` refuses the same keys, but computes an agreement for it.
    """
    if len(public) != KEY_SIZE:
        return False
    point = int.from_bytes(public, "little")
    return point < _FIELD and point not in _LOW_ORDER


def acceptable_identity(public: bytes) -> bool:
    """Whether an Ed25519 key is canonical and not of low order; under one of low order anyone can sign."""
    y = int.from_bytes(public, "little") & (1 << 255) - 1  # without the sign of x
    return y < _FIELD and y not in _LOW_ORDER_EDWARDS
