"""Envelopes: a dealer's two shares for one holder, sealed, with commitments that anyone can read.

The commitments are authenticated with the envelope. So a holder knows that the server has the same ones, and
the server can later check whether a share is the one that was dealt.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Protocol

from secagg.crypto.sealed import open_sealed, route_keys, seal
from secagg.crypto.shamir import SHARE_SIZE, canonical
from secagg.errors import RemoteProtocolError
from secagg.wire.messages import COMMITMENT_SIZE, COMMITMENTS_SIZE
from secagg.wire.records import column

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from secagg.crypto.keys import AgreementKey
    from secagg.wire.messages import AdvertiseKeys

__all__ = [
    "MASK_KEY",
    "SELF_MASK",
    "committed",
    "open_envelope",
    "open_inbox",
    "routes",
    "seal_envelope",
    "share_commitments",
]

SELF_MASK = 0
"""The share of a self-mask seed b, which is requested for survivors."""
MASK_KEY = 1
"""The share of a mask key s, which is requested for clients that are not in the sum."""


class Binding(Protocol):
    """The facts that envelopes are bound to; `secagg.session.roster.Roster` has them."""

    @property
    def session(self) -> bytes:
        """The session's name."""
        ...

    @property
    def root(self) -> bytes:
        """Hash of the whole roster."""
        ...

    @property
    def entries(self) -> Sequence[AdvertiseKeys]:
        """The advertisements, by position."""
        ...

    def client_id(self, position: int, /) -> int:
        """The id at a position."""
        ...


_PLACE = struct.Struct("<IIB")
_LABEL = b"secagg v2 share\0"


def share_commitments(
    binding: Binding,
    dealers: Sequence[int],
    holder: int,
    kinds: Sequence[int],
    shares: Sequence[bytes],
) -> bytes:
    """Commitments of dealers (ids) to one share each for a holder (id), joined.

    All parts have fixed sizes, so their boundaries are unambiguous.  No nonce is needed: below the threshold
    each share has at least 251 bits that nobody else knows.
    """
    start, place, sha256 = _LABEL + binding.session, _PLACE.pack, hashlib.sha256
    return b"".join(
        [
            sha256(start + place(dealer, holder, kind) + share).digest()[:COMMITMENT_SIZE]
            for dealer, kind, share in zip(dealers, kinds, shares, strict=True)
        ]
    )


def committed(envelopes: Sequence[bytes], kind: int) -> Iterator[bytes]:
    """The commitments in envelopes, or in their heads, to one of their two shares."""
    return column(envelopes, kind * COMMITMENT_SIZE, (kind + 1) * COMMITMENT_SIZE)


def seal_envelope(binding: Binding, key: bytes, shares: bytes, dealer: int, holder: int) -> bytes:
    """Commit to two shares and seal them."""
    public = _commitments(binding, shares, dealer, holder)
    # The commitments are bound in, so the server cannot exchange them.
    return public + seal(key, shares, _route(binding, dealer, holder) + public)


def open_envelope(
    binding: Binding, key: bytes, envelope: bytes, dealer: int, holder: int
) -> bytes | None:
    """The two shares; None unless they are what their dealer committed to for this holder."""
    public, sealed = envelope[:COMMITMENTS_SIZE], envelope[COMMITMENTS_SIZE:]
    shares = open_sealed(key, sealed, _route(binding, dealer, holder) + public)
    # Shares that the server would refuse later count as not opened: disputes come before masks.
    if shares is None or _commitments(binding, shares, dealer, holder) != public:
        return None
    halves = (shares[:SHARE_SIZE], shares[SHARE_SIZE:])
    return shares if all(map(canonical, halves)) else None


def routes(binding: Binding, channel: AgreementKey, own: int, place: int) -> tuple[bytes, bytes]:
    """Keys of the envelopes to and from a neighbour.

    Args:
        binding: the roster.
        channel: this client's channel key.
        own: this client's id.
        place: the neighbour's position.

    Raises:
        RemoteProtocolError: the neighbour's channel key is of low order.
    """
    other = binding.client_id(place)
    try:
        agreed = channel.agree(binding.entries[place].channel_key)
    except ValueError as error:
        raise RemoteProtocolError("advertised a channel key of low order", other) from error
    return route_keys(agreed, session=binding.session, root=binding.root, own=own, other=other)


def open_inbox(
    binding: Binding, own: int, keys: Mapping[int, bytes], inbox: Sequence[bytes | None]
) -> dict[int, bytes]:
    """Neighbour's position → its two shares, for each envelope that opens.

    Args:
        binding: the roster.
        own: this client's id.
        keys: neighbour's position → key of its envelope, ascending.
        inbox: an envelope, or None, from each of these neighbours.
    """
    held: dict[int, bytes] = {}
    for (place, key), envelope in zip(keys.items(), inbox, strict=True):
        if envelope is not None:
            shares = open_envelope(binding, key, envelope, binding.client_id(place), own)
            if shares is not None:
                held[place] = shares
    return held


def _route(binding: Binding, dealer: int, holder: int) -> bytes:
    # An envelope opens only for this holder, from this dealer, in this session and roster.
    return binding.session + binding.root + struct.pack("<II", dealer, holder)


def _commitments(binding: Binding, shares: bytes, dealer: int, holder: int) -> bytes:
    both = (shares[:SHARE_SIZE], shares[SHARE_SIZE:])
    return share_commitments(binding, (dealer, dealer), holder, (SELF_MASK, MASK_KEY), both)
