"""Many clients on one machine: enrolment, faults, and a transport that carries only bytes.

The server's code never holds a client. The parties are behind a transport, in one process (`InProcess`) or in
several (`fedavg.simulation.pool.WorkerPool`), and the transport carries the bytes that a network would carry.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedavg.algorithms.state import FolderStore, MemoryStore
from fedavg.client.client import Client, Probe
from fedavg.client.personal import divided
from fedavg.client.update import ClientContext, train, train_together
from fedavg.errors import LocalProtocolError
from fedavg.protocol.driver import PROTOCOL_ERRORS, Delivery
from fedavg.protocol.messages import RoundStart, decode, is_start
from fedavg.training.compute import CPU
from secagg import Identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from fedavg.algorithms.personal.scores import Score
    from fedavg.algorithms.state import ClientStore
    from fedavg.data.dataset import Dataset
    from fedavg.models.layout import Layout
    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.simulation.faults import Faults
    from fedavg.simulation.interface import Enrolled, Party
    from fedavg.training.compute import Compute
    from fedavg.training.evaluation import Unit

__all__ = ["InProcess", "Population", "ask", "in_process"]


@dataclass(slots=True)
class _Attendance:
    session: tuple[int, int] = (-1, 0)
    stage: int = -1
    silent: bool = False


class Population:
    """The clients of one process: enrolled, then answering messages, with simulated faults.

    Args:
        datasets: each client's own examples.
        faults: simulated drop-outs.
        compute: device and precision of training and scoring.
        unit: unit of labels that were scaled for training.
        headline: name of the run's headline, by which clients are scored as well; "" for none.
        identities: the clients' keys, if they were enrolled before; None makes new ones.
    """

    def __init__(
        self,
        datasets: Mapping[int, Dataset],
        faults: Faults,
        compute: Compute = CPU,
        unit: Unit = ((), ()),
        headline: str = "",
        identities: Mapping[int, Identity] | None = None,
    ) -> None:
        self._compute, self._unit, self._headline = compute, unit, headline
        self._datasets = dict(datasets)
        self._faults = faults
        self._identities = dict(identities or {i: Identity.generate() for i in self._datasets})
        self._clients: dict[int, Client] = {}
        self._ctx: ClientContext | None = None
        self._attendance = {client: _Attendance() for client in self._datasets}

    def publics(self) -> dict[int, bytes]:
        """Public identities, for the directory."""
        return {client: identity.public for client, identity in self._identities.items()}

    def equip(
        self,
        resolution: ResolvedPlan,
        model: nn.Module,
        layout: Layout,
        material: bytes,
        seed: int,
        store: ClientStore | None = None,
    ) -> None:
        """Give every client the plan, a model to train with and the secure sum's material."""
        side = resolution.plan.secure_sum.client_side(material)
        kept = MemoryStore() if store is None else store
        ctx = self._ctx = ClientContext(
            resolution,
            model,
            layout,
            side,
            seed,
            kept,
            compute=self._compute,
            unit=self._unit,
            headline=self._headline,
        )
        self._clients = {
            client: Client(client, data, self._identities[client], ctx)
            for client, data in self._datasets.items()
        }

    def come_back(self, last_round: int, participations: Mapping[int, int]) -> None:
        """Let clients whose process was lost go on after a round, with the participations of each."""
        for client, count in participations.items():
            self._clients[client].come_back(last_round, count)

    def train(self, client_id: int, dataset: Dataset, start: bytes) -> NDArray[np.float64] | None:
        """Compute the update of a client in another process; None if that fails.

        The client's own process then runs into the same error, and reports it.
        """
        if self._ctx is None:
            raise LocalProtocolError("no client is equipped yet")
        personal = self._ctx.resolution.plan.personalization
        if personal is not None and personal.head:
            return None  # the head that the body is trained under exists only in the client's own process
        try:
            told, (own, _) = decode(start), divided(self._ctx, client_id, dataset)
            return train(self._ctx, client_id, own, told) if type(told) is RoundStart else None
        except Exception:  # noqa: BLE001 - a user's module and data may raise anything
            return None

    def train_together(self, outgoing: Mapping[int, Sequence[bytes]]) -> None:
        """Train many clients of a small model at once, where they are about to train; each answers later.

        An error here is ignored, because it occurs again, and is reported, when each client trains alone.
        """
        # The first client's messages decide: all clients of one exchange are in the same stage.
        ctx, asked = self._ctx, list(outgoing.items())
        if ctx is None or len(asked) < 2 or not is_start(b"".join(asked[0][1][:1])):
            return
        with contextlib.suppress(Exception):  # a user's data may raise any error
            start = decode(asked[0][1][0])
            clients = {
                client: self._datasets[client]
                # Only clients that were sent the same model can be stacked.
                for client, messages in asked
                if messages[:1] == asked[0][1][:1] and client not in ctx.trained
            }
            if isinstance(start, RoundStart):
                for client, update in train_together(ctx, clients, start).items():
                    ctx.trained[client] = (start.round, update)

    def take(self, client_id: int, round_index: int, update: NDArray[np.float64]) -> None:
        """Give a client of this process the update that another process has computed for it."""
        if self._ctx is not None:
            self._ctx.trained[client_id] = (round_index, update)

    def deliver(
        self, round_index: int, client_id: int, messages: Sequence[bytes], attempt: int = 0
    ) -> Delivery:
        """Let one client answer; a client that raises counts as dropped out, and its error is recorded."""
        client = self._clients.get(client_id)
        if client is None:
            raise LocalProtocolError(f"client {client_id} does not live here or is not equipped")
        if self._is_silent((round_index, attempt), client_id):
            return Delivery(client_id, ())
        replies: list[bytes] = []
        try:
            for message in messages:
                replies.extend(client.handle(message))
        except Exception as error:  # noqa: BLE001 - a user's module and data may raise anything
            # A client that failed stays silent for the rest of the attempt, like one that crashed.
            self._attendance[client_id].silent = True
            return Delivery(client_id, tuple(replies), f"{type(error).__name__}: {error}")
        return Delivery(client_id, tuple(replies), client.training_error())

    def _is_silent(self, session: tuple[int, int], client_id: int) -> bool:
        seat = self._attendance[client_id]
        if seat.session != session:
            seat.session, seat.stage, seat.silent = session, -1, False
        seat.stage += 1
        silent_from = self._faults.silent_from(
            client_id=client_id, round_index=session[0], attempt=session[1]
        )
        # A client that has fallen silent does not come back within the attempt.
        seat.silent = seat.silent or (silent_from is not None and seat.stage >= silent_from)
        return seat.silent

    def score(self, vector: NDArray[np.float32]) -> list[Score]:
        """Let every client score the released model and its own; only a simulation can do this.

        Args:
            vector: float32[d], the released model.
        """
        scores: list[Score] = []
        for client in self._clients.values():
            with contextlib.suppress(Exception):  # a user's module and data may raise any error
                scores += client.score(vector)
        return scores

    def watch(self, client_id: int) -> None:
        """Put a probe into one client, for a report's pictures."""
        self._clients[client_id].probe = Probe()

    def seen(self, client_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """The record of a client's probe: its encoded update, before and after its noise."""
        probe = self._clients[client_id].probe
        if probe is None or probe.encoded is None or probe.noised is None:
            return None
        return probe.encoded, probe.noised


class InProcess:
    """The `Simulation` of a population and other parties in this process.

    Args:
        population: the clients.
        model: the module that clients take turns to train with.
        layout: layout of its trained parameters.
    """

    def __init__(self, population: Population, model: nn.Module, layout: Layout) -> None:
        self._population, self._model, self._layout = population, model, layout
        self._parties: dict[int, Party] = {}
        self.round_index, self.attempt = -1, 0

    def publics(self) -> dict[int, bytes]:
        """Public identities of all clients."""
        return self._population.publics()

    def equip(
        self, resolution: ResolvedPlan, material: bytes, seed: int, store: Path | None
    ) -> None:
        """See `Simulation.equip`."""
        kept = None if store is None else FolderStore(store)
        self._population.equip(resolution, self._model, self._layout, material, seed, kept)

    def add_party(self, address: int, party: Party) -> None:
        """Attach a party that is no client, such as the key holder."""
        self._parties[address] = party

    def begin_round(self, round_index: int, attempt: int = 0) -> None:
        """Tell the simulation (not the clients) which round's faults apply."""
        self.round_index, self.attempt = round_index, attempt

    def exchange(self, outgoing: Mapping[int, Sequence[bytes]]) -> Iterator[Delivery]:
        """Deliver to one party after the other."""
        self._population.train_together(
            {address: told for address, told in outgoing.items() if address not in self._parties}
        )
        for address, messages in outgoing.items():
            party = self._parties.get(address)
            if party is None:
                yield self._population.deliver(self.round_index, address, messages, self.attempt)
            else:
                yield ask(address, party, messages)

    def score(self, vector: NDArray[np.float32]) -> list[Score]:
        """See `Population.score`."""
        return self._population.score(vector)

    def watch(self, client_id: int) -> None:
        """See `Population.watch`."""
        self._population.watch(client_id)

    def seen(self, client_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """See `Population.seen`."""
        return self._population.seen(client_id)

    def close(self) -> None:
        """Nothing to close."""


def in_process(enrolled: Enrolled) -> InProcess:
    """Clients in this process: the simulation of a federation without workers."""
    how = (enrolled.compute, enrolled.unit, enrolled.headline)
    population = Population(enrolled.datasets, enrolled.faults, *how)
    return InProcess(population, enrolled.model, enrolled.layout)


def ask(address: int, party: Party, messages: Sequence[bytes]) -> Delivery:
    """Let a party that is no client answer."""
    replies: list[bytes] = []
    try:
        for message in messages:
            replies.extend(party.handle(message))
    # The key holder is this package's own code, so any other error is a fault and is not hidden.
    except PROTOCOL_ERRORS as error:
        return Delivery(address, (), f"{type(error).__name__}: {error}")
    return Delivery(address, tuple(replies))
