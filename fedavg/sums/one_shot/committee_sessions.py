"""The sessions of server, client and member where a committee adds the one-time keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from fedavg.errors import LocalProtocolError
from fedavg.sums.interface import FIRST_OPENER, Conviction, is_client
from fedavg.sums.one_shot.direct import NO_UPLOAD, Shared, named_digest, numbers_of_vector
from fedavg.sums.sides.opening import OpenedSum
from fedavg.sums.sides.upload import UploadSession, check_opening, openings
from he import Directory as Enrolled
from he import onetime
from secagg import Directory
from secagg.committee import Collector, CommitteePhase, CommitteePolicy, Contributor, Member
from secagg.committee.wire.codec import read_header

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.sums.interface import SumResult, SumSpec
    from fedavg.sums.one_shot.uploads import Uploads
    from he import Journal
    from secagg import Identity
    from secagg.committee import Committee, CommitteeParams, SealingKey

__all__ = [
    "CommitteeClientSide",
    "CommitteeServerSide",
    "MemberSession",
    "MemberSide",
    "describe",
]

_PLANNED = CommitteePolicy(min_corrupt_share=0.0, min_threshold_share=0.0, corrupt_clients=0)
"""Every party derives the numbers from the plan that it holds, never from the server: they need no floor."""
_OPENING = b"ONE1"


def describe(message: bytes) -> str:
    """The kind of a message that is no upload."""
    if message[:4] == _OPENING:
        return "opening"
    kind, _ = read_header(message)
    return f"committee {kind.name.lower()}"


@dataclass(frozen=True, slots=True)
class CommitteeServerSide:
    """The server's side: identities, and no secret.

    Args:
        uploads: the parameters.
        numbers: sum of keys → the committee's parameters.
        committee: the members.
        clients: identities of the clients.
        min_survivors: roster size → smallest number of contributors.
    """

    uploads: Uploads
    numbers: Callable[[SumSpec], CommitteeParams]
    committee: Committee
    clients: Mapping[int, bytes]
    min_survivors: Callable[[int], int]

    def session(self, spec: SumSpec, roster: Sequence[int]) -> _ServerSession:
        """Begin one sum over a roster."""
        direct = numbers_of_vector(self.uploads, self.numbers, spec)
        numbers = direct or self.numbers(self.uploads.keys(spec))
        known = Directory(self.clients)
        collector = Collector(numbers, self.committee, known, context=spec.context)
        if direct is not None:
            return _ServerSession(Shared(collector, numbers), spec, roster)
        adding = onetime.Server(
            self.uploads.params(spec), context=spec.context, enrolled=Enrolled(self.clients)
        )
        return _ServerSession(_Halves(collector, numbers, adding), spec, roster)


class _Sums(Protocol):
    """What a server collects for one sum."""

    @property
    def collector(self) -> Collector:
        """Adds what the members share."""
        ...

    def receive(self, sender: int, message: bytes) -> None:
        """Take one message of a client."""
        ...

    def forget_unfinished(self) -> None:
        """Drop what arrived in part."""
        ...

    def settle(self) -> None:
        """The set is fixed: drop what is not of it."""
        ...

    def opened(self) -> SumResult:
        """The sum, once the members have answered."""
        ...


@dataclass(slots=True)
class _Halves:
    """The two halves of a sum: keys, and ciphertexts."""

    collector: Collector
    numbers: CommitteeParams
    adding: onetime.Server
    key_of: set[int] = field(default_factory=set[int])  # clients whose shares were accepted

    def receive(self, sender: int, message: bytes) -> None:
        """Take a chunk of ciphertexts, or the shares of the key."""
        if onetime.is_upload(message):
            self.adding.receive(sender, message)
        else:
            self.contribute(sender, message)

    def contribute(self, sender: int, message: bytes) -> None:
        """Take the shares of a client's key, which name the digest of its ciphertexts."""
        # A key without its ciphertexts would leave the sum of all others closed.
        if sender not in self.adding.complete:
            raise LocalProtocolError(
                f"client {sender} sent shares of its key before all of its ciphertexts"
            )
        if named_digest(message, self.numbers) != self.adding.digest(sender):
            raise LocalProtocolError(
                f"client {sender} shared its key for other ciphertexts than it sent"
            )
        self.collector.receive(sender, message)
        self.key_of.add(sender)

    def settle(self) -> None:
        """Add the ciphertexts of exactly the clients of the set, and drop all others."""
        for client in self.adding.complete:
            if client in self.collector.survivors:
                self.adding.add(client)
            else:
                self.adding.drop(client)

    def forget_unfinished(self) -> None:
        """Drop ciphertexts whose key did not arrive."""
        for client in set(self.adding.complete) - self.key_of:
            self.adding.drop(client)

    def opened(self) -> SumResult:
        """The sum of the ciphertexts, opened with the sum of the keys."""
        return self.adding.open_with_key_sum(self.collector.result().total)


class _ServerSession:
    """Clients send one message each; then the members of the committee answer three times."""

    def __init__(self, sums: _Sums, spec: SumSpec, roster: Sequence[int]) -> None:
        self._sums = sums
        self._spec = spec
        self._roster = frozenset(roster)
        self._opened: OpenedSum | None = None

    @property
    def stage(self) -> str:
        return self._sums.collector.phase.value

    @property
    def collecting(self) -> bool:
        return self._sums.collector.phase is CommitteePhase.CONTRIBUTE

    @property
    def convictions(self) -> tuple[Conviction, ...]:
        found = self._sums.collector.convictions
        return tuple(Conviction(c.client_id, str(c), self._spec.context, c.evidence) for c in found)

    def open(self) -> dict[int, Sequence[bytes]]:
        return openings(_OPENING, self._spec, self._roster)

    def receive(self, sender: int, message: bytes) -> None:
        if not is_client(sender):
            self._sums.collector.receive_member(FIRST_OPENER - sender, message)
        # The sender is checked first, so that nobody outside the roster reaches either sum.
        elif sender not in self._roster or not self.collecting:
            raise LocalProtocolError(f"the sum awaits no message from client {sender}")
        else:
            self._sums.receive(sender, message)

    def advance(self) -> dict[int, Sequence[bytes]]:
        if self.collecting:
            self._sums.forget_unfinished()
        messages = self._sums.collector.advance()
        # The set is fixed with the proposal to the members: from here on one accumulator holds the sum.
        if self._sums.collector.phase is CommitteePhase.SIGN:
            self._sums.settle()
        if not messages:
            self._open()
        return {FIRST_OPENER - member: (data,) for member, data in messages.items()}

    def _open(self) -> None:
        opened = self._sums.opened()
        # All secure sums reduce in the same way, so that their results are equal to the bit.
        self._opened = OpenedSum(self._spec.reduce(opened.total), opened.survivors)

    def result(self) -> OpenedSum:
        if self._opened is None:
            raise LocalProtocolError("the sum is not finished")
        return self._opened


@dataclass(frozen=True, slots=True)
class CommitteeClientSide:
    """The clients' side: who the members are.

    Args:
        uploads: the parameters.
        numbers: sum of keys → the committee's parameters.
        committee: the members.
    """

    uploads: Uploads
    numbers: Callable[[SumSpec], CommitteeParams]
    committee: Committee

    def session(
        self, spec: SumSpec, client_id: int, identity: Identity, opening: bytes
    ) -> UploadSession:
        """Begin a client's part: it sends its ciphertexts and shares of its key, or shares of its vector."""
        check_opening(_OPENING, spec, opening)
        direct = numbers_of_vector(self.uploads, self.numbers, spec)
        contributor = Contributor(
            direct or self.numbers(self.uploads.keys(spec)),
            client_id,
            identity,
            self.committee,
            context=spec.context,
            policy=_PLANNED,
        )
        if direct is not None:
            return UploadSession(
                spec, lambda vector: (contributor.contribute(vector, message_digest=NO_UPLOAD),)
            )
        encryptor = onetime.Encryptor(
            self.uploads.params(spec), client_id, context=spec.context, signing_key=identity
        )

        def once(vector: NDArray[np.int64]) -> tuple[bytes, ...]:
            chunks = tuple(encryptor.encrypt(vector, copy=False))
            shares = contributor.contribute(encryptor.take_key(), message_digest=encryptor.digest)
            return (*chunks, shares)

        return UploadSession(spec, once)


@dataclass(frozen=True, slots=True)
class MemberSide:
    """One member of the committee.

    Args:
        uploads: the parameters.
        numbers: sum of keys → the committee's parameters.
        committee: all members.
        clients: identities of the clients.
        keys: the member's id, identity and sealing key.
    """

    uploads: Uploads
    numbers: Callable[[SumSpec], CommitteeParams]
    committee: Committee
    clients: Directory
    keys: tuple[int, Identity, SealingKey] = field(repr=False)

    def session(self, spec: SumSpec, journal: Journal) -> MemberSession:
        """Begin a member's part of one sum."""
        member_id, identity, sealing = self.keys
        direct = numbers_of_vector(self.uploads, self.numbers, spec)
        member = Member(
            direct or self.numbers(self.uploads.keys(spec)),
            member_id,
            identity,
            sealing,
            self.committee,
            self.clients,
            context=spec.context,
            journal=journal,
            policy=_PLANNED,
        )
        return MemberSession(member)


class MemberSession:
    """A member's part of one sum; any of its three answers may come from another object of the same member.

    Args:
        member: the member.
    """

    def __init__(self, member: Member) -> None:
        self._member = member

    @property
    def over(self) -> bool:
        """Whether the last of the member's messages was given here."""
        return self._member.answered

    def receive(self, messages: Sequence[bytes]) -> Sequence[bytes]:
        """The replies to messages of the server."""
        return tuple(self._member.receive(message) for message in messages)
