"""Journals that can be asked what they hold, and the parties beside server and clients, in one process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from fedavg.errors import JournalError
from fedavg.sums.interface import KEY_HOLDER

if TYPE_CHECKING:
    from fedavg.sums.interface import KeyHolderSession, Provision, SecureSum, SumSpec

__all__ = ["Facts", "MemoryJournal", "other_parties"]


class Facts(Protocol):
    """A `Journal` that can be asked what it holds, such as a `fedavg.FileJournal`.

    Example:
        >>> from fedavg.sums.sides.others import MemoryJournal
        >>> facts: Facts = MemoryJournal()
        >>> facts.known(b"round 1"), facts.add(b"round 1"), facts.known(b"round 1")
        (False, True, True)
    """

    def add(self, fact: bytes, /) -> bool:
        """Record a fact durably; True if it was not recorded before."""
        ...

    def known(self, fact: bytes, /) -> bool:
        """Whether a fact was recorded."""
        ...


class MemoryJournal:
    """A journal that lasts as long as the process, and is of no use in a fork of it.

    Example:
        >>> journal = MemoryJournal()
        >>> journal.add(b"a fact"), journal.add(b"a fact"), journal.known(b"another")
        (True, False, False)
    """

    def __init__(self) -> None:
        self._facts: dict[bytes, object] = {}
        self._process = os.getpid()

    def add(self, fact: bytes, /) -> bool:
        """Record a fact; True if it is new. One atomic step, for threads.

        Raises:
            JournalError: this is a fork, in which what happens once would happen once more.
        """
        if self._process != os.getpid():
            raise JournalError(
                "this journal is in the memory of another process, from which this one was forked: make the "
                "parties after the fork, or use a fedavg.FileJournal"
            )
        mark = object()
        return self._facts.setdefault(fact, mark) is mark

    def known(self, fact: bytes, /) -> bool:
        """Whether a fact was recorded."""
        return fact in self._facts


def other_parties(
    secure_sum: SecureSum, provision: Provision, spec: SumSpec
) -> dict[int, KeyHolderSession]:
    """Open the sessions of the key holder and of the openers of one sum, by address.

    Args:
        secure_sum: the secure sum.
        provision: its material.
        spec: the sum.
    """
    found: dict[int, KeyHolderSession] = {}
    if provision.key_holder is not None:
        found[KEY_HOLDER] = secure_sum.key_holder_side(provision.key_holder).session(spec)
    for address, material in provision.openers.items():
        found[address] = secure_sum.opener_side(material).session(spec, MemoryJournal())
    return found
