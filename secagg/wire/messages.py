"""One frozen type for each message, and the constants that size them.

Positions are indices in the roster, which is sorted by client id; a *neighbourhood* lists a client's
neighbours by ascending position. Flags say yes or no for each position of such a list.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secagg.crypto.keys import digest, vector_digest
from secagg.crypto.sealed import TAG_SIZE
from secagg.crypto.shamir import SHARE_SIZE
from secagg.wire.records import column, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secagg.params.params import Params

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
"""Only second preimages matter here, not collisions: a reconstructed secret is checked by itself too."""
COMMITMENTS_SIZE = 2 * COMMITMENT_SIZE
"""Size of the head of each envelope: its dealer's commitments to the two shares inside."""
ENVELOPE_SIZE = COMMITMENTS_SIZE + 2 * SHARE_SIZE + TAG_SIZE


@dataclass(frozen=True, slots=True)
class Offer:
    """Server → all: the parameters, and a nonce that makes the session's name unique."""

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
        """The content that the signature covers."""
        client = self.client_id.to_bytes(4, "little")
        return digest(b"advertise", session, client, self.identity, self.channel_key, self.mask_key)


@dataclass(frozen=True, slots=True)
class Advertisements:
    """Server → live clients: the advertisements of all clients, ascending by id."""

    entries: Sequence[AdvertiseKeys]


@dataclass(frozen=True, slots=True)
class ShareKeys:
    """Client → server: a commitment to the self-mask seed; an envelope for each neighbour; signed."""

    client_id: int
    seed_commitment: bytes
    signature: bytes
    envelopes: Sequence[bytes]

    def signed(self, session: bytes, root: bytes) -> bytes:
        """The content that the signature covers: all that a third party needs to convict a bad dealer."""
        columns = (self.commitments(0, COMMITMENT_SIZE), self.commitments(COMMITMENT_SIZE))
        hashes = [hashlib.sha256(column).digest() for column in columns]
        return self.statement(session, root, self.client_id, self.seed_commitment, hashes)

    @staticmethod
    def statement(
        session: bytes, root: bytes, client_id: int, seed_commitment: bytes, hashes: Sequence[bytes]
    ) -> bytes:
        """The statement that a dealer signs.

        Args:
            session: name of the session.
            root: hash of the whole roster.
            client_id: id of the dealer.
            seed_commitment: commitment to its self-mask seed.
            hashes: SHA-256 of its commitments to the shares of the self-mask seed, joined, and of those
                to the shares of the mask key. Evidence about one of the secrets need not show the other.
        """
        client = client_id.to_bytes(4, "little")
        return digest(b"dealt", session, root, client, seed_commitment, *hashes)

    def commitments(self, start: int = 0, end: int = COMMITMENTS_SIZE) -> bytes:
        """The heads of all envelopes, or the same bytes of each, joined."""
        return b"".join(column(self.envelopes, start, end))


@dataclass(frozen=True, slots=True)
class ForwardedShares:
    """Server → client: the envelope from each neighbour, None where it dealt none."""

    envelopes: tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class SharesOpened:
    """Client → server: the neighbours whose envelopes opened; signed."""

    client_id: int
    signature: bytes
    opened: tuple[bool, ...]

    def signed(self, session: bytes, root: bytes) -> bytes:
        """The content that the signature covers, so that an accusation is provably its sender's."""
        client = self.client_id.to_bytes(4, "little")
        return digest(b"opened", session, root, client, bytes(self.opened))


@dataclass(frozen=True, slots=True)
class Partners:
    """Server → its members: the clients that may give an input; one byte, 0 or 1, for each position.

    The server removes clients here, never single pairs: every partner masks with all its neighbours that
    are partners.
    """

    members: bytes

    def root(self, session: bytes, roster_root: bytes) -> bytes:
        """Hash of roster and partners, bound into every mask and signature from here on."""
        return digest(b"partners", session, roster_root, self.members)


@dataclass(frozen=True, slots=True)
class MaskedInput:
    """Client → server: the masked vector, signed.

    Args:
        client_id: id of the sender.
        length: number of coordinates of the vector.
        bits: number of bits of each coordinate.
        partner_signature: where quorums consist of neighbours, the sender's signature on the partners that it
            masked with, which the server shows to the neighbours; else b"".
        signature: signature on the whole input.
        packed: the masked vector.
    """

    client_id: int
    length: int
    bits: int
    partner_signature: bytes
    signature: bytes
    packed: bytes

    @staticmethod
    def partners_signed(session: bytes, partner_root: bytes, client_id: int) -> bytes:
        """The content that the signature on the partners covers."""
        return digest(b"input", session, partner_root, client_id.to_bytes(4, "little"))

    def signed(self, session: bytes, partner_root: bytes) -> bytes:
        """The content that the signature covers; with the vector, so that it is provably the sender's."""
        client, length = self.client_id.to_bytes(4, "little"), self.length.to_bytes(4, "little")
        shape = length + self.bits.to_bytes(1, "little")
        return digest(
            b"masked vector", session, partner_root, client, shape, vector_digest(self.packed)
        )


@dataclass(frozen=True, slots=True)
class Survivors:
    """Server → survivors: the clients in the sum; one byte, 0 or 1, for each position of the roster.

    Where quorums consist of neighbours, it also has the input's signature of each neighbour in the sum.
    """

    members: bytes
    signatures: Sequence[bytes] = ()

    def signed(self, session: bytes, partner_root: bytes) -> bytes:
        """The content that the consistency signatures cover."""
        return digest(b"survivors", session, partner_root, self.members)


@dataclass(frozen=True, slots=True)
class ConsistencySignature:
    """Client → server: its signature over the survivors that it was told."""

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
    signature: bytes
    shares: Sequence[bytes]

    def signed(self, session: bytes, survivors: bytes) -> bytes:
        """The content that the signature covers.

        Args:
            session: name of the session.
            survivors: the content that the consistency signatures cover, so that the answer belongs to one
                request.
        """
        own = b"".join(self.shares[:1])
        return self.statement(session, survivors, self.client_id, own, self.others())

    def others(self) -> bytes:
        """SHA-256 of all shares except its own, joined."""
        return hashlib.sha256(memoryview(joined(self.shares))[SHARE_SIZE:]).digest()

    @staticmethod
    def statement(
        session: bytes, survivors: bytes, client_id: int, own: bytes, others: bytes
    ) -> bytes:
        """The statement that a client signs.

        Args:
            session: name of the session.
            survivors: the content that the consistency signatures cover.
            client_id: id of the sender.
            own: share of its own self-mask seed.
            others: SHA-256 of its other shares, joined. Evidence about its own share need not show them.
        """
        client = client_id.to_bytes(4, "little")
        return digest(b"unmask", session, survivors, client, own, others)


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
    """Commitment to a self-mask seed; 32 uniform bytes need no further randomness to stay hidden."""
    return digest(b"self-mask seed", session, client_id.to_bytes(4, "little"), seed)
