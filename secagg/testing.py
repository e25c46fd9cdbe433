"""Injected entropy, for test vectors only: keys made with it are not secret."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

from secagg.crypto import keys
from secagg.guards.checks import octets

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["deterministic_entropy"]


@contextlib.contextmanager
def deterministic_entropy(seed: bytes) -> Generator[None]:
    """Draw every key, seed and share from SHAKE-256(seed ‖ counter) within the block.

    It applies only to the thread that is in the block. Another thread that creates a real key meanwhile draws
    from the operating system, and blocks that overlap in two threads have no effect afterwards.

    Example:
        >>> from secagg.crypto.keys import Identity
        >>> with deterministic_entropy(b"vector 1"):
        ...     first = Identity.generate().public
        >>> with deterministic_entropy(b"vector 1"):
        ...     Identity.generate().public == first
        True
    """
    seed, counter = octets("seed", seed), 0

    def draw(size: int) -> bytes:
        nonlocal counter
        counter += 1
        return hashlib.shake_256(seed + counter.to_bytes(8, "little")).digest(size)

    source = keys._source  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the one door
    token = source.set(draw)
    try:
        yield
    finally:
        source.reset(token)
