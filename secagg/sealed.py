"""Shares sealed from one client to another, so that the server carries what it cannot read.

A pair's X25519 secret gives one AES-128-GCM key for each direction, in one session and one roster. A
key seals one message, so the nonce is fixed.
"""

from __future__ import annotations

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from secagg.keys import derive

__all__ = ["TAG_SIZE", "open_sealed", "route_key", "seal"]

TAG_SIZE = 16
_NONCE = bytes(12)
_ROUTE = struct.Struct("<II")


def route_key(agreed: bytes, *, session: bytes, root: bytes, sender: int, receiver: int) -> bytes:
    """The key for sender → receiver, bound to session and roster."""
    info = root + _ROUTE.pack(sender, receiver)
    return derive(agreed, b"share channel", session=session, info=info)


def seal(
    key: bytes,
    plaintext: bytes,
    *,
    session: bytes,
    root: bytes,
    sender: int,
    receiver: int,
    public: bytes,
) -> bytes:
    """Encrypt; session, roster, route and the public part of the envelope are authenticated too."""
    data = session + root + _ROUTE.pack(sender, receiver) + public
    return AESGCM(key).encrypt(_NONCE, plaintext, data)


def open_sealed(
    key: bytes,
    sealed: bytes,
    *,
    session: bytes,
    root: bytes,
    sender: int,
    receiver: int,
    public: bytes,
) -> bytes | None:
    """Decrypt, or None when anything about the envelope is not as its sender made it."""
    data = session + root + _ROUTE.pack(sender, receiver) + public
    try:
        return AESGCM(key).decrypt(_NONCE, sealed, data)
    except InvalidTag:
        return None
