"""Canary clients, and the population of an audit, which has access to every client of its simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NoReturn

import numpy as np

from fedavg.client.client import Client, Probe
from fedavg.client.update import ClientContext, Prepared, encode_update, encoding_for
from fedavg.errors import LocalProtocolError
from fedavg.parts import Part, register
from fedavg.simulation.population import InProcess, Population
from fedavg.sums.interface import SecureSum
from fedavg.sums.plain import InsecurePlain
from fedavg.training.compute import CPU

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

    from numpy.typing import NDArray
    from torch import nn

    from fedavg.algorithms.state import ClientStore
    from fedavg.data.dataset import Dataset
    from fedavg.models.layout import Layout
    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.protocol.messages import RoundStart
    from fedavg.simulation.faults import Faults
    from fedavg.simulation.interface import Enrolled
    from fedavg.sums.interface import ClientSide, Provision, ServerSide, SumSpec
    from fedavg.training.compute import Compute
    from secagg import Identity

__all__ = ["AuditedPopulation", "AuditedSimulation", "CanaryClient", "InTheClear"]

_LENGTH = 10.0  # length of a canary's update before clipping, in clip norms


class CanaryClient(Client):
    """A client whose every update is one direction, deliberately too long, so that clipping is tested.

    Args:
        client_id: id of the client in the directory.
        dataset: any data set; it is not used.
        identity: the client's long-term signing key.
        ctx: objects that the clients of one process share.
        direction: float32[d], of norm 1.
    """

    def __init__(
        self,
        client_id: int,
        dataset: Dataset,
        identity: Identity,
        ctx: ClientContext,
        direction: NDArray[np.float32],
    ) -> None:
        super().__init__(client_id, dataset, identity, ctx)
        self._direction = direction.astype(np.float64)

    def _prepare(self, start: RoundStart) -> Prepared:
        resolution = self._ctx.resolution
        encoding = encoding_for(resolution, start.clip)
        # The update is too long on purpose: a client that did not clip it would be found.
        update = self._direction * (_LENGTH * encoding.clip)
        return Prepared(encode_update(resolution, encoding, update, len(self._dataset)), {})


class AuditedPopulation(Population):
    """A population with canaries, whose clients all carry a probe.

    Args:
        datasets: data sets of all clients, canaries included.
        faults: simulated drop-outs.
        canaries: directions by client id.
        compute: device and precision of training.
    """

    def __init__(
        self,
        datasets: Mapping[int, Dataset],
        faults: Faults,
        canaries: Mapping[int, NDArray[np.float32]],
        compute: Compute = CPU,
    ) -> None:
        super().__init__(datasets, faults, compute)
        self.canaries = dict(canaries)
        self._resolution: ResolvedPlan | None = None

    @property
    def resolution(self) -> ResolvedPlan:
        """The resolved plan, as the clients received it."""
        if self._resolution is None:
            raise LocalProtocolError("the clients are not equipped yet")
        return self._resolution

    def equip(
        self,
        resolution: ResolvedPlan,
        model: nn.Module,
        layout: Layout,
        material: bytes,
        seed: int,
        store: ClientStore | None = None,
    ) -> None:
        """See `Population.equip`; canary clients replace those of the canaries' ids."""
        super().equip(resolution, model, layout, material, seed, store)
        self._resolution = resolution
        side = resolution.plan.secure_sum.client_side(material)
        ctx = ClientContext(resolution, model, layout, side, seed)
        for client, direction in self.canaries.items():
            self._clients[client] = CanaryClient(
                client, self._datasets[client], self._identities[client], ctx, direction
            )
        for client in self._clients.values():
            client.probe = Probe()

    def sent(self, survivors: Sequence[int]) -> dict[int, NDArray[np.int64]]:
        """Encoded updates, before noise, of a round's survivors."""
        # The values are from before the noise, which the attacker must not know.
        encoded = {client: self.seen(client) for client in survivors}
        if any(vectors is None for vectors in encoded.values()):
            raise LocalProtocolError("a survivor's probe saw no update")
        return {client: vectors[0] for client, vectors in encoded.items() if vectors is not None}


class AuditedSimulation:
    """Constructs the simulation of an audit in this process, and keeps its population accessible.

    Args:
        canaries: directions by client id; those clients are among the enrolled ones.
    """

    def __init__(self, canaries: Mapping[int, NDArray[np.float32]]) -> None:
        self._canaries = canaries
        self._population: AuditedPopulation | None = None

    @property
    def population(self) -> AuditedPopulation:
        """The clients of the run.

        Raises:
            LocalProtocolError: no run has begun.
        """
        if self._population is None:
            raise LocalProtocolError("the clients are there once a run has begun")
        return self._population

    def __call__(self, enrolled: Enrolled) -> InProcess:
        """See `SimulationFactory`."""
        self._population = AuditedPopulation(
            enrolled.datasets, enrolled.faults, self._canaries, enrolled.compute
        )
        return InProcess(self._population, enrolled.model, enrolled.layout)


@register("secure_sum")
class InTheClear(Part, frozen=True, tag="in-the-clear"):
    """The noise shares of another sum, added without hiding anything: the same integers, faster.

    Args:
        like: the secure sum whose drop-outs and colluders the noise is sized for.
    """

    like: SecureSum
    kind: ClassVar[str] = "insecure-plain"
    hides_updates: ClassVar[bool] = False
    upload_word_bits: ClassVar[int | None] = None

    @property
    def dropout_rate(self) -> float:
        """The rate of the sum that it replaces."""
        return self.like.dropout_rate

    @property
    def threat_model(self) -> str:
        """None: the server reads every update."""
        return self._plain.threat_model

    def received(self, spec: SumSpec) -> str:
        """The update itself."""
        return self._plain.received(spec)

    def assumptions(self, spec: SumSpec) -> tuple[str, ...]:
        """One assumption: complete trust in the server."""
        return self._plain.assumptions(spec)

    @property
    def _plain(self) -> InsecurePlain:
        return InsecurePlain(self.like.dropout_rate)

    def smallest_cohort(self) -> int:
        """The number of the sum that it replaces."""
        return self.like.smallest_cohort()

    def min_survivors(self, roster_size: int) -> int:
        """The number of the sum that it replaces."""
        return self.like.min_survivors(roster_size)

    def colluders(self, roster_size: int) -> int:
        """The number of the sum that it replaces."""
        return self.like.colluders(roster_size)

    def check(self, spec: SumSpec) -> None:
        """Raise CapacityError when sums do not fit int64."""
        self._plain.check(spec)

    def provision(self, spec: SumSpec, directory: Mapping[int, bytes]) -> Provision:
        """Return an empty provision: a sum in the clear needs no keys."""
        return self._plain.provision(spec, directory)

    def server_side(self, material: bytes) -> ServerSide:
        """Open the server's side."""
        return self._plain.server_side(material)

    def client_side(self, material: bytes) -> ClientSide:
        """Open the clients' side."""
        return self._plain.client_side(material)

    def key_holder_side(self, material: bytes) -> NoReturn:
        """Raise LocalProtocolError: a sum in the clear has no key."""
        self._plain.key_holder_side(material)

    def opener_side(self, material: bytes) -> NoReturn:
        """Raise LocalProtocolError: a sum in the clear has no openers."""
        self._plain.opener_side(material)

    def describe(self, message: bytes) -> str:
        """The kind of a message."""
        return self._plain.describe(message)

    def uploaded(self, message: bytes) -> NDArray[np.int64] | NDArray[np.uint64] | None:
        """The update itself."""
        return self._plain.uploaded(message)
