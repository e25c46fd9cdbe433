"""Neighbour graphs: they define which clients share masks, and which hold whose shares.

The order of the ring depends on every key of the roster through its hash, so an attacker can choose a place
in it only by trying rosters. The parameters allow for 2^64 such trials.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Graph"]


class Graph:
    """A k-regular circulant (Harary) graph over the positions 0 … m−1 of a roster.

    Args:
        order: the positions in ring order.
        degree: k, even; k ≥ m − 1 gives the complete graph.

    Example:
        >>> Graph([2, 0, 1, 4, 3], degree=2).neighbours(1)
        (0, 4)
    """

    __slots__ = ("_degree", "_known", "_order", "_place")

    def __init__(self, order: Sequence[int], degree: int) -> None:
        self._order = tuple(order)
        self._degree = degree
        self._known: dict[int, tuple[int, ...]] = {}
        self._place = {position: place for place, position in enumerate(self._order)}

    @classmethod
    def of_roster(cls, ids: Sequence[int], session: bytes, root: bytes, degree: int) -> Graph:
        """Order a roster by SHA-256(session ‖ roster root ‖ id)."""
        start = session + root
        ranks = [hashlib.sha256(start + i.to_bytes(4, "little")).digest() for i in ids]
        return cls(sorted(range(len(ids)), key=ranks.__getitem__), degree)

    def neighbours(self, position: int) -> tuple[int, ...]:
        """Positions of the neighbours of `position`, ascending, without itself."""
        known = self._known.get(position)
        if known is None:
            known = self._known[position] = self._find(position)
        return known

    def _find(self, position: int) -> tuple[int, ...]:
        size = len(self._order)
        if self._degree >= size - 1:
            return tuple(other for other in range(size) if other != position)
        place, reach = self._place[position], self._degree // 2
        low, high = place - reach, place + reach + 1
        if low >= 0 and high <= size:
            around = self._order[low:place] + self._order[place + 1 : high]
        else:
            around = tuple(self._order[step % size] for step in range(low, high) if step != place)
        return tuple(sorted(around))
