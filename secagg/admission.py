"""What the server accepts from a client: its keys at the beginning, its shares at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secagg.envelopes import MASK_KEY, SELF_MASK, committed, share_commitment
from secagg.errors import RemoteProtocolError
from secagg.keys import acceptable_agreement_key
from secagg.messages import AdvertiseKeys
from secagg.shamir import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from secagg.cohort import Cohort
    from secagg.keys import Directory
    from secagg.messages import Message, ShareKeys, UnmaskShares

__all__ = ["check_keys", "check_shares", "given"]


def check_keys(
    message: AdvertiseKeys, others: Iterable[Message], directory: Directory, session: bytes
) -> None:
    """Raise RemoteProtocolError unless an advertisement can stand on the roster beside the others."""
    client_id = message.client_id
    try:
        directory.check(client_id, message.identity)
    except RemoteProtocolError as error:
        raise RemoteProtocolError("advertised under an identity not its own", client_id) from error
    keys = (message.channel_key, message.mask_key)
    if not all(map(acceptable_agreement_key, keys)):
        raise RemoteProtocolError(
            "advertised an X25519 key of low order or not canonical", client_id
        )
    taken = {
        key
        for other in others
        if isinstance(other, AdvertiseKeys)
        for key in (other.channel_key, other.mask_key)
    }
    if keys[0] == keys[1] or not taken.isdisjoint(keys):
        raise RemoteProtocolError("advertised a key that is taken already", client_id)
    if not directory.verify(message.identity, message.signature, message.signed(session)):
        raise RemoteProtocolError("advertised keys with a signature that does not hold", client_id)


def given(message: UnmaskShares, cohort: Cohort, held: AbstractSet[int]) -> dict[int, bytes]:
    """Dealer's position → share; the sender's own comes first in the message."""
    dealers = [cohort.positions[message.client_id], *sorted(held)]
    return dict(zip(dealers, message.shares, strict=True))


def check_shares(
    message: UnmaskShares,
    cohort: Cohort,
    held: AbstractSet[int],
    dealt: Mapping[int, ShareKeys],
    survivors: AbstractSet[int],
) -> None:
    """Raise RemoteProtocolError unless each share is the one that its dealer committed to.

    A client's share of its own secret has no commitment: a wrong one spoils only its dealer, itself.
    """
    holder = message.client_id
    position = cohort.positions[holder]
    for dealer, share in given(message, cohort, held).items():
        if not canonical(share):
            raise RemoteProtocolError("gave a share that is no share", holder)
        if dealer == position:
            continue
        dealer_id = cohort.client_id(dealer)
        kind = SELF_MASK if dealer in survivors else MASK_KEY
        envelope = dealt[dealer].envelopes[cohort.neighbours(dealer).index(position)]
        if committed(envelope, kind) != share_commitment(cohort, dealer_id, holder, kind, share):
            raise RemoteProtocolError(
                f"gave another share than client {dealer_id} dealt it", holder
            )
