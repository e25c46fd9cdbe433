"""A federation's clients on the actors of a cluster, as its `Simulation`.

If an actor is lost, its clients are silent for the rest of the round, as clients that dropped out; then they
come back on another (`fedavg.adapters.ray.homes`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from fedavg.adapters.ray.homes import Homes
from fedavg.adapters.ray.interface import LostError
from fedavg.adapters.ray.letters import Letters
from fedavg.errors import LocalProtocolError
from fedavg.protocol.driver import Delivery
from fedavg.simulation.messages import Answers, Equip, Exchange, Scores, Seen, encode
from fedavg.simulation.population import ask

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fedavg.adapters.ray.homes import Home
    from fedavg.adapters.ray.interface import Engine, Ticket
    from fedavg.adapters.ray.letters import Letter
    from fedavg.algorithms.personal.scores import Score
    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.simulation.interface import Enrolled, Party

__all__ = ["ActorClients"]

_AHEAD = 2  # calls that wait at one actor, so that it works while answers are read


@dataclass(slots=True, eq=False)
class _Work:
    """The calls of one exchange at one actor."""

    home: Home
    letters: deque[Sequence[Letter]]
    running: dict[Ticket, Sequence[Letter]] = field(
        default_factory=dict["Ticket", "Sequence[Letter]"]
    )

    def given_up(self) -> list[int]:
        """The clients that were not heard, whose calls are taken away."""
        parts = [*self.running.values(), *self.letters]
        self.running.clear()
        self.letters.clear()
        return [letter.client for part in parts for letter in part]


class ActorClients:
    """The `Simulation` of clients on actors.

    Args:
        enrolled: the clients and how their model is built.
        engine: the cluster.
        actors: largest number of actors.
        processors: processors that each actor reserves.
        patience: seconds that a round waits, once, for an actor that takes a lost one's place.

    Raises:
        LocalProtocolError: the federation was given a module, which other processes cannot build.
    """

    def __init__(
        self,
        enrolled: Enrolled,
        engine: Engine,
        *,
        actors: int,
        processors: float,
        patience: float,
    ) -> None:
        if enrolled.spec is None:
            raise LocalProtocolError("actors build their own models: give a ModelSpec")
        self._spec, self._engine = enrolled.spec, engine
        self._parties: dict[int, Party] = {}
        self._homes = Homes(
            enrolled, engine, actors=actors, processors=processors, patience=patience
        )

    def publics(self) -> dict[int, bytes]:
        """Public identities of all clients, generated on their actors."""
        return self._homes.publics()

    def equip(
        self, resolution: ResolvedPlan, material: bytes, seed: int, store: Path | None
    ) -> None:
        """See `Simulation.equip`; `store` is required, and all nodes must share it.

        Raises:
            LocalProtocolError: there is no folder, or a node does not see it.
        """
        if store is None:
            raise LocalProtocolError(
                "clients on a cluster come back only if their keys and states outlive a lost node: give "
                "client_store= a folder that all nodes share"
            )
        folder = store.resolve()
        self._homes.equip(encode(Equip.of(resolution, self._spec, material, seed, folder)), folder)

    def add_party(self, address: int, party: Party) -> None:
        """Attach a party that lives in this process, such as the key holder."""
        self._parties[address] = party

    def begin_round(self, round_index: int, attempt: int = 0) -> None:
        """Tell the simulation which round's faults apply; at a new round, lost clients come back."""
        if round_index != self._homes.register.session[0]:
            self._homes.bring_back()
        self._homes.register.session = (round_index, attempt)

    def exchange(self, outgoing: Mapping[int, Sequence[bytes]]) -> Iterator[Delivery]:
        """Deliver to all actors at once, and yield answers in the order of arrival."""
        clients = {to: told for to, told in outgoing.items() if to not in self._parties}
        absent = [client for client in clients if self._homes[client].trouble]
        letters = Letters(self._engine, clients)
        works = [
            _Work(home, letters.chunks([client for client in home.clients if client in clients]))
            for home in self._homes
            if not home.trouble
        ]
        self._homes.register.told(clients.keys() - set(absent))
        for work in works:
            self._fill(work, letters)
        for address in [address for address in outgoing if address in self._parties]:
            yield ask(address, self._parties[address], outgoing[address])
        for client in absent:
            yield Delivery(client, (), self._homes[client].trouble)
        yield from self._collect(works, letters)

    def _fill(self, work: _Work, letters: Letters) -> None:
        while work.letters and len(work.running) < _AHEAD:
            chunk = work.letters.popleft()
            outgoing, stored = letters.packed(chunk)
            index, attempt = self._homes.register.session
            request = encode(Exchange(index, outgoing, attempt=attempt))
            ticket = self._engine.call(work.home.actor, "exchange", (request, *stored))
            work.running[ticket] = chunk

    def _collect(self, works: Sequence[_Work], letters: Letters) -> Iterator[Delivery]:
        while waiting := {ticket: work for work in works for ticket in work.running}:
            ticket = self._engine.ready(list(waiting), None)[0]
            work = waiting[ticket]
            try:
                answers = msgspec.msgpack.decode(self._engine.answer(ticket), type=Answers)
            except LostError as error:
                clients = work.given_up()
                self._homes.lose(work.home, str(error))
                yield from (Delivery(client, (), work.home.trouble) for client in clients)
                continue
            del work.running[ticket]
            self._fill(work, letters)
            for client, messages, failure in answers.deliveries:
                told = [message for message in messages if isinstance(message, bytes)]
                yield Delivery(client, told, failure)

    def score(self, vector: NDArray[np.float32]) -> list[Score]:
        """Let every client score the released model and its own.

        Args:
            vector: float32[d], the released model.

        Raises:
            LocalProtocolError: clients cannot be reached; the model is released all the same.
        """
        there = self._engine.store(vector.astype("<f4").tobytes())
        scores: list[Score] = []
        left = list(self._homes)
        for _ in range(2):  # once more for the clients of an actor that is lost meanwhile
            self._homes.bring_back()
            here = [home for home in left if not home.trouble]
            tickets = [self._engine.call(home.actor, "score", (there,)) for home in here]
            for home, ticket in zip(here, tickets, strict=True):
                try:
                    answer = self._engine.answer(ticket)
                except LostError as error:
                    self._homes.lose(home, str(error))
                else:
                    scores += msgspec.msgpack.decode(answer, type=Scores).scores
                    left.remove(home)
        if left:
            clients = [client for home in left for client in home.clients]
            raise LocalProtocolError(
                f"{len(clients)} clients did not score their models ({clients[0]} is one): {left[0].trouble}"
            )
        return sorted(scores, key=lambda score: score.client)

    def watch(self, client_id: int) -> None:
        """Put a probe into one client, for a report's pictures; a client that is not there has none."""
        self._asked(client_id, "watch")

    def seen(self, client_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """The record of a client's probe: its encoded update, before and after its noise."""
        data = self._asked(client_id, "seen")
        if not data:
            return None
        found = msgspec.msgpack.decode(data, type=Seen)
        return np.frombuffer(found.encoded, np.int64), np.frombuffer(found.noised, np.int64)

    def _asked(self, client_id: int, method: str) -> bytes:
        home = self._homes[client_id]
        if home.trouble:
            return b""
        try:
            return self._engine.answer(self._engine.call(home.actor, method, (client_id,)))
        except LostError as error:
            self._homes.lose(home, str(error))
            return b""

    def close(self) -> None:
        """End the actors, delete the clients' keys and leave the cluster."""
        self._homes.close()
        self._engine.close()
