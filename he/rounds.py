"""What every sum of a round has: its name in messages, the record that it was done once, and its result."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from he.errors import LocalProtocolError
from he.guards.checks import flag, read_only

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from he.guards.journal import Journal

__all__ = ["SumResult", "hash_context", "recorded"]


@dataclass(frozen=True, slots=True, eq=False)
class SumResult:
    """The opened sum.

    Args:
        total: int64[d], read-only; with ring_bits, centred modulo 2^ring_bits.
        survivors: the clients whose vectors are in it, ascending.

    Example:
        >>> import numpy as np
        >>> from he import Client, KeyHolder, Params, SecretContext, Server
        >>> secret = SecretContext.generate(Params.for_sum(3, max_abs=100))
        >>> server = Server(secret.public(), context=b"round 1")
        >>> for i in (7, 5):
        ...     for chunk in Client(secret, i, context=b"round 1").encrypt(np.array([i, -1])):
        ...         server.receive(i, chunk)
        >>> opened = KeyHolder(secret, min_clients=2, context=b"round 1").decrypt(server.result())
        >>> opened.survivors, opened.total.tolist()
        ((5, 7), [12, -2])
    """

    total: NDArray[np.int64]
    survivors: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", read_only(self.total))


def hash_context(context: bytes) -> bytes:
    """32 bytes that represent a round's context in messages.

    Raises:
        LocalProtocolError: the context is not bytes, or is empty.
    """
    if not isinstance(context, bytes) or not context:  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
        raise LocalProtocolError("context must be non-empty bytes that name this round")
    return hashlib.sha256(b"he context" + bytes(context)).digest()


def recorded(journal: Journal, fact: bytes, otherwise: str) -> bool:
    """Whether a fact is new; nothing is done unless the record is durable.

    Raises:
        LocalProtocolError: the journal failed, and `otherwise` says what is not done.
    """
    try:
        new = journal.add(fact)
    except Exception as error:
        raise LocalProtocolError(f"the journal failed, and {otherwise}: {error}") from error
    # Only a bool is an answer: None, from a method that returns nothing, must not decide about an opening.
    return flag("what journal.add returns", new)
