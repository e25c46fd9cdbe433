"""Clients in worker processes: they exchange the same bytes, and each process uses one intra-op thread.

Where the system can (Linux), processes are forked from a server (`fedavg.simulation.fork_server`). The server
is a new interpreter that has loaded torch and nothing else, so that workers inherit no secret, thread or lock
of the calling process, and torch is loaded once for all workers.  Elsewhere workers are spawned.

Messages in pipes are msgpack; long data is on buffers (`fedavg.simulation.shared_memory`).
"""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter, deque
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fedavg import checks
from fedavg.errors import LocalProtocolError
from fedavg.protocol.driver import Delivery
from fedavg.simulation.fork_server import FORKS, ignoring_sigint, start_early
from fedavg.simulation.messages import (
    Acknowledged,
    Answers,
    ClientData,
    Enrol,
    Equip,
    Exchange,
    Failed,
    Publics,
    ScoreAll,
    Scores,
    See,
    Seen,
    Trained,
    TrainElsewhere,
    Watch,
    decode_reply,
    encode,
)
from fedavg.simulation.population import ask
from fedavg.simulation.shared_memory import SharedBuffer, SharedBuffers, send_buffers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from numpy.typing import NDArray

    from fedavg.algorithms.personal.scores import Score
    from fedavg.data.dataset import Dataset
    from fedavg.models.spec import ModelSpec
    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.simulation.faults import Faults
    from fedavg.simulation.interface import Enrolled, Party
    from fedavg.simulation.messages import Reply, Request
    from fedavg.simulation.shared_memory import BufferRef, Pipe
    from fedavg.training.compute import Compute
    from fedavg.training.evaluation import Unit

__all__ = ["WorkerPool", "worker_pool"]

_SHARES = os.name == "posix"  # open files can be passed to another process
_DATA, _SERVER = 0, 1  # numbers of buffers; worker w writes board 2 + w


def _serve(pipe: Pipe, buffers: int, own: int) -> None:
    from fedavg.simulation.worker import serve  # noqa: PLC0415 - loads torch, in the worker

    serve(pipe, buffers, own)


_Sent: TypeAlias = "tuple[int, list[bytes | BufferRef]]"


@dataclass(frozen=True, slots=True)
class _Borrowed:
    """A client that another worker trains.

    Args:
        worker: number of that worker.
        sent: the client, and the messages to it.
    """

    worker: int
    sent: _Sent


class WorkerPool:
    """A transport to clients in `workers` processes, client i in process i mod workers.

    A round's draw rarely loads all processes equally, so idle processes train clients of the others.

    Args:
        datasets: each client's own examples; they are copied to the workers and not kept here.
        spec: how every process builds its model.
        workers: number of processes, at least one.
        faults: simulated drop-outs.
        compute: device and precision of training and scoring.
        unit: unit of labels that were scaled for training.
        headline: name of the run's headline, by which clients are scored as well; "" for none.
    """

    def __init__(
        self,
        datasets: Mapping[int, Dataset],
        spec: ModelSpec,
        *,
        workers: int,
        faults: Faults,
        compute: Compute | None = None,
        unit: Unit = ((), ()),
        headline: str = "",
    ) -> None:
        workers = checks.usage.whole("workers", workers)
        # A caller that did not start the server early gets it here; a second call does nothing.
        start_early()
        self._spec = spec
        self._parties: dict[int, Party] = {}
        self._round, self._attempt = -1, 0
        self._pipes: list[Pipe] = []
        self._processes: list[BaseProcess] = []
        self._waiting: Counter[Pipe] = Counter()  # outstanding last answers and updates, by pipe
        self._starts = False  # whether the next exchange begins a round
        self._balances = False
        self._lent: dict[int, _Borrowed] = {}
        # Clients are spread by their order, so that any ids fill all processes equally.
        self._home = {client: i % workers for i, client in enumerate(sorted(datasets))}
        buffers = [SharedBuffer.create() for _ in range(2 + workers)] if _SHARES else []
        self._buffers = SharedBuffers(buffers, _SERVER)
        self._holdings = {
            client: ClientData.of(client, data, self._buffers, _DATA)
            for client, data in sorted(datasets.items())
        }
        forks = FORKS and multiprocessing.get_context("forkserver")
        context = forks or multiprocessing.get_context("spawn")
        for worker in range(workers):
            near, far = context.Pipe()
            process = context.Process(
                target=_serve, args=(far, len(buffers), 2 + worker), daemon=True
            )
            with ignoring_sigint():
                process.start()
            # With this end open, the pool would not notice that the worker has died.
            far.close()
            self._pipes.append(near)
            self._processes.append(process)
            send_buffers(near, process.pid or 0, buffers)
            mine = [held for client, held in self._holdings.items() if self._home[client] == worker]
            device = "cpu" if compute is None else compute.device
            precision = "float32" if compute is None else compute.precision
            how = (faults.rate, faults.seed, device, precision, unit, headline)
            self._send(worker, Enrol(mine, *how))

    def publics(self) -> dict[int, bytes]:
        """Public identities of all clients, generated in their processes."""
        publics: dict[int, bytes] = {}
        for worker in range(len(self._pipes)):
            reply = self._receive(worker)
            if isinstance(reply, Publics):
                publics.update(reply.publics)
        return publics

    def equip(
        self, resolution: ResolvedPlan, material: bytes, seed: int, store: Path | None
    ) -> None:
        """Let every process build the plan, the model and the secure sum's material.

        Args:
            resolution: the resolved plan.
            material: the clients' material of the secure sum; it may be secret.
            seed: public seed of the order of examples.
            store: folder for the clients' own states; None keeps them in memory.
        """
        request = Equip.of(resolution, self._spec, material, seed, store)
        # Corrected steps need the state that a client keeps, and therefore its own process.
        self._balances = not any(stage.corrects for stage in resolution.plan.stages)
        for worker in range(len(self._pipes)):
            self._send(worker, request)
        for worker in range(len(self._pipes)):
            self._receive(worker)

    def add_party(self, address: int, party: Party) -> None:
        """Attach a party that lives in this process, such as the key holder."""
        self._parties[address] = party

    def begin_round(self, round_index: int, attempt: int = 0) -> None:
        """Tell the simulation (not the clients) which round's faults apply."""
        self._round, self._attempt, self._starts = round_index, attempt, True

    def exchange(self, outgoing: Mapping[int, Sequence[bytes]]) -> Iterator[Delivery]:
        """Deliver to all processes at once, and yield answers in the order of arrival."""
        # The board is written anew, so every worker must be done with what it holds.
        self._drain()
        self._buffers.reset()
        posted: dict[
            int, bytes | BufferRef
        ] = {}  # by identity: one copy for all clients with the same message
        portions: list[list[_Sent]] = [[] for _ in self._pipes]
        for address, messages in outgoing.items():
            if address in self._parties:
                yield ask(address, self._parties[address], messages)
                continue
            for message in messages:
                if id(message) not in posted:
                    posted[id(message)] = self._buffers.put(message)
            places = [posted[id(message)] for message in messages]
            portions[self._home[address]].append((address, places))
        # Only training takes long enough to be worth a transfer.
        loans = self._balance(portions) if self._starts and self._balances else []
        self._starts = False
        for worker, portion in enumerate(portions):
            if portion:
                self._ask(worker, Exchange(self._round, portion, attempt=self._attempt))
        for loan in loans:
            client, places = loan.sent
            self._lent[client] = loan
            self._ask(loan.worker, TrainElsewhere(self._holdings[client], places[0]))
        yield from self._collect()

    def _balance(self, portions: list[list[_Sent]]) -> list[_Borrowed]:
        """Take clients from long portions, for idle workers to train.

        The client itself, with its keys and its state, stays in its own process; its update is returned to
        that process.
        """
        loans: list[_Borrowed] = []
        lengths = [len(portion) for portion in portions]
        # A difference of one cannot be made smaller by moving a client.
        while max(lengths) - min(lengths) > 1:
            longest, shortest = lengths.index(max(lengths)), lengths.index(min(lengths))
            loans.append(_Borrowed(shortest, portions[longest].pop()))
            lengths[longest] -= 1
            lengths[shortest] += 1
        return loans

    def _ask(self, worker: int, request: Exchange | TrainElsewhere) -> None:
        self._send(worker, request)
        self._waiting[self._pipes[worker]] += 1

    def _drain(self) -> None:
        """Discard unread answers of an interrupted exchange, so that they answer no later request."""
        deque(self._collect(), maxlen=0)

    def _collect(self) -> Iterator[Delivery]:
        while self._waiting:
            for ready in wait(list(self._waiting)):
                worker = next(w for w, pipe in enumerate(self._pipes) if pipe is ready)
                reply = self._receive(worker)
                if isinstance(reply, Trained):
                    self._heard(worker)
                    self._return(reply)
                elif isinstance(reply, Answers):
                    yield from self._deliver(worker, reply)
                else:
                    raise LocalProtocolError("a worker sent an answer that was not requested")

    def _heard(self, worker: int) -> None:
        pipe = self._pipes[worker]
        self._waiting[pipe] -= 1
        if not self._waiting[pipe]:
            del self._waiting[pipe]

    def _return(self, trained: Trained) -> None:
        """Give the update of a lent client to its own process, where the client answers with it."""
        loan = self._lent.get(trained.client)
        if loan is None:  # the client's own process has failed meanwhile
            return
        # Without an update the client's own process trains, and reports any error itself.
        update = {} if trained.update is None else {trained.client: trained.update}
        if not update:
            del self._lent[trained.client]
        home = self._home[trained.client]
        self._ask(home, Exchange(self._round, [loan.sent], update, self._attempt))

    def _deliver(self, worker: int, answers: Answers) -> list[Delivery]:
        if answers.last:
            self._heard(worker)
        deliveries = [
            Delivery(address, [self._buffers.read(message) for message in messages], failure)
            for address, messages, failure in answers.deliveries
        ]
        # The worker may reuse the space on its board once this has been read.
        self._send(worker, Acknowledged())
        self._settle([delivery.party for delivery in deliveries])
        return deliveries

    def _settle(self, clients: Sequence[int]) -> None:
        """Tell the workers that trained these clients that the updates have been read."""
        for loan in [self._lent.pop(client) for client in clients if client in self._lent]:
            self._send(loan.worker, Acknowledged())

    def watch(self, client_id: int) -> None:
        """Put a probe into one client, for a report's pictures."""
        self._drain()
        worker = self._home[client_id]
        self._send(worker, Watch(client_id))
        self._receive(worker)

    def seen(self, client_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """The record of a client's probe: its encoded update, before and after its noise."""
        self._drain()
        worker = self._home[client_id]
        self._send(worker, See(client_id))
        reply = self._receive(worker)
        if not isinstance(reply, Seen):
            return None
        encoded, noised = (np.frombuffer(part, np.int64) for part in (reply.encoded, reply.noised))
        return encoded, noised

    def score(self, vector: NDArray[np.float32]) -> list[Score]:
        """Let every client score the released model and its own, all processes at once.

        Args:
            vector: float32[d], the released model.
        """
        self._drain()
        for worker in range(len(self._pipes)):
            self._send(worker, ScoreAll(vector.astype("<f4").tobytes()))
        replies = [self._receive(worker) for worker in range(len(self._pipes))]
        scores = [s for reply in replies if isinstance(reply, Scores) for s in reply.scores]
        return sorted(scores, key=lambda score: score.client)

    def _send(self, worker: int, request: Request) -> None:
        try:
            self._pipes[worker].send_bytes(encode(request))
        # A dead worker ends the exchange: its clients' keys and states were in that process only.
        except (BrokenPipeError, ConnectionError) as error:
            raise LocalProtocolError(f"worker process {worker} has died") from error

    def _receive(self, worker: int) -> Reply:
        try:
            reply = decode_reply(self._pipes[worker].recv_bytes())
        except (EOFError, ConnectionError) as error:
            raise LocalProtocolError(f"worker process {worker} has died") from error
        if isinstance(reply, Failed):
            # The worker answers nothing else to this exchange, so nobody waits for it any more.
            del self._waiting[self._pipes[worker]]
            self._settle([client for client in self._lent if self._home[client] == worker])
            raise LocalProtocolError(f"worker process {worker}: {reply.reason}")
        return reply

    def close(self) -> None:
        """End the processes that this pool started."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            # A worker ends when its pipe is closed; one that still computes is stopped after a while.
            process.join(timeout=5)
            if process.is_alive():
                process.terminate()
                process.join()
        self._buffers.close()


def worker_pool(enrolled: Enrolled, *, workers: int) -> WorkerPool:
    """Clients in worker processes: the simulation of a federation with workers.

    Raises:
        LocalProtocolError: the federation was given a module, which other processes cannot build.
    """
    if enrolled.spec is None:
        raise LocalProtocolError("worker processes build their own models: give a ModelSpec")
    return WorkerPool(
        enrolled.datasets,
        enrolled.spec,
        workers=workers,
        faults=enrolled.faults,
        compute=enrolled.compute,
        unit=enrolled.unit,
        headline=enrolled.headline,
    )
