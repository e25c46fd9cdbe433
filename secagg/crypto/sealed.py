"""Encryption between two clients: AES-128-GCM under a key that is used for one message.

A pair's X25519 secret gives one key for each direction, in one session and one roster, so the nonce is
fixed and can never repeat under a key.
"""

from __future__ import annotations

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from secagg.crypto.keys import derive

__all__ = ["TAG_SIZE", "open_sealed", "route_keys", "seal"]

TAG_SIZE = 16
_KEY_SIZE = 16
_NONCE = bytes(12)
_PAIR = struct.Struct("<II")


def route_keys(
    agreed: bytes, *, session: bytes, root: bytes, own: int, other: int
) -> tuple[bytes, bytes]:
    """Keys own → other and other → own, bound to session, roster and both ids.

    Example:
        >>> there = route_keys(bytes(32), session=b"s", root=b"r", own=1, other=2)
        >>> there == route_keys(bytes(32), session=b"s", root=b"r", own=2, other=1)[::-1]
        True
    """
    info = root + _PAIR.pack(min(own, other), max(own, other))
    # Each direction has its own key: with one key for both, the fixed nonce would be used twice.
    both = derive(agreed, b"share channel", session=session, info=info, length=2 * _KEY_SIZE)
    up, down = both[:_KEY_SIZE], both[_KEY_SIZE:]
    return (up, down) if own < other else (down, up)


def seal(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Encrypt, and authenticate `associated` along with it."""
    return AESGCM(key).encrypt(_NONCE, plaintext, associated)


def open_sealed(key: bytes, sealed: bytes | memoryview, associated: bytes) -> bytes | None:
    """Decrypt; return None if key, text or associated data differ from those of the sender."""
    try:
        return AESGCM(key).decrypt(_NONCE, sealed, associated)
    except InvalidTag:
        return None
