"""The state of a session at the server: participants, dealt shares, and the sum so far.

This module has the effects of a message and of the end of a phase.  `Server` decides which client may send,
and when.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from secagg.crypto import ring
from secagg.errors import Aborted, AbortReason, LocalProtocolError, RemoteProtocolError
from secagg.roles.server import admission
from secagg.roles.server.blame import convict_dealers, settle
from secagg.roles.server.outbox import (
    commitments_of,
    inboxes_of,
    inputs_around,
    members_of,
    promises_to,
    quorum_around,
    shares_by_dealer,
)
from secagg.roles.server.unmask import SumResult, find_masks, remove_masks
from secagg.session.roster import Roster
from secagg.session.state import Phase
from secagg.wire.codec import encode
from secagg.wire.messages import (
    AdvertiseKeys,
    Advertisements,
    ConsistencySignature,
    MaskedInput,
    Message,
    Partners,
    ShareKeys,
    SharesOpened,
    Signatures,
    Survivors,
    UnmaskShares,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from secagg.crypto.keys import Directory
    from secagg.errors.conviction import Conviction
    from secagg.params.params import Params
    from secagg.verdicts.evidence import Dealing

M = TypeVar("M", bound=Message)
Answers = dict[int, Message]
"""Client id → its message of a phase."""

__all__ = ["Tally"]


class Tally:
    """The state of a session.

    Args:
        params: parameters of the session.
        session: name of the session.
        offer: message 0, with which evidence starts.
        directory: identities that advertisements are compared with.
        executor: executor of threads, to remove the masks of long vectors on several cores.
    """

    def __init__(
        self,
        params: Params,
        session: bytes,
        offer: bytes,
        directory: Directory,
        executor: Executor | None,
    ) -> None:
        self.params = params
        self.session = session
        self.offer = offer
        self.directory = directory
        self.executor = executor
        self.convictions: tuple[Conviction, ...] = ()
        self.disputes: tuple[tuple[int, int], ...] = ()
        self.result: SumResult | None = None
        self.taken: set[bytes] = set()  # X25519 keys that were advertised
        self.roster: Roster | None = None
        self.announced = b""  # the roster's message
        self.dealt: dict[int, ShareKeys] = {}  # by position, like all mappings below
        self.dealings: dict[int, Dealing] = {}
        self.accusations: dict[int, frozenset[int]] = {}
        self.partner_root = b""
        self.masked_with: dict[int, tuple[int, ...]] = {}
        self.inputs: dict[int, bytes] = {}  # signatures of the inputs that are already in the total
        self.survivors = Survivors(b"")
        self.told = b""  # the content that signatures on the survivors cover
        self.alive: frozenset[int] = frozenset()
        self.promised: dict[int, bytes] = {}  # commitments to the shares that a survivor must give
        self.total: ring.RingArray | None = None
        self.unpacker: ring.Unpacker | None = None

    # What a message adds ------------------------------------------------------------------------------

    def accept(self, client_id: int, content: Message) -> Message:
        """Check a message before it changes anything; return the part of it that must be kept."""
        match content:
            case AdvertiseKeys():
                admission.check_keys(content, self.taken, self.directory, self.session)
                self.taken.update((content.channel_key, content.mask_key))
            case ShareKeys():
                admission.check_dealt(content, self.known(), self.directory)
            case SharesOpened():
                dealers = self.dealt.keys()
                accused = admission.check_opened(content, self.known(), dealers, self.directory)
                self.accusations[self._position(client_id)] = accused
            case MaskedInput():
                return self._add(content)
            case ConsistencySignature():
                admission.check_signature(content, self.known(), self.told, self.directory)
            case UnmaskShares():
                position = self._position(client_id)
                around, promised = self.masked_with[position], self.promised[position]
                told = (self.known(), self.told, self.directory)
                admission.check_shares(content, *told, around, promised, self.alive)
            case _:  # the table of awaited kinds lets no other through
                raise RemoteProtocolError("sent a message of the server's", client_id)
        return content

    def _add(self, message: MaskedInput) -> MaskedInput:
        """Add an input to the sum; its vector is not kept."""
        root, bits = self.partner_root, self.params.ring_bits
        admission.check_input(message, self.known(), bits, root, self.directory)
        ring.add_packed(self._sum(), message.packed, bits, self.unpacker)
        self.inputs[self._position(message.client_id)] = message.partner_signature
        return replace(message, packed=b"")

    def add_sum(self, inputs: Sequence[MaskedInput], total: NDArray[np.int64]) -> None:
        """Add masked inputs that were checked, and whose words arrive in a sum."""
        words = admission.check_sum(total, self.params)
        np.add(self._sum(), words, out=self._sum())
        for message in inputs:
            self.inputs[self._position(message.client_id)] = message.partner_signature

    def check_apart(self, client_id: int, signature: bytes) -> MaskedInput:
        """Check all of a masked input except its words."""
        shape = (self.params.vector_length, self.params.ring_bits)
        message = MaskedInput(client_id, *shape, signature, b"", b"")
        told = (shape[1], self.partner_root, self.directory)
        admission.check_input_apart(message, self.known(), *told)
        return message

    # What a phase ends with ----------------------------------------------------------------------------

    def close(self, phase: Phase, answers: Answers) -> dict[int, bytes]:
        """End a phase with its answers; return the next message of each remaining client, or {} at the end.

        Raises:
            Aborted: too few clients remain, or a mask cannot be removed.
        """
        steps = {
            Phase.ADVERTISE_KEYS: self._close_advertise_keys,
            Phase.SHARE_KEYS: self._close_share_keys,
            Phase.CHECK_SHARES: self._close_check_shares,
            Phase.MASKED_INPUT: self._close_masked_input,
            Phase.CONSISTENCY: self._close_consistency,
            Phase.UNMASK: self._close_unmask,
        }
        return steps[phase](answers)

    def _close_advertise_keys(self, answers: Answers) -> dict[int, bytes]:
        self._need(len(answers), self.params.min_roster, AbortReason.TOO_FEW_KEYS)
        entries = [m for m in answers.values() if isinstance(m, AdvertiseKeys)]
        advertised = Advertisements(tuple(sorted(entries, key=lambda entry: entry.client_id)))
        message = encode(advertised, self.session)
        self.roster = Roster.of(message, self.params, self.session)
        self.announced = message
        self.taken.clear()
        return dict.fromkeys(answers, message)

    def _close_share_keys(self, answers: Answers) -> dict[int, bytes]:
        self._need(len(answers), self.params.min_survivors, AbortReason.TOO_FEW_SHARES)
        roster = self.known()
        self.dealt = self._answered(ShareKeys, answers)
        forwarded = {
            roster.client_id(holder): encode(inbox, self.session)
            for holder, inbox in inboxes_of(roster, self.dealt)
        }
        # The envelopes have been sent; from now on only the commitments in their heads are needed.
        for dealer, message in self.dealt.items():
            self.dealt[dealer] = commitments_of(message)
        return forwarded

    def _close_check_shares(self, answers: Answers) -> dict[int, bytes]:
        roster = self.known()
        receipts = self._answered(SharesOpened, answers)
        settled = settle(roster, self.accusations, receipts, (self.offer, self.announced))
        self.convictions, self.disputes = settled.convictions, settled.disputes
        # Only clients that sent a receipt have an entry among the accusations.
        chosen = set(self.accusations) - settled.gone
        self._need(len(chosen), self.params.min_survivors, AbortReason.TOO_FEW_SHARES)
        partners = Partners(members_of(roster, chosen))
        self.partner_root = partners.root(self.session, roster.root)
        for position in chosen:
            around = roster.neighbours(position)
            self.masked_with[position] = tuple(filter(chosen.__contains__, around))
        self.accusations = {}
        shape = self.params.vector_length, self.params.ring_bits
        self.total = np.zeros(shape[0], ring.ring_dtype(shape[1]))
        self.unpacker = ring.Unpacker(*shape)
        message = encode(partners, self.session)
        return dict.fromkeys(map(roster.client_id, sorted(chosen)), message)

    def _close_masked_input(self, answers: Answers) -> dict[int, bytes]:
        self._need(len(answers), self.params.min_survivors, AbortReason.TOO_FEW_SURVIVORS)
        roster, inputs, told = self.known(), self.inputs, sorted(self.inputs)
        self.alive = frozenset(told)
        self.survivors = Survivors(members_of(roster, told))
        self.told = self.survivors.signed(self.session, self.partner_root)
        partners = self.masked_with.keys()
        self.promised, self.dealings = promises_to(roster, self.dealt, partners, self.alive)
        self.dealt = {}
        if not self.params.local:
            message = encode(self.survivors, self.session)
            return dict.fromkeys(map(roster.client_id, told), message)
        shown = {p: inputs_around(self.survivors, inputs, self.masked_with[p]) for p in told}
        return {roster.client_id(p): encode(shown[p], self.session) for p in told}

    def _close_consistency(self, answers: Answers) -> dict[int, bytes]:
        roster, quorum = self.known(), self.params.quorum
        said = self._answered(ConsistencySignature, answers)
        signed = {place: message.signature for place, message in said.items()}
        if not self.params.local:
            self._need(len(signed), quorum, AbortReason.TOO_FEW_SIGNATURES)
            # Exactly a quorum: every further signature costs each client a verification.
            message = encode(Signatures(tuple(signed.items())[:quorum]), self.session)
            return dict.fromkeys(map(roster.client_id, signed), message)
        requests: dict[int, bytes] = {}
        for place in signed:
            content = quorum_around(signed, self.masked_with[place], quorum)
            if content is not None:
                requests[roster.client_id(place)] = encode(content, self.session)
        self._need(len(requests), self.params.threshold, AbortReason.TOO_FEW_SIGNATURES)
        return requests

    def _close_unmask(self, answers: Answers) -> dict[int, bytes]:
        roster, total, given = self.known(), self._sum(), self._answered(UnmaskShares, answers)
        masks = find_masks(
            roster,
            self.partner_root,
            self.alive,
            self.masked_with,
            shares_by_dealer(given, self.masked_with),
            self.dealings,
        )
        # All bad dealers are convicted together: one at a time, each would cost a session of its own.
        if masks.bad:
            promised = self.promised, self.masked_with
            about = (self.dealings, promised, given, self.told, (self.offer, self.announced))
            self.convictions += convict_dealers(roster, masks.bad, *about)
            secrets = {True: "self-mask seed", False: "mask key"}
            whose = (
                f"the {secrets[p in self.alive]} of client {roster.client_id(p)}" for p in masks.bad
            )
            raise Aborted(AbortReason.BAD_DEALER, ", ".join(whose))
        remove_masks(total, masks, executor=self.executor)
        self.result = SumResult(
            ring.centre(total, self.params.ring_bits),
            tuple(roster.client_id(position) for position in sorted(self.alive)),
            self.convictions,
            self.disputes,
        )
        return {}

    def _need(self, count: int, least: int, reason: AbortReason) -> None:
        if count < least:
            raise Aborted(reason, f"{count} of the {least} that are needed")

    def _answered(self, kind: type[M], answers: Answers) -> dict[int, M]:
        """The messages of this phase, by position, ascending."""
        said = sorted(answers.items())
        return {self._position(client): m for client, m in said if isinstance(m, kind)}

    def _position(self, client_id: int) -> int:
        return self.known().positions[client_id]

    def known(self) -> Roster:
        """The roster.

        Raises:
            LocalProtocolError: there is no roster yet.
        """
        if self.roster is None:
            raise LocalProtocolError("there is no roster yet")
        return self.roster

    def _sum(self) -> ring.RingArray:
        if self.total is None:
            raise LocalProtocolError("no partners have been announced")
        return self.total

    def forget(self) -> None:
        """Drop the session's material; only its result and convictions remain."""
        self.dealt, self.dealings, self.accusations = {}, {}, {}
        self.masked_with, self.inputs, self.promised = {}, {}, {}
        self.taken, self.total, self.unpacker = set(), None, None
