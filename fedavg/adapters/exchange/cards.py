"""The members' present sealing keys, as a server knows them: public cards, which every request passes on."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

from fedavg.errors import LocalProtocolError
from secagg import SecAggError
from secagg.committee import card_epoch, card_member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fedavg.adapters.exchange.agreement import Agreement

__all__ = ["MemberCards"]


class MemberCards:
    """What a server knows of the committee's sealing keys; one object for all rounds of a run.

    A server can withhold keys and pass on old ones. It can forge none, and nodes refuse those that are over.
    A card of an earlier epoch than this object has had is not taken, also after `forget`: nodes would refuse
    the whole sum. A member that sends one, or whose key is dated ahead of the time, counts as missing.

    Args:
        agreement: the server's copy.
        known: cards with which it begins; the members are asked for theirs if there are too few.
        clock: seconds since 1970.

    Example:
        >>> from fedavg import FixedPoint, OneShot
        >>> from fedavg.adapters.exchange import Agreement, NodeKeys, Record, Terms
        >>> terms = Terms(
        ...     OneShot(committee=6, corrupt_members=1, absent_members=1),
        ...     {"train": Record(FixedPoint(1.0, 20, rounding="nearest"))},
        ...     max_weight=1000,
        ... )
        >>> keys = [NodeKeys.generate(node) for node in range(6)]
        >>> cards = MemberCards(Agreement.among(terms, [key.card for key in keys]))
        >>> for key in keys[1:]:
        ...     cards.take(key.node, key.card.sealing)
        >>> cards.enough, sorted(cards.missing)
        (True, [0])
    """

    __slots__ = ("_agreement", "_clock", "_held", "_newest", "_owners")

    def __init__(
        self,
        agreement: Agreement,
        known: Iterable[bytes] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._agreement = agreement
        self._clock = clock
        self._held: dict[int, tuple[int, bytes, bytes]] = {}  # member → epoch, public key, card
        self._owners: dict[bytes, int] = {}  # public key → the member that sent it first
        self._newest: dict[int, int] = {}  # member → the latest epoch that nodes may know
        of = dict(zip(agreement.members.values(), agreement.members, strict=True))
        for card in known:
            self.take(of[card], card)

    def take(self, member: int, card: bytes) -> None:
        """Keep a member's card, unless it has had a newer one here, or is dated ahead of the time.

        Args:
            member: id of the node that the card is from.
            card: the card.

        Raises:
            LocalProtocolError: the member did not sign it, or it has another member's key.
        """
        if member not in self._agreement.members:
            raise LocalProtocolError(f"node {member} is no member, and sent a sealing key")
        try:
            epoch, public = self._agreement.signed_key(member, card)
        except SecAggError as error:
            raise LocalProtocolError(f"node {member} sent no sealing key: {error}") from None
        # One that copies another's public key would keep every committee from being made. A key belongs to
        # whoever sent it first, also while that card is forgotten: otherwise the copy would keep it out.
        if self._owners.setdefault(public, member) != member:
            raise LocalProtocolError(f"node {member} sent the sealing key of another member")
        # One that is dated ahead, once held, would keep the member's later ones from being taken.
        ahead = epoch - self._clock() > self._agreement.terms.key_ages.ahead
        if epoch >= self._newest.get(member, 0) and not ahead:
            self._newest[member] = epoch
            self._held[member] = epoch, public, card

    def seen(self, cards: Iterable[bytes]) -> None:
        """Learn from a node which epochs there are: earlier ones are over, and nodes would refuse them.

        Args:
            cards: cards that the node has seen; others than signed ones of members are passed over.
        """
        most = len(self._agreement.members)
        for card in filter(self._agreement.has_signed, islice(cards, most)):
            member, epoch = card_member(card), card_epoch(card)
            # Also one that is dated ahead: a node that has taken it refuses all lower numbers.
            self._newest[member] = max(epoch, self._newest.get(member, 0))

    def forget(self, members: Iterable[int]) -> None:
        """Hold no card of members that did not answer: they may have other keys by now."""
        for member in members:
            self._held.pop(member, None)

    @property
    def held(self) -> tuple[bytes, ...]:
        """The cards for the next sum, in the order of the members' ids."""
        return tuple(self._held[member][2] for member in sorted(self._fresh()))

    @property
    def missing(self) -> frozenset[int]:
        """The members whose present key is not known."""
        return frozenset(self._agreement.members) - self._fresh()

    @property
    def enough(self) -> bool:
        """Whether no more members are missing than may be absent."""
        terms = self._agreement.terms
        return terms.suspends or len(self.missing) <= terms.sum.absent_members

    def _fresh(self) -> frozenset[int]:
        now, ages = self._clock(), self._agreement.terms.key_ages
        return frozenset(
            member
            for member, (epoch, _, _) in self._held.items()
            if ages.passed_on(now - epoch) and epoch >= self._newest[member]
        )
