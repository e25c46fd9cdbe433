"""Bodies of messages ↔ their types: sizes are checked before anything is read or allocated.

Integers are little-endian; flags are packed eight to a byte, lowest bit first, with zero padding bits.  Lists
stay packed in `Records`, so a decoded message takes about as much memory as its bytes.
"""

from __future__ import annotations

import functools
import itertools
import struct
from typing import TYPE_CHECKING, cast

import numpy as np

from secagg.crypto.keys import KEY_SIZE, SIGNATURE_SIZE
from secagg.crypto.ring import MAX_RING_BITS, check_packed
from secagg.crypto.shamir import SHARE_SIZE
from secagg.errors import WireFormatError
from secagg.params.params import MAX_CLIENTS, MAX_LENGTH, PARAMS_SIZE, Params
from secagg.wire.messages import (
    ENVELOPE_SIZE,
    NONCE_SIZE,
    AdvertiseKeys,
    Advertisements,
    ConsistencySignature,
    ForwardedShares,
    MaskedInput,
    Offer,
    Partners,
    ShareKeys,
    SharesOpened,
    Signatures,
    Survivors,
    UnmaskShares,
)
from secagg.wire.records import Records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from secagg.wire.messages import Message

    Pieces = tuple[bytes, ...]  # consecutive

__all__ = ["DECODERS", "ENCODERS", "ENTRY_SIZE", "ids_and_keys"]

_U32 = struct.Struct("<I")
_ENTRY = struct.Struct(f"<I{KEY_SIZE}s{KEY_SIZE}s{KEY_SIZE}s{SIGNATURE_SIZE}s")
ENTRY_SIZE = _ENTRY.size
_COLUMNS = np.dtype(
    [
        ("id", "<u4"),
        ("identity", f"V{KEY_SIZE}"),
        ("channel", f"V{KEY_SIZE}"),
        ("mask", f"V{KEY_SIZE}"),
        ("signature", f"V{SIGNATURE_SIZE}"),
    ]
)
_DEALT = struct.Struct(f"<I32s{SIGNATURE_SIZE}sI")
_VECTOR = struct.Struct("<IIBB")
_SIGNED = struct.Struct(f"<I{SIGNATURE_SIZE}s")
_COUNTED = struct.Struct(f"<I{SIGNATURE_SIZE}sI")


def pack_flags(flags: Sequence[bool]) -> bytes:
    """Eight flags to a byte."""
    return np.packbits(np.asarray(flags, dtype=np.bool_), bitorder="little").tobytes()


@functools.lru_cache(maxsize=64)  # one set of members is sent to every client
def _pack_members(members: bytes) -> bytes:
    if members.count(0) + members.count(1) != len(members):
        raise WireFormatError("members are bytes 0 and 1")
    return np.packbits(np.frombuffer(members, dtype=np.uint8), bitorder="little").tobytes()


@functools.lru_cache(maxsize=64)
def _unpack_flags(data: bytes, count: int) -> bytes:
    """One byte, 0 or 1, for each flag."""
    flags = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little")
    if flags[count:].any():  # one set of members has one encoding
        raise WireFormatError("padding bits after the last flag are not zero")
    return flags[:count].tobytes()


def _exact(body: memoryview, size: int) -> None:
    if len(body) != size:
        raise WireFormatError(f"expected {size} bytes after the header, not {len(body)}")


def _count(body: memoryview, offset: int = 0) -> int:
    """A number of list items, checked against its bound before any allocation."""
    if len(body) < offset + _U32.size:
        raise WireFormatError("message ends before its length")
    (count,) = _U32.unpack_from(body, offset)
    if count > MAX_CLIENTS:
        raise WireFormatError(f"a list of {count} clients is longer than any session's")
    return count


def _flags(body: memoryview, offset: int) -> tuple[bytes, int]:
    """Counted flags at `offset`, one byte each, and the offset after them."""
    count = _count(body, offset)
    start = offset + _U32.size
    end = start + (count + 7) // 8
    if len(body) < end:
        raise WireFormatError("message ends within its flags")
    return _unpack_flags(bytes(body[start:end]), count), end


def _bools(flags: bytes) -> tuple[bool, ...]:
    return tuple(map(bool, flags))


def _put_offer(offer: Offer) -> Pieces:
    return offer.params.to_bytes(), offer.nonce


def _offer(body: memoryview) -> Offer:
    _exact(body, PARAMS_SIZE + NONCE_SIZE)
    return Offer(Params.from_bytes(bytes(body[:PARAMS_SIZE])), bytes(body[PARAMS_SIZE:]))


def _put_entry(entry: AdvertiseKeys) -> Pieces:
    keys = (entry.identity, entry.channel_key, entry.mask_key)
    return (_ENTRY.pack(entry.client_id, *keys, entry.signature),)


def _entry(record: bytes) -> AdvertiseKeys:
    return AdvertiseKeys(*_ENTRY.unpack(record))


def _advertise_keys(body: memoryview) -> AdvertiseKeys:
    _exact(body, _ENTRY.size)
    return _entry(bytes(body))


def _put_roster(roster: Advertisements) -> Pieces:
    entries = itertools.chain.from_iterable(map(_put_entry, roster.entries))
    return _U32.pack(len(roster.entries)), *entries


def _roster(body: memoryview) -> Advertisements:
    _exact(body, _U32.size + _count(body) * _ENTRY.size)
    words = np.frombuffer(body[_U32.size :], dtype="<u4")
    ids = words[:: ENTRY_SIZE // 4]  # an entry starts with its id
    # Strictly ascending: no id stands twice, and the same clients always give the same root.
    if (ids[1:] <= ids[:-1]).any():
        raise WireFormatError("a roster is strictly ascending by client id")
    return Advertisements(Records(bytes(body[_U32.size :]), _ENTRY.size, _entry))


def ids_and_keys(entries: Sequence[AdvertiseKeys]) -> tuple[list[int], list[bytes]]:
    """The ids of a roster, and the X25519 keys of all clients, two each.

    A decoded roster is read in columns, without an object for each client.
    """
    if not isinstance(entries, Records):
        keys = [key for entry in entries for key in (entry.channel_key, entry.mask_key)]
        return [entry.client_id for entry in entries], keys
    columns = np.frombuffer(entries.data, dtype=_COLUMNS)
    return columns["id"].tolist(), [*columns["channel"].tolist(), *columns["mask"].tolist()]


def _put_share_keys(message: ShareKeys) -> Pieces:
    fields = (message.client_id, message.seed_commitment, message.signature)
    return _DEALT.pack(*fields, len(message.envelopes)), *message.envelopes


def _share_keys(body: memoryview) -> ShareKeys:
    _exact(body, _DEALT.size + _count(body, _DEALT.size - _U32.size) * ENVELOPE_SIZE)
    client_id, commitment, signature, _ = _DEALT.unpack_from(body)
    envelopes = Records(bytes(body[_DEALT.size :]), ENVELOPE_SIZE, bytes)
    return ShareKeys(client_id, commitment, signature, envelopes)


def _put_forwarded(message: ForwardedShares) -> Pieces:
    flags = [envelope is not None for envelope in message.envelopes]
    present = [envelope for envelope in message.envelopes if envelope is not None]
    return _U32.pack(len(flags)), pack_flags(flags), *present


def _forwarded(body: memoryview) -> ForwardedShares:
    flags, start = _flags(body, 0)
    _exact(body, start + sum(flags) * ENVELOPE_SIZE)
    present = iter(range(start, len(body), ENVELOPE_SIZE))
    return ForwardedShares(
        tuple(bytes(body[(at := next(present)) : at + ENVELOPE_SIZE]) if f else None for f in flags)
    )


def _put_opened(message: SharesOpened) -> Pieces:
    head = _COUNTED.pack(message.client_id, message.signature, len(message.opened))
    return head, pack_flags(message.opened)


def _opened(body: memoryview) -> SharesOpened:
    flags, end = _flags(body, _SIGNED.size)
    _exact(body, end)
    client_id, signature = _SIGNED.unpack_from(body)
    return SharesOpened(client_id, signature, _bools(flags))


def _put_partners(message: Partners) -> Pieces:
    return _U32.pack(len(message.members)), _pack_members(message.members)


def _partners(body: memoryview) -> Partners:
    flags, end = _flags(body, 0)
    _exact(body, end)
    return Partners(flags)


def _put_masked_input(message: MaskedInput) -> Pieces:
    partners = message.partner_signature
    head = _VECTOR.pack(message.client_id, message.length, message.bits, bool(partners))
    return head, partners, message.signature, message.packed


def _masked_input(body: memoryview) -> MaskedInput:
    if len(body) < _VECTOR.size:
        raise WireFormatError("message ends before its vector")
    client_id, length, bits, partners = _VECTOR.unpack_from(body)
    if partners > 1 or not 1 <= length <= MAX_LENGTH or not 2 <= bits <= MAX_RING_BITS:
        raise WireFormatError("a vector of such a shape is in no session")
    signed = _VECTOR.size + partners * SIGNATURE_SIZE
    start = signed + SIGNATURE_SIZE
    if len(body) < start:
        raise WireFormatError("message ends within its signatures")
    packed = cast("bytes", body[start:])  # a view, so that the vector is not copied
    check_packed(packed, length, bits)
    signatures = bytes(body[_VECTOR.size : signed]), bytes(body[signed:start])
    return MaskedInput(client_id, length, bits, *signatures, packed)


def _put_survivors(message: Survivors) -> Pieces:
    members = _U32.pack(len(message.members)), _pack_members(message.members)
    return *members, _U32.pack(len(message.signatures)), *message.signatures


def _survivors(body: memoryview) -> Survivors:
    flags, end = _flags(body, 0)
    count = _count(body, end)
    _exact(body, end + _U32.size + count * SIGNATURE_SIZE)
    return Survivors(flags, Records(bytes(body[end + _U32.size :]), SIGNATURE_SIZE, bytes))


def _put_signature(message: ConsistencySignature) -> Pieces:
    return (_SIGNED.pack(message.client_id, message.signature),)


def _signature(body: memoryview) -> ConsistencySignature:
    _exact(body, _SIGNED.size)
    return ConsistencySignature(*_SIGNED.unpack(body))


def _put_signatures(message: Signatures) -> Pieces:
    count = _U32.pack(len(message.signatures))
    return count, *(_SIGNED.pack(*signed) for signed in message.signatures)


def _signed_by(record: bytes) -> tuple[int, bytes]:
    position, signature = _SIGNED.unpack(record)
    return position, signature


def _signatures(body: memoryview) -> Signatures:
    _exact(body, _U32.size + _count(body) * _SIGNED.size)
    signatures = Records(bytes(body[_U32.size :]), _SIGNED.size, _signed_by)
    # A signature that stands twice must not count twice towards a quorum.
    if any(a[0] >= b[0] for a, b in itertools.pairwise(signatures)):
        raise WireFormatError("signatures are strictly ascending by position")
    return Signatures(signatures)


def _put_unmask(message: UnmaskShares) -> Pieces:
    head = _COUNTED.pack(message.client_id, message.signature, len(message.shares))
    return head, *message.shares


def _unmask_shares(body: memoryview) -> UnmaskShares:
    _exact(body, _COUNTED.size + _count(body, _SIGNED.size) * SHARE_SIZE)
    client_id, signature = _SIGNED.unpack_from(body)
    shares = Records(bytes(body[_COUNTED.size :]), SHARE_SIZE, bytes)
    return UnmaskShares(client_id, signature, shares)


ENCODERS: dict[type[Message], Callable[..., Pieces]] = {
    Offer: _put_offer,
    AdvertiseKeys: _put_entry,
    Advertisements: _put_roster,
    ShareKeys: _put_share_keys,
    ForwardedShares: _put_forwarded,
    SharesOpened: _put_opened,
    Partners: _put_partners,
    MaskedInput: _put_masked_input,
    Survivors: _put_survivors,
    ConsistencySignature: _put_signature,
    Signatures: _put_signatures,
    UnmaskShares: _put_unmask,
}
DECODERS: dict[type[Message], Callable[[memoryview], Message]] = {
    Offer: _offer,
    AdvertiseKeys: _advertise_keys,
    Advertisements: _roster,
    ShareKeys: _share_keys,
    ForwardedShares: _forwarded,
    SharesOpened: _opened,
    Partners: _partners,
    MaskedInput: _masked_input,
    Survivors: _survivors,
    ConsistencySignature: _signature,
    Signatures: _signatures,
    UnmaskShares: _unmask_shares,
}
