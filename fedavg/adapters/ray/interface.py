"""What the adapter needs of Ray, in a few calls; the tests put an engine of their own in its place."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Actor", "Engine", "LostError", "Ticket"]


class LostError(Exception):
    """A process or a node of the cluster is gone, and with it an answer; the message is the reason."""


Ticket: TypeAlias = Hashable
"""An answer that is being computed, or bytes in the object store."""
Actor: TypeAlias = object
"""A process of the cluster that holds one object."""


class Engine(Protocol):
    """A cluster of processes that exchange bytes with this one."""

    def processors(self) -> float:
        """Number of processors of the cluster's nodes, as they were declared to it."""
        ...

    def submit(
        self, function: Callable[..., bytes], arguments: Sequence[object], retries: int
    ) -> Ticket:
        """Run a function in some process, and again, at most `retries` times, if that is lost."""
        ...

    def start(self, kind: type[object], processors: float) -> Actor:
        """Start a process that holds an object of a class, on the node with the most room."""
        ...

    def call(self, actor: Actor, method: str, arguments: Sequence[object]) -> Ticket:
        """Call a method of the object; calls of one actor run one after the other."""
        ...

    def store(self, data: bytes) -> Ticket:
        """Put bytes into the object store, which carries them to each node once."""
        ...

    def ready(self, tickets: Sequence[Ticket], timeout: float | None) -> Sequence[Ticket]:
        """Wait until an answer is there, or is lost; after `timeout` seconds, return none."""
        ...

    def answer(self, ticket: Ticket) -> bytes:
        """Return an answer.

        Raises:
            LostError: the process or the node is gone.
            LocalProtocolError: the call raised an error; the message is its last line.
        """
        ...

    def cancel(self, ticket: Ticket) -> None:
        """Stop a function, even in the middle of its work."""
        ...

    def end(self, actor: Actor) -> None:
        """End an actor's process; nothing that it still sends is read."""
        ...

    def close(self) -> None:
        """Leave the cluster, and end it if this program started it."""
        ...
