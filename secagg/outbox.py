"""What the server puts together for its clients, and finds in their answers, when a phase closes."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import TYPE_CHECKING

from secagg.messages import COMMITMENTS_SIZE, ForwardedShares, ShareKeys, Signatures, Survivors
from secagg.records import Records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from secagg.cohort import Cohort
    from secagg.messages import UnmaskShares

__all__ = [
    "commitments_of",
    "inbox_of",
    "inputs_around",
    "members_of",
    "place_in",
    "quorum_around",
    "shares_of",
]


def place_in(places: Sequence[int], position: int) -> int:
    """Index of a position in an ascending list that holds it."""
    return bisect_left(places, position)


def members_of(cohort: Cohort, chosen: Iterable[int]) -> bytes:
    """One byte for each place of the roster: 1 for the chosen positions."""
    members = bytearray(len(cohort.entries))
    for position in chosen:
        members[position] = 1
    return bytes(members)


def inbox_of(cohort: Cohort, dealt: Mapping[int, ShareKeys], holder: int) -> ForwardedShares:
    """The envelopes for a holder's position, in the order of its neighbours."""
    return ForwardedShares(
        tuple(
            dealt[dealer].envelopes[place_in(cohort.neighbours(dealer), holder)]
            if dealer in dealt
            else None
            for dealer in cohort.neighbours(holder)
        )
    )


def commitments_of(message: ShareKeys) -> ShareKeys:
    """What stays of a dealer's message when its envelopes are on their way: commitments, signed."""
    heads = b"".join(envelope[:COMMITMENTS_SIZE] for envelope in message.envelopes)
    return replace(message, envelopes=Records(heads, COMMITMENTS_SIZE, bytes))


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


def shares_of(
    dealer: int,
    answers: Mapping[int, UnmaskShares],
    masked_with: Mapping[int, Sequence[int]],
    threshold: int,
) -> dict[int, bytes]:
    """Holder's position → its share of a partner's secret, as many as rebuild it."""
    found: dict[int, bytes] = {}
    for holder in sorted((dealer, *masked_with[dealer])):
        message = answers.get(holder)
        if message is None:
            continue
        at = 0 if holder == dealer else 1 + place_in(masked_with[holder], dealer)
        found[holder] = message.shares[at]
        if len(found) == threshold:
            break
    return found
