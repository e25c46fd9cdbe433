"""Bytes ↔ messages: one canonical form, and sizes that are checked before any allocation.

Every message starts with magic, version, suite, kind, a zero byte and the session's name; what follows is
in `secagg.wire.bodies`.
"""

from __future__ import annotations

import enum
import struct
from typing import TYPE_CHECKING

from secagg.crypto.ring import unpack
from secagg.errors import WireFormatError
from secagg.guards.checks import octets
from secagg.wire import messages
from secagg.wire.bodies import DECODERS, ENCODERS
from secagg.wire.messages import MaskedInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secagg.crypto.ring import RingArray
    from secagg.wire.messages import Message

__all__ = ["Kind", "decode", "encode", "input_signature", "masked_vector", "message_kind"]

CHUNK_SIZE = 256 << 10  # bytes


class Kind(enum.IntEnum):
    """The seventh byte of a message."""

    OFFER = 0
    ADVERTISE_KEYS = 1
    ROSTER = 2
    SHARE_KEYS = 3
    FORWARDED_SHARES = 4
    SHARES_OPENED = 5
    PARTNERS = 6
    MASKED_INPUT = 7
    SURVIVORS = 8
    SIGNATURE = 9
    SIGNATURES = 10
    UNMASK_SHARES = 11
    CHUNK = 12


MAGIC = b"SAGG"
VERSION = 2
SUITE = 1
"""X25519, Ed25519, SHA-256, HKDF-SHA256, BLAKE3, AES-128-GCM, AES-128-CTR, Shamir over F_65537."""
SESSION_SIZE = 32
_HEADER = struct.Struct(f"<4sBBBB{SESSION_SIZE}s")
HEADER_SIZE = _HEADER.size
_CHUNK = struct.Struct("<II")
_TYPES: dict[Kind, type[Message]] = {
    Kind.OFFER: messages.Offer,
    Kind.ADVERTISE_KEYS: messages.AdvertiseKeys,
    Kind.ROSTER: messages.Advertisements,
    Kind.SHARE_KEYS: messages.ShareKeys,
    Kind.FORWARDED_SHARES: messages.ForwardedShares,
    Kind.SHARES_OPENED: messages.SharesOpened,
    Kind.PARTNERS: messages.Partners,
    Kind.MASKED_INPUT: messages.MaskedInput,
    Kind.SURVIVORS: messages.Survivors,
    Kind.SIGNATURE: messages.ConsistencySignature,
    Kind.SIGNATURES: messages.Signatures,
    Kind.UNMASK_SHARES: messages.UnmaskShares,
}
_KINDS = {message: kind for kind, message in _TYPES.items()}


def header(kind: Kind, session: bytes) -> bytes:
    """The 40 bytes that start every message."""
    return _HEADER.pack(MAGIC, VERSION, SUITE, kind, 0, session)


def read_header(data: bytes | bytearray) -> tuple[Kind, bytes]:
    """Kind and session of a message.

    Raises:
        WireFormatError: the bytes are no message of this protocol and version.
    """
    if len(data) < HEADER_SIZE:
        raise WireFormatError(f"a message has at least {HEADER_SIZE} bytes, not {len(data)}")
    magic, version, suite, kind, zero, session = _HEADER.unpack_from(data)
    # There is one version with one suite, so nobody can make two parties agree on a weaker one.
    if magic != MAGIC or version != VERSION or suite != SUITE or zero:
        raise WireFormatError("not a message of this protocol, version and cipher suite")
    try:
        return Kind(kind), session
    except ValueError:
        raise WireFormatError(f"unknown kind of message {kind}") from None


def message_kind(data: bytes) -> str:
    """The name of a message's kind, read from its header.

    Raises:
        WireFormatError: the bytes are no message of this protocol.

    Example:
        >>> message_kind(header(Kind.MASKED_INPUT, bytes(32)))
        'masked_input'
    """
    return read_header(octets("data", data))[0].name.lower()


def masked_vector(data: bytes) -> RingArray:
    """The ring elements of a masked-input message: uint32[d] or uint64[d], values below 2^b.

    Raises:
        WireFormatError: the message is not a masked input.

    Example:
        >>> import numpy as np
        >>> from secagg import Params, simulate
        >>> sent, inputs = [], {i: np.zeros(3, dtype=np.int64) for i in range(3)}
        >>> total = simulate(inputs, Params.for_cohort(3, 3, ring_bits=62), transcript=sent).total
        >>> vectors = [masked_vector(m) for phase, _, m in sent if phase == "masked_input"]
        >>> [bool(v.any()) for v in vectors], total.tolist()  # the masks cancel in the sum
        ([True, True, True], [0, 0, 0])
    """
    _, message = decode(octets("data", data))
    if not isinstance(message, MaskedInput):
        raise WireFormatError("only a masked-input message carries a vector")
    return unpack(message.packed, message.length, message.bits)


def input_signature(data: bytes) -> bytes:
    """The signature of a masked input on its partners; b"" where quorums do not consist of neighbours.

    It has 64 bytes. It does not cover the vector, so it may be sent where the vector must not be recognised.

    Raises:
        WireFormatError: the message is not a masked input.

    Example:
        >>> import numpy as np
        >>> from secagg import Params, simulate
        >>> sent, inputs = [], {i: np.array([i]) for i in range(16)}
        >>> params = Params.for_cohort(16, 1, max_abs=15, threat_model="malicious-local")
        >>> result = simulate(inputs, params, transcript=sent)
        >>> {len(input_signature(m)) for phase, _, m in sent if phase == "masked_input"}
        {64}
    """
    _, message = decode(octets("data", data))
    if not isinstance(message, MaskedInput):
        raise WireFormatError("only a masked-input message carries such a signature")
    return message.partner_signature


def encode(message: Message, session: bytes) -> bytes:
    """The one canonical encoding of a message."""
    # Joined once: each copy of a long vector would be written to fresh memory.
    return b"".join((header(_KINDS[type(message)], session), *ENCODERS[type(message)](message)))


def decode(data: bytes | bytearray) -> tuple[bytes, Message]:
    """Session and message.  A masked input's vector stays a view of `data`; all other data is copied.

    Raises:
        WireFormatError: the bytes are not a canonical message.
        UnsafeParametersError, CapacityError: an offer has parameters that are not allowed.
    """
    kind, session = read_header(data)
    if kind not in _TYPES:
        raise WireFormatError("a chunk is a part of a message, not a message")
    return session, DECODERS[_TYPES[kind]](memoryview(data)[HEADER_SIZE:])


def encode_chunk(session: bytes, index: int, count: int, payload: bytes) -> bytes:
    """Part `index` of `count` of a message."""
    return header(Kind.CHUNK, session) + _CHUNK.pack(index, count) + payload


def in_chunks(message: bytes, session: bytes) -> Iterator[bytes]:
    """Cut a message into parts of 256 KiB."""
    count = -(-len(message) // CHUNK_SIZE)
    for index in range(count):
        part = message[index * CHUNK_SIZE : (index + 1) * CHUNK_SIZE]
        yield encode_chunk(session, index, count, part)


def decode_chunk(data: bytes) -> tuple[bytes, int, int, bytes]:
    """(session, index, count, payload) of a chunk.

    Raises:
        WireFormatError: the bytes are no chunk.
    """
    kind, session = read_header(data)
    start = HEADER_SIZE + _CHUNK.size
    if kind is not Kind.CHUNK or len(data) <= start:
        raise WireFormatError("not a chunk of a message")
    index, count = _CHUNK.unpack_from(data, HEADER_SIZE)
    if index >= count:
        raise WireFormatError(f"chunk {index} of {count} cannot be")
    return session, index, count, data[start:]
