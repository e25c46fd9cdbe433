"""A record, byte by byte, of everything that the server saw, when recording is switched on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from fedavg.protocol.messages import (
    OpenRequest,
    Ready,
    RoundStart,
    SumOpen,
    decode,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.sums.interface import SecureSum

__all__ = ["Entry", "Transcript", "describe", "uploaded_vector"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One message that the server sent or received."""

    round: int
    stage: str
    direction: Literal["up", "down"]
    party: int
    message: bytes


@dataclass(slots=True)
class Transcript:
    """A record of the server's view: all messages, in order.

    Args:
        rounds: indices of the rounds to record; None records all of them.

    Example:
        >>> import fedavg, numpy, torch
        >>> data = fedavg.Dataset(numpy.eye(2), numpy.array([0, 1]))
        >>> parts = fedavg.PoissonCohort(1.0), fedavg.Quantised(1.0, 8), None, fedavg.InsecurePlain()
        >>> plan = fedavg.Plan(*parts, fedavg.LocalTraining(), fedavg.FedAvg())
        >>> log = Transcript(rounds=frozenset({1}))  # only the second round
        >>> run = fedavg.Federation(torch.nn.Linear(2, 2), [data] * 3, plan, transcript=log).run(2)
        >>> sum(result.survivors for result in run), len(list(log.received()))  # of the 12 of both rounds
        (6, 6)
    """

    rounds: frozenset[int] | None = None
    entries: list[Entry] = field(default_factory=list[Entry])
    round_index: int = 0

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def record(
        self, stage: str, direction: Literal["up", "down"], party: int, message: bytes
    ) -> None:
        """Append one message of the current round."""
        # A record of every round would fill the memory, so `rounds` may name those to keep.
        if self.rounds is None or self.round_index in self.rounds:
            self.entries.append(Entry(self.round_index, stage, direction, party, message))

    def received(self) -> Iterable[bytes]:
        """All that clients sent to the server."""
        return (entry.message for entry in self.entries if entry.direction == "up")


def describe(message: bytes, secure_sum: SecureSum) -> tuple[str, bytes]:
    """The kind of a message, and the bytes of the secure sum inside it, if any.

    Example: a `Ready` is ("ready", b"").
    """
    decoded = decode(message)
    if isinstance(decoded, RoundStart):
        return "model", b""
    if isinstance(decoded, Ready):
        return "ready", b""
    if isinstance(decoded, OpenRequest):
        return secure_sum.describe(decoded.chunks[0]), b""
    inner = decoded.opening if isinstance(decoded, SumOpen) else decoded.payload
    return secure_sum.describe(inner), inner


def uploaded_vector(
    messages: Iterable[bytes], secure_sum: SecureSum
) -> NDArray[np.int64] | NDArray[np.uint64] | None:
    """The numbers of one client's upload that the server received, from that client's messages, or None."""
    for message in messages:
        vector = secure_sum.uploaded(describe(message, secure_sum)[1])
        if vector is not None:
            return vector
    return None
