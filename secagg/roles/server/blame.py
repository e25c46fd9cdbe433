"""The server's verdict on disputes and bad shares: which clients leave or are convicted, with evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from secagg.errors.conviction import Conviction, Offence
from secagg.roles.server.outbox import whole_dealing
from secagg.verdicts.cover import smallest_cover, without
from secagg.verdicts.disputes import graph_of, proven
from secagg.verdicts.evidence import OwnShare, of_dealing, of_disputes
from secagg.wire.codec import encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from secagg.session.roster import Roster
    from secagg.verdicts.evidence import Dealing
    from secagg.wire.messages import SharesOpened, UnmaskShares

__all__ = ["Settlement", "convict_dealers", "settle"]


@dataclass(frozen=True, slots=True)
class Settlement:
    """The result of disputes over shares.

    Args:
        gone: positions of clients that leave, so that no two remaining clients are in dispute.
        convictions: those of them that must be corrupt.
        disputes: pairs of ids (holder, dealer) where the holder says that the dealer's shares did not open.
    """

    gone: frozenset[int]
    convictions: tuple[Conviction, ...]
    disputes: tuple[tuple[int, int], ...]


def settle(
    roster: Roster,
    accusations: Mapping[int, AbstractSet[int]],
    receipts: Mapping[int, SharesOpened],
    messages: tuple[bytes, bytes],
) -> Settlement:
    """Convict the clients that must be corrupt, and remove as few of the others as possible.

    Args:
        roster: the roster.
        accusations: position → neighbours whose shares it reports as not opened.
        receipts: position → the message with that report.
        messages: offer and roster, as they were sent.
    """
    graph = graph_of(accusations)
    convicted = proven(graph, roster.params)
    convictions: list[Conviction] = []
    if convicted:
        # The receipts of all clients in dispute: a dealer is convicted by what its holders signed.
        said = [encode(receipts[position], roster.session) for position in sorted(graph)]
        evidence = of_disputes(*messages, said)
        for position in sorted(convicted):
            client_id = roster.client_id(position)
            convictions.append(Conviction(client_id, Offence.DISPUTES, evidence))
    gone = convicted | smallest_cover(without(graph, convicted))
    disputes = [
        (roster.client_id(holder), roster.client_id(dealer))
        for holder in sorted(graph)
        for dealer in sorted(accusations[holder] & graph.keys())
    ]
    return Settlement(frozenset(gone), tuple(convictions), tuple(disputes))


def convict_dealers(
    roster: Roster,
    bad: Mapping[int, Mapping[int, bytes]],
    dealings: Mapping[int, Dealing],
    given: tuple[Mapping[int, bytes], Mapping[int, Sequence[int]]],
    answers: Mapping[int, UnmaskShares],
    told: bytes,
    messages: tuple[bytes, bytes],
) -> tuple[Conviction, ...]:
    """Convict dealers by shares that reconstruct another secret than they announced.

    Args:
        roster: the roster.
        bad: dealer's position → those shares, by their holders' positions.
        dealings: the parts of the dealers' messages that `promises_to` kept.
        given: the promises that it found, and each partner's partners.
        answers: position → message of kind 11.
        told: the content that the consistency signatures cover.
        messages: offer and roster, as they were sent.
    """
    convictions: list[Conviction] = []
    for position, shares in bad.items():
        dealing, own = whole_dealing(roster, position, dealings[position], *given), None
        # No commitment to the dealer's own share exists, so its signature takes the commitment's place.
        if position in shares:
            own = OwnShare(told, answers[position].others(), answers[position].signature)
        evidence = of_dealing(*messages, dealing, shares, own)
        client_id = roster.client_id(position)
        convictions.append(Conviction(client_id, Offence.BAD_DEALER, evidence))
    return tuple(convictions)
