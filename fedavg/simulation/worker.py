"""The worker's side of a pool's pipe: one process with its clients and one intra-op thread.

Identities are generated here, and their private keys never leave the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedavg.algorithms.state import FolderStore, MemoryStore
from fedavg.data.dataset import Dataset, target_kind
from fedavg.errors import FedAvgError, LocalProtocolError
from fedavg.models.files import rest_digest
from fedavg.models.layout import Layout
from fedavg.plan.codec import plan_from_bytes
from fedavg.plan.resolution import resolve
from fedavg.protocol.messages import is_start
from fedavg.simulation.faults import Faults
from fedavg.simulation.messages import (
    Acknowledged,
    Answers,
    Done,
    Enrol,
    Equip,
    Exchange,
    Failed,
    Publics,
    ScoreAll,
    Scores,
    Seen,
    Trained,
    TrainElsewhere,
    Watch,
    decode_request,
    encode,
)
from fedavg.simulation.population import Population
from fedavg.simulation.shared_memory import SharedBuffers, receive_buffers
from fedavg.training.compute import Compute
from fedavg.training.setup import set_apart

if TYPE_CHECKING:
    from fedavg.simulation.messages import ClientData, Reply, Request
    from fedavg.simulation.shared_memory import BufferRef, Pipe

__all__ = ["dataset_of", "equip", "serve"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # parameters of mallopt(3)
_BATCH = 8  # number of answers that a worker sends at once
_BOARD = 1 << 26  # largest number of unread bytes on the board


class _Worker:
    def __init__(self, pipe: Pipe, buffers: SharedBuffers) -> None:
        self._pipe = pipe
        self._buffers = buffers
        self._population: Population | None = None
        self._untaken = 0  # number of batches and updates on the board that have not been read yet
        self._later: deque[Request] = deque()

    def serve(self) -> None:
        with contextlib.suppress(
            EOFError, OSError
        ):  # the main process has ended, or closed the pipe
            while True:
                request = self._later.popleft() if self._later else self._receive()
                # An error of this package is reported to the pool; the worker stays ready for the next
                # request.
                try:
                    self._answer(request)
                except FedAvgError as error:
                    self._send(Failed(f"{type(error).__name__}: {error}"))

    def _receive(self) -> Request:
        return decode_request(self._pipe.recv_bytes())

    def _send(self, reply: Reply) -> None:
        self._pipe.send_bytes(encode(reply))

    def _answer(self, request: Request) -> None:
        if isinstance(request, Acknowledged):
            self._untaken -= 1
            return
        if isinstance(request, Enrol):
            self._enrol(request)
            return
        population = self._population
        if population is None:
            raise LocalProtocolError("enrolment comes first")
        if isinstance(request, Equip):
            equip(population, request)
            self._send(Done())
        elif isinstance(request, Exchange):
            self._exchange(population, request)
        elif isinstance(request, TrainElsewhere):
            self._lend(population, request)
        elif isinstance(request, Watch):
            population.watch(request.client)
            self._send(Done())
        elif isinstance(request, ScoreAll):
            vector = np.frombuffer(request.model, dtype="<f4")
            self._send(Scores(population.score(vector)))
        else:
            seen = population.seen(request.client)
            self._send(Done() if seen is None else Seen(seen[0].tobytes(), seen[1].tobytes()))

    def _enrol(self, request: Enrol) -> None:
        buffers = self._buffers
        datasets = {holding.client: dataset_of(holding, buffers) for holding in request.holdings}
        faults = Faults(request.fault_rate, request.fault_seed)
        compute = Compute(request.device, request.precision)
        how = (compute, request.unit, request.headline)
        self._population = Population(datasets, faults, *how)
        self._send(Publics(self._population.publics()))

    def _lend(self, population: Population, request: TrainElsewhere) -> None:
        client, dataset = request.holding.client, dataset_of(request.holding, self._buffers)
        update = population.train(client, dataset, self._buffers.read(request.start))
        if update is None:
            self._send(Trained(client, None))
            return
        self._make_room(update.nbytes, pending=False)
        self._untaken += 1
        self._send(Trained(client, self._buffers.put(update.tobytes())))

    def _exchange(self, population: Population, request: Exchange) -> None:
        for client, place in request.trained.items():
            update = np.frombuffer(self._buffers.read(place), np.float64)
            population.take(client, request.round, update)
        read: dict[BufferRef | bytes, bytes] = {}  # one copy of a message to several clients
        # All clients of one exchange are in the same stage, so the first message shows which one.
        first = self._buffers.read(request.outgoing[0][1][0])
        if is_start(first):
            place = request.outgoing[0][1][0]
            read[place] = first
            told = {client: (first,) for client, sent in request.outgoing if sent[0] == place}
            population.train_together(told)
        batch: list[tuple[int, list[bytes | BufferRef], str | None]] = []
        for client, messages in request.outgoing:
            for message in messages:
                if message not in read:
                    read[message] = self._buffers.read(message)
            delivery = population.deliver(
                request.round, client, [read[message] for message in messages], request.attempt
            )
            size = sum(map(len, delivery.messages))
            # Answers are handed in by batches, so that the server can work while others are computed.
            if batch and (len(batch) == _BATCH or self._buffers.written + size > _BOARD):
                self._hand_in(batch, last=False)
                batch = []
            self._make_room(size, pending=bool(batch))
            posted = [self._buffers.put(message) for message in delivery.messages]
            batch.append((client, posted, delivery.failure))
        self._hand_in(batch, last=True)

    def _hand_in(
        self, batch: list[tuple[int, list[bytes | BufferRef], str | None]], *, last: bool
    ) -> None:
        self._untaken += 1
        self._send(Answers(batch, last=last))

    def _make_room(self, size: int, *, pending: bool) -> None:
        """Empty the board once everything on it has been read; wait for that when the board is full."""
        while self._untaken > 0 and self._buffers.written + size > _BOARD:
            # Requests that arrive meanwhile wait: only an acknowledgement frees the board.
            request = self._receive()
            if isinstance(request, Acknowledged):
                self._untaken -= 1
            else:
                self._later.append(request)
        # The answers of an unsent batch are on the board too, so it must not be emptied under them.
        if self._untaken <= 0 and not pending:
            self._buffers.reset()


def dataset_of(holding: ClientData, buffers: SharedBuffers) -> Dataset:
    """A client's examples, as they were sent or as they lie on a buffer."""
    features = buffers.array(holding.features, np.float32, holding.shape)
    kind = target_kind(holding.target)
    labels = buffers.array(holding.labels, kind.dtype, holding.labels_shape)
    weights = None
    if holding.weights is not None:
        weights = buffers.array(holding.weights, np.float32, holding.shape[:1])
    return Dataset(features, labels, kind, weights)


def equip(population: Population, request: Equip) -> None:
    """Give the clients of this process the plan, a model and the secure sum's material."""
    model, plan = request.model.build(), plan_from_bytes(request.plan)
    personal = plan.personalization
    set_apart(model, () if personal is None else personal.head)
    layout = Layout.of(model)
    # The plan is resolved again here; another model or plan would have another digest, and join no sum.
    resolution = resolve(
        plan,
        num_clients=request.num_clients,
        vector_length=layout.size,
        num_rounds=request.num_rounds,
        largest_client=request.largest_client,
        rest=rest_digest(model),
    )
    store = MemoryStore() if request.store is None else FolderStore(Path(request.store))
    population.equip(resolution, model, layout, request.material, request.seed, store)


def _keep_freed_memory() -> None:
    """Let vectors be freed and allocated without new pages from the system each time."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another libc has another allocator
            allocator = ctypes.CDLL(None)
            allocator.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
            allocator.mallopt(_M_TRIM_THRESHOLD, 64 << 20)


def serve(pipe: Pipe, buffers: int, own: int) -> None:
    """Run a worker until its pipe closes.

    Args:
        pipe: pipe to the pool.
        buffers: number of open files that the pool sends first.
        own: number of the board that this process writes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _keep_freed_memory()
    _Worker(pipe, SharedBuffers(receive_buffers(pipe, buffers), own)).serve()
