"""The collector's checks of a message, before anything changes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from secagg.committee.collector.phases import AWAITS
from secagg.committee.errors import MemberError
from secagg.committee.wire.codec import decode, read_header
from secagg.committee.wire.messages import Contribution, Head, Report
from secagg.crypto.keys import acceptable_agreement_key
from secagg.errors import RemoteProtocolError, WireFormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secagg.committee.collector.phases import CommitteePhase
    from secagg.committee.params.params import CommitteeParams
    from secagg.committee.sealing import Committee
    from secagg.committee.wire.messages import MemberMessage, Message
    from secagg.crypto.keys import Directory

__all__ = ["Accepted", "Admission"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A contribution with its head and name, as the collector has checked them."""

    head: Head
    name: bytes
    message: Contribution

    @classmethod
    def of(cls, message: Contribution, session: bytes) -> Accepted:
        """Compute head and name of a contribution."""
        root = hashlib.sha256(b"".join(message.envelopes)).digest()
        head = Head(message.client_id, message.message_digest, message.public, root)
        return cls(head, head.name(session), message)

    @property
    def pair(self) -> tuple[int, bytes]:
        """(client, name), as lists and sets have it."""
        return self.head.client_id, self.name


@dataclass(frozen=True, slots=True)
class Admission:
    """The checks of one session.

    Args:
        params: parameters of the session.
        committee: the committee.
        clients: identities of the clients.
        session: name of the session.
    """

    params: CommitteeParams
    committee: Committee
    clients: Directory
    session: bytes

    def contribution(self, phase: CommitteePhase, sender: int, data: bytes) -> Accepted:
        """A client's contribution.

        Raises:
            RemoteProtocolError: it is not acceptable; the culprit is the sender.
        """
        message = cast("Contribution", self._decoded(phase, sender, data, RemoteProtocolError))
        if message.client_id != sender:
            raise RemoteProtocolError("contributed in another client's name", sender)
        identity = self.clients.identity(sender)
        if identity is None:
            raise RemoteProtocolError("is unknown to the directory", sender)
        if not acceptable_agreement_key(message.public):
            raise RemoteProtocolError("contributed with a key of low order", sender)
        accepted = Accepted.of(message, self.session)
        if not self.clients.verify(identity, message.signature, accepted.name):
            raise RemoteProtocolError("did not sign its contribution", sender)
        return accepted

    def from_member(
        self,
        phase: CommitteePhase,
        place: int,
        data: bytes,
        names: Sequence[tuple[int, bytes]],
        chosen: bytes,
    ) -> MemberMessage:
        """A member's message.

        Args:
            phase: the phase.
            place: the sender's place.
            data: the message.
            names: (client, name) of the whole delivery.
            chosen: the content that endorsements cover; b"" before there is a set.

        Raises:
            MemberError: it is not acceptable.
        """
        sender = self.committee.ids[place]
        message = cast("MemberMessage", self._decoded(phase, sender, data, MemberError))
        if message.member_id != sender:
            raise MemberError("spoke in another member's name", sender)
        if isinstance(message, Report) and len(message.opened) != len(names):
            raise MemberError("reported on another number of contributions", sender)
        statement = message.statement(self.session, names, chosen)
        identity = self.committee.identities[place]
        if not self.committee.directory.verify(identity, message.signature, statement):
            raise MemberError("did not sign its message", sender)
        return message

    def _decoded(
        self, phase: CommitteePhase, sender: int, data: bytes, error: type[RemoteProtocolError]
    ) -> Message:
        try:
            kind, session = read_header(data)
            if kind is not AWAITS[phase]:
                raise error(f"sent a message of kind {kind.name} in phase {phase.name}", sender)
            if session != self.session:
                raise error("sent a message of another session", sender)
            return decode(data, self.params)[1]
        except WireFormatError as failure:
            raise error(f"sent a malformed message: {failure}", sender) from failure
