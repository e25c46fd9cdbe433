"""What must happen once: facts, and the place that remembers them beyond a process."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Journal"]


class Journal(Protocol):
    """Remembers facts for longer than an object or a process lives; the same shape as `he.Journal`.

    `Client.from_offer` writes "this client joins this session" before it makes a key, and refuses when the
    fact is there already. `fedavg.FileJournal` keeps facts in a file; a database does as well, if it keeps
    the promise of `add`.
    """

    def add(self, fact: bytes, /) -> bool:
        """Record a fact.

        Args:
            fact: any bytes; equal bytes are the same fact.

        Returns:
            True when the fact was not recorded before. It is then durable: no crash after the return may
            lose it. Of several calls with one fact, at the same time or in other processes too, one
            returns True.
        """
        ...
