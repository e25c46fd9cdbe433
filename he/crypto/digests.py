"""The digest of a long message: of ciphertexts, which the server and every client hash whole."""

from __future__ import annotations

from blake3 import blake3

__all__ = ["long_digest"]


def long_digest(*parts: bytes | memoryview) -> bytes:
    """BLAKE3 of the joined parts, 32 bytes, on one core.

    It takes a third of the time of SHA-256 or less, which was a quarter of all that a server does with an
    upload. Short values are hashed by SHA-256.

    Example:
        >>> long_digest(b"a", memoryview(b"b")) == long_digest(b"ab")
        True
    """
    state = blake3()
    for part in parts:
        state.update(part)
    return state.digest()
