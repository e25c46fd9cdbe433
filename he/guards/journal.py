"""Facts that must be recorded once, and the interface of a journal that keeps them beyond a process."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Journal"]


class Journal(Protocol):
    """Records facts for longer than an object or a process lives.

    A `KeyHolder` records "this round was opened" before it opens, and refuses if the fact was recorded
    before. `fedavg.FileJournal` keeps facts in a file; a database is suitable too, if it keeps the promise of
    `add`.

    Example:
        >>> class Memory(set):  # as long as the process lives
        ...     def add(self, fact):
        ...         new = fact not in self
        ...         super().add(fact)
        ...         return new
        >>> journal = Memory()
        >>> journal.add(b"round 1 was opened"), journal.add(b"round 1 was opened")
        (True, False)
    """

    def add(self, fact: bytes, /) -> bool:
        """Record a fact.

        Args:
            fact: any bytes; equal bytes are the same fact.

        Returns:
            True if the fact was not recorded before. It is then durable: no crash after the return may lose
            it. Of several calls with one fact, even at the same time or in other processes, exactly one
            returns True.
        """
        ...
