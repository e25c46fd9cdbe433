"""The server: carries messages between clients, adds masked inputs, and removes the masks of the sum.

There is no clock: the caller decides when a phase is over and calls `advance`; whoever has not answered
by then is out.  A bad message raises, names its sender and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from secagg import ring
from secagg.admission import check_keys, check_shares, given
from secagg.cohort import Cohort
from secagg.envelopes import ENVELOPE_SIZE
from secagg.errors import (
    Aborted,
    AbortReason,
    LocalProtocolError,
    RemoteProtocolError,
    WireFormatError,
)
from secagg.keys import TrustServerDirectory, check_client_id, entropy
from secagg.messages import (
    NONCE_SIZE,
    AdvertiseKeys,
    ConsistencySignature,
    ForwardedShares,
    MaskedInput,
    Message,
    Offer,
    Roster,
    ShareKeys,
    Signatures,
    Survivors,
    UnmaskShares,
)
from secagg.settle import compatible, remove_masks
from secagg.state import SERVER_AWAITS, Phase, next_phase
from secagg.wire import HEADER_SIZE, decode, decode_chunk, encode, read_header

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from secagg.keys import Directory
    from secagg.params import Params

__all__ = ["Server", "SumResult"]


@dataclass(frozen=True, slots=True, eq=False)
class SumResult:
    """What a session reveals.

    Args:
        total: int64[d], the survivors' sum modulo 2^b, centred.
        survivors: ids of those whose inputs are in it, ascending.
    """

    total: NDArray[np.int64]
    survivors: tuple[int, ...]


class Server:
    """The server of one session.

    Args:
        params: the session's parameters; `params.n_clients` clients may take part.
        context: what the inputs belong to; clients that were given another context do not join.
        directory: identities to compare advertisements with, so that one client with a foreign identity
            is refused here instead of ending the session at all others. Optional: clients check anyway.

    Example:
        >>> from secagg.params import Params
        >>> server = Server(Params.for_cohort(5, 8, max_abs=100), context=b"round 1")
        >>> server.phase.name
        'ADVERTISE_KEYS'
    """

    def __init__(
        self, params: Params, *, context: bytes, directory: Directory | None = None
    ) -> None:
        self._params = params
        self._offer = Offer(params, entropy(NONCE_SIZE))
        self._session = self._offer.session(context)
        self._directory = directory or TrustServerDirectory()
        self._phase = Phase.ADVERTISE_KEYS
        self._live: set[int] = set()  # ids that may speak in this phase; in the first, anyone may
        self._answers: dict[int, Message] = {}
        self._staged: dict[int, list[bytes]] = {}
        self._cohort: Cohort | None = None
        self._dealt: dict[int, ShareKeys] = {}  # by position, like all below
        self._masked_with: dict[int, frozenset[int]] = {}
        self._survivors: frozenset[int] = frozenset()
        self._total: ring.RingArray | None = None
        self._result: SumResult | None = None

    @property
    def phase(self) -> Phase:
        """The phase whose messages are awaited."""
        return self._phase

    def offer(self) -> bytes:
        """Message 0, the same for every client."""
        return encode(self._offer, self._session)

    def receive(self, client_id: int, message: bytes) -> None:
        """Take a client's message of this phase; who the sender is, the transport knows.

        Raises:
            RemoteProtocolError: not an acceptable message; nothing has changed, and unless a good one
                follows the client is out when the phase closes.
            LocalProtocolError: the session is over.
        """
        self._check_sender(client_id)
        try:
            kind, session = read_header(message)
            if session != self._session:
                raise RemoteProtocolError("sent a message of another session", client_id)
            if kind is not SERVER_AWAITS[self._phase]:
                raise RemoteProtocolError(
                    f"sent {kind.name} in phase {self._phase.name}", client_id
                )
            _, content = decode(message)
        except WireFormatError as error:
            raise RemoteProtocolError(f"sent a malformed message: {error}", client_id) from error
        self._check(client_id, content)
        self._answers[client_id] = content
        self._staged.pop(client_id, None)

    def receive_chunk(self, client_id: int, chunk: bytes) -> None:
        """Stage a part of a message; the last one commits the whole as `receive` does.

        Raises:
            RemoteProtocolError: not the next part, or the whole is not acceptable (all parts of it are
                then forgotten).
            LocalProtocolError: the session is over.
        """
        self._check_sender(client_id)
        try:
            session, index, count, payload = decode_chunk(chunk)
        except WireFormatError as error:
            raise RemoteProtocolError(f"sent a malformed chunk: {error}", client_id) from error
        if session != self._session:
            raise RemoteProtocolError("sent a chunk of another session", client_id)
        staged = self._staged.get(client_id, [])
        if index != len(staged) or sum(map(len, staged)) + len(payload) > self._largest():
            raise RemoteProtocolError(
                f"sent chunk {index} out of turn or beyond any message", client_id
            )
        if index + 1 < count:
            self._staged[client_id] = [*staged, payload]
            return
        self._staged.pop(client_id, None)
        self.receive(client_id, b"".join([*staged, payload]))

    def advance(self) -> dict[int, bytes]:
        """Close the phase: the silent are out. Returns each live client's next message; {} at the end.

        Raises:
            Aborted: too few are left, or a mask cannot be removed; there is no sum.
            LocalProtocolError: the session is over.
        """
        self._check_running()
        steps = {
            Phase.ADVERTISE_KEYS: self._close_advertise_keys,
            Phase.SHARE_KEYS: self._close_share_keys,
            Phase.MASKED_INPUT: self._close_masked_input,
            Phase.CONSISTENCY: self._close_consistency,
            Phase.UNMASK: self._close_unmask,
        }
        try:
            messages = steps[self._phase]()
        except Aborted:
            self._forget()
            self._phase = Phase.ABORTED
            raise
        self._phase = next_phase(self._phase)
        self._live = set(messages)
        self._answers = {}
        self._staged = {}
        if self._phase is Phase.DONE:
            self._forget()
        return {client: encode(content, self._session) for client, content in messages.items()}

    def result(self) -> SumResult:
        """The sum.

        Raises:
            LocalProtocolError: the session is not done.
        """
        if self._result is None:
            raise LocalProtocolError(f"no result in phase {self._phase.name}")
        return self._result

    # What is acceptable -----------------------------------------------------------------------------

    def _check_running(self) -> None:
        if self._phase in (Phase.DONE, Phase.ABORTED):
            raise LocalProtocolError(f"the session is {self._phase.name}")

    def _check_sender(self, client_id: int) -> None:
        self._check_running()
        check_client_id(client_id)
        if self._phase is Phase.ADVERTISE_KEYS:
            if len(self._answers) >= self._params.n_clients and client_id not in self._answers:
                raise RemoteProtocolError("came after the cohort was full", client_id)
        elif client_id not in self._live:
            raise RemoteProtocolError("is not, or no longer, part of the session", client_id)
        if client_id in self._answers:
            raise RemoteProtocolError("sent a second message in one phase", client_id)

    def _largest(self) -> int:
        """Bytes of the longest message of a phase, with room to spare for its lists."""
        vector = ring.packed_size(self._params.vector_length, self._params.ring_bits)
        return HEADER_SIZE + 64 + max(vector, 0) + self._params.n_clients * (ENVELOPE_SIZE + 1)

    def _check(self, client_id: int, content: Message) -> None:
        if getattr(content, "client_id", None) != client_id:
            raise RemoteProtocolError("sent a message in another client's name", client_id)
        match content:
            case AdvertiseKeys():
                check_keys(content, self._answers.values(), self._directory, self._session)
            case ShareKeys():
                self._check_count(client_id, len(content.envelopes))
            case MaskedInput():
                self._check_input(content)
            case ConsistencySignature():
                self._check_signature(content)
            case UnmaskShares():
                self._check_unmask(content)
            case _:  # the table of awaited kinds lets no other through
                raise RemoteProtocolError("sent a message of the server's", client_id)

    def _neighbours(self, client_id: int) -> tuple[int, ...]:
        cohort = self._roster()
        return cohort.neighbours(cohort.positions[client_id])

    def _check_count(self, client_id: int, count: int) -> None:
        expected = len(self._neighbours(client_id))
        if count != expected:
            raise RemoteProtocolError(f"sent {count} places for {expected} neighbours", client_id)

    def _check_input(self, message: MaskedInput) -> None:
        client_id = message.client_id
        shape = (self._params.vector_length, self._params.ring_bits)
        if (message.length, message.bits) != shape:
            raise RemoteProtocolError("sent an input of another length or ring", client_id)
        self._check_count(client_id, len(message.masked_with))
        peers = self._flagged(client_id, message.masked_with)
        if not peers <= self._dealt.keys() or len(peers) + 1 < self._params.threshold:
            raise RemoteProtocolError(
                "masked with clients that dealt no shares, or too few", client_id
            )

    def _flagged(self, client_id: int, flags: tuple[bool, ...]) -> frozenset[int]:
        pairs = zip(self._neighbours(client_id), flags, strict=True)
        return frozenset(place for place, flag in pairs if flag)

    def _check_signature(self, message: ConsistencySignature) -> None:
        cohort = self._roster()
        identity = cohort.entries[cohort.positions[message.client_id]].identity
        signed = self._survivor_flags().signed(self._session, cohort.root)
        if not self._directory.verify(identity, message.signature, signed):
            raise RemoteProtocolError("signed other survivors than it was told", message.client_id)

    def _check_unmask(self, message: UnmaskShares) -> None:
        cohort, client_id = self._roster(), message.client_id
        self._check_count(client_id, len(message.held))
        held = self._masked_with[cohort.positions[client_id]]
        if self._flagged(client_id, message.held) != held:
            raise RemoteProtocolError("gave shares of others than it masked with", client_id)
        check_shares(message, cohort, held, self._dealt, self._survivors)

    # What closes a phase ----------------------------------------------------------------------------

    def _close_advertise_keys(self) -> dict[int, Message]:
        self._need(len(self._answers), self._params.min_survivors, AbortReason.TOO_FEW_KEYS)
        entries = [m for m in self._answers.values() if isinstance(m, AdvertiseKeys)]
        roster = Roster(tuple(sorted(entries, key=lambda entry: entry.client_id)))
        self._cohort = Cohort.of(roster, self._params, self._session)
        return dict.fromkeys(self._answers, roster)

    def _close_share_keys(self) -> dict[int, Message]:
        self._need(len(self._answers), self._params.min_survivors, AbortReason.TOO_FEW_SHARES)
        cohort = self._roster()
        for client_id, message in self._answers.items():
            if isinstance(message, ShareKeys):
                self._dealt[cohort.positions[client_id]] = message
        inboxes: dict[int, dict[int, bytes]] = {position: {} for position in self._dealt}
        for dealer, message in self._dealt.items():
            for holder, envelope in zip(cohort.neighbours(dealer), message.envelopes, strict=True):
                if holder in inboxes:
                    inboxes[holder][dealer] = envelope
        return {
            cohort.client_id(holder): ForwardedShares(
                tuple(inbox.get(dealer) for dealer in cohort.neighbours(holder))
            )
            for holder, inbox in inboxes.items()
        }

    def _close_masked_input(self) -> dict[int, Message]:
        cohort = self._roster()
        inputs: dict[int, MaskedInput] = {}
        for client_id, message in self._answers.items():
            if isinstance(message, MaskedInput):
                position = cohort.positions[client_id]
                inputs[position] = message
                self._masked_with[position] = self._flagged(client_id, message.masked_with)
        self._survivors = frozenset(compatible(cohort, self._masked_with))
        self._need(len(self._survivors), self._params.min_survivors, AbortReason.TOO_FEW_SURVIVORS)
        bits, length = self._params.ring_bits, self._params.vector_length
        total = np.zeros(length, dtype=ring.ring_dtype(bits))
        for position in self._survivors:
            np.add(total, ring.unpack(inputs[position].packed, length, bits), out=total)
        self._total = total
        flags = self._survivor_flags()
        return {cohort.client_id(position): flags for position in sorted(self._survivors)}

    def _survivor_flags(self) -> Survivors:
        size = len(self._roster().entries)
        return Survivors(tuple(position in self._survivors for position in range(size)))

    def _close_consistency(self) -> dict[int, Message]:
        quorum = self._params.quorum
        self._need(len(self._answers), quorum, AbortReason.TOO_FEW_SIGNATURES)
        positions = self._roster().positions
        signed = sorted(
            (positions[client], message.signature)
            for client, message in self._answers.items()
            if isinstance(message, ConsistencySignature)
        )
        # exactly a quorum: every further signature costs each client a verification
        return dict.fromkeys(sorted(self._answers), Signatures(tuple(signed[:quorum])))

    def _close_unmask(self) -> dict[int, Message]:
        cohort = self._roster()
        shares: dict[int, dict[int, bytes]] = {}
        for client_id, message in self._answers.items():
            if isinstance(message, UnmaskShares):
                holder = cohort.positions[client_id]
                for dealer, share in given(message, cohort, self._masked_with[holder]).items():
                    shares.setdefault(dealer, {})[holder] = share
        total = self._total
        if total is None:
            raise LocalProtocolError("there is no sum to unmask")
        commitments = {
            position: self._dealt[position].seed_commitment for position in self._survivors
        }
        remove_masks(total, cohort, self._survivors, self._masked_with, shares, commitments)
        self._result = SumResult(
            ring.centre(total, self._params.ring_bits),
            tuple(cohort.client_id(position) for position in sorted(self._survivors)),
        )
        return {}

    def _need(self, count: int, least: int, reason: AbortReason) -> None:
        if count < least:
            raise Aborted(reason, f"{count} of the {least} that are needed")

    def _roster(self) -> Cohort:
        if self._cohort is None:
            raise LocalProtocolError("there is no roster yet")
        return self._cohort

    def _forget(self) -> None:
        self._answers, self._staged, self._dealt, self._masked_with = {}, {}, {}, {}
        self._live = set()
        self._total = None
