"""Bytes ↔ messages of a sum by a committee, in one canonical form.

Integers are little-endian.  docs/protocol.md, "Sums by a committee", has the layout.  Every list's length is
checked against the parameters before anything is allocated.
"""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING

import numpy as np

from secagg.committee.arithmetic.sharing import pack_residues, unpack_residues
from secagg.committee.wire.messages import (
    Answer,
    Contribution,
    Delivery,
    Endorsement,
    Head,
    Kind,
    Proposal,
    Report,
    Request,
    listed,
)
from secagg.crypto.keys import KEY_SIZE, SIGNATURE_SIZE
from secagg.errors import WireFormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from secagg.committee.params.params import CommitteeParams
    from secagg.committee.wire.messages import Message

__all__ = ["decode", "encode", "packed_sums", "read_header", "sums_of", "values_of"]

MAGIC = b"SAGC"
VERSION = 1
SUITE = 1
"""X25519, Ed25519, HKDF-SHA256, AES-128-GCM, SHAKE-128, packed Shamir over primes of 12 … 21 bits."""
HASH_SIZE = 32
_HEADER = struct.Struct("<4sBBBB32s")
_U32 = struct.Struct("<I")
_HEAD = struct.Struct(f"<I{HASH_SIZE}s{KEY_SIZE}s{HASH_SIZE}s")
_DEALT = struct.Struct(f"<I{HASH_SIZE}s{KEY_SIZE}s{SIGNATURE_SIZE}s")
_NAMED = struct.Struct(f"<I{HASH_SIZE}s")
_SIGNED = struct.Struct(f"<I{SIGNATURE_SIZE}s")
_ENDORSED = struct.Struct(f"<IB{SIGNATURE_SIZE}s")


class _Cursor:
    """Bytes that are taken from the front."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data, self._at = memoryview(data), 0

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise WireFormatError("message ends early")
        taken = bytes(self._data[self._at : end])
        self._at = end
        return taken

    def count(self, most: int) -> int:
        (count,) = _U32.unpack(self.take(_U32.size))
        if count > most:
            raise WireFormatError(f"a list of {count} is longer than the session's {most}")
        return count

    def flags(self, count: int) -> bytes:
        packed = np.frombuffer(self.take((count + 7) // 8), dtype=np.uint8)
        flags = np.unpackbits(packed, bitorder="little")
        if flags[count:].any():
            raise WireFormatError("padding bits after the last flag are not zero")
        return flags[:count].tobytes()

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)


def _flags(flags: bytes) -> bytes:
    return np.packbits(np.frombuffer(flags, dtype=np.uint8), bitorder="little").tobytes()


def _ascending(ids: Sequence[int]) -> None:
    if any(first >= second for first, second in itertools.pairwise(ids)):
        raise WireFormatError("a list is strictly ascending")


def _put_contribution(message: Contribution) -> bytes:
    head = (message.client_id, message.message_digest, message.public, message.signature)
    return _DEALT.pack(*head) + b"".join(message.envelopes)


def _contribution(cursor: _Cursor, params: CommitteeParams) -> Contribution:
    client_id, named, public, signature = _DEALT.unpack(cursor.take(_DEALT.size))
    envelopes = tuple(cursor.take(params.envelope_size) for _ in range(params.n_members))
    return Contribution(client_id, named, public, signature, envelopes)


def _put_head(head: Head) -> bytes:
    return _HEAD.pack(head.client_id, head.message_digest, head.public, head.root)


def _put_delivery(message: Delivery) -> bytes:
    entries = zip(message.heads, message.signatures, message.envelopes, strict=True)
    body = b"".join(_put_head(head) + signature + envelope for head, signature, envelope in entries)
    return _U32.pack(len(message.heads)) + body


def _delivery(cursor: _Cursor, params: CommitteeParams) -> Delivery:
    heads, signatures, envelopes = list[Head](), list[bytes](), list[bytes]()
    for _ in range(cursor.count(params.max_clients)):
        heads.append(Head(*_HEAD.unpack(cursor.take(_HEAD.size))))
        signatures.append(cursor.take(SIGNATURE_SIZE))
        envelopes.append(cursor.take(params.envelope_size))
    _ascending([head.client_id for head in heads])
    return Delivery(tuple(heads), tuple(signatures), tuple(envelopes))


def _put_report(message: Report) -> bytes:
    head = _SIGNED.pack(message.member_id, message.signature)
    return head + _U32.pack(len(message.opened)) + _flags(message.opened) + message.values


def _report(cursor: _Cursor, params: CommitteeParams) -> Report:
    member_id, signature = _SIGNED.unpack(cursor.take(_SIGNED.size))
    opened = cursor.flags(cursor.count(params.max_clients))
    message = Report(member_id, signature, opened, cursor.rest())
    values_of(params, message)
    return message


def values_of(params: CommitteeParams, report: Report) -> NDArray[np.int64]:
    """The check values of a report, int64[opened, primes, checks]; WireFormatError if they are none."""
    return unpack_residues(params, report.values, sum(report.opened), params.checks)


def sums_of(params: CommitteeParams, answer: Answer) -> NDArray[np.int64]:
    """The sums of an answer, int64[primes, blocks]; WireFormatError if they are none."""
    return unpack_residues(params, answer.sums, 1, params.blocks)[0]


def packed_sums(params: CommitteeParams, sums: NDArray[np.int64]) -> bytes:
    """The bytes of sums, int64[primes, blocks]."""
    return pack_residues(params, sums)


def _put_proposal(message: Proposal) -> bytes:
    flags = _flags(message.included) + _flags(message.opened)
    listing = _U32.pack(len(message.names)) + listed(message.names)
    return listing + flags + message.values + message.signature


def _proposal(cursor: _Cursor, params: CommitteeParams) -> Proposal:
    count = cursor.count(params.max_clients)
    names = tuple(_NAMED.iter_unpack(cursor.take(count * _NAMED.size)))
    _ascending([client for client, _ in names])
    included, opened = cursor.flags(count), cursor.flags(count)
    return Proposal(names, included, opened, cursor.take(HASH_SIZE), cursor.take(SIGNATURE_SIZE))


def _put_endorsement(message: Endorsement) -> bytes:
    return _ENDORSED.pack(message.member_id, message.needs, message.signature)


def _endorsement(cursor: _Cursor, params: CommitteeParams) -> Endorsement:
    del params
    message = Endorsement(*_ENDORSED.unpack(cursor.take(_ENDORSED.size)))
    if message.needs > 1:
        raise WireFormatError("a flag is 0 or 1")
    return message


def _put_request(message: Request) -> bytes:
    quorum = b"".join(_SIGNED.pack(*pair) for pair in message.signatures)
    entries = zip(message.heads, message.envelopes, strict=True)
    body = b"".join(_put_head(head) + envelope for head, envelope in entries)
    return _U32.pack(len(message.signatures)) + quorum + _U32.pack(len(message.heads)) + body


def _request(cursor: _Cursor, params: CommitteeParams) -> Request:
    count = cursor.count(params.n_members)
    signatures = tuple(_SIGNED.iter_unpack(cursor.take(count * _SIGNED.size)))
    _ascending([place for place, _ in signatures])
    heads, envelopes = list[Head](), list[bytes]()
    for _ in range(cursor.count(params.max_clients)):
        heads.append(Head(*_HEAD.unpack(cursor.take(_HEAD.size))))
        envelopes.append(cursor.take(params.envelope_size))
    _ascending([head.client_id for head in heads])
    return Request(signatures, tuple(heads), tuple(envelopes))


def _put_answer(message: Answer) -> bytes:
    return _SIGNED.pack(message.member_id, message.signature) + message.sums


def _answer(cursor: _Cursor, params: CommitteeParams) -> Answer:
    member_id, signature = _SIGNED.unpack(cursor.take(_SIGNED.size))
    message = Answer(member_id, signature, cursor.rest())
    sums_of(params, message)
    return message


ENCODERS: dict[type[Message], tuple[Kind, Callable[..., bytes]]] = {
    Contribution: (Kind.CONTRIBUTION, _put_contribution),
    Delivery: (Kind.DELIVERY, _put_delivery),
    Report: (Kind.REPORT, _put_report),
    Proposal: (Kind.PROPOSAL, _put_proposal),
    Endorsement: (Kind.ENDORSEMENT, _put_endorsement),
    Request: (Kind.REQUEST, _put_request),
    Answer: (Kind.ANSWER, _put_answer),
}
DECODERS: dict[Kind, Callable[[_Cursor, CommitteeParams], Message]] = {
    Kind.CONTRIBUTION: _contribution,
    Kind.DELIVERY: _delivery,
    Kind.REPORT: _report,
    Kind.PROPOSAL: _proposal,
    Kind.ENDORSEMENT: _endorsement,
    Kind.REQUEST: _request,
    Kind.ANSWER: _answer,
}
CONTRIBUTION_HEAD = _HEADER.size + _DEALT.size
"""Bytes of a contribution before its envelopes."""


def encode(message: Message, session: bytes) -> bytes:
    """The one canonical encoding of a message."""
    kind, put = ENCODERS[type(message)]
    return _HEADER.pack(MAGIC, VERSION, SUITE, kind, 0, session) + put(message)


def read_header(data: bytes) -> tuple[Kind, bytes]:
    """Kind and session of a message.

    Raises:
        WireFormatError: the bytes are no message of this protocol and version.
    """
    if len(data) < _HEADER.size:
        raise WireFormatError(f"a message has at least {_HEADER.size} bytes, not {len(data)}")
    magic, version, suite, kind, zero, session = _HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION or suite != SUITE or zero:
        raise WireFormatError("not a message of this protocol, version and cipher suite")
    try:
        return Kind(kind), session
    except ValueError:
        raise WireFormatError(f"unknown kind of message {kind}") from None


def decode(data: bytes, params: CommitteeParams) -> tuple[bytes, Message]:
    """Session and message.

    Raises:
        WireFormatError: the bytes are not a canonical message under these parameters.
    """
    kind, session = read_header(data)
    cursor = _Cursor(data[_HEADER.size :])
    message = DECODERS[kind](cursor, params)
    if cursor.rest():
        raise WireFormatError("bytes follow the end of the message")
    return session, message
