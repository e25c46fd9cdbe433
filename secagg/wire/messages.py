"""One frozen type for each message, and the constants that size them.

Positions are places in the roster, which is sorted by client id; a *neighbourhood* is a client's
neighbours in ascending position. Flags say yes or no for each place of such a list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from secagg.crypto.keys import digest
from secagg.crypto.sealed import TAG_SIZE
from secagg.crypto.shamir import SHARE_SIZE
from secagg.wire.records import column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secagg.params import Params

__all__ = [
    "AdvertiseKeys",
    "Advertisements",
    "ConsistencySignature",
    "ForwardedShares",
    "MaskedInput",
    "Offer",
    "Partners",
    "ShareKeys",
    "SharesOpened",
    "Signatures",
    "Survivors",
    "UnmaskShares",
]

NONCE_SIZE = 32
COMMITMENT_SIZE = 16
"""Second preimages matter here, collisions do not: a rebuilt secret is checked by itself too."""
COMMITMENTS_SIZE = 2 * COMMITMENT_SIZE
"""At the head of each envelope: its dealer's commitments to the two shares inside."""
ENVELOPE_SIZE = COMMITMENTS_SIZE + 2 * SHARE_SIZE + TAG_SIZE


@dataclass(frozen=True, slots=True)
class Offer:
    """Server → all: the parameters, and a nonce that makes the session's name new."""

    params: Params
    nonce: bytes

    def session(self, context: bytes) -> bytes:
        """The session's name: parameters, context (round and model), nonce."""
        return digest(b"session", self.params.to_bytes(), context, self.nonce)


@dataclass(frozen=True, slots=True)
class AdvertiseKeys:
    """Client → server: two X25519 keys, signed; also an entry of the roster."""

    client_id: int
    identity: bytes
    channel_key: bytes
    mask_key: bytes
    signature: bytes

    def signed(self, session: bytes) -> bytes:
        """What the signature covers."""
        client = self.client_id.to_bytes(4, "little")
        return digest(b"advertise", session, client, self.identity, self.channel_key, self.mask_key)


@dataclass(frozen=True, slots=True)
class Advertisements:
    """Server → live clients: everyone's advertisement, ascending by id."""

    entries: Sequence[AdvertiseKeys]


@dataclass(frozen=True, slots=True)
class ShareKeys:
    """Client → server: a commitment to the self-mask seed; an envelope for each neighbour; signed."""

    client_id: int
    seed_commitment: bytes
    signature: bytes
    envelopes: Sequence[bytes]

    def signed(self, session: bytes, root: bytes) -> bytes:
        """What the signature covers: all that a third party needs to convict a bad dealer."""
        client = self.client_id.to_bytes(4, "little")
        return digest(b"dealt", session, root, client, self.seed_commitment, self.commitments())

    def commitments(self) -> bytes:
        """The heads of all envelopes."""
        return b"".join(column(self.envelopes, 0, COMMITMENTS_SIZE))


@dataclass(frozen=True, slots=True)
class ForwardedShares:
    """Server → client: the envelope from each neighbour, None where it dealt none."""

    envelopes: tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class SharesOpened:
    """Client → server: which neighbours' envelopes opened."""

    client_id: int
    opened: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Partners:
    """Server → its members: who may give an input; one byte, 0 or 1, for each place of the roster.

    The server takes out clients here, never single pairs: every partner masks with all its neighbours
    that are partners.
    """

    members: bytes

    def root(self, session: bytes, roster_root: bytes) -> bytes:
        """Hash of roster and partners, bound into every mask and signature from here on."""
        return digest(b"partners", session, roster_root, self.members)


@dataclass(frozen=True, slots=True)
class MaskedInput:
    """Client → server: the masked vector; signed where quorums are of neighbours, else b""."""

    client_id: int
    length: int
    bits: int
    signature: bytes
    packed: bytes

    @staticmethod
    def signed(session: bytes, partner_root: bytes, client_id: int) -> bytes:
        """What the signature covers: with whom the client masked."""
        return digest(b"input", session, partner_root, client_id.to_bytes(4, "little"))


@dataclass(frozen=True, slots=True)
class Survivors:
    """Server → survivors: who is in the sum; one byte, 0 or 1, for each place of the roster.

    Where quorums are of neighbours: also the input's signature of each neighbour in the sum.
    """

    members: bytes
    signatures: Sequence[bytes] = ()

    def signed(self, session: bytes, partner_root: bytes) -> bytes:
        """What the consistency signatures cover."""
        return digest(b"survivors", session, partner_root, self.members)


@dataclass(frozen=True, slots=True)
class ConsistencySignature:
    """Client → server: its signature over the survivors it was told."""

    client_id: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Signatures:
    """Server → signers: a quorum of (position, signature), ascending; the request to unmask."""

    signatures: Sequence[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class UnmaskShares:
    """Client → server: its own self-mask share, then one share for each neighbour that is a partner."""

    client_id: int
    shares: Sequence[bytes]


Message = (
    Offer
    | AdvertiseKeys
    | Advertisements
    | ShareKeys
    | ForwardedShares
    | SharesOpened
    | Partners
    | MaskedInput
    | Survivors
    | ConsistencySignature
    | Signatures
    | UnmaskShares
)


def seed_commitment(session: bytes, client_id: int, seed: bytes) -> bytes:
    """Commitment to a self-mask seed: 32 uniform bytes hide themselves."""
    return digest(b"self-mask seed", session, client_id.to_bytes(4, "little"), seed)
