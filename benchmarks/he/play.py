"""One round of several systems that take turns, client by client: what each costs, sends and gets wrong."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from benchmarks.he.stages import Stages
    from benchmarks.kit.timing import Timing

__all__ = ["CLIP", "COSTS", "Played", "Round", "System", "play"]

CLIP = 0.25
"""Bound on the magnitude of an update's values."""

_WARM_UP = 20_000


@dataclass(frozen=True, slots=True)
class Round:
    """Who sums what.

    Args:
        layers: parameters of each of the model's tensors.
        clients: how many send.
    """

    layers: tuple[int, ...]
    clients: int

    def __post_init__(self) -> None:
        if not self.layers or min(self.layers) < 1 or self.clients < 2:
            raise ValueError(f"{self.clients} clients with tensors of {self.layers} are no round")

    @classmethod
    def even(cls, length: int, clients: int, *, layers: int = 8) -> Round:
        """A model of `length` parameters in tensors of about one size."""
        bounds = [length * index // layers for index in range(layers + 1)]
        sizes = (end - start for start, end in pairwise(bounds))
        return cls(tuple(size for size in sizes if size), clients)

    @property
    def length(self) -> int:
        """Parameters in all."""
        return sum(self.layers)

    def update(self) -> NDArray[np.float32]:
        """float32[length], the same in every run; client k sends it rolled by 977·k."""
        rng = np.random.default_rng(7)
        values = rng.standard_normal(self.length, dtype=np.float32) * np.float32(CLIP / 5)
        return np.clip(values, -CLIP, CLIP)


class System(Protocol):
    """A way to sum, from floats to floats; it measures its own calls with `stages`.

    Attributes:
        stages: roles "client", "server", "result" and "opening".
        context_bytes: what the server is given before a round.
    """

    stages: Stages
    context_bytes: int

    def send(self, client: int, values: NDArray[np.float32]) -> list[bytes]:
        """A client's upload."""
        ...

    def receive(self, client: int, upload: list[bytes]) -> None:
        """The server takes it."""
        ...

    def result(self) -> list[bytes]:
        """What the server hands out."""
        ...

    def open(self, download: list[bytes]) -> NDArray[np.floating]:
        """The mean, opened by the party with the key; may be called again."""
        ...

    def split(self, upload: list[bytes], download: list[bytes]) -> dict[str, dict[str, float]]:
        """Direction to part to bytes."""
        ...

    def difference(self) -> int | None:
        """Largest difference of the opened integers from the plain sum; None for floats."""
        ...


COSTS = (
    "up B/param",
    "down B/param",
    "client sends, CPU s",
    "server a client, CPU s",
    "opening, CPU s",
)
"""Headings of `Played.costs`."""


@dataclass(frozen=True, slots=True)
class Played:
    """What a round cost.

    Args:
        params: model's parameters.
        client: CPU seconds of a client, from floats to bytes.
        server: of the server for each client, its share of the result included.
        opening: from the download to floats.
        up: bytes a client sends.
        down: bytes of the result.
        context: bytes that the server needs beforehand.
        error: largest difference between the mean and that of the floats.
        difference: of the opened integers from the plain sum; None for floats.
        time: role to stage to CPU seconds.
        size: direction to part to bytes.
    """

    params: int
    client: Timing
    server: Timing
    opening: Timing
    up: int
    down: int
    context: int
    error: float
    difference: int | None
    time: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    size: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])

    @property
    def costs(self) -> tuple[float, ...]:
        """A table's cells, one for each of `COSTS`."""
        roles = (self.client, self.server, self.opening)
        return (self.up / self.params, self.down / self.params, *(role.median for role in roles))


def play(
    what: Round,
    contestants: Mapping[str, Callable[[Round], System]],
    *,
    openings: int = 5,
    warm_up: bool = True,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, Played]:
    """Play one round: client after client, and for each client all systems in turn.

    Args:
        what: the round.
        contestants: name to a maker of the system.
        openings: how often to open each result.
        warm_up: let each play a small round beforehand, uncounted.
        tick: called when a client's upload has been received.
    """
    before = gc.get_freeze_count()
    gc.collect()
    gc.freeze()  # the collections between calls then skip what was loaded before
    try:
        if warm_up:
            small = Round(tuple(min(size, _WARM_UP) for size in what.layers[:2]), 2)
            _round(small, contestants, 1, lambda: None)
        return _round(what, contestants, openings, tick)
    finally:
        if not before:  # what a caller froze stays so
            gc.unfreeze()


def _round(
    what: Round,
    contestants: Mapping[str, Callable[[Round], System]],
    openings: int,
    tick: Callable[[], None],
) -> dict[str, Played]:
    systems = {name: make(what) for name, make in contestants.items()}
    update, mean = what.update(), np.zeros(what.length)
    uploads: dict[str, list[bytes]] = {}
    for client in range(what.clients):
        values = np.roll(update, 977 * client)
        mean += values / np.float64(what.clients)
        for name, system in systems.items():
            uploads[name] = system.send(client, values)
            system.receive(client, uploads[name])
            tick()
    downloads = {name: system.result() for name, system in systems.items()}
    errors: dict[str, float] = {}
    for _ in range(openings):
        for name, system in systems.items():
            errors[name] = float(np.abs(system.open(downloads[name]) - mean).max())
    return {
        name: _played(what, system, uploads[name], downloads[name], errors[name])
        for name, system in systems.items()
    }


def _played(
    what: Round, system: System, upload: list[bytes], download: list[bytes], error: float
) -> Played:
    stages = system.stages
    server = stages.parts("server", after=1)  # a first upload is kept and not added
    for stage, seconds in stages.parts("result").items():
        server[stage] = server.get(stage, 0.0) + seconds / what.clients
    return Played(
        params=what.length,
        client=stages.timing("client"),
        server=stages.timing("server", share_of="result", clients=what.clients),
        opening=stages.timing("opening"),
        up=sum(map(len, upload)),
        down=sum(map(len, download)),
        context=system.context_bytes,
        error=error,
        difference=system.difference(),
        time={
            "client": stages.parts("client"),
            "server": server,
            "opening": stages.parts("opening"),
        },
        size=system.split(upload, download),
    )
