"""Clients spread over worker processes: the same bytes, one intra-op thread a process.

Processes are spawned, and everything that crosses a pipe is msgpack: no pickle of data or keys.
Identities are generated in the worker and their private halves never leave it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from fedavg.client_state import FolderStore, MemoryStore
from fedavg.errors import FedAvgError, LocalProtocolError
from fedavg.model_spec import ModelSpec  # noqa: TC001 - read by msgspec
from fedavg.rounds import Delivery
from fedavg.simulate import Faults, Party, Population, ask

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection, PipeConnection
    from multiprocessing.process import BaseProcess
    from typing import TypeAlias

    from numpy.typing import NDArray

    from fedavg.data import Dataset
    from fedavg.resolution import Resolution

if TYPE_CHECKING:
    _Pipe: TypeAlias = Connection | PipeConnection

__all__ = ["WorkerPool"]

_BATCH = 8  # answers a worker gathers before it sends them


class _Enrol(msgspec.Struct, frozen=True, array_like=True, tag="enrol"):
    ids: list[int]
    sizes: list[int]
    shape: list[int]
    features: bytes
    labels: bytes
    fault_rate: float
    fault_seed: int


class _Equip(msgspec.Struct, frozen=True, array_like=True, tag="equip"):
    plan: bytes
    num_clients: int
    num_rounds: int
    largest_client: int
    model: ModelSpec
    material: bytes
    seed: int
    store: str | None

    def __repr__(self) -> str:
        return "_Equip(<redacted>)"  # the material may hold a secret key


class _Exchange(msgspec.Struct, frozen=True, array_like=True, tag="exchange"):
    round: int
    outgoing: list[tuple[int, list[bytes]]]


class _Watch(msgspec.Struct, frozen=True, array_like=True, tag="watch"):
    client: int


class _See(msgspec.Struct, frozen=True, array_like=True, tag="see"):
    client: int


class _Publics(msgspec.Struct, frozen=True, array_like=True, tag="publics"):
    publics: dict[int, bytes]


class _Answers(msgspec.Struct, frozen=True, array_like=True, tag="answers"):
    deliveries: list[tuple[int, list[bytes], str | None]]
    last: bool


class _Seen(msgspec.Struct, frozen=True, array_like=True, tag="seen"):
    encoded: bytes
    noised: bytes


class _Done(msgspec.Struct, frozen=True, array_like=True, tag="done"):
    pass


class _Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    reason: str


_Request = _Enrol | _Equip | _Exchange | _Watch | _See
_Reply = _Publics | _Answers | _Seen | _Done | _Failed
_ENCODER = msgspec.msgpack.Encoder()
_REQUESTS = msgspec.msgpack.Decoder(_Request)
_REPLIES = msgspec.msgpack.Decoder(_Reply)


class _Worker:
    """The far end of one pipe."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe
        self._population: Population | None = None

    def serve(self) -> None:
        with contextlib.suppress(
            EOFError, OSError
        ):  # the main process has gone, or closed the pipe
            while True:
                request = _REQUESTS.decode(self._pipe.recv_bytes())
                try:
                    self._answer(request)
                except FedAvgError as error:
                    self._send(_Failed(f"{type(error).__name__}: {error}"))

    def _send(self, reply: _Reply) -> None:
        self._pipe.send_bytes(_ENCODER.encode(reply))

    def _answer(self, request: _Request) -> None:
        if isinstance(request, _Enrol):
            self._population = Population(
                _unpack(request), Faults(request.fault_rate, request.fault_seed)
            )
            self._send(_Publics(self._population.publics()))
            return
        population = self._population
        if population is None:
            raise LocalProtocolError("enrolment comes first")
        if isinstance(request, _Equip):
            _equip(population, request)
            self._send(_Done())
        elif isinstance(request, _Exchange):
            self._exchange(population, request)
        elif isinstance(request, _Watch):
            population.watch(request.client)
            self._send(_Done())
        else:
            seen = population.seen(request.client)
            reply = _Done() if seen is None else _Seen(seen[0].tobytes(), seen[1].tobytes())
            self._send(reply)

    def _exchange(self, population: Population, request: _Exchange) -> None:
        batch: list[tuple[int, list[bytes], str | None]] = []
        for client, messages in request.outgoing:
            delivery = population.deliver(request.round, client, messages)
            batch.append((client, list(delivery.messages), delivery.failure))
            if len(batch) == _BATCH:
                self._send(_Answers(batch, last=False))
                batch = []
        self._send(_Answers(batch, last=True))


def _unpack(request: _Enrol) -> dict[int, Dataset]:
    from fedavg.data import Dataset  # noqa: PLC0415 - the worker's own start-up

    features = np.frombuffer(request.features, dtype=np.float32)
    features = features.reshape(-1, *request.shape)
    labels = np.frombuffer(request.labels, dtype=np.int64)
    ends = np.cumsum(request.sizes)
    return {
        client: Dataset(features[end - size : end], labels[end - size : end])
        for client, size, end in zip(request.ids, request.sizes, ends, strict=True)
    }


def _equip(population: Population, request: _Equip) -> None:
    from fedavg.blueprint import plan_from_bytes  # noqa: PLC0415 - the worker's own start-up
    from fedavg.tensors import Layout  # noqa: PLC0415 - the worker's own start-up
    from fedavg.transfer import rest_digest  # noqa: PLC0415 - the worker's own start-up

    model = request.model.build()
    layout = Layout.of(model)
    resolution = plan_from_bytes(request.plan).resolve(
        num_clients=request.num_clients,
        vector_length=layout.size,
        num_rounds=request.num_rounds,
        largest_client=request.largest_client,
        rest=rest_digest(model),
    )
    store = MemoryStore() if request.store is None else FolderStore(Path(request.store))
    population.equip(resolution, model, layout, request.material, request.seed, store)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Generator[None]:
    """Let a child inherit an ignored SIGINT: the main process decides when to stop."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and only it gets the signal
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(pipe: _Pipe) -> None:
    """Run a worker until its pipe closes."""
    import torch  # noqa: PLC0415 - the worker's own start-up

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _Worker(pipe).serve()


class WorkerPool:
    """A transport to clients in `workers` processes, client i in process i mod workers.

    Args:
        datasets: each client's own examples.
        spec: how every process builds its model.
        workers: processes, at least one.
        faults: simulated drop-outs.
    """

    def __init__(
        self, datasets: Mapping[int, Dataset], spec: ModelSpec, *, workers: int, faults: Faults
    ) -> None:
        if workers < 1:
            raise LocalProtocolError(f"a pool needs at least one worker, not {workers}")
        self._spec = spec
        self._parties: dict[int, Party] = {}
        self._round = -1
        self._pipes: list[_Pipe] = []
        self._processes: list[BaseProcess] = []
        self._home = {client: i % workers for i, client in enumerate(sorted(datasets))}
        context = multiprocessing.get_context("spawn")
        for _ in range(workers):
            near, far = context.Pipe()
            process = context.Process(target=_serve, args=(far,), daemon=True)
            with _deaf_to_interrupts():
                process.start()
            far.close()
            self._pipes.append(near)
            self._processes.append(process)
        for worker in range(workers):
            mine = {
                client: datasets[client] for client, home in self._home.items() if home == worker
            }
            self._send(worker, _pack(mine, faults))

    def publics(self) -> dict[int, bytes]:
        """Public identities of all clients, generated in their processes."""
        publics: dict[int, bytes] = {}
        for worker in range(len(self._pipes)):
            reply = self._receive(worker)
            if isinstance(reply, _Publics):
                publics.update(reply.publics)
        return publics

    def equip(self, resolution: Resolution, material: bytes, seed: int, store: Path | None) -> None:
        """Let every process build the plan, the model and the secure sum's material.

        Args:
            resolution: the plan.
            material: the clients', of the secure sum; may be secret.
            seed: public seed of the order of examples.
            store: folder for the clients' own states; None keeps them in memory.
        """
        from fedavg.blueprint import plan_to_bytes  # noqa: PLC0415 - imports every part of a plan

        request = _Equip(
            plan=plan_to_bytes(resolution.plan),
            num_clients=resolution.num_clients,
            num_rounds=resolution.num_rounds,
            largest_client=resolution.max_weight if resolution.plan.weighted else 1,
            model=self._spec,
            material=material,
            seed=seed,
            store=None if store is None else str(store),
        )
        for worker in range(len(self._pipes)):
            self._send(worker, request)
        for worker in range(len(self._pipes)):
            self._receive(worker)

    def add_party(self, address: int, party: Party) -> None:
        """Attach a party that lives in this process, such as the key holder."""
        self._parties[address] = party

    def begin_round(self, round_index: int) -> None:
        """Tell the simulation (not the clients) which round's faults apply."""
        self._round = round_index

    def exchange(self, outgoing: Mapping[int, Sequence[bytes]]) -> Iterator[Delivery]:
        """Deliver to all processes at once and yield answers as they come."""
        portions: list[list[tuple[int, list[bytes]]]] = [[] for _ in self._pipes]
        for address, messages in outgoing.items():
            if address in self._parties:
                yield ask(address, self._parties[address], messages)
            else:
                portions[self._home[address]].append((address, list(messages)))
        waiting: dict[_Pipe, int] = {}
        for worker, portion in enumerate(portions):
            if portion:
                self._send(worker, _Exchange(self._round, portion))
                waiting[self._pipes[worker]] = worker
        while waiting:
            for ready in wait(list(waiting)):
                worker = next(w for pipe, w in waiting.items() if pipe is ready)
                answers = self._receive(worker)
                if not isinstance(answers, _Answers):
                    raise LocalProtocolError("a worker gave an answer that was not asked for")
                if answers.last:
                    del waiting[self._pipes[worker]]
                for address, messages, failure in answers.deliveries:
                    yield Delivery(address, messages, failure)

    def watch(self, client_id: int) -> None:
        """Put a probe into one client, for a report's pictures."""
        worker = self._home[client_id]
        self._send(worker, _Watch(client_id))
        self._receive(worker)

    def seen(self, client_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """What the probe of one client holds: its encoded update, before and after its noise."""
        worker = self._home[client_id]
        self._send(worker, _See(client_id))
        reply = self._receive(worker)
        if not isinstance(reply, _Seen):
            return None
        encoded, noised = (np.frombuffer(part, np.int64) for part in (reply.encoded, reply.noised))
        return encoded, noised

    def _send(self, worker: int, request: _Request) -> None:
        try:
            self._pipes[worker].send_bytes(_ENCODER.encode(request))
        except (BrokenPipeError, ConnectionError) as error:
            raise LocalProtocolError(f"worker process {worker} has died") from error

    def _receive(self, worker: int) -> _Reply:
        try:
            reply = _REPLIES.decode(self._pipes[worker].recv_bytes())
        except (EOFError, ConnectionError) as error:
            raise LocalProtocolError(f"worker process {worker} has died") from error
        if isinstance(reply, _Failed):
            raise LocalProtocolError(f"worker process {worker}: {reply.reason}")
        return reply

    def close(self) -> None:
        """End the processes that this pool started."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(timeout=5)
            if process.is_alive():
                process.terminate()
                process.join()


def _pack(datasets: Mapping[int, Dataset], faults: Faults) -> _Enrol:
    parts = list(datasets.values())
    features = np.concatenate([part.features for part in parts]).astype(np.float32)
    labels = np.concatenate([part.labels for part in parts]).astype(np.int64)
    return _Enrol(
        ids=list(datasets),
        sizes=[len(part) for part in parts],
        shape=list(features.shape[1:]),
        features=features.tobytes(),
        labels=labels.tobytes(),
        fault_rate=faults.rate,
        fault_seed=faults.seed,
    )
