"""A committee adds the one-time keys: its parameters, who is in it, and everybody's material."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from fedavg.errors import PlanError
from fedavg.sums.assumed import at_most
from fedavg.sums.interface import FIRST_OPENER, Provision, SumSpec
from fedavg.sums.one_shot.committee_sessions import (
    CommitteeClientSide,
    MemberSide,
    describe,
)
from fedavg.sums.one_shot.direct import numbers_of_vector
from fedavg.sums.one_shot.epochs import (
    FIRST_EPOCH,
    ClientOfEpochs,
    Epochs,
    MemberOfEpochs,
    ServerOfEpochs,
)
from fedavg.sums.one_shot.known import KnownCommittee
from secagg import Directory, Identity
from secagg.committee import CommitteeParams, SealingKey
from secagg.params.derivation import rounded_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fedavg.sums.one_shot.committee_sessions import CommitteeServerSide
    from fedavg.sums.one_shot.draw import Draw
    from fedavg.sums.one_shot.uploads import Uploads
    from secagg.committee import Committee

__all__ = ["EPOCH_ROUNDS", "CommitteeKeys", "member_material", "public_material"]

_COHORTS = 10_000  # sizes that are tried
EPOCH_ROUNDS = 10
"""Rounds of an epoch unless said otherwise; clients hold a card of 112 bytes of each member and epoch."""


class _Material(msgspec.Struct, frozen=True, array_like=True):
    """One role's material: public identities of clients and members, and a member's own keys.

    Args:
        clients: clients' identities.
        members: members' identities.
        cards: members' signed sealing keys of all epochs.
        member: id of the member, whose keys follow; None for other roles.
        identity: the member's identity, secret.
        sealing: the member's sealing keys by epoch, secret.
    """

    clients: dict[int, bytes]
    members: dict[int, bytes]
    cards: tuple[bytes, ...]
    member: int | None = None
    identity: bytes = b""
    sealing: dict[int, bytes] = {}

    def __repr__(self) -> str:
        return "_Material(<redacted>)"

    def epochs(self, rounds: int) -> Epochs:
        return Epochs(_directory(tuple(self.members.items())), self.cards, rounds=rounds)


@functools.lru_cache(maxsize=16)
def _directory(members: tuple[tuple[int, bytes], ...]) -> Directory:
    """One object for all sides of a process: a directory remembers the signatures that it verified."""
    return Directory(dict(members))


@dataclass(frozen=True, slots=True)
class CommitteeKeys:
    """Keys are added by a committee; see `KeySum`.

    Args:
        dropout_rate: share of a roster that may fall silent.
        corrupt_rate: share of a roster that may collude with the server.
        members: number of members, of corrupt ones, and of absent ones.
        epoch_rounds: number of rounds for which a member's sealing key serves.
        draw: how the members are drawn from the clients; None for members that are named.
    """

    dropout_rate: float
    corrupt_rate: float
    members: tuple[int, int, int]
    epoch_rounds: int = EPOCH_ROUNDS
    draw: Draw | None = None

    @property
    def survives_processes(self) -> bool:
        """True: a client sends one message, and a member keeps its facts in its journal."""
        return True

    @property
    def threat_model(self) -> str:
        """The server may lie actively; the members' number is in the assumptions."""
        return "malicious"

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Those of the committee and of the clients."""
        members, corrupt, absent = self._numbers
        threshold = self._params(1, 3, 1).threshold
        collude = (
            f"The server may lie at will; at most {corrupt} of the {members} members of the committee "
            f"collude with it, and {at_most(self.corrupt_rate)}."
        )
        silent = (
            f"At most {absent} members are absent from a round, and {at_most(self.dropout_rate)} drop out; "
            "beyond that, a round gives no sum."
        )
        stolen = (
            f"A member's sealing key serves for {self.epoch_rounds} rounds and is then erased. Keys that "
            f"are stolen from more than {threshold} members open the updates of that epoch and of later "
            "ones, and none of earlier ones."
        )
        drawn = () if self.draw is None else (f"The committee of {members} is {self.draw}",)
        return (
            *drawn,
            collude,
            silent,
            stolen,
            "Every party knows the identities of all clients and members beforehand.",
            "The server draws the cohorts unobserved: it must not draw more colluders than that share.",
        )

    def shares(self, uploads: Uploads, spec: SumSpec) -> bool:
        """Whether the vectors of a sum are shared themselves, and no keys of ciphertexts."""
        return numbers_of_vector(uploads, self.params, spec) is not None

    def check_rates(self) -> None:
        """Raise the errors of secagg, or PlanError for a draw, when there is no such committee."""
        cohort = self.smallest_cohort()
        if self.draw is None:
            self._params(1, cohort, 1)
            return

        smallest = SumSpec(1, 1, None, cohort, b"the smallest")

        def drawn(members: int) -> CommitteeParams:
            return replace(self, members=(members, *self.members[1:])).params(smallest)

        self.draw.check(self.members[0], drawn)
        if cohort > self.draw.candidates:
            raise PlanError(
                f"a round asks at least {cohort} clients, and candidates={self.draw.candidates} is the "
                "number of all clients: lower dropout_rate or corrupt_rate, or enrol more clients"
            )

    @property
    def _numbers(self) -> tuple[int, int, int]:
        """The numbers of members, of corrupt and of absent ones; a draw may say that more are corrupt."""
        members, corrupt, absent = self.members
        if self.draw is not None:
            corrupt = max(corrupt, self.draw.corrupt_members(members))
        return members, corrupt, absent

    def smallest_cohort(self) -> int:
        """The smallest number from which two honest clients are in every sum; PlanError if there is none."""
        enough = (n for n in range(3, _COHORTS) if n - self._silent(n) >= self._least(n))
        found = next(enough, None)
        if found is None:
            raise PlanError(
                f"no cohort below {_COHORTS} is large enough for dropout_rate={self.dropout_rate} with "
                f"corrupt_rate={self.corrupt_rate}: a sum needs two honest clients; lower a rate"
            )
        return found

    def min_survivors(self, roster_size: int) -> int:
        """The roster without the assumed drop-outs, at least three, and two more than may collude."""
        return max(roster_size - self._silent(roster_size), self._least(roster_size))

    def _silent(self, roster_size: int) -> int:
        return rounded_up(self.dropout_rate, roster_size)

    def _least(self, roster_size: int) -> int:
        return max(3, rounded_up(self.corrupt_rate, roster_size) + 2)

    def colluders(self, roster_size: int) -> int:
        """The assumed share of corrupt clients; at least one: an observing client knows its own noise."""
        return max(1, rounded_up(self.corrupt_rate, roster_size))

    def check(self, keys: SumSpec) -> None:
        """Raise the errors of secagg when no parameters exist."""
        self.params(keys)

    def params(self, keys: SumSpec) -> CommitteeParams:
        """The committee's parameters for one sum of keys."""
        return self._params(keys.vector_length, keys.roster_size, keys.input_bound)

    def _params(self, length: int, roster_size: int, max_abs: int) -> CommitteeParams:
        clients = max(3, roster_size)
        fewest = min(clients, self.min_survivors(clients))
        return _derived(self._numbers, length, clients, max_abs, fewest, self.colluders(clients))

    def provision(self, directory: Mapping[int, bytes], rounds: int) -> Provision:
        """Pin the members, make their keys for all epochs, and give every role the public identities."""
        count = self.members[0]
        drawn = range(count) if self.draw is None else self.draw.members(directory, count)
        people = {member: Identity.generate() for member in drawn}
        epochs = range(FIRST_EPOCH, FIRST_EPOCH + -(-rounds // self.epoch_rounds))
        sealing = {
            member: [SealingKey.generate(identity, member, epoch=epoch) for epoch in epochs]
            for member, identity in people.items()
        }
        shared = _packed(
            directory,
            {member: identity.public for member, identity in people.items()},
            [key.card for keys in sealing.values() for key in keys],
        )
        openers = {
            FIRST_OPENER - member: member_material(shared, identity, *sealing[member])
            for member, identity in people.items()
        }
        return Provision(server=shared, clients=shared, key_holder=None, openers=openers)

    def server_side(self, uploads: Uploads, material: bytes) -> ServerOfEpochs:
        """Load the server's side: public identities."""
        held = _read(material)

        def side(committee: Committee) -> CommitteeServerSide:
            return self.among(uploads, committee, held.clients).server()

        return ServerOfEpochs(held.epochs(self.epoch_rounds), side)

    def client_side(self, uploads: Uploads, material: bytes) -> ClientOfEpochs:
        """Load the clients' side: public identities."""
        held = self._checked(material)
        side = functools.partial(CommitteeClientSide, uploads, self.params)
        return ClientOfEpochs(held.epochs(self.epoch_rounds), side)

    def _checked(self, material: bytes) -> _Material:
        """Material whose members are the drawn ones."""
        held = _read(material)
        if self.draw is not None:
            self.draw.check_members(held.clients, held.members)
        return held

    def opener_side(self, uploads: Uploads, material: bytes) -> MemberOfEpochs:
        """Load one member's side, with its keys."""
        held = self._checked(material)
        member, clients = held.member or 0, Directory(held.clients)
        identity = Identity.from_private_bytes(held.identity)

        def restored(secret: bytes, epoch: int) -> SealingKey:
            return SealingKey.from_private_bytes(secret, identity, member, epoch=epoch)

        def side(committee: Committee, sealing: SealingKey) -> MemberSide:
            keys = (member, identity, sealing)
            return MemberSide(uploads, self.params, committee, clients, keys)

        return MemberOfEpochs(held.epochs(self.epoch_rounds), held.sealing, restored, side)

    def among(
        self, uploads: Uploads, committee: Committee, clients: Mapping[int, bytes]
    ) -> KnownCommittee:
        """The sides under one committee, which is the drawn one where it is drawn."""
        if self.draw is not None:
            self.draw.check_members(clients, committee.ids)
        return KnownCommittee(uploads, self.params, self.min_survivors, committee, clients)

    def describe(self, message: bytes) -> str:
        """The kind of a message of the committee's protocol."""
        return describe(message)


@functools.lru_cache(maxsize=64)  # every side of a party derives the same ones
def _derived(
    committee: tuple[int, int, int],
    length: int,
    clients: int,
    max_abs: int,
    fewest: int,
    colluders: int,
) -> CommitteeParams:
    """Parameters by the numbers of members, of corrupt and of absent ones, and by the numbers of a sum."""
    members, corrupt, absent = committee
    return CommitteeParams.for_committee(
        members,
        corrupt=corrupt,
        absent=absent,
        vector_length=length,
        max_clients=clients,
        max_abs=max_abs,
        min_clients=fewest,
        corrupt_clients=colluders,
    )


def public_material(
    clients: Mapping[int, bytes], members: Mapping[int, bytes], cards: Iterable[bytes]
) -> bytes:
    """Material of the server and of the clients, where each member of the committee made its own keys.

    `OneShot.provision` makes the members' keys in one place. Where no party may hold all of them, each member
    makes its identity and its sealing key itself, and an operator collects what is public.

    Args:
        clients: identities of the clients.
        members: identities of the members, by their ids 0, 1, …
        cards: `SealingKey.card` of each member and epoch. Epoch 1 is that of round 0, and of sums outside of
            rounds; `OneShot.epoch_rounds` rounds later the next one begins.

    Raises:
        secagg.SecAggError: an identity or a card is not valid, or an epoch lacks a member's card.

    Example:
        >>> from fedavg import OneShot
        >>> known = {client: Identity.generate().public for client in range(3)}
        >>> people = {member: Identity.generate() for member in range(20)}
        >>> keys = {
        ...     member: [SealingKey.generate(who, member, epoch=epoch) for epoch in (1, 2)]
        ...     for member, who in people.items()
        ... }
        >>> cards = [key.card for both in keys.values() for key in both]
        >>> public = public_material(known, {i: who.public for i, who in people.items()}, cards)
        >>> side = OneShot().server_side(public)
        >>> own = OneShot().opener_side(member_material(public, people[3], *keys[3]))
    """
    material = _packed(clients, members, cards)
    Directory(dict(clients))  # both refuse what no session would take
    _read(material).epochs(1).check()
    return material


def member_material(public: bytes, identity: Identity, *sealing: SealingKey) -> bytes:
    """One member's material, which is secret: its keys beside `public_material`; see there.

    A member that keeps its material in a file writes it anew with the keys that are left, as soon as a round
    of a new epoch began: what the file had before opens the rounds before.

    Args:
        public: the public material.
        identity: the member's identity.
        sealing: its sealing keys of the epochs to come, at least one.

    Raises:
        PlanError: there is no key, or the keys are of several members.
        secagg.SecAggError: a sealing key was erased.
    """
    members = {key.member_id for key in sealing}
    if len(members) != 1:
        raise PlanError(f"the sealing keys must be of one member, not of {sorted(members)}")
    return msgspec.msgpack.encode(
        msgspec.structs.replace(
            _read(public),
            member=members.pop(),
            identity=identity.private_bytes(),
            sealing={key.epoch: key.private_bytes() for key in sealing},
        )
    )


def _packed(
    clients: Mapping[int, bytes], members: Mapping[int, bytes], cards: Iterable[bytes]
) -> bytes:
    return msgspec.msgpack.encode(_Material(dict(clients), dict(members), tuple(cards)))


def _read(material: bytes) -> _Material:
    return msgspec.msgpack.decode(material, type=_Material)
