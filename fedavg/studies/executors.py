"""Where a study's cells run: in processes of this machine, or as tasks of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from fedavg.errors import ConfigError
from fedavg.parts import load_plugins
from fedavg.parts.nearest import offered
from fedavg.studies.directory import environment
from fedavg.studies.identity import identity
from fedavg.studies.workers import CellAnswer, Request, Workers, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from fedavg.adapters.ray import RayTasks

__all__ = ["ENGINES", "Executor", "OnTasks", "executor_for"]


class Executor(Protocol):
    """Works on requests about cells, several at once."""

    @property
    def width(self) -> int:
        """Number of requests that are worked on at once."""
        ...

    def work(self, requests: Iterable[Request]) -> Generator[CellAnswer]:
        """Work on all requests, and yield each answer when it arrives.

        What cannot be answered, because its process or its machine was lost, is answered by "failed".
        """
        ...

    def close(self) -> None:
        """End all work; unfinished requests are lost."""
        ...


_REQUESTS = msgspec.msgpack.Decoder(Request)
_ANSWERS = msgspec.msgpack.Decoder(CellAnswer)
_OTHER = (
    "its node has other sources of these packages, or other data, than the machine that started the study: "
    "put both on a file system that all nodes share"
)
_ENCODER = msgspec.msgpack.Encoder()


def answer_bytes(data: bytes) -> bytes:
    """Answer a request in a process of another machine, if the cell means the same there.

    Args:
        data: bytes of a `Request`.
    """
    from fedavg.training.threads import one_thread  # noqa: PLC0415 - loads torch

    request = _REQUESTS.decode(data)
    try:
        load_plugins(request.trial.plugins)
        same = identity(request.trial) == request.id
    except ConfigError as error:
        return _ENCODER.encode(CellAnswer(id=request.id, outcome="failed", reason=str(error)))
    # The id covers the sources and the contents of data files, as this machine sees them.
    if not same:
        return _ENCODER.encode(CellAnswer(id=request.id, outcome="failed", reason=_OTHER))
    with one_thread():
        found = answer(request)
    return _ENCODER.encode(msgspec.structs.replace(found, environment=environment()))


class OnTasks:
    """Cells as tasks of a cluster: an `Executor`.

    Args:
        tasks: runs `answer_bytes` in the cluster's processes.
    """

    def __init__(self, tasks: RayTasks) -> None:
        self._tasks = tasks

    @property
    def width(self) -> int:
        """Number of cells that run at once."""
        return self._tasks.width

    def work(self, requests: Iterable[Request]) -> Generator[CellAnswer]:
        """See `Executor.work`."""
        payloads = {request.id: _ENCODER.encode(request) for request in requests}
        for told in self._tasks.work(payloads):
            if told.data is None:
                yield CellAnswer(id=told.key, outcome="failed", reason=told.failure)
            else:
                yield _ANSWERS.decode(told.data)

    def close(self) -> None:
        """See `Executor.close`."""
        self._tasks.close()


def _here(jobs: int | None) -> Executor:
    import os  # noqa: PLC0415 - for the default only

    return Workers((os.cpu_count() or 1) if jobs is None else jobs)


def _on_ray(jobs: int | None) -> Executor:
    from fedavg.adapters.ray import RayTasks  # noqa: PLC0415 - for this engine only

    return OnTasks(RayTasks(answer_bytes, at_once=jobs))


ENGINES: dict[str, Callable[[int | None], Executor]] = {"local": _here, "ray": _on_ray}
"""How an executor is made from the number of cells at a time, by the engine's name."""


def executor_for(engine: str, jobs: int | None) -> Executor:
    """Return the executor of an engine.

    Args:
        engine: one of `ENGINES`.
        jobs: largest number of cells at a time; None for one a processor.

    Raises:
        ConfigError: the engine is unknown, or the number is below one.

    Example:
        >>> executor_for("local", 2).width
        2
    """
    made = ENGINES.get(engine)
    if made is None:
        raise ConfigError(f"there is no engine {engine!r}; {offered(engine, ENGINES)}")
    return made(jobs)
