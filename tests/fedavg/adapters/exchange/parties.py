"""Nodes and a server in one process, for tests: every message meets a new `Node`, as in a new process."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace

import numpy as np

from dp import Ledger
from fedavg import DistributedGaussian, FixedPoint, OneShot, SecAgg
from fedavg.adapters.exchange import (
    Agreement,
    MeanServer,
    MemberCards,
    Node,
    NodeKeys,
    Record,
    Terms,
)

NEAREST = FixedPoint(1.0, 20, rounding="nearest")
SUM = OneShot(committee=6, corrupt_members=1, absent_members=1, dropout_rate=0.2)
MASKED = SecAgg(dropout_rate=0.2)
MODEL = {
    "w": np.arange(6, dtype=np.float32).reshape(2, 3) / 8,
    "b": np.array([0.25, -0.5]),
    "steps": np.array(3),
}
RUN = "run 1"


class Memory(set):
    """A journal that lasts as long as the process."""

    def add(self, fact: bytes) -> bool:
        new = fact not in self
        super().add(fact)
        return new

    def known(self, fact: bytes) -> bool:
        return fact in self


class Drawer:
    """A shelf that lasts as long as the process."""

    def __init__(self) -> None:
        self.state: bytes | None = None
        self._lock = threading.Lock()

    def locked(self):
        return self._lock

    def take_in(self) -> bytes | None:
        return self.state

    def put(self, state: bytes) -> None:
        self.state = state

    def clear(self) -> None:
        self.state = None


class Pages:
    """Cards that last as long as the process."""

    def __init__(self) -> None:
        self.cards: tuple[bytes, ...] = ()

    def keep(self, cards: tuple[bytes, ...]) -> None:
        self.cards = cards


def terms(**changes) -> Terms:
    given = {
        "sum": SUM,
        "records": {
            "train": Record(NEAREST, metrics={"loss": 4.0}, ranges={"steps": 100.0}),
            "evaluate": Record(NEAREST, arrays=(), metrics={"acc": 1.0}),
        },
        "max_weight": 100,
    }
    return Terms(**{**given, **changes})


def noisy(noise=None, clip=1.0, **changes) -> Record:
    """A record with noise; the model's counter is in units that do not fill the clip norm."""
    chosen = DistributedGaussian(2.0) if noise is None else noise
    given = {"metrics": {"loss": 40.0}, "ranges": {"steps": 1000.0}, **changes}
    return Record(FixedPoint(clip, 13), noise=chosen, beyond="clip", **given)


@dataclass
class Parties:
    """Some nodes, by id, with their keys and journals.

    Args:
        count: number of nodes.
        agreed: what they agree on.
        epsilon: budget of each node's ledger.
    """

    count: int = 6
    agreed: Terms = field(default_factory=terms)
    epsilon: float = 50.0

    def __post_init__(self) -> None:
        self.keys = [NodeKeys.generate(node) for node in range(self.count)]
        self.agreement = Agreement.among(self.agreed, [keys.card for keys in self.keys])
        self.journals = [Memory() for _ in self.keys]
        self.shelves = [Drawer() for _ in self.keys]
        self.shown = [Pages() for _ in self.keys]
        self.ledgers = [Ledger(self.epsilon, 1e-5) for _ in self.keys]
        self.later = 0.0  # seconds by which all clocks are ahead
        self.cards = MemberCards(self.agreement, self.agreement.members.values(), self.clock)

    def clock(self) -> float:
        return time.time() + self.later

    def node(self, node: int) -> Node:
        """A process of a node."""
        own = self.journals[node], self.ledgers[node], self.shelves[node]
        return Node(self.agreement, self.keys[node], *own, self.clock, self.shown[node])

    def server(
        self, number: int = 1, *, kind: str = "train", asked: int | None = None, model=MODEL
    ):
        asks = self.count if asked is None else asked
        return MeanServer(self.agreement, RUN, number, kind, asks, model, cards=self.cards)

    def contributed(
        self, node: int, request: bytes, trained, metrics, *, kind="train", model=MODEL
    ) -> bytes:
        here = self.node(node)
        asked = here.read(request, run=RUN, kind=kind)
        return here.join(*asked, model).send(trained, metrics)

    def answered(self, node: int, request: bytes, *, kind: str = "train") -> bytes:
        here = self.node(node)
        return here.answer(*here.read(request, run=RUN, kind=kind))

    def collect(self, server: MeanServer, *, absent=frozenset(), kind: str = "train") -> None:
        """All but the absent nodes contribute what `update` says."""
        if server.calls_first:
            self.called(server, absent=absent, kind=kind)
        for node in set(range(self.count)) - set(absent):
            reply = self.contributed(node, server.request, *update(node), kind=kind)
            assert server.receive(reply) == node

    def called(self, server: MeanServer, *, absent=frozenset(), kind: str = "train") -> None:
        """A roll call of all but the absent nodes."""
        for node in set(range(self.count)) - set(absent):
            server.identified(self.answered(node, server.roll_call, kind=kind))

    def opened(self, server: MeanServer, *, absent=frozenset(), kind: str = "train"):
        """Carry the later stages out; (stage, node) pairs in `absent` send nothing."""
        while requests := server.advance():
            for node, request in requests.items():
                if (server.stage, node) not in absent and node not in absent:
                    server.receive(self.answered(node, request, kind=kind), sender=node)
        return server.result()


def update(node: int):
    """A node's arrays and metrics."""
    rng = np.random.default_rng(node)
    trained = {
        "w": MODEL["w"] + rng.uniform(-0.9, 0.9, (2, 3)).astype(np.float32),
        "b": MODEL["b"] + rng.uniform(-0.9, 0.9, 2),
        "steps": MODEL["steps"] + 10 + node,
    }
    return trained, {"loss": node / 2, "num-examples": 40 + node, "secret": 12345.0}


def own_sum(parties: Parties, nodes, model=MODEL):
    """The mean of some nodes by plain addition of the same integers."""
    from fedavg.adapters.exchange.vectors.coordinates import Coordinates

    at = Coordinates.of(parties.agreed, "train", model)
    total = sum(at.encode(*update(node), model) for node in nodes)
    return at.decode(total, tuple(nodes), model)


def changed(agreement: Agreement, **fields) -> Agreement:
    """Another agreement: the same people under other terms."""
    return Agreement(replace(agreement.terms, **fields), agreement.nodes, agreement.members)
