"""The messages of one exchange: long ones to several clients go through the object store, once."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedavg.protocol.messages import is_start
from fedavg.simulation.shared_memory import BufferRef

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedavg.adapters.ray.interface import Engine, Ticket

__all__ = ["Letter", "Letters"]

_LONG = 1 << 16  # a shorter message costs less in the call itself
_AT_ONCE = 8  # clients that answer in one call, so that few vectors are on their way


@dataclass(frozen=True, slots=True)
class Letter:
    """The messages to one client."""

    client: int
    messages: Sequence[bytes]


class Letters:
    """The messages of an exchange.

    Args:
        engine: has the object store.
        outgoing: messages by client.
    """

    def __init__(self, engine: Engine, outgoing: Mapping[int, Sequence[bytes]]) -> None:
        self._outgoing = outgoing
        # A message to all clients is one object, so its identity tells it from others.
        readers = Counter(id(message) for told in outgoing.values() for message in told)
        self._stored: dict[int, Ticket] = {}
        for message in (message for told in outgoing.values() for message in told):
            key = id(message)
            if key not in self._stored and readers[key] > 1 and len(message) >= _LONG:
                self._stored[key] = engine.store(message)
        # Clients are trained together where they can, so a round's first messages are not divided.
        first = next((told[0] for told in outgoing.values() if told), b"")
        self._at_once = len(outgoing) if is_start(first) else _AT_ONCE

    def chunks(self, clients: Sequence[int]) -> deque[Sequence[Letter]]:
        """The messages to some clients, by call."""
        letters = [Letter(client, self._outgoing[client]) for client in clients]
        size = max(1, self._at_once)
        return deque(letters[i : i + size] for i in range(0, len(letters), size))

    def packed(
        self, chunk: Sequence[Letter]
    ) -> tuple[list[tuple[int, list[bytes | BufferRef]]], list[Ticket]]:
        """A call's messages, with a number in place of each that is in the store, and those in the store."""
        numbers: dict[int, int] = {}
        outgoing: list[tuple[int, list[bytes | BufferRef]]] = []
        for letter in chunk:
            places: list[bytes | BufferRef] = []
            for message in letter.messages:
                key = id(message)
                if key in self._stored:
                    number = numbers.setdefault(key, len(numbers))
                    places.append(BufferRef(number, 0, len(message)))
                else:
                    places.append(message)
            outgoing.append((letter.client, places))
        return outgoing, [self._stored[key] for key in numbers]
