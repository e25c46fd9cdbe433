"""Envelopes: a dealer's two shares for one holder, sealed, with commitments that anyone can read.

The commitments are authenticated with the envelope, so a holder knows that the server has the same ones,
and the server can tell later whether a share is the one that was dealt.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

from secagg.sealed import TAG_SIZE, open_sealed, seal
from secagg.shamir import SHARE_SIZE, canonical

if TYPE_CHECKING:
    from secagg.cohort import Cohort

__all__ = ["ENVELOPE_SIZE", "MASK_KEY", "SELF_MASK", "committed", "open_envelope", "seal_envelope"]

SELF_MASK = 0
"""The share of a self-mask seed b: asked for survivors."""
MASK_KEY = 1
"""The share of a mask key s: asked for clients that are not in the sum."""

COMMITMENT_SIZE = 16
"""Second preimages matter here, collisions do not: a rebuilt secret is checked by itself too."""
COMMITMENTS_SIZE = 2 * COMMITMENT_SIZE
ENVELOPE_SIZE = COMMITMENTS_SIZE + 2 * SHARE_SIZE + TAG_SIZE

_PLACE = struct.Struct("<IIB")
_LABEL = b"secagg v1 share\0"


def share_commitment(cohort: Cohort, dealer: int, holder: int, kind: int, share: bytes) -> bytes:
    """Commitment of a dealer (id) to one share for a holder (id).

    All parts have fixed sizes, so none can run into another.  No nonce: below the threshold each share
    has at least 251 bits that nobody else knows.
    """
    place = _PLACE.pack(dealer, holder, kind)
    return hashlib.sha256(_LABEL + cohort.session + place + share).digest()[:COMMITMENT_SIZE]


def committed(envelope: bytes, kind: int) -> bytes:
    """The commitment that an envelope shows for one of its shares."""
    return envelope[kind * COMMITMENT_SIZE : (kind + 1) * COMMITMENT_SIZE]


def seal_envelope(cohort: Cohort, key: bytes, shares: bytes, dealer: int, holder: int) -> bytes:
    """Commit to two shares and seal them."""
    public = _commitments(cohort, shares, dealer, holder)
    return public + seal(key, shares, _route(cohort, dealer, holder) + public)


def open_envelope(
    cohort: Cohort, key: bytes, envelope: bytes, dealer: int, holder: int
) -> bytes | None:
    """The two shares, or None unless they are what their dealer committed to for this holder."""
    public, sealed = envelope[:COMMITMENTS_SIZE], envelope[COMMITMENTS_SIZE:]
    shares = open_sealed(key, sealed, _route(cohort, dealer, holder) + public)
    if shares is None or _commitments(cohort, shares, dealer, holder) != public:
        return None
    halves = (shares[:SHARE_SIZE], shares[SHARE_SIZE:])
    return shares if all(map(canonical, halves)) else None


def _route(cohort: Cohort, dealer: int, holder: int) -> bytes:
    return cohort.session + cohort.root + struct.pack("<II", dealer, holder)


def _commitments(cohort: Cohort, shares: bytes, dealer: int, holder: int) -> bytes:
    seed_share, key_share = shares[:SHARE_SIZE], shares[SHARE_SIZE:]
    return share_commitment(cohort, dealer, holder, SELF_MASK, seed_share) + share_commitment(
        cohort, dealer, holder, MASK_KEY, key_share
    )
