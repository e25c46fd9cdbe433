"""Clients spread over worker processes: the same bytes, one intra-op thread a process.

Where the system can (Linux), processes are forked from a server that this module starts: a fresh interpreter
that has loaded torch and nothing else, so that no secret, thread or lock of the calling process is
inherited, and torch is loaded once for all workers.  Elsewhere they are spawned.  What crosses a pipe is
msgpack; what is long lies on boards (`fedavg.shared`).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from multiprocessing import forkserver
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

import numpy as np

from fedavg.errors import LocalProtocolError
from fedavg.rounds import Delivery
from fedavg.shared import Board, Boards, send_boards
from fedavg.simulate import Faults, Party, ask
from fedavg.worker_messages import (
    Answers,
    Enrol,
    Equip,
    Exchange,
    Failed,
    Holding,
    Publics,
    ScoreAll,
    Scores,
    See,
    Seen,
    Taken,
    Watch,
    decode_reply,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from numpy.typing import NDArray

    from fedavg.data import Dataset
    from fedavg.model_spec import ModelSpec
    from fedavg.personalization import Score
    from fedavg.resolution import Resolution
    from fedavg.shared import Pipe, Place
    from fedavg.worker_messages import Reply, Request

__all__ = ["WorkerPool", "start_early"]

_FORKS = sys.platform == "linux"
_SHARES = os.name == "posix"  # open files can be handed to another process
_DATA, _SERVER = 0, 1  # boards; worker w writes number 2 + w


def start_early() -> None:
    """Begin to load what workers need, in another process, while this one goes on.

    Call it first thing in a program that makes a pool later; a pool does it itself otherwise.  Nothing
    is inherited from the caller but its environment and import path.
    """
    if _FORKS:
        forkserver.set_forkserver_preload(["fedavg.worker_process"])
        with _deaf_to_interrupts():
            forkserver.ensure_running()


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


def _serve(pipe: Pipe, boards: int, own: int) -> None:
    from fedavg.worker_process import serve  # noqa: PLC0415 - loads torch, in the worker

    serve(pipe, boards, own)


class WorkerPool:
    """A transport to clients in `workers` processes, client i in process i mod workers.

    Args:
        datasets: each client's own examples; copied to the workers, not kept here.
        spec: how every process builds its model.
        workers: processes, at least one.
        faults: simulated drop-outs.
    """

    def __init__(
        self, datasets: Mapping[int, Dataset], spec: ModelSpec, *, workers: int, faults: Faults
    ) -> None:
        if workers < 1:
            raise LocalProtocolError(f"a pool needs at least one worker, not {workers}")
        start_early()
        self._spec = spec
        self._parties: dict[int, Party] = {}
        self._round = -1
        self._pipes: list[Pipe] = []
        self._processes: list[BaseProcess] = []
        self._waiting: dict[Pipe, int] = {}
        self._home = {client: i % workers for i, client in enumerate(sorted(datasets))}
        boards = [Board.create() for _ in range(2 + workers)] if _SHARES else []
        self._boards = Boards(boards, _SERVER)
        holdings = self._deposit(datasets)
        forks = _FORKS and multiprocessing.get_context("forkserver")
        context = forks or multiprocessing.get_context("spawn")
        for worker in range(workers):
            near, far = context.Pipe()
            process = context.Process(
                target=_serve, args=(far, len(boards), 2 + worker), daemon=True
            )
            with _deaf_to_interrupts():
                process.start()
            far.close()
            self._pipes.append(near)
            self._processes.append(process)
            send_boards(near, process.pid or 0, boards)
            mine = [holding for holding in holdings if self._home[holding.client] == worker]
            self._send(worker, Enrol(mine, faults.rate, faults.seed))

    def _deposit(self, datasets: Mapping[int, Dataset]) -> list[Holding]:
        return [
            Holding(
                client,
                list(data.features.shape),
                self._boards.deposit(data.features, _DATA),
                self._boards.deposit(data.labels, _DATA),
            )
            for client, data in sorted(datasets.items())
        ]

    def publics(self) -> dict[int, bytes]:
        """Public identities of all clients, generated in their processes."""
        publics: dict[int, bytes] = {}
        for worker in range(len(self._pipes)):
            reply = self._receive(worker)
            if isinstance(reply, Publics):
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

        request = Equip(
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
        self._drain()
        self._boards.wipe()
        posted: dict[int, bytes | Place] = {}  # by identity: one copy for all who are sent the same
        portions: list[list[tuple[int, list[bytes | Place]]]] = [[] for _ in self._pipes]
        for address, messages in outgoing.items():
            if address in self._parties:
                yield ask(address, self._parties[address], messages)
                continue
            for message in messages:
                if id(message) not in posted:
                    posted[id(message)] = self._boards.post(message)
            places = [posted[id(message)] for message in messages]
            portions[self._home[address]].append((address, places))
        for worker, portion in enumerate(portions):
            if portion:
                self._send(worker, Exchange(self._round, portion))
                self._waiting[self._pipes[worker]] = worker
        yield from self._collect()

    def _drain(self) -> None:
        """Drop what an exchange that was broken off left unread: it answers nothing asked later."""
        deque(self._collect(), maxlen=0)

    def _collect(self) -> Iterator[Delivery]:
        while self._waiting:
            for ready in wait(list(self._waiting)):
                worker = next(w for pipe, w in self._waiting.items() if pipe is ready)
                answers = self._receive(worker)
                if not isinstance(answers, Answers):
                    raise LocalProtocolError("a worker gave an answer that was not asked for")
                if answers.last:
                    del self._waiting[self._pipes[worker]]
                deliveries = [
                    Delivery(address, [self._boards.read(message) for message in messages], failure)
                    for address, messages, failure in answers.deliveries
                ]
                self._send(worker, Taken())
                yield from deliveries

    def watch(self, client_id: int) -> None:
        """Put a probe into one client, for a report's pictures."""
        self._drain()
        worker = self._home[client_id]
        self._send(worker, Watch(client_id))
        self._receive(worker)

    def seen(self, client_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """What the probe of one client holds: its encoded update, before and after its noise."""
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
        except (BrokenPipeError, ConnectionError) as error:
            raise LocalProtocolError(f"worker process {worker} has died") from error

    def _receive(self, worker: int) -> Reply:
        try:
            reply = decode_reply(self._pipes[worker].recv_bytes())
        except (EOFError, ConnectionError) as error:
            raise LocalProtocolError(f"worker process {worker} has died") from error
        if isinstance(reply, Failed):
            self._waiting.pop(self._pipes[worker], None)
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
        self._boards.close()
