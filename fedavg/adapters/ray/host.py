"""The clients of one actor: what runs in a process of the cluster, with bytes as arguments and answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from fedavg.adapters.ray.keys import keep_keys, kept_keys
from fedavg.adapters.ray.place import Place
from fedavg.errors import LocalProtocolError
from fedavg.simulation.faults import Faults
from fedavg.simulation.messages import (
    Answers,
    Enrol,
    Equip,
    Exchange,
    Publics,
    Scores,
    Seen,
    encode,
)
from fedavg.simulation.population import Population
from fedavg.simulation.shared_memory import SharedBuffers
from fedavg.simulation.worker import dataset_of, equip
from fedavg.training.compute import Compute
from fedavg.training.threads import one_thread
from secagg import Identity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedavg.simulation.shared_memory import BufferRef

__all__ = ["Host", "Return"]


class Return(msgspec.Struct, frozen=True, array_like=True):
    """What clients need to come back after their process was lost.

    Args:
        folder: folder of their keys.
        last_round: the last round in which they may have sent anything.
        participations: number of sums that each has taken part in.
    """

    folder: str
    last_round: int
    participations: dict[int, int]


class Host:
    """Some clients of a federation, in a process of their own.

    Their keys are made here.  Between two calls nothing but bytes enters or leaves.
    """

    def __init__(self) -> None:
        self._population: Population | None = None
        self._identities: dict[int, Identity] = {}

    def enrol(self, place: bytes, request: bytes) -> bytes:
        """Make the clients and their keys.

        Args:
            place: bytes of a `Place`.
            request: bytes of an `Enrol`.

        Returns:
            bytes of `Publics`.

        Raises:
            LocalProtocolError: this node differs from the program's.
        """
        Place.of_bytes(place).enter()
        asked = msgspec.msgpack.decode(request, type=Enrol)
        made = {holding.client: Identity.generate() for holding in asked.holdings}
        return self._enrolled(asked, made)

    def equip(self, request: bytes, folder: str) -> bytes:
        """Keep the clients' keys in a folder, and give the clients the plan and the sum's material.

        Args:
            request: bytes of an `Equip`.
            folder: folder for the keys of this run.

        Raises:
            LocalProtocolError: this node does not share the folder.
        """
        keep_keys(Path(folder), self._identities)
        equip(self._clients, msgspec.msgpack.decode(request, type=Equip))
        return b""

    def come_back(self, place: bytes, enrol: bytes, request: bytes, back: bytes) -> bytes:
        """Take the place of a lost process: the same clients, with their keys and states from the folder.

        Args:
            place: bytes of a `Place`.
            enrol: bytes of an `Enrol`.
            request: bytes of an `Equip`.
            back: bytes of a `Return`.

        Returns:
            bytes of `Publics`, for comparison with those at enrolment.
        """
        Place.of_bytes(place).enter()
        asked = msgspec.msgpack.decode(enrol, type=Enrol)
        facts = msgspec.msgpack.decode(back, type=Return)
        clients = [holding.client for holding in asked.holdings]
        publics = self._enrolled(asked, kept_keys(Path(facts.folder), clients))
        equip(self._clients, msgspec.msgpack.decode(request, type=Equip))
        self._clients.come_back(facts.last_round, facts.participations)
        return publics

    def exchange(self, request: bytes, *stored: bytes) -> bytes:
        """Let clients answer.

        Args:
            request: bytes of an `Exchange`; a place in it is a number in `stored`.
            stored: long messages to several clients, from the object store.

        Returns:
            bytes of `Answers`.
        """
        asked = msgspec.msgpack.decode(request, type=Exchange)
        population = self._clients
        told = {
            client: [_read(message, stored) for message in messages]
            for client, messages in asked.outgoing
        }
        answers: list[tuple[int, list[bytes | BufferRef], str | None]] = []
        with one_thread():
            population.train_together(told)
            for client, messages in told.items():
                found = population.deliver(asked.round, client, messages, asked.attempt)
                answers.append((client, list(found.messages), found.failure))
        return encode(Answers(answers, last=True))

    def score(self, vector: bytes) -> bytes:
        """Let every client score a model, float32, and its own.

        Returns:
            bytes of `Scores`.
        """
        with one_thread():
            return encode(Scores(self._clients.score(np.frombuffer(vector, dtype="<f4"))))

    def watch(self, client: int) -> bytes:
        """Put a probe into a client."""
        self._clients.watch(client)
        return b""

    def seen(self, client: int) -> bytes:
        """The record of a client's probe, as bytes of `Seen`; b"" without one."""
        found = self._clients.seen(client)
        return b"" if found is None else encode(Seen(found[0].tobytes(), found[1].tobytes()))

    @property
    def _clients(self) -> Population:
        if self._population is None:
            raise LocalProtocolError("enrolment comes first")
        return self._population

    def _enrolled(self, asked: Enrol, identities: Mapping[int, Identity]) -> bytes:
        inline = SharedBuffers((), 0)
        self._identities = dict(identities)
        self._population = Population(
            {holding.client: dataset_of(holding, inline) for holding in asked.holdings},
            Faults(asked.fault_rate, asked.fault_seed),
            Compute(asked.device, asked.precision),
            asked.unit,
            asked.headline,
            self._identities,
        )
        return encode(Publics(self._population.publics()))


def _read(message: bytes | BufferRef, stored: tuple[bytes, ...]) -> bytes:
    # The class of a message's place is the protocol's own closed set, as in the pool of processes.
    return message if isinstance(message, bytes) else stored[message.board]
