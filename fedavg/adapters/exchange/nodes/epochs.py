"""Epochs of sealing keys at a node: those of its own keys, and those of the members that it has seen.

An epoch has the number of the second, since 1970, in which its key was made.  docs/protocol.md, "Epochs
without a common count", says what a contributor may seal to, and how it knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from fedavg.adapters.exchange.errors import RefusedRequestError
from fedavg.adapters.exchange.messages import named
from fedavg.errors import ConfigError
from secagg.committee import SealingKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedavg.adapters.exchange.keys.ages import KeyAges
    from fedavg.adapters.exchange.keys.keys import NodeKeys
    from fedavg.sums.sides.others import Facts
    from secagg.committee import Committee

__all__ = ["MemberKeys", "SeenEpochs"]

_BITS = 32
_DAY = 86400.0


@dataclass(frozen=True, slots=True, repr=False)
class MemberKeys:
    """A member's sealing keys: each serves for some sums and some days, and is then erased for good.

    Args:
        keys: the node's keys.
        journal: which epochs are over, and how many sums each key has served.
        serves: number of sums of an epoch.
        ages: when a key is renewed before its sums are used up, and how far it may be ahead of the clock.
        clock: seconds since 1970.

    Example:
        >>> import time
        >>> from fedavg.adapters.exchange import NodeKeys
        >>> from fedavg.adapters.exchange.keys.ages import KeyAges
        >>> from fedavg.sums.sides.others import MemoryJournal
        >>> keys = NodeKeys.generate(3)
        >>> own = MemberKeys(keys, MemoryJournal(), 1, KeyAges(7200.0), time.time)
        >>> before = own.present()
        >>> public = SealingKey.from_private_bytes(
        ...     keys.sealing.secret(keys.sealing.epochs()[0]), keys.identity, 3, epoch=0
        ... ).public
        >>> own.used(b"a sum", public)
        SealingKey(<redacted>)
        >>> own.card() == before, keys.card.sealing == before
        (False, False)
    """

    keys: NodeKeys = field(repr=False)
    journal: Facts = field(repr=False)
    serves: int
    ages: KeyAges
    clock: Callable[[], float]

    def __repr__(self) -> str:
        return "MemberKeys(<redacted>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("MemberKeys holds secret keys and cannot be pickled or copied")

    def present(self) -> bytes:
        """The card of the present key, which stays.

        Raises:
            ConfigError, JournalError: the keys or the journal cannot be used.
        """
        with self.keys.sealing.locked():
            return self._present().card

    def card(self) -> bytes:
        """The card of the present key, or of a new one if the present one has served: then it is erased.

        Raises:
            ConfigError, JournalError: as from `present`; or the key is dated ahead of this node's clock.
        """
        with self.keys.sealing.locked():
            key = self._present()
            old = self.clock() - key.epoch >= self.ages.renewed
            if old or self.journal.known(self._use(key.epoch, self.serves - 1)):
                key = self._renewed(key.epoch)
            if self._ahead(key.epoch):
                raise _ahead_of_clock(key.epoch - self.clock())
            return key.card

    def renew(self) -> bytes:
        """Erase the present key, and return the card of a new one, by this node's clock.

        A key that is dated ahead of the clock, as after a time at which the clock was wrong, ends here too:
        no party with a right clock has taken it, so that the numbers begin anew.

        Raises:
            ConfigError, JournalError: as from `present`.
        """
        with self.keys.sealing.locked():
            newest = max(self.keys.sealing.epochs(), default=0)
            return self._renewed(0 if self._ahead(newest) else newest).card

    def used(self, context: bytes, public: bytes) -> SealingKey:
        """The present key, which from here on has served one more sum; a sum counts once.

        Args:
            context: name of the sum.
            public: this member's public key in the sum's committee.

        Raises:
            RefusedRequestError: the present key is another one, or the key has served all of its sums.
            ConfigError, JournalError: as from `present`.
        """
        with self.keys.sealing.locked():
            key = self._present()
            if public != key.public:
                raise RefusedRequestError(
                    "the sum was begun under another sealing key of this member than its present one: the "
                    "member is absent from this sum"
                )
            begun = named(b"sealed sum", self.keys.identity.public, _number(key.epoch), context)
            if not self.journal.known(begun):
                # A process that ends between the two facts has used up a sum, and gained none.
                if not any(map(self.journal.add, self._uses(key.epoch))):
                    raise RefusedRequestError(
                        f"this member's sealing key has served {self.serves} sums, and its epoch is over: "
                        "ask the member for its next one"
                    )
                self.journal.add(begun)
            return key

    def _present(self) -> SealingKey:
        """The newest key; one that a copy of the folder has brought back is erased, and replaced."""
        epochs = self.keys.sealing.epochs()
        if not epochs or self.journal.known(self._over(epochs[-1])):
            return self._renewed(epochs[-1] if epochs else 0)
        # A process that was killed while it renewed its key left the earlier one.
        return self._alone(epochs[-1])

    def _renewed(self, before: int) -> SealingKey:
        """A new key, whose number is above the last one and above all that this node was told of itself."""
        seen = SeenEpochs(self.journal, self.ages).newest(self.keys.identity.public)
        epoch = max(before + 1, seen + 1, int(self.clock()))
        # As after a copy of an old key has come back, while the numbers are ahead of the clock.
        while self.journal.known(self._over(epoch)):
            epoch += 1
        if self._ahead(epoch):
            # A server that uses keys up faster than time passes, or a wrong clock. The key has served, and
            # goes; the number stays, as the name of an empty key, so that no later one is below it.
            self.journal.add(self._over(before))
            self.keys.sealing.put(before, b"")
            self.keys.sealing.keep_only(before)
            raise _ahead_of_clock(epoch - self.clock())
        made = SealingKey.generate(self.keys.identity, self.keys.node, epoch=epoch)
        self.keys.sealing.put(epoch, made.private_bytes())
        return self._alone(epoch)

    def _ahead(self, epoch: int) -> bool:
        return epoch - self.clock() > self.ages.ahead

    def _alone(self, epoch: int) -> SealingKey:
        """The key of an epoch, with which all other ones are over and erased."""
        for other in self.keys.sealing.epochs():
            if other != epoch:
                # The fact first: a file that comes back later is known to be over.
                self.journal.add(self._over(other))
        self.keys.sealing.keep_only(epoch)
        return self.keys.key_of(epoch)

    def _over(self, epoch: int) -> bytes:
        return named(b"sealing key over", self.keys.identity.public, _number(epoch))

    def _uses(self, epoch: int) -> list[bytes]:
        return [self._use(epoch, count) for count in range(self.serves)]

    def _use(self, epoch: int, count: int) -> bytes:
        return named(b"sealing key use", self.keys.identity.public, _number(epoch), _number(count))


@dataclass(frozen=True, slots=True)
class SeenEpochs:
    """The newest epoch of each member that a node has seen; the node never goes back behind it.

    Args:
        journal: the node's journal.
        ages: ages at which a key is too old, or dated too far ahead.

    Example:
        >>> from fedavg.adapters.exchange.keys.ages import KeyAges
        >>> from fedavg.sums.sides.others import MemoryJournal
        >>> seen = SeenEpochs(MemoryJournal(), KeyAges(3600.0))
        >>> for epoch in (6, 5, 9):
        ...     seen.note(bytes(32), epoch)
        >>> seen.newest(bytes(32)), seen.newest(bytes([1] * 32))
        (9, 0)
    """

    journal: Facts = field(repr=False)
    ages: KeyAges

    def enter(self, committee: Committee, now: float) -> None:
        """Require sealing keys whose epochs are not over, and record them before anything is sealed.

        Args:
            committee: the members with the keys that the server has passed on.
            now: seconds since 1970.

        Raises:
            RefusedRequestError: a key is too old or dated ahead of the time, or this node has seen a later
                one of the same member.
            JournalError: the journal cannot be used.
        """
        keys = zip(committee.ids, committee.identities, committee.epochs, strict=True)
        present = [(at, who, epoch) for at, who, epoch in keys if epoch is not None]
        newest = {who: self.newest(who) for _, who, _ in present}
        for at, who, epoch in present:
            if epoch < newest[who]:
                raise RefusedRequestError(
                    f"the sealing key of member {at} is of an epoch that is over, as this node has seen a "
                    "later one: what is sealed to such a key, a thief may open"
                )
            if self.ages.too_old(now - epoch):
                raise RefusedRequestError(
                    f"the sealing key of member {at} was made {(now - epoch) / _DAY:.1f} days ago by this "
                    f"node's clock, and the agreement allows key_days={self.ages.largest / _DAY:g}: the "
                    "server must ask the member for its present one"
                )
            # It would not be too old in time, and a member that signed it once could not take it back.
            if self.ages.dated_ahead(now - epoch):
                raise RefusedRequestError(
                    f"the sealing key of member {at} is dated {(epoch - now) / _DAY:.1f} days ahead of this "
                    "node's clock: set the clocks of both nodes right, and let the member make a new key "
                    "(python -m fedavg.adapters.exchange renew FOLDER)"
                )
        for _, who, epoch in present:
            if epoch > newest[who]:
                self.note(who, epoch)

    def newest(self, identity: bytes) -> int:
        """The newest epoch of a member that was noted; 0 for none."""
        found = 0
        for bit in reversed(range(_BITS)):
            if self.journal.known(_prefix(identity, found | 1 << bit, bit)):
                found |= 1 << bit
        return found

    def note(self, identity: bytes, epoch: int) -> None:
        """Record an epoch.

        A journal can be asked for a fact, and not for the largest one. So the facts are the beginnings of
        the number's binary form that end with a one: `newest` follows the ones that are there.
        """
        for bit in reversed(range(_BITS)):
            if epoch >> bit & 1:
                self.journal.add(_prefix(identity, epoch, bit))


def _ahead_of_clock(seconds: float) -> ConfigError:
    return ConfigError(
        f"the number of this node's sealing key is {seconds / _DAY:.1f} days ahead of its clock, and no node "
        "takes such a key: set the clock right. If it is right, wait until it has caught up, or begin anew "
        "with python -m fedavg.adapters.exchange renew FOLDER"
    )


def _prefix(identity: bytes, epoch: int, bit: int) -> bytes:
    return named(b"sealing key seen", identity, _number(epoch >> bit), _number(bit))


def _number(value: int) -> bytes:
    return value.to_bytes(8, "little")
