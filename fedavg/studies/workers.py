"""Worker processes of a study: each works on one request at a time, and is replaced if it dies.

Processes are spawned, have one thread for arithmetic, and end with the process that started them.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Literal

import msgspec

from fedavg import checks
from fedavg.parts import load_plugins
from fedavg.studies.trials.catalogue import REFUSALS, AnyDerived, AnyMeasured, AnyTrial

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from multiprocessing.connection import Connection, PipeConnection
    from multiprocessing.process import BaseProcess
    from typing import TypeAlias

    _Pipe: TypeAlias = Connection | PipeConnection

__all__ = ["CellAnswer", "Request", "Workers", "answer"]

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_GRACE = 5.0  # seconds for an idle process to end by itself


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A cell to check, or, with the result of its check, to run."""

    id: str
    trial: AnyTrial
    derived: AnyDerived | None = None


class CellAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a request.

    Args:
        outcome: "refused" for the packages' own errors; "failed" for anything else.
        reason: reason of a refusal or failure.
        environment: versions and machine, if the cell ran on another machine than the study.
    """

    id: str
    outcome: Literal["done", "refused", "failed"]
    derived: AnyDerived | None = None
    measured: AnyMeasured | None = None
    reason: str = ""
    environment: dict[str, str] = msgspec.field(default_factory=dict[str, str])


_REQUESTS = msgspec.msgpack.Decoder(Request)
_ANSWERS = msgspec.msgpack.Decoder(CellAnswer)
_ENCODER = msgspec.msgpack.Encoder()


def answer(request: Request) -> CellAnswer:
    """Check a cell, or run it, in this process; its errors become the answer."""
    trial = request.trial
    try:
        load_plugins(trial.plugins)  # a new process knows no parts of the user's own
        if request.derived is None:
            return CellAnswer(id=request.id, outcome="done", derived=trial.check())
        measured = trial.measure(request.derived)
        return CellAnswer(id=request.id, outcome="done", derived=request.derived, measured=measured)
    except REFUSALS as error:
        return CellAnswer(id=request.id, outcome="refused", reason=str(error))
    except Exception as error:  # noqa: BLE001 - a defect in one cell, or in a model of the user's, ends that cell only
        return CellAnswer(
            id=request.id, outcome="failed", reason=f"{type(error).__name__}: {error}"
        )


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    # If the main process is killed, nobody reads the answers and nobody would end this process.
    if parent is not None:
        parent.join()
        os._exit(1)


def _serve(pipe: _Pipe) -> None:
    """Run a worker until its pipe closes."""
    import torch  # noqa: PLC0415 - the worker's own start-up

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    while True:
        try:
            request = _REQUESTS.decode(pipe.recv_bytes())
            pipe.send_bytes(_ENCODER.encode(answer(request)))
        except (EOFError, ConnectionError):
            return


@contextlib.contextmanager
def _children_start() -> Generator[None]:
    """Set what children inherit: an ignored SIGINT (the main process decides), and one thread each."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@dataclass(frozen=True, slots=True, eq=False)
class _Worker:
    process: BaseProcess
    pipe: _Pipe

    @classmethod
    def start(cls) -> _Worker:
        # Spawned processes inherit no locks of torch or of the console.
        context = multiprocessing.get_context("spawn")
        near, far = context.Pipe()
        process = context.Process(target=_serve, args=(far,), daemon=True)
        with _children_start():
            process.start()
        # With this end open, the main process would not notice that the worker has died.
        far.close()
        return cls(process, near)

    def died(self) -> str:
        """Wait for a process that has closed its pipe, and report how it ended."""
        self.pipe.close()
        self.process.join(_GRACE)
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"its process was killed by {signal.Signals(-code).name}"
        return f"its process ended with status {code}"


class Workers:
    """Processes that work on requests; they are started when first needed, and run until `close`.

    Args:
        jobs: largest number of processes.

    Raises:
        ConfigError: the number is below one.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = checks.config.whole("jobs", jobs)
        self._idle: list[_Worker] = []
        self._busy: dict[_Pipe, tuple[_Worker, Request]] = {}

    @property
    def width(self) -> int:
        """Number of processes."""
        return self._jobs

    def work(self, requests: Iterable[Request]) -> Generator[CellAnswer]:
        """Work on all requests, several at once, and yield each answer when it arrives."""
        waiting = list(reversed(list(requests)))
        while waiting or self._busy:
            while waiting and len(self._busy) < self._jobs:
                self._hand(waiting.pop())
            for pipe in wait(list(self._busy)):
                worker, request = self._busy.pop(pipe)  # pyright: ignore[reportArgumentType] - one of its keys
                yield self._take(worker, request)

    def close(self) -> None:
        """End all processes; unfinished requests are lost."""
        busy = [worker for worker, _ in self._busy.values()]
        for worker in busy:
            # A cell cannot be interrupted in its arithmetic, so its process is killed.
            worker.process.kill()
        for worker in [*busy, *self._idle]:
            worker.pipe.close()
            worker.process.join(_GRACE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._busy.clear()
        self._idle.clear()

    def _hand(self, request: Request) -> None:
        worker = self._idle.pop() if self._idle else _Worker.start()
        # An idle process may have been killed meanwhile, for want of memory.
        if not worker.process.is_alive():
            worker.pipe.close()
            worker = _Worker.start()
        with contextlib.suppress(
            ConnectionError
        ):  # a dead process is found when its answer is awaited
            worker.pipe.send_bytes(_ENCODER.encode(request))
        self._busy[worker.pipe] = (worker, request)

    def _take(self, worker: _Worker, request: Request) -> CellAnswer:
        try:
            found = _ANSWERS.decode(worker.pipe.recv_bytes())
        except (EOFError, ConnectionError):
            return CellAnswer(id=request.id, outcome="failed", reason=worker.died())
        self._idle.append(worker)
        return found
