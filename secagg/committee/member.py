"""A member of the committee: it reports which shares opened, signs one set, and answers once.

Between two messages it needs to keep no more than the facts in its journal, so that a new process may handle
each message.  Shares that it does hold are dropped when it has answered.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from secagg.committee.arithmetic.sharing import check_values, pack_residues, unpack_shares
from secagg.committee.params.params import CommitteeParams
from secagg.committee.params.policy import CommitteePolicy
from secagg.committee.sealing import Committee, SealingKey, associated, pinned, share_key
from secagg.committee.wire.codec import decode, encode, packed_sums
from secagg.committee.wire.messages import (
    Answer,
    Delivery,
    Endorsement,
    Head,
    Proposal,
    Report,
    Request,
    set_signed,
)
from secagg.crypto.keys import Directory, Identity, Secret, digest
from secagg.crypto.sealed import open_sealed
from secagg.errors import LocalProtocolError, RemoteProtocolError, WireFormatError
from secagg.guards.calls import Turn, leaving_nothing
from secagg.guards.checks import boolean, context_of, instance, journal_of, octets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from secagg.committee.wire.messages import Message
    from secagg.guards.journal import Journal

__all__ = ["Member"]

_POLICY = CommitteePolicy()


class Member(Secret):
    """One member, for one context.

    Args:
        params: parameters of the session.
        member_id: the member's id in the committee.
        identity: the member's identity.
        sealing_key: the member's sealing key of the committee's epoch.
        committee: the committee.
        clients: identities of the clients, known beforehand.
        context: context of the session, as the clients name it.
        journal: durable record of facts; two are recorded a context, before the set is signed and before the
            answer. A member whose journal was restored from a copy counts as corrupt.
        policy: what the member requires of the parameters, which may come from the server.

    Raises:
        UnsafeParametersError: the directory of clients is not pinned, or the parameters are below the policy.
        LocalProtocolError: the keys are not those of this member in the committee, or an argument has
            another type.

    Example:
        >>> import numpy as np
        >>> from secagg import Directory, Identity
        >>> from secagg.committee import Collector, Committee, CommitteeParams
        >>> from secagg.committee import Contributor, Member, SealingKey
        >>> params = CommitteeParams.for_committee(
        ...     2, corrupt=0, absent=0, vector_length=2, max_clients=3, max_abs=9, min_clients=3
        ... )
        >>> who = {i: Identity.generate() for i in range(3)}  # members 0 and 1 are clients too
        >>> keys = {j: SealingKey.generate(who[j], j, epoch=1) for j in range(2)}
        >>> members = Directory({j: who[j].public for j in range(2)})
        >>> committee = Committee(members, [key.card for key in keys.values()], epoch=1)
        >>> clients, context = Directory({i: it.public for i, it in who.items()}), b"round 1, n = 3"
        >>> server = Collector(params, committee, clients, context=context)
        >>> for i, it in who.items():
        ...     client = Contributor(params, i, it, committee, context=context)
        ...     server.receive(i, client.contribute(np.array([i, -1]), message_digest=bytes(32)))
        >>> class Memory(set):  # as long as the process lives; `fedavg.FileJournal` outlives it
        ...     def add(self, fact):
        ...         new = fact not in self
        ...         super().add(fact)
        ...         return new
        >>> both = [
        ...     Member(params, j, who[j], keys[j], committee, clients, context=context, journal=Memory())
        ...     for j in range(2)
        ... ]
        >>> for _ in range(3):  # report, endorsement, answer
        ...     for j, message in server.advance().items():
        ...         server.receive_member(j, both[j].receive(message))
        >>> server.advance(), server.result().total.tolist()
        ({}, [3, -3])
    """

    __slots__ = (
        "_answered",
        "_clients",
        "_closed",
        "_committee",
        "_context",
        "_held",
        "_identity",
        "_journal",
        "_member_id",
        "_params",
        "_place",
        "_reported",
        "_sealing_key",
        "_session",
        "_signed",
        "_turn",
    )

    @leaving_nothing
    def __init__(
        self,
        params: CommitteeParams,
        member_id: int,
        identity: Identity,
        sealing_key: SealingKey,
        committee: Committee,
        clients: Directory,
        *,
        context: bytes,
        journal: Journal,
        policy: CommitteePolicy = _POLICY,
    ) -> None:
        self._params = instance("params", params, CommitteeParams)
        instance("policy", policy, CommitteePolicy).check(self._params)
        self._committee = instance("committee", committee, Committee)
        self._place = self._committee.place(member_id)
        self._member_id = self._committee.ids[self._place]
        self._identity = instance("identity", identity, Identity)
        self._sealing_key = instance("sealing_key", sealing_key, SealingKey)
        self._check_keys()
        self._clients = pinned("clients", clients)
        self._context = context_of(context)
        self._session = self._committee.session(self._params, self._context)
        self._journal = _journal(journal)
        # (client, contribution's name) → its share, from the delivery until the answer
        self._held: dict[tuple[int, bytes], NDArray[np.int64]] = {}
        self._signed: tuple[tuple[int, bytes], ...] = ()
        self._reported = self._answered = self._closed = False
        self._turn = Turn("this member")

    def _check_keys(self) -> None:
        """An identity or sealing key of another member or epoch is a mistake of the caller's."""
        ours = (
            self._committee.identities[self._place],
            self._committee.sealing[self._place],
        )
        if ours != (self._identity.public, self._sealing_key.public):
            raise LocalProtocolError(
                f"the committee knows member {self._member_id} by another identity or sealing key"
            )

    @leaving_nothing
    def receive(self, message: bytes) -> bytes:
        """Answer a message of the server: a delivery, a proposal or a request.

        Raises:
            RemoteProtocolError: the server may not send this; nothing was signed or answered. The culprit is
                "server".
            LocalProtocolError: the shares were lost with an earlier process, the sealing key was erased, the
                member is closed, the journal failed, another call is at work, or the argument is not bytes.
        """
        data = octets("message", message)
        with self._turn:
            self._check_open()
            try:
                session, content = decode(data, self._params)
            except WireFormatError as error:
                raise RemoteProtocolError(f"sent a malformed message: {error}", "server") from error
            if session != self._session:
                raise RemoteProtocolError("sent a message of another session", "server")
            replies: dict[type[Message], Callable[[Any], Message]] = {
                Delivery: self._report,
                Proposal: self._endorse,
                Request: self._answer,
            }
            reply = replies.get(type(content))
            if reply is None:
                raise RemoteProtocolError("sent a message that no member receives", "server")
            return encode(reply(content), self._session)

    def close(self) -> None:
        """Drop all shares: the session is over for this member, with or without a result.

        An answer drops them, too. Close members of sessions that ended otherwise, and all members at the end
        of the epoch, before `SealingKey.erase`. Python cannot overwrite memory: see docs/threat-model.md.

        Raises:
            LocalProtocolError: another call is at work.
        """
        with self._turn:
            self._closed, self._held, self._signed = True, {}, ()

    @property
    def answered(self) -> bool:
        """Whether this object has given its answer, the last of its messages."""
        return self._answered

    def _check_open(self) -> None:
        if self._closed:
            raise LocalProtocolError("this member is closed; it takes no part any more")
        if self._sealing_key.erased:
            self._held, self._signed = {}, ()
            raise LocalProtocolError(
                "the sealing key of this epoch was erased, and with it the member's part in the session"
            )

    # 1: which shares opened ---------------------------------------------------------------------------

    def _report(self, delivery: Delivery) -> Report:
        _require(not self._reported, "delivered twice")
        self._check_size(len(delivery.heads))
        names = [(head.client_id, head.name(self._session)) for head in delivery.heads]
        for (client_id, name), signature in zip(names, delivery.signatures, strict=True):
            identity = self._clients.identity(client_id)
            _require(identity is not None, f"delivered a share of the unknown client {client_id}")
            signed = self._clients.verify(identity or b"", signature, name)
            _require(signed, f"delivered what client {client_id} did not sign")
        shares = self._open(delivery.heads, delivery.envelopes)
        opened = bytes(share is not None for share in shares)
        held = {name: share for name, share in zip(names, shares, strict=True) if share is not None}
        values = [check_values(self._params, name, share) for (_, name), share in held.items()]
        packed = pack_residues(self._params, np.array(values, dtype=np.int64))
        hashed = hashlib.sha256(packed).digest()
        statement = Report.signed(self._session, self._member_id, names, opened, hashed)
        self._held, self._reported = held, True
        return Report(self._member_id, self._identity.sign(statement), opened, packed)

    def _open(
        self, heads: Sequence[Head], envelopes: Sequence[bytes]
    ) -> list[NDArray[np.int64] | None]:
        """The share in each envelope; None where it does not open or is not canonical."""
        plain: list[bytes | None] = [
            self._open_one(head, envelope) for head, envelope in zip(heads, envelopes, strict=True)
        ]
        present = [share for share in plain if share is not None]
        if not present:
            return [None] * len(plain)
        values, good = unpack_shares(self._params, present)
        canonical = iter(zip(values, good, strict=True))
        out: list[NDArray[np.int64] | None] = []
        for share in plain:
            value, fine = next(canonical) if share is not None else (None, False)
            out.append(value if fine else None)
        return out

    def _open_one(self, head: Head, envelope: bytes) -> bytes | None:
        try:
            agreed = self._sealing_key.agree(head.public)
        except ValueError:  # of low order, or not canonical
            return None
        key = share_key(agreed, self._session, head.public, head.client_id, self._place)
        about = associated(self._session, head.client_id, self._place, head.message_digest)
        return open_sealed(key, envelope, about)

    # 2: one set ---------------------------------------------------------------------------------------

    def _endorse(self, proposal: Proposal) -> Endorsement:
        """Sign the proposed set, once a context."""
        own = Report.signed(
            self._session, self._member_id, proposal.names, proposal.opened, proposal.values
        )
        # Its own signature tells a new process what an earlier one has opened and checked.
        _require(
            self._committee.directory.verify(self._identity.public, proposal.signature, own),
            "shows another report than this member's",
        )
        places = np.flatnonzero(np.frombuffer(proposal.included, dtype=np.uint8)).tolist()
        chosen = tuple(proposal.names[place] for place in places)
        self._check_size(len(chosen))
        _require(
            all(proposal.opened[place] for place in places),
            "proposes a set with a share that did not open",
        )
        self._claim(b"signs", "proposes a set in a context in which this member has signed one")
        self._signed = chosen
        self._held = {pair: self._held[pair] for pair in chosen if pair in self._held}
        needs = len(self._held) < len(chosen)
        signature = self._identity.sign(set_signed(self._session, chosen))
        return Endorsement(self._member_id, int(needs), signature)

    # 3: one answer ------------------------------------------------------------------------------------

    def _answer(self, request: Request) -> Answer:
        """The sum of its shares over the set that a quorum has signed, once a context."""
        names = self._asked(request)
        chosen = set_signed(self._session, names)
        self._check_size(len(names))
        self._check_quorum(request.signatures, chosen)
        # Only now: each envelope costs an agreement of keys, and anybody can send a request without a quorum.
        shares = (
            self._open(request.heads, request.envelopes)
            if request.heads
            else [self._held[name] for name in names]
        )
        present = [share[:, : self._params.blocks] for share in shares if share is not None]
        _require(len(present) == len(names), "asks for a sum with a share that does not open")
        self._claim(b"answers", "asks for a sum in a context in which this member has answered")
        total = np.sum(present, axis=0) % np.array(self._params.moduli)[:, None]
        self._held, self._signed, self._answered = {}, (), True
        sums = packed_sums(self._params, total)
        statement = Answer.signed(self._session, chosen, self._member_id, sums)
        return Answer(self._member_id, self._identity.sign(statement), sums)

    def _asked(self, request: Request) -> tuple[tuple[int, bytes], ...]:
        """(client, name) of the set: that of the request's heads, or the one signed before."""
        if request.heads:
            return tuple((head.client_id, head.name(self._session)) for head in request.heads)
        if not self._signed or len(self._held) < len(self._signed):
            raise LocalProtocolError(
                "the shares are not here: they were lost with an earlier process, or the answer was given; "
                "this member counts as absent"
            )
        return self._signed

    def _check_quorum(self, signatures: Sequence[tuple[int, bytes]], chosen: bytes) -> None:
        """Require a quorum of valid signatures; the decoder has seen that the members are distinct."""
        quorum, shown = self._params.quorum, len(signatures)
        _require(shown >= quorum, f"shows {shown} signatures on the set, of {quorum} needed")
        for place, signature in signatures:
            _require(place < len(self._committee), "shows a signature of no member")
            identity = self._committee.identities[place]
            valid = self._committee.directory.verify(identity, signature, chosen)
            _require(valid, f"shows a false signature of member {self._committee.ids[place]}")

    # Both ---------------------------------------------------------------------------------------------

    def _check_size(self, clients: int) -> None:
        low, high = self._params.min_clients, self._params.max_clients
        _require(low <= clients <= high, f"names {clients} clients, where {low}…{high} may be")

    def _claim(self, what: bytes, refusal: str) -> None:
        """Record a fact once for this member and context; only then may it act."""
        fact = digest(b"committee member " + what, self._identity.public, self._context)
        try:
            new = self._journal.add(fact)
        except Exception as error:
            raise LocalProtocolError(
                f"the journal failed, and nothing is signed or answered: {error}"
            ) from error
        _require(boolean("what journal.add returns", new), refusal)


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - a condition
    if not holds:
        raise RemoteProtocolError(otherwise, "server")


def _journal(journal: object) -> Journal:
    kept = journal_of(journal)
    if kept is None:
        raise LocalProtocolError(
            "a member needs a journal: without one a restarted member could sign two sets"
        )
    return kept
