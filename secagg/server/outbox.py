"""What the server puts together for its clients, and finds in their answers, when a phase closes."""

from __future__ import annotations

from dataclasses import replace
from itertools import repeat
from typing import TYPE_CHECKING, TypeVar

from secagg.wire.envelopes import MASK_KEY, SELF_MASK, committed
from secagg.wire.messages import COMMITMENTS_SIZE, ForwardedShares, ShareKeys, Signatures, Survivors
from secagg.wire.records import Records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from secagg.roster import Roster
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
]


def members_of(roster: Roster, chosen: Iterable[int]) -> bytes:
    """One byte for each place of the roster: 1 for the chosen positions."""
    members = bytearray(len(roster.entries))
    for position in chosen:
        members[position] = 1
    return bytes(members)


def inboxes_of(
    roster: Roster, dealt: Mapping[int, ShareKeys]
) -> Iterator[tuple[int, ForwardedShares]]:
    """For each dealer's position, ascending, the envelopes to it, in the order of its neighbours."""
    lists = {dealer: message.envelopes for dealer, message in dealt.items()}
    for holder, envelopes in enumerate(_addressed(roster, lists, None)):
        if holder in dealt:
            yield holder, ForwardedShares(envelopes)


def commitments_of(message: ShareKeys) -> ShareKeys:
    """What stays of a dealer's message when its envelopes are on their way: commitments, signed."""
    return replace(message, envelopes=Records(message.commitments(), COMMITMENTS_SIZE, bytes))


def promises_to(
    roster: Roster,
    dealt: Mapping[int, ShareKeys],
    partners: Iterable[int],
    survivors: AbstractSet[int],
) -> dict[int, bytes]:
    """Survivor's position → what its partners committed to: the one share of each that it must give.

    Of the self-mask for a survivor, of the mask key for others; in the order of the partners, joined.
    """
    lists = {
        dealer: committed(dealt[dealer].envelopes, SELF_MASK if dealer in survivors else MASK_KEY)
        for dealer in partners
    }
    return {
        holder: b"".join(commitments)
        for holder, commitments in enumerate(_addressed(roster, lists, b""))
        if holder in survivors
    }


def inputs_around(
    survivors: Survivors, inputs: Mapping[int, bytes], around: Iterable[int]
) -> Survivors:
    """The survivors, with the signatures of a client's neighbours on their inputs."""
    return replace(survivors, signatures=[inputs[place] for place in around if place in inputs])


def quorum_around(
    signed: Mapping[int, bytes], around: Iterable[int], quorum: int
) -> Signatures | None:
    """A quorum among a client's neighbours, or None: then it gives no shares."""
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
    """For each position in turn, what its neighbours' lists hold for it; `absent` of who has none.

    A list goes by its owner's neighbours.  These ascend, and so do the positions here, hence what a list
    holds for the next of them is its next item: nothing is looked up.
    """
    everyone = range(len(roster.ids))
    unread = [iter(lists[owner]) if owner in lists else repeat(absent) for owner in everyone]
    for position in everyone:
        yield tuple(map(next, map(unread.__getitem__, roster.neighbours(position))))
