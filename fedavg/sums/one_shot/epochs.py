"""Epochs of a committee: each round belongs to one, and the members' sealing keys serve for one only.

A thief of sealing keys opens contributions that were sealed to them. So a member has a key for each epoch,
and erases those of earlier epochs as soon as a sum of a later one begins. The public halves, which the
members sign, are known from the start: otherwise one absent member would keep an epoch from beginning.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from threading import Lock
from typing import TYPE_CHECKING

from fedavg.errors import LocalProtocolError
from secagg.committee import Committee, SealingKey, card_epoch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fedavg.sums.interface import (
        ClientSession,
        ClientSide,
        KeyHolderSession,
        OpenerSide,
        ServerSession,
        ServerSide,
        SumSpec,
    )
    from he import Journal
    from secagg import Directory, Identity

__all__ = [
    "FIRST_EPOCH",
    "ClientOfEpochs",
    "Epochs",
    "MemberOfEpochs",
    "ServerOfEpochs",
    "epoch_of",
]

FIRST_EPOCH = 1
"""The epoch of round 0, and of sums outside of rounds."""


def epoch_of(number: int, rounds: int) -> int:
    """The epoch of a round, where an epoch has so many rounds.

    Example:
        >>> [epoch_of(number, 10) for number in (0, 9, 10)]
        [1, 1, 2]
    """
    return FIRST_EPOCH + number // rounds


class Epochs:
    """The committee of each epoch, as one party sees it: epochs follow one another and none comes back.

    An object forgets with its process which epochs are over. A party that goes on in a new process records
    that itself, as `fedavg.adapters.polling` does.

    Args:
        members: identities of exactly the members.
        cards: signed sealing keys, one of each member for each epoch.
        rounds: number of rounds of an epoch.

    Raises:
        secagg.SecAggError: bytes that are no card.

    Example:
        >>> from secagg import Directory, Identity
        >>> who = {i: Identity.generate() for i in range(3)}
        >>> cards = [
        ...     SealingKey.generate(it, i, epoch=epoch).card for epoch in (1, 2) for i, it in who.items()
        ... ]
        >>> epochs = Epochs(Directory({i: it.public for i, it in who.items()}), cards, rounds=10)
        >>> [epochs.enter(number).epoch for number in (0, 9, 10)]
        [1, 1, 2]
        >>> epochs.enter(9)
        Traceback (most recent call last):
        fedavg.errors.LocalProtocolError: round 9 is of epoch 1 of the members' sealing keys, which is ...
    """

    __slots__ = ("_cards", "_committee", "_lock", "_members", "_rounds")

    def __init__(self, members: Directory, cards: Iterable[bytes], *, rounds: int) -> None:
        self._members = members
        self._rounds = rounds
        self._cards: defaultdict[int, list[bytes]] = defaultdict(list)
        for card in cards:
            self._cards[card_epoch(card)].append(card)
        self._committee: Committee | None = None
        self._lock = Lock()

    def enter(self, number: int) -> Committee:
        """The committee of a round; from now on earlier epochs are over.

        Args:
            number: number of the round.

        Raises:
            LocalProtocolError: the round's epoch is over, or the members have no keys for it.
            secagg.SecAggError: the cards of this epoch are not those of the members.
        """
        epoch = epoch_of(number, self._rounds)
        with self._lock:
            current = self._committee
            if current is not None and epoch < current.epoch:
                raise LocalProtocolError(
                    f"round {number} is of epoch {epoch} of the members' sealing keys, which is over since a "
                    f"round of epoch {current.epoch} began: what is sealed to such keys, a thief may open"
                )
            if epoch not in self._cards:
                raise LocalProtocolError(
                    f"round {number} is of epoch {epoch}, for which the members have no sealing keys: they "
                    f"were made for {len(self._cards)} epochs of {self._rounds} rounds"
                )
            if current is None or epoch > current.epoch:
                current = self._committee = self._made(epoch)
            return current

    def check(self) -> None:
        """Verify the cards of all epochs.

        Raises:
            secagg.SecAggError: an epoch has not one good card of each member.
        """
        for epoch in self._cards:
            self._made(epoch)

    def _made(self, epoch: int) -> Committee:
        return _committee(self._members, tuple(self._cards[epoch]), epoch)


@functools.lru_cache(maxsize=16)
def _committee(members: Directory, cards: tuple[bytes, ...], epoch: int) -> Committee:
    """The committee of public cards; a process verifies them once, and not for every side anew."""
    return Committee(members, cards, epoch=epoch)


class ServerOfEpochs:
    """The server's side.

    Args:
        epochs: the committees.
        side: committee → the server's side in its epoch.
    """

    __slots__ = ("_epochs", "_side")

    def __init__(self, epochs: Epochs, side: Callable[[Committee], ServerSide]) -> None:
        self._epochs, self._side = epochs, side

    def session(self, spec: SumSpec, roster: Sequence[int]) -> ServerSession:
        """Begin one sum over a roster; raises LocalProtocolError for a round of an epoch that is over."""
        return self._side(self._epochs.enter(spec.round)).session(spec, roster)


class ClientOfEpochs:
    """The clients' side: a client seals its key's shares to no sealing key of an epoch that is over.

    Args:
        epochs: the committees.
        side: committee → the clients' side in its epoch.
    """

    __slots__ = ("_epochs", "_side")

    def __init__(self, epochs: Epochs, side: Callable[[Committee], ClientSide]) -> None:
        self._epochs, self._side = epochs, side

    def session(
        self, spec: SumSpec, client_id: int, identity: Identity, opening: bytes
    ) -> ClientSession:
        """Begin a client's part; raises LocalProtocolError for a round of an epoch that is over."""
        side = self._side(self._epochs.enter(spec.round))
        return side.session(spec, client_id, identity, opening)


class MemberOfEpochs:
    """One member's side, with the sealing keys of the epochs that are left.

    Args:
        epochs: the committees.
        sealing: epoch → private sealing key; 32 bytes each, secret.
        restore: private sealing key and epoch → the key.
        side: committee and sealing key → the member's side in its epoch.
    """

    __slots__ = ("_epochs", "_key", "_lock", "_restore", "_sealing", "_side")

    def __init__(
        self,
        epochs: Epochs,
        sealing: Mapping[int, bytes],
        restore: Callable[[bytes, int], SealingKey],
        side: Callable[[Committee, SealingKey], OpenerSide],
    ) -> None:
        self._epochs, self._restore, self._side = epochs, restore, side
        self._sealing = dict(sealing)
        self._key: SealingKey | None = None
        self._lock = Lock()

    def session(self, spec: SumSpec, journal: Journal) -> KeyHolderSession:
        """Begin the member's part of one sum, and erase its keys of earlier epochs.

        Raises:
            LocalProtocolError: the round's epoch is over, or this member has no key for it.
        """
        committee = self._epochs.enter(spec.round)
        return self._side(committee, self._key_of(committee.epoch)).session(spec, journal)

    def _key_of(self, epoch: int) -> SealingKey:
        with self._lock:
            if self._key is not None and self._key.epoch == epoch:
                return self._key
            if self._key is not None and self._key.epoch > epoch:
                # A sum of a later epoch began while this one was about to: its key stays.
                raise LocalProtocolError(
                    f"epoch {epoch} of the members' sealing keys is over since a sum of epoch "
                    f"{self._key.epoch} began"
                )
            if self._key is not None:
                # Members of earlier sums drop their shares with it, and sign and answer nothing more.
                self._key.erase()
            secret = self._sealing.get(epoch)
            self._sealing = {later: key for later, key in self._sealing.items() if later > epoch}
            if secret is None:
                raise LocalProtocolError(f"this member has no sealing key of epoch {epoch}")
            self._key = self._restore(secret, epoch)
            return self._key

    def __repr__(self) -> str:
        return "MemberOfEpochs(<redacted>)"

    def __reduce__(self) -> str:
        raise TypeError("a member's side holds secret keys and cannot be pickled")
