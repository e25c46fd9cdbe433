"""Bytes ↔ messages: one canonical form, checked sizes before any allocation.

Every message starts with magic, version, suite, kind, a zero byte and the session's name; integers are
little-endian; flags are packed eight to a byte, lowest bit first, padding bits zero.
"""

from __future__ import annotations

import enum
import itertools
import struct
from typing import TYPE_CHECKING

import numpy as np

from secagg.envelopes import ENVELOPE_SIZE
from secagg.errors import WireFormatError
from secagg.keys import KEY_SIZE, SIGNATURE_SIZE
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
from secagg.params import MAX_CLIENTS, MAX_LENGTH, PARAMS_SIZE, Params
from secagg.ring import MAX_RING_BITS, check_packed, unpack
from secagg.shamir import SHARE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from secagg.ring import RingArray

__all__ = ["Kind", "decode", "encode", "masked_vector", "message_kind"]


class Kind(enum.IntEnum):
    """The seventh byte of a message."""

    OFFER = 0
    ADVERTISE_KEYS = 1
    ROSTER = 2
    SHARE_KEYS = 3
    FORWARDED_SHARES = 4
    MASKED_INPUT = 5
    SURVIVORS = 6
    SIGNATURE = 7
    SIGNATURES = 8
    UNMASK_SHARES = 9
    CHUNK = 10


MAGIC = b"SAGG"
VERSION = 1
SUITE = 1
"""X25519, Ed25519, HKDF-SHA256, AES-128-GCM, AES-128-CTR, Shamir over F_65537."""
SESSION_SIZE = 32
_HEADER = struct.Struct(f"<4sBBBB{SESSION_SIZE}s")
HEADER_SIZE = _HEADER.size
_U32 = struct.Struct("<I")
_ENTRY = struct.Struct(f"<I{KEY_SIZE}s{KEY_SIZE}s{KEY_SIZE}s{SIGNATURE_SIZE}s")
_VECTOR = struct.Struct("<IIIB")
_SIGNED = struct.Struct(f"<I{SIGNATURE_SIZE}s")
_HELD = struct.Struct("<II")
_CHUNK = struct.Struct("<II")


def header(kind: Kind, session: bytes) -> bytes:
    """The 40 bytes that start every message."""
    return _HEADER.pack(MAGIC, VERSION, SUITE, kind, 0, session)


def read_header(data: bytes) -> tuple[Kind, bytes]:
    """Kind and session of a message.

    Raises:
        WireFormatError: no message of this version of this protocol.
    """
    if len(data) < HEADER_SIZE:
        raise WireFormatError(f"a message has at least {HEADER_SIZE} bytes, not {len(data)}")
    magic, version, suite, kind, zero, session = _HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION or suite != SUITE or zero:
        raise WireFormatError("not a message of this protocol, version and cipher suite")
    try:
        return Kind(kind), session
    except ValueError:
        raise WireFormatError(f"unknown kind of message {kind}") from None


def message_kind(data: bytes) -> str:
    """The name of a message's kind, read from its header.

    Raises:
        WireFormatError: no message of this protocol.

    Example:
        >>> message_kind(header(Kind.MASKED_INPUT, bytes(32)))
        'masked_input'
    """
    return read_header(data)[0].name.lower()


def masked_vector(data: bytes) -> RingArray:
    """The ring elements of a masked-input message: uint32[d] or uint64[d], values below 2^b.

    Raises:
        WireFormatError: not a masked-input message.
    """
    _, message = decode(data)
    if not isinstance(message, MaskedInput):
        raise WireFormatError("only a masked-input message carries a vector")
    return unpack(message.packed, message.length, message.bits)


def encode(message: Message, session: bytes) -> bytes:
    """The one canonical encoding of a message."""
    kind = _KINDS[type(message)]
    return header(kind, session) + _ENCODERS[kind](message)


def decode(data: bytes) -> tuple[bytes, Message]:
    """Session and message.

    Raises:
        WireFormatError: anything but a canonical message.
        UnsafeParametersError, CapacityError: an offer of parameters that must not exist.
    """
    kind, session = read_header(data)
    if kind not in _DECODERS:
        raise WireFormatError("a chunk is a part of a message, not a message")
    return session, _DECODERS[kind](data[HEADER_SIZE:])


def encode_chunk(session: bytes, index: int, count: int, payload: bytes) -> bytes:
    """Part `index` of `count` of a message."""
    return header(Kind.CHUNK, session) + _CHUNK.pack(index, count) + payload


def decode_chunk(data: bytes) -> tuple[bytes, int, int, bytes]:
    """(session, index, count, payload) of a chunk.

    Raises:
        WireFormatError: not a chunk.
    """
    kind, session = read_header(data)
    start = HEADER_SIZE + _CHUNK.size
    if kind is not Kind.CHUNK or len(data) <= start:
        raise WireFormatError("not a chunk of a message")
    index, count = _CHUNK.unpack_from(data, HEADER_SIZE)
    if index >= count:
        raise WireFormatError(f"chunk {index} of {count} cannot be")
    return session, index, count, data[start:]


def pack_flags(flags: Sequence[bool]) -> bytes:
    """Eight flags to a byte."""
    return np.packbits(np.asarray(flags, dtype=np.bool_), bitorder="little").tobytes()


def _unpack_flags(data: bytes, count: int) -> tuple[bool, ...]:
    flags = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little")
    if flags[count:].any():
        raise WireFormatError("padding bits after the last flag are not zero")
    return tuple(flags[:count].astype(np.bool_).tolist())


def _exact(body: bytes, size: int) -> None:
    if len(body) != size:
        raise WireFormatError(f"expected {size} bytes after the header, not {len(body)}")


def _count(body: bytes, offset: int = 0) -> int:
    """A number of places, bounded before anything is sized by it."""
    if len(body) < offset + _U32.size:
        raise WireFormatError("message ends before its length")
    (count,) = _U32.unpack_from(body, offset)
    if count > MAX_CLIENTS:
        raise WireFormatError(f"a list of {count} clients is longer than any session's")
    return count


def _slices(body: bytes, start: int, size: int) -> tuple[bytes, ...]:
    return tuple(body[at : at + size] for at in range(start, len(body), size))


def _put_offer(offer: Offer) -> bytes:
    return offer.params.to_bytes() + offer.nonce


def _offer(body: bytes) -> Offer:
    _exact(body, PARAMS_SIZE + NONCE_SIZE)
    return Offer(Params.from_bytes(body[:PARAMS_SIZE]), body[PARAMS_SIZE:])


def _put_entry(entry: AdvertiseKeys) -> bytes:
    return _ENTRY.pack(
        entry.client_id, entry.identity, entry.channel_key, entry.mask_key, entry.signature
    )


def _advertise_keys(body: bytes) -> AdvertiseKeys:
    _exact(body, _ENTRY.size)
    return AdvertiseKeys(*_ENTRY.unpack(body))


def _put_roster(roster: Roster) -> bytes:
    return _U32.pack(len(roster.entries)) + b"".join(map(_put_entry, roster.entries))


def _roster(body: bytes) -> Roster:
    _exact(body, _U32.size + _count(body) * _ENTRY.size)
    entries = tuple(AdvertiseKeys(*fields) for fields in _ENTRY.iter_unpack(body[_U32.size :]))
    ids = [entry.client_id for entry in entries]
    if any(a >= b for a, b in itertools.pairwise(ids)):
        raise WireFormatError("a roster is strictly ascending by client id")
    return Roster(entries)


def _put_share_keys(message: ShareKeys) -> bytes:
    head = (
        _U32.pack(message.client_id) + message.seed_commitment + _U32.pack(len(message.envelopes))
    )
    return head + b"".join(message.envelopes)


def _share_keys(body: bytes) -> ShareKeys:
    start = 2 * _U32.size + 32
    _exact(body, start + _count(body, _U32.size + 32) * ENVELOPE_SIZE)
    (client_id,) = _U32.unpack_from(body)
    return ShareKeys(
        client_id, body[_U32.size : _U32.size + 32], _slices(body, start, ENVELOPE_SIZE)
    )


def _put_forwarded(message: ForwardedShares) -> bytes:
    flags = [envelope is not None for envelope in message.envelopes]
    present = [envelope for envelope in message.envelopes if envelope is not None]
    return _U32.pack(len(flags)) + pack_flags(flags) + b"".join(present)


def _forwarded(body: bytes) -> ForwardedShares:
    flags, start = _leading_flags(body, 0)
    _exact(body, start + sum(flags) * ENVELOPE_SIZE)
    present = iter(_slices(body, start, ENVELOPE_SIZE))
    return ForwardedShares(tuple(next(present) if flag else None for flag in flags))


def _leading_flags(body: bytes, offset: int) -> tuple[tuple[bool, ...], int]:
    """Counted flags at `offset`, and where they end."""
    count = _count(body, offset)
    start = offset + _U32.size
    end = start + (count + 7) // 8
    if len(body) < end:
        raise WireFormatError("message ends within its flags")
    return _unpack_flags(body[start:end], count), end


def _put_masked_input(message: MaskedInput) -> bytes:
    head = _VECTOR.pack(message.client_id, len(message.masked_with), message.length, message.bits)
    return head + pack_flags(message.masked_with) + message.packed


def _masked_input(body: bytes) -> MaskedInput:
    if len(body) < _VECTOR.size:
        raise WireFormatError("message ends before its vector")
    client_id, neighbours, length, bits = _VECTOR.unpack_from(body)
    if neighbours > MAX_CLIENTS or not 1 <= length <= MAX_LENGTH or not 2 <= bits <= MAX_RING_BITS:
        raise WireFormatError("a vector of such a shape is in no session")
    start = _VECTOR.size + (neighbours + 7) // 8
    if len(body) < start:
        raise WireFormatError("message ends within its flags")
    flags = _unpack_flags(body[_VECTOR.size : start], neighbours)
    packed = body[start:]
    check_packed(packed, length, bits)
    return MaskedInput(client_id, flags, length, bits, packed)


def _put_survivors(message: Survivors) -> bytes:
    return _U32.pack(len(message.members)) + pack_flags(message.members)


def _survivors(body: bytes) -> Survivors:
    flags, end = _leading_flags(body, 0)
    _exact(body, end)
    return Survivors(flags)


def _put_signature(message: ConsistencySignature) -> bytes:
    return _SIGNED.pack(message.client_id, message.signature)


def _signature(body: bytes) -> ConsistencySignature:
    _exact(body, _SIGNED.size)
    return ConsistencySignature(*_SIGNED.unpack(body))


def _put_signatures(message: Signatures) -> bytes:
    return _U32.pack(len(message.signatures)) + b"".join(
        _SIGNED.pack(position, signature) for position, signature in message.signatures
    )


def _signatures(body: bytes) -> Signatures:
    _exact(body, _U32.size + _count(body) * _SIGNED.size)
    signatures: list[tuple[int, bytes]] = list(_SIGNED.iter_unpack(body[_U32.size :]))
    if any(a[0] >= b[0] for a, b in itertools.pairwise(signatures)):
        raise WireFormatError("signatures are strictly ascending by position")
    return Signatures(tuple(signatures))


def _put_unmask(message: UnmaskShares) -> bytes:
    head = _HELD.pack(message.client_id, len(message.held))
    return head + pack_flags(message.held) + b"".join(message.shares)


def _unmask_shares(body: bytes) -> UnmaskShares:
    flags, start = _leading_flags(body, _U32.size)
    _exact(body, start + (1 + sum(flags)) * SHARE_SIZE)
    (client_id,) = _U32.unpack_from(body)
    return UnmaskShares(client_id, flags, _slices(body, start, SHARE_SIZE))


_KINDS: dict[type[Message], Kind] = {
    Offer: Kind.OFFER,
    AdvertiseKeys: Kind.ADVERTISE_KEYS,
    Roster: Kind.ROSTER,
    ShareKeys: Kind.SHARE_KEYS,
    ForwardedShares: Kind.FORWARDED_SHARES,
    MaskedInput: Kind.MASKED_INPUT,
    Survivors: Kind.SURVIVORS,
    ConsistencySignature: Kind.SIGNATURE,
    Signatures: Kind.SIGNATURES,
    UnmaskShares: Kind.UNMASK_SHARES,
}
_ENCODERS: dict[Kind, Callable[..., bytes]] = {
    Kind.OFFER: _put_offer,
    Kind.ADVERTISE_KEYS: _put_entry,
    Kind.ROSTER: _put_roster,
    Kind.SHARE_KEYS: _put_share_keys,
    Kind.FORWARDED_SHARES: _put_forwarded,
    Kind.MASKED_INPUT: _put_masked_input,
    Kind.SURVIVORS: _put_survivors,
    Kind.SIGNATURE: _put_signature,
    Kind.SIGNATURES: _put_signatures,
    Kind.UNMASK_SHARES: _put_unmask,
}
_DECODERS: dict[Kind, Callable[[bytes], Message]] = {
    Kind.OFFER: _offer,
    Kind.ADVERTISE_KEYS: _advertise_keys,
    Kind.ROSTER: _roster,
    Kind.SHARE_KEYS: _share_keys,
    Kind.FORWARDED_SHARES: _forwarded,
    Kind.MASKED_INPUT: _masked_input,
    Kind.SURVIVORS: _survivors,
    Kind.SIGNATURE: _signature,
    Kind.SIGNATURES: _signatures,
    Kind.UNMASK_SHARES: _unmask_shares,
}
