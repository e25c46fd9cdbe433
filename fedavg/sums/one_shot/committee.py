"""A committee adds the one-time keys: its parameters, who is in it, and everybody's material."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from fedavg.sums.interface import FIRST_OPENER, Provision
from fedavg.sums.one_shot.committee_sessions import (
    CommitteeClientSide,
    CommitteeServerSide,
    MemberSide,
    describe,
)
from secagg import Directory, Identity
from secagg.committee import Committee, CommitteeParams, SealingKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fedavg.sums.interface import SumSpec
    from fedavg.sums.one_shot.uploads import Uploads

__all__ = ["CommitteeKeys", "member_material", "public_material"]

_EPOCH = 1  # one for the whole run
_SLACK = 1e-9  # secagg rounds shares in the same way: 0.34 of 300 is 102


class _Material(msgspec.Struct, frozen=True, array_like=True):
    """One role's material: public identities of clients and members, and a member's own keys.

    Args:
        clients: clients' identities.
        members: members' identities.
        cards: members' signed sealing keys.
        member: id of the member, whose keys follow; None for other roles.
        identity: the member's identity, secret.
        sealing: the member's sealing key, secret.
    """

    clients: dict[int, bytes]
    members: dict[int, bytes]
    cards: tuple[bytes, ...]
    member: int | None = None
    identity: bytes = b""
    sealing: bytes = b""

    def __repr__(self) -> str:
        return "_Material(<redacted>)"

    def committee(self) -> Committee:
        return Committee(Directory(self.members), self.cards, epoch=_EPOCH)


@dataclass(frozen=True, slots=True)
class CommitteeKeys:
    """Keys are added by a committee; see `KeySum`.

    Args:
        dropout_rate: share of a roster that may fall silent.
        corrupt_rate: share of a roster that may collude with the server.
        members: number of members, of corrupt ones, and of absent ones.
    """

    dropout_rate: float
    corrupt_rate: float
    members: tuple[int, int, int]

    @property
    def threat_model(self) -> str:
        """The server may lie actively; the members' number is in the assumptions."""
        return "malicious"

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Those of the committee and of the clients."""
        members, corrupt, absent = self.members
        threshold = self._params(1, 3, 1).threshold
        collude = (
            f"The server may lie at will; at most {corrupt} of the {members} members of the committee "
            f"collude with it, and at most {self.corrupt_rate:.0%} of each cohort."
        )
        silent = (
            f"At most {absent} members are absent from a round, and at most {self.dropout_rate:.0%} of each "
            "cohort drop out; beyond that, a round gives no sum."
        )
        stolen = (
            f"The sealing keys of no more than {threshold} members are stolen during the whole run: more of "
            "them open every update."
        )
        return (
            collude,
            silent,
            stolen,
            "Every party knows the identities of all clients and members beforehand.",
            "The server draws the cohorts unobserved: it must not draw more colluders than that share.",
        )

    def check_rates(self) -> None:
        """Raise the errors of secagg when there is no such committee."""
        self._params(1, self.smallest_cohort(), 1)

    def smallest_cohort(self) -> int:
        """The smallest number from which two honest clients are in every sum."""
        return next(n for n in range(3, 10_000) if n - self._silent(n) >= self._least(n))

    def min_survivors(self, roster_size: int) -> int:
        """The roster without the assumed drop-outs, at least three, and two more than may collude."""
        return max(roster_size - self._silent(roster_size), self._least(roster_size))

    def _silent(self, roster_size: int) -> int:
        return math.ceil(self.dropout_rate * roster_size - _SLACK)

    def _least(self, roster_size: int) -> int:
        return max(3, math.ceil(self.corrupt_rate * roster_size - _SLACK) + 2)

    def colluders(self, roster_size: int) -> int:
        """The assumed share of corrupt clients; at least one: an observing client knows its own noise."""
        return max(1, math.ceil(self.corrupt_rate * roster_size))

    def check(self, keys: SumSpec) -> None:
        """Raise the errors of secagg when no parameters exist."""
        self.params(keys)

    def params(self, keys: SumSpec) -> CommitteeParams:
        """The committee's parameters for one sum of keys."""
        return self._params(keys.vector_length, keys.roster_size, keys.input_bound)

    def _params(self, length: int, roster_size: int, max_abs: int) -> CommitteeParams:
        clients, (members, corrupt, absent) = max(3, roster_size), self.members
        return CommitteeParams.for_committee(
            members,
            corrupt=corrupt,
            absent=absent,
            vector_length=length,
            max_clients=clients,
            max_abs=max_abs,
            min_clients=min(clients, self.min_survivors(clients)),
            corrupt_clients=self.colluders(clients),
        )

    def provision(self, directory: Mapping[int, bytes]) -> Provision:
        """Pin the members, make their keys, and give every role the public identities."""
        people = {member: Identity.generate() for member in range(self.members[0])}
        sealing = {
            member: SealingKey.generate(identity, member, epoch=_EPOCH)
            for member, identity in people.items()
        }
        shared = public_material(
            directory,
            {member: identity.public for member, identity in people.items()},
            [key.card for key in sealing.values()],
        )
        openers = {
            FIRST_OPENER - member: member_material(shared, identity, sealing[member])
            for member, identity in people.items()
        }
        return Provision(server=shared, clients=shared, key_holder=None, openers=openers)

    def server_side(self, uploads: Uploads, material: bytes) -> CommitteeServerSide:
        """Load the server's side: public identities."""
        held = _read(material)
        return CommitteeServerSide(
            uploads, self.params, held.committee(), held.clients, self.min_survivors
        )

    def client_side(self, uploads: Uploads, material: bytes) -> CommitteeClientSide:
        """Load the clients' side: public identities."""
        return CommitteeClientSide(uploads, self.params, _read(material).committee())

    def opener_side(self, uploads: Uploads, material: bytes) -> MemberSide:
        """Load one member's side, with its keys."""
        held = _read(material)
        member = held.member or 0
        identity = Identity.from_private_bytes(held.identity)
        sealing = SealingKey.from_private_bytes(held.sealing, identity, member, epoch=_EPOCH)
        return MemberSide(
            uploads,
            self.params,
            held.committee(),
            Directory(held.clients),
            (member, identity, sealing),
        )

    def describe(self, message: bytes) -> str:
        """The kind of a message of the committee's protocol."""
        return describe(message)


def public_material(
    clients: Mapping[int, bytes], members: Mapping[int, bytes], cards: Iterable[bytes]
) -> bytes:
    """Material of the server and of the clients, where each member of the committee made its own keys.

    `OneShot.provision` makes the members' keys in one place. Where no party may hold all of them, each member
    makes its identity and its sealing key itself, and an operator collects what is public.

    Args:
        clients: identities of the clients.
        members: identities of the members, by their ids 0, 1, …
        cards: `SealingKey.card` of each member, of epoch 1.

    Raises:
        secagg.SecAggError: an identity or a card is not valid.

    Example:
        >>> from fedavg import OneShot
        >>> known = {client: Identity.generate().public for client in range(3)}
        >>> people = {member: Identity.generate() for member in range(20)}
        >>> keys = {member: SealingKey.generate(who, member, epoch=1) for member, who in people.items()}
        >>> public = public_material(
        ...     known, {i: who.public for i, who in people.items()}, [key.card for key in keys.values()]
        ... )
        >>> side = OneShot().server_side(public)
        >>> own = OneShot().opener_side(member_material(public, people[3], keys[3]))
    """
    material = _Material(dict(clients), dict(members), tuple(cards))
    Directory(material.clients)  # both refuse what no session would take
    material.committee()
    return msgspec.msgpack.encode(material)


def member_material(public: bytes, identity: Identity, sealing: SealingKey) -> bytes:
    """One member's material, which is secret: its keys beside `public_material`; see there.

    Raises:
        secagg.SecAggError: the sealing key was erased.
    """
    return msgspec.msgpack.encode(
        msgspec.structs.replace(
            _read(public),
            member=sealing.member_id,
            identity=identity.private_bytes(),
            sealing=sealing.private_bytes(),
        )
    )


def _read(material: bytes) -> _Material:
    return msgspec.msgpack.decode(material, type=_Material)
