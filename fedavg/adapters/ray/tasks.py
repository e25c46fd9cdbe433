"""Many independent pieces of work as tasks of a cluster: bytes in, bytes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedavg import checks
from fedavg.adapters.ray.engine import join
from fedavg.adapters.ray.interface import LostError
from fedavg.adapters.ray.place import Place
from fedavg.errors import FedAvgError, LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from fedavg.adapters.ray.interface import Engine, Ticket

__all__ = ["RayTasks", "TaskAnswer"]

_RETRIES = 2  # a task is lost at most so often before it counts as failed
_DONE, _REFUSED = b"\x00", b"\x01"


@dataclass(frozen=True, slots=True)
class TaskAnswer:
    """The answer of one task.

    Args:
        key: key of the task.
        data: what the function returned; None if there is no answer.
        failure: why there is none; "" otherwise.
    """

    key: str
    data: bytes | None
    failure: str = ""


class RayTasks:
    """Runs a function on bytes in the processes of a Ray cluster, which is joined when first needed.

    Each task has one processor. A task whose process or node is lost is run again elsewhere, up to two times.

    Args:
        function: a function of a module that every node can import; it is sent by its name.
        at_once: largest number of tasks at a time; None for as many as the cluster has room for.
        joined: joins the cluster.

    Raises:
        ConfigError: the number is below one.
    """

    def __init__(
        self,
        function: Callable[[bytes], bytes],
        *,
        at_once: int | None = None,
        joined: Callable[[], Engine] = join,
    ) -> None:
        self._function = function
        self._at_once = None if at_once is None else checks.config.whole("jobs", at_once)
        self._joined = joined
        self._engine: Engine | None = None
        self._running: dict[Ticket, str] = {}

    @property
    def width(self) -> int:
        """Number of tasks that run at a time."""
        room = max(1, int(self._cluster().processors()))
        return room if self._at_once is None else min(self._at_once, room)

    def work(self, payloads: Mapping[str, bytes]) -> Generator[TaskAnswer]:
        """Run all tasks, several at once, and yield each answer when it arrives."""
        engine, place = self._cluster(), bytes(Place.here())
        waiting = list(payloads.items())[::-1]
        most = self._at_once or len(waiting)
        while waiting or self._running:
            while waiting and len(self._running) < most:
                key, data = waiting.pop()
                ticket = engine.submit(in_place, (self._function, place, data), _RETRIES)
                self._running[ticket] = key
            for ticket in engine.ready(list(self._running), None):
                yield _taken(engine, ticket, self._running.pop(ticket))

    def close(self) -> None:
        """Stop unfinished tasks, and leave the cluster."""
        if self._engine is None:
            return
        for ticket in self._running:
            self._engine.cancel(ticket)
        self._running.clear()
        self._engine.close()
        self._engine = None

    def _cluster(self) -> Engine:
        if self._engine is None:
            self._engine = self._joined()
        return self._engine


def in_place(function: Callable[[bytes], bytes], place: bytes, data: bytes) -> bytes:
    """Run a function in a process of a node, after it has taken on the program's surroundings.

    Args:
        function: function of the task.
        place: bytes of a `Place`.
        data: argument of the function.
    """
    try:
        Place.of_bytes(place).enter()
    except LocalProtocolError as error:
        return _REFUSED + str(error).encode()
    return _DONE + function(data)


def _taken(engine: Engine, ticket: Ticket, key: str) -> TaskAnswer:
    try:
        answer = engine.answer(ticket)
    except LostError as error:
        return TaskAnswer(key, None, f"its node was lost {_RETRIES + 1} times; at last {error}")
    except FedAvgError as error:
        return TaskAnswer(key, None, str(error))
    if answer.startswith(_DONE):
        return TaskAnswer(key, answer[1:])
    return TaskAnswer(key, None, answer[1:].decode())
