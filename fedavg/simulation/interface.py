"""What a federation needs of a simulation: clients somewhere, reached by bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from fedavg.algorithms.personal.scores import Score
    from fedavg.data.dataset import Dataset
    from fedavg.models.layout import Layout
    from fedavg.models.spec import ModelSpec
    from fedavg.plan.resolution import Resolution
    from fedavg.protocol.driver import Delivery
    from fedavg.simulation.faults import Faults
    from fedavg.training.compute import Compute
    from fedavg.training.evaluation import Unit

__all__ = ["Enrolled", "Party", "Simulation", "SimulationFactory"]


class Party(Protocol):
    """Whoever answers messages: a client or the key holder."""

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Answer one message."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Enrolled:
    """What a simulation is made of.

    Args:
        datasets: each client's own examples, by id.
        model: a module with its initial parameters; clients of this process train with it in turns.
        layout: the parameters of `model` that are trained and sent, as one vector.
        spec: how another process builds the same module; None where the federation was given a module.
        faults: simulated drop-outs.
        compute: where models are trained and scored, and in which precision.
        unit: of labels that were brought to unit scale, in which clients' own models are scored.
    """

    datasets: Mapping[int, Dataset]
    model: nn.Module
    layout: Layout
    spec: ModelSpec | None
    faults: Faults
    compute: Compute
    unit: Unit = ((), ())


class Simulation(Protocol):
    """Clients, and other parties, behind a transport that carries bytes (see `fedavg.protocol.driver`).

    `publics`, `equip` and `add_party` enrol them, in this order.  Rounds follow.
    `score`, `watch` and `seen` are what a simulation may do and no server can.
    """

    def publics(self) -> dict[int, bytes]:
        """Public identities of all clients, for the directory."""
        ...

    def equip(self, resolution: Resolution, material: bytes, seed: int, store: Path | None) -> None:
        """Hand every client the plan and the secure sum's material.

        Args:
            resolution: the plan with every derived number.
            material: the clients', of the secure sum; may be secret.
            seed: public seed of the order of examples.
            store: folder for what clients keep between rounds; None keeps it in memory.
        """
        ...

    def add_party(self, address: int, party: Party) -> None:
        """Attach a party that is no client, such as the key holder."""
        ...

    def begin_round(self, round_index: int, attempt: int = 0) -> None:
        """Tell the simulation (not the clients) which round's faults apply."""
        ...

    def exchange(self, outgoing: Mapping[int, Sequence[bytes]]) -> Iterator[Delivery]:
        """Deliver messages by address, and yield what comes back, in any order."""
        ...

    def score(self, vector: NDArray[np.float32]) -> list[Score]:
        """Let every client score the released model, float32[d], and its own."""
        ...

    def watch(self, client_id: int) -> None:
        """Put a probe into one client, for a report's pictures."""
        ...

    def seen(self, client_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """What a probe holds: an encoded update before and after its noise, int64[d'] each."""
        ...

    def close(self) -> None:
        """End processes and delete what they shared; called once."""
        ...


SimulationFactory: TypeAlias = Callable[[Enrolled], Simulation]
"""Makes a simulation of the clients when a run begins."""
