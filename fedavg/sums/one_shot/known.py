"""The sides of sums under one committee that is known: its members' sealing keys came with the round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedavg.sums.one_shot.committee_sessions import (
    CommitteeClientSide,
    CommitteeServerSide,
    MemberSide,
)
from secagg import Directory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fedavg.sums.interface import SumSpec
    from fedavg.sums.one_shot.uploads import Uploads
    from secagg import Identity
    from secagg.committee import Committee, CommitteeParams, SealingKey

__all__ = ["KnownCommittee"]


@dataclass(frozen=True, slots=True)
class KnownCommittee:
    """The sides of every role, for sums under one committee; get it from `OneShot.among`.

    No epoch ends here. A party that hands out cards with each round says itself which of them are over.

    Args:
        uploads: the parameters.
        numbers: sum of keys → the committee's parameters.
        min_survivors: roster size → smallest number of contributors.
        committee: the members.
        clients: identities of the clients.

    Example:
        >>> from fedavg import OneShot
        >>> from secagg import Identity
        >>> from secagg.committee import Committee, SealingKey
        >>> who = {i: Identity.generate() for i in range(6)}
        >>> cards = [SealingKey.generate(one, i, epoch=1).card for i, one in who.items()]
        >>> people = {i: one.public for i, one in who.items()}
        >>> committee = Committee(Directory(people), cards, epoch=None)
        >>> sides = OneShot(committee=6, corrupt_members=1, absent_members=1).among(committee, people)
        >>> type(sides.client()).__name__
        'CommitteeClientSide'
    """

    uploads: Uploads
    numbers: Callable[[SumSpec], CommitteeParams]
    min_survivors: Callable[[int], int]
    committee: Committee
    clients: Mapping[int, bytes]

    def server(self) -> CommitteeServerSide:
        """The server's side."""
        return CommitteeServerSide(
            self.uploads, self.numbers, self.committee, self.clients, self.min_survivors
        )

    def client(self) -> CommitteeClientSide:
        """The clients' side."""
        return CommitteeClientSide(self.uploads, self.numbers, self.committee)

    def member(self, member_id: int, identity: Identity, sealing: SealingKey) -> MemberSide:
        """The side of the member with these keys."""
        keys = (member_id, identity, sealing)
        return MemberSide(self.uploads, self.numbers, self.committee, Directory(self.clients), keys)
