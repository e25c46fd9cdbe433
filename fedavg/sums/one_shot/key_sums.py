"""The interface of a way to add the keys of a sum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedavg.sums.interface import ClientSide, OpenerSide, Provision, ServerSide, SumSpec
    from fedavg.sums.one_shot.known import KnownCommittee
    from fedavg.sums.one_shot.uploads import Uploads
    from secagg.committee import Committee

__all__ = ["KeySum"]


class KeySum(Protocol):
    """One way to add the keys of a sum."""

    @property
    def threat_model(self) -> str:
        """The assumed behaviour of the server, in a few words."""
        ...

    @property
    def survives_processes(self) -> bool:
        """Whether no party needs its memory between two messages."""
        ...

    @property
    def assumptions(self) -> tuple[str, ...]:
        """The assumptions that a user has to accept, one sentence each."""
        ...

    def shares(self, uploads: Uploads, spec: SumSpec) -> bool:
        """Whether the vectors of a sum are shared themselves, without ciphertexts."""
        ...

    def check_rates(self) -> None:
        """Raise PlanError or a SecAggError when no sums exist at these rates."""
        ...

    def smallest_cohort(self) -> int:
        """Smallest number of clients that a round may ask."""
        ...

    def min_survivors(self, roster_size: int) -> int:
        """Smallest number of clients that a sum may contain."""
        ...

    def colluders(self, roster_size: int) -> int:
        """Number of clients in a roster that are assumed to collude with the server."""
        ...

    def check(self, keys: SumSpec) -> None:
        """Raise a SecAggError when no parameters exist for such a sum of keys."""
        ...

    def provision(self, directory: Mapping[int, bytes], rounds: int) -> Provision:
        """Create the material of every role, for a run of so many rounds."""
        ...

    def server_side(self, uploads: Uploads, material: bytes) -> ServerSide:
        """Load the server's material."""
        ...

    def client_side(self, uploads: Uploads, material: bytes) -> ClientSide:
        """Load the clients' material."""
        ...

    def opener_side(self, uploads: Uploads, material: bytes) -> OpenerSide:
        """Load one opener's material; raises LocalProtocolError when there are none."""
        ...

    def among(
        self, uploads: Uploads, committee: Committee, clients: Mapping[int, bytes]
    ) -> KnownCommittee:
        """The sides of all roles under one committee; raises LocalProtocolError where there is none."""
        ...

    def describe(self, message: bytes) -> str:
        """The kind of one of the messages that are no uploads."""
        ...
