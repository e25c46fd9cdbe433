"""A cluster in this process: answers come when they are waited for, and processes are lost on request."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import msgspec

from fedavg.adapters.ray.interface import LostError
from fedavg.errors import LocalProtocolError
from fedavg.simulation.messages import Exchange


@dataclass(eq=False)
class Work:
    """An answer to come; `lost` answers are gone before they are computed."""

    run: object
    lost: bool = False
    actor: object = None
    data: bytes | None = None


@dataclass(eq=False)
class FakeActor:
    held: object
    alive: bool = True
    processors: float = 1.0
    calls: Counter = field(default_factory=Counter)  # by round


@dataclass
class FakeEngine:
    """An `Engine`; `losses[i]` is how often the i-th task is lost."""

    room: float = 2.0
    losses: dict[int, int] = field(default_factory=dict)
    submitted: int = 0
    most: int = 0
    open: set = field(default_factory=set)
    cancelled: list = field(default_factory=list)
    actors: list = field(default_factory=list)
    stored: list = field(default_factory=list)
    doomed: dict = field(
        default_factory=dict
    )  # actor: the round, and its call there, that it dies in
    doomed_at: dict = field(default_factory=dict)  # actor: the method that it dies in
    lateness: int = 0  # number of waits for which a replacement is not there yet
    late: int = 0
    closed: int = 0

    def __call__(self):
        return self

    def processors(self):
        return self.room

    def submit(self, function, arguments, retries):
        lost = self.losses.get(self.submitted, 0) > retries
        self.submitted += 1
        work = Work(lambda: function(*arguments), lost)
        self.open.add(work)
        self.most = max(self.most, len(self.open))
        return work

    def start(self, kind, processors):
        actor = FakeActor(kind(), processors=processors)
        self.actors.append(actor)
        return actor

    def call(self, actor, method, arguments):
        given = [one.data if isinstance(one, Work) else one for one in arguments]
        index = self.actors.index(actor)
        doom = self.doomed_at.get(index) == method
        if method == "exchange":
            told = msgspec.msgpack.decode(given[0], type=Exchange).round
            actor.calls[told] += 1
            doom = doom or self.doomed.get(index) == (told, actor.calls[told])
        if doom:
            actor.alive, self.late = False, self.lateness
        return Work(lambda: getattr(actor.held, method)(*given), actor=actor)

    def store(self, data):
        self.stored.append(data)
        return Work(None, data=data)

    def ready(self, tickets, timeout):
        if timeout is not None and self.late > 0:
            self.late -= 1
            return []
        return [tickets[-1]]  # the last first: an order that no one may rely on

    def answer(self, ticket):
        self.open.discard(ticket)
        if ticket.lost or (ticket.actor is not None and not ticket.actor.alive):
            raise LostError("ActorDiedError: planted")
        try:
            return ticket.run()
        except Exception as error:  # noqa: BLE001 - as Ray does
            raise LocalProtocolError(f"a process of Ray: {type(error).__name__}: {error}") from None

    def cancel(self, ticket):
        self.cancelled.append(ticket)

    def end(self, actor):
        actor.alive = False

    def close(self):
        self.closed += 1
