"""`RaySimulation`: where a federation's clients run, as its argument `simulation`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dp.checks import assign
from fedavg import checks
from fedavg.adapters.ray import engine as engines
from fedavg.adapters.ray.clients import ActorClients
from fedavg.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedavg.adapters.ray.interface import Engine
    from fedavg.simulation.interface import Enrolled, Simulation

__all__ = ["RaySimulation"]


@dataclass(frozen=True, slots=True)
class RaySimulation:
    """Clients on the actors of a Ray cluster: ``Federation(…, simulation=RaySimulation(), client_store=…)``.

    The federation needs a `ModelSpec` and, as `client_store`, a folder that all nodes share.  Results are
    equal to the bit to those of one process, on processors of one make.  The cluster that this program has
    joined is used, or that of RAY_ADDRESS; otherwise one is started on this machine.

    Args:
        actors: number of actors; None for as many as the cluster's processors allow.
        processors: processors that each actor reserves; it computes with one thread.
        patience: seconds that a round waits, once, for the actor that takes a lost one's place.
        joined: joins the cluster; None takes Ray.

    Raises:
        LocalProtocolError: a number is out of range; or, when the run begins, the cluster has too few
            processors, or the federation was given a module.
        MissingExtraError: when the run begins: Ray is not installed, or in another version.

    Example:
        >>> RaySimulation(actors=8, processors=0.5).actors
        8
        >>> RaySimulation(actors=0)
        Traceback (most recent call last):
        fedavg.errors.LocalProtocolError: actors must be at least 1, not 0
    """

    actors: int | None = None
    processors: float = 1.0
    patience: float = 120.0
    joined: Callable[[], Engine] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.actors is not None:
            assign(self, actors=checks.usage.whole("actors", self.actors))
        processors = checks.usage.positive("processors", self.processors)
        patience = checks.usage.at_least("patience", self.patience, 0.0)
        assign(self, processors=processors, patience=patience)

    def __call__(self, enrolled: Enrolled) -> Simulation:
        """Put the clients on actors; a federation calls this when its run begins."""
        engine = (self.joined or engines.join)()
        try:
            how = {"processors": self.processors, "patience": self.patience}
            return ActorClients(enrolled, engine, actors=self._fitting(engine.processors()), **how)
        except BaseException:
            engine.close()
            raise

    def _fitting(self, there: float) -> int:
        """The number of actors on a cluster with so many processors."""
        room = int(there / self.processors)
        actors = room if self.actors is None else self.actors
        # Ray would wait for the missing processors without a word.
        if not 1 <= actors <= room:
            raise LocalProtocolError(
                f"{max(1, actors)} actors of {self.processors:g} processors do not fit the cluster's "
                f"{there:g}: lower actors= or processors=, or add nodes"
            )
        return actors
