"""What the server assembles for its clients, and extracts from their answers, when a phase closes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import repeat
from typing import TYPE_CHECKING, TypeVar

from secagg.verdicts.evidence import Dealing
from secagg.wire.envelopes import MASK_KEY, SELF_MASK, committed
from secagg.wire.messages import (
    COMMITMENT_SIZE,
    COMMITMENTS_SIZE,
    ForwardedShares,
    ShareKeys,
    Signatures,
    Survivors,
)
from secagg.wire.records import Records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from secagg.session.roster import Roster
    from secagg.wire.messages import UnmaskShares

T = TypeVar("T")

__all__ = [
    "commitments_of",
    "inboxes_of",
    "inputs_around",
    "members_of",
    "promises_to",
    "quorum_around",
    "shares_by_dealer",
    "whole_dealing",
]


def members_of(roster: Roster, chosen: Iterable[int]) -> bytes:
    """One byte for each position of the roster: 1 for the chosen positions."""
    members = bytearray(len(roster.entries))
    for position in chosen:
        members[position] = 1
    return bytes(members)


def inboxes_of(
    roster: Roster, dealt: Mapping[int, ShareKeys]
) -> Iterator[tuple[int, ForwardedShares]]:
    """The envelopes to each dealer's position, ascending, in the order of the dealer's neighbours."""
    lists = {dealer: message.envelopes for dealer, message in dealt.items()}
    for holder, envelopes in enumerate(_addressed(roster, lists, None)):
        if holder in dealt:
            yield holder, ForwardedShares(envelopes)


def commitments_of(message: ShareKeys) -> ShareKeys:
    """The part of a dealer's message that is kept once its envelopes are sent: the signed commitments."""
    return replace(message, envelopes=Records(message.commitments(), COMMITMENTS_SIZE, bytes))


def promises_to(
    roster: Roster,
    dealt: Mapping[int, ShareKeys],
    partners: Iterable[int],
    survivors: AbstractSet[int],
) -> tuple[dict[int, bytes], dict[int, Dealing]]:
    """The partners' commitments to the one secret of each that is requested.

    This is the self-mask for a survivor, and the mask key for the others.

    Returns:
        Survivor's position → commitments to the shares that it must give, in the order of the partners,
        joined.  And partner's position → what it signed, where the column covers only its other holders:
        `whole_dealing` assembles it when it is needed.
    """
    kinds = {dealer: SELF_MASK if dealer in survivors else MASK_KEY for dealer in partners}
    lists = {dealer: committed(dealt[dealer].envelopes, kind) for dealer, kind in kinds.items()}
    promises: dict[int, bytes] = {}
    others: dict[int, list[bytes]] = {dealer: [] for dealer in kinds}
    for holder, commitments in enumerate(_addressed(roster, lists, b"")):
        if holder in survivors:
            promises[holder] = b"".join(commitments)
            continue
        # A holder that is not in the sum gives no shares; commitments to it are kept only for evidence.
        for dealer, commitment in zip(roster.neighbours(holder), commitments, strict=True):
            if commitment:
                others[dealer].append(commitment)
    return promises, {
        dealer: _dealing(dealt[dealer], kind, b"".join(others[dealer]))
        for dealer, kind in kinds.items()
    }


def _dealing(message: ShareKeys, kind: int, column: bytes) -> Dealing:
    about = (message.client_id, message.seed_commitment, message.signature)
    other = hashlib.sha256(b"".join(committed(message.envelopes, 1 - kind))).digest()
    return Dealing(*about, kind, other, column)


def whole_dealing(
    roster: Roster,
    dealer: int,
    dealing: Dealing,
    promises: Mapping[int, bytes],
    masked_with: Mapping[int, Sequence[int]],
) -> Dealing:
    """What a dealer signed, with the whole column of commitments.

    Args:
        roster: the roster.
        dealer: position of the dealer.
        dealing: the part of its message that `promises_to` kept.
        promises: the commitments that `promises_to` found.
        masked_with: partner's position → the partners around it.
    """
    rest = iter(Records(dealing.column, COMMITMENT_SIZE, bytes))
    column: list[bytes] = []
    for holder in roster.neighbours(dealer):
        if holder in promises:
            start = masked_with[holder].index(dealer) * COMMITMENT_SIZE
            column.append(promises[holder][start : start + COMMITMENT_SIZE])
        else:
            column.append(next(rest))
    return replace(dealing, column=b"".join(column))


def inputs_around(
    survivors: Survivors, inputs: Mapping[int, bytes], around: Iterable[int]
) -> Survivors:
    """The survivors, with the signatures of a client's neighbours on their inputs."""
    return replace(survivors, signatures=[inputs[place] for place in around if place in inputs])


def quorum_around(
    signed: Mapping[int, bytes], around: Iterable[int], quorum: int
) -> Signatures | None:
    """A quorum among a client's neighbours; None if there is none, and then the client gives no shares."""
    # No more than the quorum: each further signature costs the client a verification.
    pairs = [(place, signed[place]) for place in around if place in signed][:quorum]
    return Signatures(tuple(pairs)) if len(pairs) == quorum else None


def shares_by_dealer(
    answers: Mapping[int, UnmaskShares], masked_with: Mapping[int, Sequence[int]]
) -> Iterator[tuple[int, dict[int, bytes]]]:
    """For each partner's position, ascending: holder's position → its share of that partner's secret.

    Each holder gave its shares in this order, its own first, so all lists are read from front to back.
    """
    unread = {holder: iter(message.shares) for holder, message in answers.items()}
    own = {holder: next(shares) for holder, shares in unread.items()}
    for dealer in sorted(masked_with):
        found = {place: next(unread[place]) for place in masked_with[dealer] if place in unread}
        if dealer in own:
            found[dealer] = own[dealer]
        yield dealer, found


def _addressed(
    roster: Roster, lists: Mapping[int, Iterable[T]], absent: T
) -> Iterator[tuple[T, ...]]:
    """For each position in turn, the items for it in its neighbours' lists; `absent` for a missing list.

    A list follows its owner's neighbours.  These ascend, and so do the positions here. The next position's
    item in a list is therefore the list's next item, and nothing is searched.
    """
    everyone = range(len(roster.ids))
    unread = [iter(lists[owner]) if owner in lists else repeat(absent) for owner in everyone]
    for position in everyone:
        yield tuple(map(next, map(unread.__getitem__, roster.neighbours(position))))
