"""The server: carries messages between clients, adds masked inputs, and removes the masks of the sum.

There is no clock: the caller decides when a phase is over and calls `advance`; whoever has not answered
by then is out.  A bad message raises, names its sender and changes nothing.  A masked input is added to
the sum when it is complete, and not kept.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from secagg.crypto import ring
from secagg.crypto.keys import TrustServerDirectory, check_client_id, entropy
from secagg.errors import (
    Aborted,
    AbortReason,
    LocalProtocolError,
    RemoteProtocolError,
    WireFormatError,
)
from secagg.roster import Roster
from secagg.server import admission
from secagg.server.blame import convict_dealers, settle
from secagg.server.outbox import (
    commitments_of,
    inboxes_of,
    inputs_around,
    members_of,
    promises_to,
    quorum_around,
    shares_by_dealer,
)
from secagg.server.staging import Staging
from secagg.server.unmask import SumResult, find_masks, remove_masks
from secagg.state import SERVER_AWAITS, Phase, next_phase
from secagg.wire.bounds import largest_message
from secagg.wire.codec import decode, encode, read_header
from secagg.wire.messages import (
    NONCE_SIZE,
    AdvertiseKeys,
    Advertisements,
    ConsistencySignature,
    MaskedInput,
    Message,
    Offer,
    Partners,
    ShareKeys,
    SharesOpened,
    Signatures,
    Survivors,
    UnmaskShares,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from secagg.conviction import Conviction
    from secagg.crypto.keys import Directory
    from secagg.params import Params
    from secagg.verdicts.evidence import Dealing

M = TypeVar("M", bound=Message)

__all__ = ["Server", "SumResult"]


class Server:
    """The server of one session.

    Args:
        params: the session's parameters; `params.n_clients` clients may take part.
        context: what the inputs belong to; clients that were given another context do not join.
        directory: identities to compare advertisements with, so that one client with a foreign identity
            is refused here instead of ending the session at all others. Optional: clients check anyway.
        executor: of threads, to remove the masks of long vectors on more cores.

    Example:
        >>> from secagg.params import Params
        >>> server = Server(Params.for_cohort(5, 8, max_abs=100), context=b"round 1")
        >>> server.phase.name
        'ADVERTISE_KEYS'
    """

    def __init__(
        self,
        params: Params,
        *,
        context: bytes,
        directory: Directory | None = None,
        executor: Executor | None = None,
    ) -> None:
        self._params = params
        self._executor = executor
        self._offer = Offer(params, entropy(NONCE_SIZE))
        self._session = self._offer.session(context)
        self._directory = directory or TrustServerDirectory()
        self._phase = Phase.ADVERTISE_KEYS
        self._live: set[int] = set()  # ids that may speak in this phase; in the first, anyone may
        self._answers: dict[int, Message] = {}
        self._taken: set[bytes] = set()  # X25519 keys that were advertised
        self._staging = Staging()
        self._roster: Roster | None = None
        self._announced = b""  # the roster's message
        self._convictions: tuple[Conviction, ...] = ()
        self._disputes: tuple[tuple[int, int], ...] = ()
        self._dealt: dict[int, ShareKeys] = {}  # by position, like all below
        self._dealings: dict[int, Dealing] = {}
        self._accusations: dict[int, frozenset[int]] = {}
        self._partners = Partners(b"")
        self._partner_root = b""
        self._masked_with: dict[int, tuple[int, ...]] = {}
        self._inputs: dict[int, bytes] = {}  # of those already in the total: their signatures
        self._survivors = Survivors(b"")
        self._told = b""  # what signatures on the survivors cover
        self._alive: frozenset[int] = frozenset()
        self._promised: dict[int, bytes] = {}  # commitments to the shares that a survivor must give
        self._total: ring.RingArray | None = None
        self._result: SumResult | None = None

    @property
    def phase(self) -> Phase:
        """The phase whose messages are awaited."""
        return self._phase

    @property
    def convictions(self) -> tuple[Conviction, ...]:
        """Clients that have been shown to cheat so far, with the evidence."""
        return self._convictions

    @property
    def disputes(self) -> tuple[tuple[int, int], ...]:
        """(holder, dealer) where the one said that the other's shares did not open: one of the two cheats."""
        return self._disputes

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
        self._take(client_id, message)

    def receive_chunk(self, client_id: int, chunk: bytes) -> None:
        """Stage a part of a message; the last one commits the whole as `receive` does.

        Raises:
            RemoteProtocolError: not the next part (those before it stay), or the whole is not acceptable
                (all parts of it are then forgotten).
            LocalProtocolError: the session is over.
        """
        self._check_sender(client_id)
        limit = largest_message(SERVER_AWAITS[self._phase], self._params)
        whole = self._staging.take(client_id, chunk, session=self._session, limit=limit)
        if whole is not None:
            self._take(client_id, whole)

    def receive_sum(self, signatures: Mapping[int, bytes], total: NDArray[np.int64]) -> None:
        """Take masked inputs as one sum modulo 2^b, int64[d], added under a second encryption.

        It is of the clients that `signatures` has; b"" where no input is signed.

        Raises:
            RemoteProtocolError: see `check_apart`.
            LocalProtocolError: not the time or shape, or a sum of nobody.
        """
        inputs = [self.check_apart(*pair) for pair in admission.somebody(signatures).items()]
        words = admission.check_sum(total, self._params)
        np.add(self._sum(), words, out=self._sum())
        for message in inputs:
            self._inputs[self._position(message.client_id)] = message.partner_signature
            self._answers[message.client_id] = message

    def check_apart(self, client_id: int, signature: bytes) -> MaskedInput:
        """Check all of a masked input but its words, which come in a sum. Raises as `receive` does.

        Args:
            client_id: the sender.
            signature: on its partners, where quorums are of neighbours; else b"".
        """
        self._check_sender(client_id)
        admission.check_due(self._phase)
        shape = (self._params.vector_length, self._params.ring_bits)
        message = MaskedInput(client_id, *shape, signature, b"", b"")
        told = (shape[1], self._partner_root, self._directory)
        admission.check_input_apart(message, self._known(), *told)
        return message

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
            Phase.CHECK_SHARES: self._close_check_shares,
            Phase.MASKED_INPUT: self._close_masked_input,
            Phase.CONSISTENCY: self._close_consistency,
            Phase.UNMASK: self._close_unmask,
        }
        messages, failure = self._closed(steps[self._phase])
        if failure is not None:  # raised here: the first error's traceback leads to secrets
            raise failure
        self._phase = next_phase(self._phase)
        self._live = set(messages)
        self._answers = {}
        self._staging.clear()
        if self._phase is Phase.DONE:
            self._forget()
        return messages

    def _closed(
        self, close: Callable[[], dict[int, bytes]]
    ) -> tuple[dict[int, bytes], Aborted | None]:
        """What a phase ends with: messages, or the end of the session with all that is known of why."""
        try:
            return close(), None
        except Aborted as error:
            reason, detail = error.reason, error.args[1]
        self._forget()
        self._phase = Phase.ABORTED
        culprit = self._convictions[0].client_id if self._convictions else None
        return {}, Aborted(reason, detail, culprit, self._convictions, self._disputes)

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
                raise RemoteProtocolError("came after the roster was full", client_id)
        elif client_id not in self._live:
            raise RemoteProtocolError("is not, or no longer, part of the session", client_id)
        if client_id in self._answers:
            raise RemoteProtocolError("sent a second message in one phase", client_id)

    def _take(self, client_id: int, data: bytes | bytearray) -> None:
        """Decode, check and keep a whole message."""
        try:
            kind, session = read_header(data)
            if session != self._session:
                raise RemoteProtocolError("sent a message of another session", client_id)
            if kind is not SERVER_AWAITS[self._phase]:
                raise RemoteProtocolError(
                    f"sent {kind.name} in phase {self._phase.name}", client_id
                )
            _, content = decode(data)
        except WireFormatError as error:
            raise RemoteProtocolError(f"sent a malformed message: {error}", client_id) from error
        if getattr(content, "client_id", None) != client_id:
            raise RemoteProtocolError("sent a message in another client's name", client_id)
        self._accept(client_id, content)
        self._staging.drop(client_id)

    def _accept(self, client_id: int, content: Message) -> None:
        """Check a message, and only then let it change anything."""
        match content:
            case AdvertiseKeys():
                admission.check_keys(content, self._taken, self._directory, self._session)
                self._taken.update((content.channel_key, content.mask_key))
            case ShareKeys():
                admission.check_dealt(content, self._known(), self._directory)
            case SharesOpened():
                dealers = self._dealt.keys()
                accused = admission.check_opened(content, self._known(), dealers, self._directory)
                self._accusations[self._position(client_id)] = accused
            case MaskedInput():
                self._add(content)
                return
            case ConsistencySignature():
                admission.check_signature(content, self._known(), self._told, self._directory)
            case UnmaskShares():
                position = self._position(client_id)
                around, promised = self._masked_with[position], self._promised[position]
                told = (self._known(), self._told, self._directory)
                admission.check_shares(content, *told, around, promised, self._alive)
            case _:  # the table of awaited kinds lets no other through
                raise RemoteProtocolError("sent a message of the server's", client_id)
        self._answers[client_id] = content

    def _add(self, message: MaskedInput) -> None:
        """Add an input to the sum; nothing of its vector is kept."""
        root, bits = self._partner_root, self._params.ring_bits
        admission.check_input(message, self._known(), bits, root, self._directory)
        ring.add_packed(self._sum(), message.packed, bits)
        self._inputs[self._position(message.client_id)] = message.partner_signature
        self._answers[message.client_id] = replace(message, packed=b"")

    # What closes a phase ----------------------------------------------------------------------------

    def _close_advertise_keys(self) -> dict[int, bytes]:
        self._need(len(self._answers), self._params.min_roster, AbortReason.TOO_FEW_KEYS)
        entries = [m for m in self._answers.values() if isinstance(m, AdvertiseKeys)]
        advertised = Advertisements(tuple(sorted(entries, key=lambda entry: entry.client_id)))
        message = encode(advertised, self._session)
        self._roster = Roster.of(message, self._params, self._session)
        self._announced = message
        self._taken.clear()
        return dict.fromkeys(self._answers, message)

    def _close_share_keys(self) -> dict[int, bytes]:
        self._need(len(self._answers), self._params.min_survivors, AbortReason.TOO_FEW_SHARES)
        roster = self._known()
        self._dealt = self._answered(ShareKeys)
        forwarded = {
            roster.client_id(holder): encode(inbox, self._session)
            for holder, inbox in inboxes_of(roster, self._dealt)
        }
        for dealer, message in self._dealt.items():
            self._dealt[dealer] = commitments_of(message)
        return forwarded

    def _close_check_shares(self) -> dict[int, bytes]:
        roster = self._known()
        settled = settle(roster, self._accusations, self._answered(SharesOpened), self._messages())
        self._convictions, self._disputes = settled.convictions, settled.disputes
        chosen = set(self._accusations) - settled.gone
        self._need(len(chosen), self._params.min_survivors, AbortReason.TOO_FEW_SHARES)
        self._partners = Partners(members_of(roster, chosen))
        self._partner_root = self._partners.root(self._session, roster.root)
        for position in chosen:
            around = roster.neighbours(position)
            self._masked_with[position] = tuple(filter(chosen.__contains__, around))
        self._accusations = {}
        self._total = np.zeros(self._params.vector_length, ring.ring_dtype(self._params.ring_bits))
        message = encode(self._partners, self._session)
        return dict.fromkeys(map(roster.client_id, sorted(chosen)), message)

    def _close_masked_input(self) -> dict[int, bytes]:
        self._need(len(self._inputs), self._params.min_survivors, AbortReason.TOO_FEW_SURVIVORS)
        roster, inputs, told = self._known(), self._inputs, sorted(self._inputs)
        self._alive = frozenset(told)
        self._survivors = Survivors(members_of(roster, told))
        self._told = self._survivors.signed(self._session, self._partner_root)
        partners = self._masked_with.keys()
        self._promised, self._dealings = promises_to(roster, self._dealt, partners, self._alive)
        self._dealt = {}
        if not self._params.local:
            message = encode(self._survivors, self._session)
            return dict.fromkeys(map(roster.client_id, told), message)
        shown = {p: inputs_around(self._survivors, inputs, self._masked_with[p]) for p in told}
        return {roster.client_id(p): encode(shown[p], self._session) for p in told}

    def _close_consistency(self) -> dict[int, bytes]:
        roster, quorum = self._known(), self._params.quorum
        answers = self._answered(ConsistencySignature)
        signed = {place: message.signature for place, message in answers.items()}
        if not self._params.local:
            self._need(len(signed), quorum, AbortReason.TOO_FEW_SIGNATURES)
            # exactly a quorum: every further signature costs each client a verification
            message = encode(Signatures(tuple(signed.items())[:quorum]), self._session)
            return dict.fromkeys(map(roster.client_id, signed), message)
        requests: dict[int, bytes] = {}
        for place in signed:
            content = quorum_around(signed, self._masked_with[place], quorum)
            if content is not None:
                requests[roster.client_id(place)] = encode(content, self._session)
        self._need(len(requests), self._params.threshold, AbortReason.TOO_FEW_SIGNATURES)
        return requests

    def _close_unmask(self) -> dict[int, bytes]:
        roster, total, answers = self._known(), self._sum(), self._answered(UnmaskShares)
        masks = find_masks(
            roster,
            self._partner_root,
            self._alive,
            self._masked_with,
            shares_by_dealer(answers, self._masked_with),
            self._dealings,
        )
        if masks.bad:
            given = self._promised, self._masked_with
            about = (self._dealings, given, answers, self._told, self._messages())
            self._convictions += convict_dealers(roster, masks.bad, *about)
            secrets = {True: "self-mask seed", False: "mask key"}
            whose = (
                f"the {secrets[p in self._alive]} of client {roster.client_id(p)}"
                for p in masks.bad
            )
            raise Aborted(AbortReason.BAD_DEALER, ", ".join(whose))
        remove_masks(total, masks, executor=self._executor)
        self._result = SumResult(
            ring.centre(total, self._params.ring_bits),
            tuple(roster.client_id(position) for position in sorted(self._alive)),
            self._convictions,
            self._disputes,
        )
        return {}

    def _need(self, count: int, least: int, reason: AbortReason) -> None:
        if count < least:
            raise Aborted(reason, f"{count} of the {least} that are needed")

    def _answered(self, kind: type[M]) -> dict[int, M]:
        """The messages of this phase, by position, ascending."""
        answers = sorted(self._answers.items())
        return {self._position(client): m for client, m in answers if isinstance(m, kind)}

    def _position(self, client_id: int) -> int:
        return self._known().positions[client_id]

    def _known(self) -> Roster:
        if self._roster is None:
            raise LocalProtocolError("there is no roster yet")
        return self._roster

    def _messages(self) -> tuple[bytes, bytes]:
        """Offer and roster, with which evidence starts."""
        return self.offer(), self._announced

    def _sum(self) -> ring.RingArray:
        if self._total is None:
            raise LocalProtocolError("no partners have been announced")
        return self._total

    def _forget(self) -> None:
        self._answers, self._dealt, self._dealings, self._accusations = {}, {}, {}, {}
        self._masked_with, self._inputs, self._promised = {}, {}, {}
        self._taken, self._live = set(), set()
        self._staging.clear()
        self._total = None
