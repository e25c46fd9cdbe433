"""The interface of a simulation: clients that a federation reaches through bytes."""

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
    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.protocol.driver import Delivery
    from fedavg.simulation.faults import Faults
    from fedavg.training.compute import Compute
    from fedavg.training.evaluation import Unit

__all__ = ["Enrolled", "Party", "Simulation", "SimulationFactory"]


class Party(Protocol):
    """A party that answers messages: a client or the key holder."""

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Answer one message."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Enrolled:
    """The arguments of a simulation.

    Args:
        datasets: each client's own examples, by id.
        model: a module with its initial parameters; clients of this process take turns to train with it.
        layout: the parameters of `model` that are trained and sent, as one vector.
        spec: how another process builds the same module; None if the federation was given a module.
        faults: simulated drop-outs.
        compute: device and precision of training and scoring.
        unit: unit of labels that were scaled for training; the clients' own models are scored in it.
        headline: name of the run's headline, by which clients are scored as well; "" for none.

    Example:
        >>> import numpy, torch
        >>> from fedavg import Dataset, Faults
        >>> from fedavg.models.layout import Layout
        >>> from fedavg.simulation.population import in_process
        >>> from fedavg.training.compute import CPU
        >>> model, data = torch.nn.Linear(2, 2), Dataset(numpy.eye(2), numpy.array([0, 1]))
        >>> members = Enrolled({5: data, 9: data}, model, Layout.of(model), None, Faults(), CPU)
        >>> list(in_process(members).publics())
        [5, 9]
    """

    datasets: Mapping[int, Dataset]
    model: nn.Module
    layout: Layout
    spec: ModelSpec | None
    faults: Faults
    compute: Compute
    unit: Unit = ((), ())
    headline: str = ""


class Simulation(Protocol):
    """Clients, and other parties, behind a transport that carries bytes (see `fedavg.protocol.driver`).

    `publics`, `equip` and `add_party` enrol them, in this order.  Rounds follow.
    `score`, `watch` and `seen` are possible in a simulation only; a real server has no such access.

    Example:
        >>> import fedavg, numpy, torch
        >>> from fedavg.simulation.population import InProcess, Population
        >>> class Lossy(InProcess):  # client 0 is never heard
        ...     def exchange(self, outgoing):
        ...         return (told for told in super().exchange(outgoing) if told.party != 0)
        >>> def lossy(given: Enrolled) -> Simulation:
        ...     return Lossy(Population(given.datasets, given.faults), given.model, given.layout)
        >>> data = fedavg.Dataset(numpy.eye(2), numpy.array([0, 1]))
        >>> parts = fedavg.PoissonCohort(1.0), fedavg.Quantised(1.0, 8), None, fedavg.InsecurePlain()
        >>> plan = fedavg.Plan(*parts, fedavg.LocalTraining(), fedavg.FedAvg())
        >>> run = fedavg.Federation(torch.nn.Linear(2, 2), [data] * 10, plan, simulation=lossy).run(1)
        >>> [(result.cohort, result.survivors) for result in run]
        [(10, 9)]
    """

    def publics(self) -> dict[int, bytes]:
        """Public identities of all clients, for the directory."""
        ...

    def equip(
        self, resolution: ResolvedPlan, material: bytes, seed: int, store: Path | None
    ) -> None:
        """Give every client the plan and the material of the secure sum.

        Args:
            resolution: the resolved plan.
            material: the clients' material of the secure sum; it may be secret.
            seed: public seed of the order of examples.
            store: folder for the state that clients keep between rounds; None keeps it in memory.
        """
        ...

    def add_party(self, address: int, party: Party) -> None:
        """Attach a party that is no client, such as the key holder."""
        ...

    def begin_round(self, round_index: int, attempt: int = 0) -> None:
        """Tell the simulation (not the clients) which round's faults apply."""
        ...

    def exchange(self, outgoing: Mapping[int, Sequence[bytes]]) -> Iterator[Delivery]:
        """Deliver messages by address, and yield the answers in any order."""
        ...

    def score(self, vector: NDArray[np.float32]) -> list[Score]:
        """Let every client score the released model, float32[d], and its own; by one or two figures."""
        ...

    def watch(self, client_id: int) -> None:
        """Put a probe into one client, for a report's pictures."""
        ...

    def seen(self, client_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """The record of a probe: an encoded update before and after its noise, int64[d'] each."""
        ...

    def close(self) -> None:
        """End processes and delete shared files; called once."""
        ...


SimulationFactory: TypeAlias = Callable[[Enrolled], Simulation]
"""Constructs a simulation of the clients when a run begins."""
