"""The client: gives its masked input to one session, and helps to remove the masks from the sum.

Every message of the server is assumed to be a lie until it was checked.  A failed check ends the session for
this client and drops its secrets; a wrong call by the program changes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

from secagg.crypto import ring
from secagg.crypto.ephemeral import Ephemeral, present
from secagg.errors import (
    Aborted,
    AbortReason,
    LocalProtocolError,
    RemoteProtocolError,
)
from secagg.guards.calls import leaving_nothing
from secagg.guards.checks import executor_of, octets
from secagg.roles.client.consistency import (
    check_inputs,
    check_kind,
    check_partners,
    check_quorum,
    check_survivors,
    own_position,
    partners_of,
)
from secagg.roles.client.dealing import deal_to_neighbours
from secagg.roles.client.joining import accept_offer
from secagg.roles.client.masking import admit_input, mask_input
from secagg.roles.client.participation import ACCEPT_DEFAULTS, Participation
from secagg.session.roster import Roster, check_roster
from secagg.session.state import Phase
from secagg.wire.codec import Kind, decode, in_chunks
from secagg.wire.envelopes import open_inbox
from secagg.wire.messages import (
    AdvertiseKeys,
    ConsistencySignature,
    ForwardedShares,
    MaskedInput,
    Partners,
    ShareKeys,
    SharesOpened,
    Signatures,
    Survivors,
    UnmaskShares,
    seed_commitment,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

    import numpy as np
    from numpy.typing import NDArray

    from secagg.crypto.keys import Directory, Identity
    from secagg.guards.journal import Journal
    from secagg.roles.client.policy import Policy
    from secagg.wire.messages import Message

__all__ = ["Client"]


class Client(Participation):
    """One client in one session; create it with `from_offer`.

    The calls in order: `start`, `receive` five times, and `set_input` at any time before the third `receive`.
    Each returns the bytes to send, until `receive` has answered the request to unmask.

    Where a process ends between two messages, `suspend` puts the client away as bytes, and `resume` goes on.

    One object serves one session in one process: a fork, a copy or a pickle of it refuses. It makes one
    call at a time: a call from a second thread meanwhile raises LocalProtocolError, and nothing changes.
    After an error, no frame of its traceback holds a key, a share or the input.

    Example:
        >>> from secagg import Directory, Identity, Params, Server
        >>> me = Identity.generate()
        >>> known = Directory({5: me.public, 6: Identity.generate().public})
        >>> params = Params.for_cohort(3, 2, max_abs=9)
        >>> server = Server(params, context=b"round 1", directory=known)
        >>> client = Client.from_offer(server.offer(), 5, me, known, context=b"round 1")
        >>> server.receive(5, client.start())
        >>> client
        Client(<redacted>)
    """

    __slots__ = ()

    @classmethod
    @leaving_nothing
    def from_offer(
        cls,
        offer: bytes,
        client_id: int,
        identity: Identity,
        directory: Directory,
        *,
        context: bytes,
        policy: Policy = ACCEPT_DEFAULTS,
        executor: Executor | None = None,
        journal: Journal | None = None,
    ) -> Client:
        """Join the session of an offer.

        Args:
            offer: message 0.
            client_id: id of this client, 0 … 2^32 − 1.
            identity: signing key of this client.
            directory: identities that it knows beforehand.
            context: name of what the input belongs to, such as a digest of plan, round and model; not empty,
                and the same as the server's.
            policy: the client's own requirements.
            executor: executor of threads, to mask long vectors on several cores.
            journal: record of joined sessions, such as a `fedavg.FileJournal`; without it, an identity that
                is restored after a restart does not know the sessions that it joined before.

        Raises:
            UnsafeParametersError, CapacityError: the offer is unsafe; no key was created.
            RemoteProtocolError: the message is no offer, or has another context, or the session was joined
                before.
            LocalProtocolError: the directory does not hold this identity under this id, an argument has
                another type, or the journal failed.
        """
        executor = executor_of(executor)
        joined = accept_offer(offer, client_id, identity, directory, context, policy, journal)
        return cls(*joined, Ephemeral(identity), directory, executor, journal)

    @leaving_nothing
    def start(self) -> bytes:
        """Message 1: the two ephemeral keys, signed.

        Raises:
            LocalProtocolError: it was called before.
        """
        with self._turn:
            if self._phase is not Phase.ADVERTISE_KEYS:
                raise LocalProtocolError("start() is the first call, once")
            return self._acting(self._advertise, self._living())

    def _advertise(self, secrets: Ephemeral) -> AdvertiseKeys:
        channel, mask = present(secrets.channel), present(secrets.mask)
        keys = (present(secrets.identity).public, channel.public, mask.public)
        unsigned = AdvertiseKeys(self._client_id, *keys, signature=b"")
        signature = secrets.sign(unsigned.signed(self._session))
        self._own = replace(unsigned, signature=signature)
        return self._own

    @leaving_nothing
    def set_input(self, vector: NDArray[np.int64]) -> None:
        """Give the input, once.

        Args:
            vector: int64[vector_length], with coordinates within ±max_abs if the session has such a bound.
                It is copied. A subclass of NumPy's array, such as a masked array, is refused.

        Raises:
            CapacityError: the vector has another shape or type, or a coordinate is out of range.
            LocalProtocolError: the input was given before, or the masked input was sent already.
        """
        with self._turn:
            secrets = self._living()
            if secrets.input is not None or self._phase in (Phase.CONSISTENCY, Phase.UNMASK):
                raise LocalProtocolError("one input a session, before the partners are announced")
            secrets.input = admit_input(vector, self._params)

    @leaving_nothing
    def receive(self, message: bytes) -> bytes | None:
        """Answer one message of the server.

        Raises:
            RemoteProtocolError: the message is not awaited, or a check failed. Final.
            Aborted: the session cannot continue, and no party is shown to be at fault. Final.
            InternalError: the call failed below the package's checks. Final.
            LocalProtocolError: start() or set_input() is due first, another call is at work, the message
                is not bytes, or this client has aborted. Nothing changes. Of a resumed client also: the
                journal failed. This object is over; its state may be resumed once more, and answers unless
                the phase was recorded.
            StateError: a resumed client's phase was answered before, or the journal does not know that it
                was suspended. Final.
        """
        data = octets("message", message)
        with self._turn:
            if self._phase is Phase.DONE:
                raise RemoteProtocolError("sent a message after the session", "server")
            if self._phase is Phase.ADVERTISE_KEYS:
                raise LocalProtocolError("call start() before receive()")
            secrets = self._living()
            if self._phase is Phase.MASKED_INPUT and secrets.input is None:
                raise LocalProtocolError("call set_input() before the partners are announced")
            return self._acting(partial(self._answer, data), secrets)

    def chunks(self, reply: bytes) -> Iterator[bytes]:
        """Cut a reply into parts of 256 KiB, for `Server.receive_chunk`.

        Raises:
            LocalProtocolError: the reply is not bytes.
        """
        return in_chunks(octets("reply", reply), self._session)

    def _answer(self, data: bytes, secrets: Ephemeral) -> Message:
        kind = check_kind(data, self._session, self._phase)
        if kind is Kind.ROSTER:  # decoded by `Roster.of`, once for all clients of a process
            return self._share_keys(data, secrets)
        _, message = decode(data)
        match message:
            case ForwardedShares():
                return self._open_shares(message, secrets)
            case Partners():
                return self._masked_input(message, secrets)
            case Survivors():
                return self._sign(message, secrets)
            case Signatures():
                return self._unmask(message, secrets)
            case _:  # the table above lets no other kind through
                raise RemoteProtocolError(f"sent {kind.name}", "server")

    def _share_keys(self, data: bytes, secrets: Ephemeral) -> ShareKeys:
        """Message 3: check the participants, and deal shares to the neighbours."""
        roster = Roster.of(data, self._params, self._session)
        position = own_position(roster, self._client_id, self._own)
        neighbours = roster.neighbours(position)
        check_roster(roster, neighbours, self._directory)
        envelopes = deal_to_neighbours(roster, self._client_id, neighbours, secrets)
        self._roster, self._neighbours = roster, neighbours
        seed = present(secrets.seed)
        commitment = seed_commitment(self._session, self._client_id, seed)
        unsigned = ShareKeys(self._client_id, commitment, b"", envelopes)
        signature = secrets.sign(unsigned.signed(self._session, roster.root))
        return replace(unsigned, signature=signature)

    def _open_shares(self, forwarded: ForwardedShares, secrets: Ephemeral) -> SharesOpened:
        """Message 5: open the neighbours' shares and report which ones opened."""
        roster = present(self._roster)
        if len(forwarded.envelopes) != len(self._neighbours):
            raise RemoteProtocolError("forwarded shares for another neighbourhood", "server")
        secrets.held = open_inbox(roster, self._client_id, secrets.routes, forwarded.envelopes)
        secrets.routes = {}  # all envelopes were tried, and no key is needed again
        if len(secrets.held) + 1 < self._params.threshold:
            raise Aborted(
                AbortReason.TOO_FEW_SHARES,
                f"{len(secrets.held)} neighbours' shares opened, {self._params.threshold - 1} needed",
            )
        flags = tuple(place in secrets.held for place in self._neighbours)
        receipt = SharesOpened(self._client_id, b"", flags)
        signature = secrets.sign(receipt.signed(self._session, roster.root))
        return replace(receipt, signature=signature)

    def _masked_input(self, partners: Partners, secrets: Ephemeral) -> MaskedInput:
        """Message 7: mask with exactly the neighbours that are partners."""
        roster = present(self._roster)
        position = roster.positions[self._client_id]
        check_partners(partners, roster, position, secrets.held.keys())
        self._partners, root = partners, partners.root(self._session, roster.root)
        self._partner_root = root
        around = partners_of(partners, roster, position)
        secrets.held = {place: secrets.held[place] for place in around}  # others are never due
        words = present(secrets.input)
        mask_input(
            words,
            roster,
            root,
            position,
            around,
            seed=present(secrets.seed),
            key=present(secrets.mask),
            executor=self._executor,
        )
        secrets.input = secrets.mask = secrets.seed = None  # one mask never covers two inputs
        shown = b""
        if self._params.local:
            signed = MaskedInput.partners_signed(self._session, root, self._client_id)
            shown = secrets.sign(signed)
        bits, length = self._params.ring_bits, self._params.vector_length
        packed = cast("bytes", ring.pack_in_place(words, bits))  # a view, which `encode` copies
        unsigned = MaskedInput(self._client_id, length, bits, shown, b"", packed)
        signature = secrets.sign(unsigned.signed(self._session, root))
        return replace(unsigned, signature=signature)

    def _sign(self, survivors: Survivors, secrets: Ephemeral) -> ConsistencySignature:
        """Message 9: check the survivor set and sign it."""
        roster, partners = present(self._roster), present(self._partners)
        position = roster.positions[self._client_id]
        check_survivors(survivors, partners, roster, position)
        if self._params.local:
            check_inputs(survivors, partners, roster, position, self._directory)
        self._survivors = Survivors(survivors.members)  # the inputs' signatures have served
        signed = survivors.signed(self._session, self._partner_root)
        self._signature = secrets.sign(signed)
        secrets.settle(survivors.members)  # one share of each partner is left, never both
        return ConsistencySignature(self._client_id, self._signature)

    def _unmask(self, request: Signatures, secrets: Ephemeral) -> UnmaskShares:
        """Message 11: once a quorum has signed the same set, one share of each partner's secrets."""
        roster, survivors = present(self._roster), present(self._survivors)
        own = (roster.positions[self._client_id], self._signature)
        check_quorum(request, survivors, self._partner_root, roster, self._directory, own)
        given = UnmaskShares(self._client_id, b"", [secrets.own_share, *secrets.due.values()])
        told = survivors.signed(self._session, self._partner_root)
        return replace(given, signature=secrets.sign(given.signed(self._session, told)))
