"""Which counts readers do not get: those of few people or silos, and those that would give them away.

A withheld count can come back as the difference of a total and the other counts.  So further counts are
withheld until no count that had to be withheld can be narrowed down by the sums that a reader knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["FEW", "OTHERS", "Sums", "hidden_cells"]

FEW = "few people or silos"
OTHERS = "would give another away"

_LEEWAY = 1e-6
_UNBOUNDED = 3  # as linprog reports it


@dataclass(frozen=True, slots=True)
class Sums:
    """What a reader knows of the counts: which of them add up to which.

    Args:
        wholes: the count of each sum, by its number.
        parts: the counts that add up to it.
    """

    wholes: tuple[int, ...]
    parts: tuple[tuple[int, ...], ...]

    @property
    def members(self) -> tuple[tuple[int, ...], ...]:
        """All counts of each sum, the whole first."""
        return tuple((whole, *parts) for whole, parts in zip(self.wholes, self.parts, strict=True))


def hidden_cells(
    counts: NDArray[np.int64],
    people: NDArray[np.int64],
    silos: NDArray[np.int64],
    sums: Sums,
    *,
    min_people: int,
    min_silos: int,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Choose the counts to withhold.

    A count must be withheld if it is not zero and is one of fewer people or silos than the rules allow.
    Further counts are withheld until a reader of the rest, who knows that counts are not negative, can only
    say of each of them that it lies in an interval at least as wide as the count itself and as `min_people`.

    Args:
        counts: int64[k], rows of each cell.
        people: int64[k], people of each cell.
        silos: int64[k], silos of each cell.
        sums: which cells add up to which.
        min_people: the fewest people of a count.
        min_silos: the fewest silos of a count.

    Returns:
        bool[k], the cells that must be withheld, and bool[k], all that are.

    Example:
        >>> counts = np.array([100, 2, 60, 38])  # all, and three words
        >>> sums = Sums((0,), ((1, 2, 3),))
        >>> rules = {"min_people": 5, "min_silos": 3}
        >>> few, hidden = hidden_cells(counts, counts, np.array([9, 9, 9, 9]), sums, **rules)
        >>> few.tolist(), hidden.tolist()
        ([False, True, False, False], [False, True, False, True])
    """
    few = (counts > 0) & ((people < min_people) | (silos < min_silos))
    hidden = few.copy()
    near = _Neighbours.of(sums, len(counts))
    pending = np.flatnonzero(few).tolist()
    while pending:
        # A cell that is safe stays safe: withholding more only widens what a reader has to allow for.
        pending = _exposed(counts, hidden, pending, sums, min_people)
        if pending:
            more = near.next_of(pending[0], counts, hidden)
            if not len(more):
                break  # everything that is tied to the cell is withheld already
            hidden[more] = True
    return few, hidden


@dataclass(frozen=True, slots=True, eq=False)
class _Neighbours:
    """The members of each sum, the whole first, and by cell the sums that it is in."""

    members: tuple[NDArray[np.int64], ...]
    sums: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, sums: Sums, cells: int) -> _Neighbours:
        found: list[list[int]] = [[] for _ in range(cells)]
        for number, members in enumerate(sums.members):
            for cell in members:
                found[cell].append(number)
        return cls(tuple(np.array(members) for members in sums.members), tuple(map(tuple, found)))

    def next_of(
        self, cell: int, counts: NDArray[np.int64], hidden: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """The cell to withhold next, so that a reader can say less about another; none if all are."""
        tied = self._tied(cell, hidden)
        # A sum of which one count alone is withheld gives that count away.
        alone = [number for number in tied if int(hidden[self.members[number]].sum()) == 1]
        for numbers in (alone, tied):
            parts = [self.members[number][1:] for number in numbers]
            found = self._cheapest(parts, counts, hidden, least=1)
            if len(found):
                return found
        # Totals cost readers more than parts, and zeros come last: readers may guess them.
        near = [self.members[number] for number in tied]
        while True:
            for least in (1, 0):
                found = self._cheapest(near, counts, hidden, least=least)
                if len(found):
                    return found
            around = {number for part in near for member in part for number in self.sums[member]}
            if len(around) == len(near):
                return found
            near = [self.members[number] for number in sorted(around)]

    def _tied(self, cell: int, hidden: NDArray[np.bool_]) -> list[int]:
        """The sums that withheld counts tie to a cell."""
        found, pending = set[int](), [cell]
        while pending:
            for number in self.sums[pending.pop()]:
                if number not in found:
                    found.add(number)
                    pending += [m for m in self.members[number].tolist() if hidden[m]]
        return sorted(found)

    def _cheapest(
        self,
        parts: Sequence[NDArray[np.int64]],
        counts: NDArray[np.int64],
        hidden: NDArray[np.bool_],
        *,
        least: int,
    ) -> NDArray[np.int64]:
        """The shown cell that brings no new sum into play, or few, and of those the smallest."""
        if not parts:
            return np.zeros(0, np.int64)
        near = np.unique(np.concatenate(parts))
        shown = near[~hidden[near] & (counts[near] >= least)]
        if not len(shown):
            return shown
        untouched = {
            member: sum(not hidden[self.members[number]].any() for number in self.sums[member])
            for member in shown.tolist()
        }
        best = min(untouched, key=lambda member: (untouched[member], counts[member]))
        return np.array([best])


def _exposed(
    counts: NDArray[np.int64],
    hidden: NDArray[np.bool_],
    cells: Sequence[int],
    sums: Sums,
    min_people: int,
) -> list[int]:
    """Those of some withheld cells that a reader can narrow down too far."""
    unknown = np.flatnonzero(hidden)
    place = np.full(len(counts), -1)
    place[unknown] = np.arange(len(unknown))
    rows: list[int] = []
    columns: list[int] = []
    signs: list[float] = []
    right: list[float] = []
    for whole, parts in zip(sums.wholes, sums.parts, strict=True):
        inside = [(whole, 1.0), *((part, -1.0) for part in parts)]
        open_ends = [(int(place[cell]), sign) for cell, sign in inside if hidden[cell]]
        if not open_ends:
            continue
        rows += [len(right)] * len(open_ends)
        columns += [cell for cell, _ in open_ends]
        signs += [sign for _, sign in open_ends]
        right.append(-sum(sign * float(counts[cell]) for cell, sign in inside if not hidden[cell]))
    known = np.array(right)
    matrix: Any = coo_array((signs, (rows, columns)), shape=(len(right), len(unknown))).tocsr()
    _, group = connected_components(matrix.T @ matrix, directed=False)
    exposed: list[int] = []
    for cell in cells:
        # Only counts that are tied to this one by unknown ones can narrow it down.
        own = np.flatnonzero(group == group[place[cell]])
        part = matrix[:, own]
        touched = np.flatnonzero(np.diff(part.indptr))
        at = int(np.searchsorted(own, place[cell]))
        width = _width(part[touched], known[touched], at)
        if width + _LEEWAY < max(min_people, int(counts[cell])):
            exposed.append(cell)
    return exposed


def _width(
    matrix: Any,  # noqa: ANN401 - a sparse matrix of scipy, which has no usable type
    right: NDArray[np.float64],
    at: int,
) -> float:
    """The length of the interval in which one unknown count can lie."""
    signs = matrix.data
    # Counts of one total can share it in any way, and a single one is the total.
    if matrix.shape[0] == 1 and bool((signs == signs[0]).all()):
        return abs(float(right[0])) if len(signs) > 1 else 0.0
    aim = np.zeros(matrix.shape[1])
    aim[at] = 1.0
    ends: list[float] = []
    for sign in (1.0, -1.0):
        found: Any = linprog(sign * aim, A_eq=matrix, b_eq=right, bounds=(0, None), method="highs")
        if found.status == _UNBOUNDED:
            return np.inf
        # Where the solver finds no answer, nothing shows that the count is safe.
        if found.status != 0:
            return 0.0
        ends.append(sign * float(found.fun))
    return ends[1] - ends[0]
