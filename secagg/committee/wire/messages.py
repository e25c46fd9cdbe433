"""Messages of a sum by a committee as values, and what their signatures cover."""

from __future__ import annotations

import enum
import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secagg.crypto.keys import digest

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Answer",
    "Contribution",
    "Delivery",
    "Endorsement",
    "Head",
    "Kind",
    "MemberMessage",
    "Message",
    "Proposal",
    "Report",
    "Request",
    "listed",
    "set_signed",
]

_U32 = struct.Struct("<I")
_NAMED = struct.Struct("<I32s")


class Kind(enum.IntEnum):
    """The seventh byte of a message; 0 is a member's card."""

    CONTRIBUTION = 1
    DELIVERY = 2
    REPORT = 3
    PROPOSAL = 4
    ENDORSEMENT = 5
    REQUEST = 6
    ANSWER = 7


@dataclass(frozen=True, slots=True)
class Head:
    """The signed part of a contribution.

    Args:
        client_id: id of the client.
        message_digest: digest of the message that the contribution belongs to; the caller's.
        public: X25519 key that the client made for this contribution alone.
        root: SHA-256 of all envelopes, joined.
    """

    client_id: int
    message_digest: bytes
    public: bytes
    root: bytes

    def name(self, session: bytes) -> bytes:
        """The contribution's name: the content that its signature covers."""
        parts = (_U32.pack(self.client_id), self.message_digest, self.public, self.root)
        return digest(b"committee contribution", session, *parts)


@dataclass(frozen=True, slots=True)
class Contribution:
    """Client → server: an envelope for each member, signed; the client's only message."""

    client_id: int
    message_digest: bytes
    public: bytes
    signature: bytes
    envelopes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Delivery:
    """Server → member: of each contribution its head, its signature and the member's envelope."""

    heads: tuple[Head, ...]
    signatures: tuple[bytes, ...]
    envelopes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Member → server: which envelopes opened, and the check values of those that did; signed.

    Args:
        member_id: id of the member.
        signature: signature on all of the report.
        opened: one byte, 0 or 1, for each contribution of the delivery.
        values: the check values of those that opened, packed.
    """

    member_id: int
    signature: bytes
    opened: bytes
    values: bytes

    def statement(
        self, session: bytes, names: Sequence[tuple[int, bytes]], chosen: bytes = b""
    ) -> bytes:
        """The content that the signature covers, from the (client, name) pairs of the delivery."""
        del chosen  # the set comes later
        hashed = hashlib.sha256(self.values).digest()
        return self.signed(session, self.member_id, names, self.opened, hashed)

    @staticmethod
    def signed(
        session: bytes,
        member_id: int,
        names: Sequence[tuple[int, bytes]],
        opened: bytes,
        values: bytes,
    ) -> bytes:
        """The same, for who has only a hash of the values.

        Args:
            session: name of the session.
            member_id: id of the member.
            names: (client, name of its contribution) of the whole delivery.
            opened: as in the report.
            values: SHA-256 of the packed check values.
        """
        member = _U32.pack(member_id)
        return digest(b"committee report", session, member, listed(names), opened, values)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Server → member: the set to sign, beside the member's own signed report.

    Args:
        names: (client, name) of the whole delivery.
        included: one byte, 0 or 1, for each: whether it is in the set.
        opened: from the member's report.
        values: SHA-256 of the packed check values of the report.
        signature: the report's.
    """

    names: tuple[tuple[int, bytes], ...]
    included: bytes
    opened: bytes
    values: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Endorsement:
    """Member → server: its signature on the set; `needs` is 1 if it holds no shares any more, else 0."""

    member_id: int
    needs: int
    signature: bytes

    def statement(self, session: bytes, names: Sequence[tuple[int, bytes]], chosen: bytes) -> bytes:
        """The content that the signature covers: the set."""
        del session, names  # they are in it
        return chosen


@dataclass(frozen=True, slots=True)
class Request:
    """Server → member: a quorum of (place, signature) on one set; the set's envelopes if it needs them."""

    signatures: tuple[tuple[int, bytes], ...]
    heads: tuple[Head, ...]
    envelopes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """Member → server: the sums of its shares over the set, packed; signed."""

    member_id: int
    signature: bytes
    sums: bytes

    def statement(self, session: bytes, names: Sequence[tuple[int, bytes]], chosen: bytes) -> bytes:
        """The content that the signature covers; `chosen` is that of the endorsements."""
        del names  # they are in the set
        return self.signed(session, chosen, self.member_id, self.sums)

    @staticmethod
    def signed(session: bytes, chosen: bytes, member_id: int, sums: bytes) -> bytes:
        """The same, before there is an answer."""
        return digest(b"committee answer", session, chosen, _U32.pack(member_id), sums)


MemberMessage = Report | Endorsement | Answer
"""What a member sends."""
Message = Contribution | Delivery | Report | Proposal | Endorsement | Request | Answer


def listed(names: Sequence[tuple[int, bytes]]) -> bytes:
    """(client, name) pairs, joined."""
    return b"".join(_NAMED.pack(*pair) for pair in names)


def set_signed(session: bytes, names: Sequence[tuple[int, bytes]]) -> bytes:
    """The content that endorsements cover: the set as (client, name) pairs, ascending."""
    return digest(b"committee set", session, listed(names))
