"""One frozen type for each message, and the constants that size them.

Positions are places in the roster, which is sorted by client id; a *neighbourhood* is a client's
neighbours in ascending position. Flags say yes or no for each place of such a list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from secagg.keys import digest

if TYPE_CHECKING:
    from secagg.params import Params

__all__ = [
    "AdvertiseKeys",
    "ConsistencySignature",
    "ForwardedShares",
    "MaskedInput",
    "Offer",
    "Roster",
    "ShareKeys",
    "Signatures",
    "Survivors",
    "UnmaskShares",
]

NONCE_SIZE = 32


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
class Roster:
    """Server → live clients: everyone's advertisement, ascending by id."""

    entries: tuple[AdvertiseKeys, ...]


@dataclass(frozen=True, slots=True)
class ShareKeys:
    """Client → server: a commitment to the self-mask seed; an envelope for each neighbour."""

    client_id: int
    seed_commitment: bytes
    envelopes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ForwardedShares:
    """Server → client: the envelope from each neighbour, None where it dealt none."""

    envelopes: tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class MaskedInput:
    """Client → server: the masked vector, and which neighbours it is masked with."""

    client_id: int
    masked_with: tuple[bool, ...]
    length: int
    bits: int
    packed: bytes


@dataclass(frozen=True, slots=True)
class Survivors:
    """Server → survivors: who is in the sum, a flag for each place of the roster."""

    members: tuple[bool, ...]

    def signed(self, session: bytes, root: bytes) -> bytes:
        """What the consistency signatures cover."""
        return digest(b"survivors", session, root, bytes(self.members))


@dataclass(frozen=True, slots=True)
class ConsistencySignature:
    """Client → server: its signature over the survivors it was told."""

    client_id: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Signatures:
    """Server → signers: a quorum of (position, signature), ascending; the request to unmask."""

    signatures: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class UnmaskShares:
    """Client → server: its own self-mask share, then one share for each neighbour that is flagged."""

    client_id: int
    held: tuple[bool, ...]
    shares: tuple[bytes, ...]


Message = (
    Offer
    | AdvertiseKeys
    | Roster
    | ShareKeys
    | ForwardedShares
    | MaskedInput
    | Survivors
    | ConsistencySignature
    | Signatures
    | UnmaskShares
)


def seed_commitment(session: bytes, client_id: int, seed: bytes) -> bytes:
    """Commitment to a self-mask seed: 32 uniform bytes hide themselves."""
    return digest(b"self-mask seed", session, client_id.to_bytes(4, "little"), seed)
