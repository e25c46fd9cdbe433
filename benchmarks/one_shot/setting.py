"""The sum that the suite is about: a committee of fifty, of whom five collude and ten may be absent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedavg import OneShot
from fedavg.sums.interface import SumSpec
from secagg import Identity
from secagg.committee import CommitteeParams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.kit.bench import Bench
    from fedavg.sums.interface import Provision

__all__ = ["BOUND", "RATE", "Setting", "vector"]

BOUND = (1 << 15) - 1
"""Values of 16 bits."""
RATE = 0.05
"""Share of clients that collude or drop out, for both sums; with it secagg has 88 neighbours at n = 1,000."""


def vector(length: int) -> NDArray[np.int64]:
    """An input, the same in every run."""
    return np.random.default_rng(7).integers(-BOUND, BOUND, length, endpoint=True)


@dataclass(frozen=True, slots=True)
class Setting:
    """One size of the sum.

    Args:
        clients: number of clients.
        length: number of coordinates.
        members: number of members of the committee, of corrupt ones, and of absent ones.
    """

    clients: int
    length: int
    members: tuple[int, int, int]

    @classmethod
    def of(cls, bench: Bench, clients: int) -> Setting:
        """That of a run of this size."""
        members = bench.pick(quick=(10, 1, 1), default=(50, 5, 10), full=(50, 5, 10))
        length = bench.pick(quick=20_000, default=1_000_000, full=1_000_000)
        return cls(clients, length, members)

    @property
    def sums(self) -> OneShot:
        """The secure sum."""
        members, corrupt, absent = self.members
        return OneShot(
            RATE, RATE, committee=members, corrupt_members=corrupt, absent_members=absent
        )

    @property
    def spec(self) -> SumSpec:
        """One sum."""
        return SumSpec(self.length, BOUND, None, self.clients, b"benchmarks.one_shot")

    def keys(self, *, least: int | None = None, absent: int | None = None) -> CommitteeParams:
        """The committee's parameters for the sum of keys.

        Args:
            least: smallest number of clients; that of the sum without it.
            absent: number of members that may be absent; that of the setting without it.
        """
        members, corrupt, usual = self.members
        keys = self.sums.key_spec(self.spec)
        return CommitteeParams.for_committee(
            members,
            corrupt=corrupt,
            absent=usual if absent is None else absent,
            vector_length=keys.vector_length,
            max_clients=self.clients,
            max_abs=keys.input_bound,
            min_clients=least or self.sums.min_survivors(self.clients),
            threshold=None if absent is None or absent <= usual * 3 // 2 else members // 3,
        )

    def provided(self) -> tuple[dict[int, Identity], Provision]:
        """Everybody's keys, for one epoch."""
        known = {client: Identity.generate() for client in range(self.clients)}
        public = {client: who.public for client, who in known.items()}
        return known, self.sums.provision(self.spec, public)
