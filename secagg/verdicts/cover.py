"""Smallest vertex covers: the fewest clients without whom nobody is at odds with anybody.

Exact within a bound on work.  Leaves first; a part without odd cycles by maximum matching (König 1931:
as many clients cover it as it has disjoint disputes); in any other part a client on an odd cycle either
goes, or all its opponents go.  Where the bound ends the search, at most twice the fewest go: both ends of
a maximal set of disjoint disputes, less those whom nobody needs gone.  Everything here goes by position
in ascending order, so the same disputes always cost the same clients.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

__all__ = ["Graph", "smallest_cover", "without"]

Graph = dict[int, set[int]]
"""Position → positions that it is at odds with; symmetric, and nobody stands alone."""

WORK = 1_000_000
"""Edges that a search looks at before it settles for what it has: about a second."""
DEPTH = 100
"""Clients on odd cycles that may go one after the other within one part."""


class _Budget:
    """Work that is left."""

    __slots__ = ("left",)

    def __init__(self, work: int) -> None:
        self.left = work

    def spend(self, graph: Graph) -> None:
        """Count all edges of a graph as looked at."""
        self.left -= sum(map(len, graph.values()))


def smallest_cover(graph: Graph, *, work: int = WORK) -> set[int]:
    """Positions of which one end of every dispute is.

    Args:
        graph: the disputes.
        work: edges to look at before settling for at most twice the fewest.

    Example:
        >>> sorted(smallest_cover({0: {1, 2}, 1: {0}, 2: {0, 3}, 3: {2}}))
        [0, 2]
    """
    budget, chosen = _Budget(work), set[int]()
    for part in _parts(graph):
        found, bounded = _cover(part, budget, 0), _twice(part)
        chosen |= min(found, bounded, key=len)
    return chosen


def _cover(graph: Graph, budget: _Budget, depth: int) -> set[int]:
    """A cover; the smallest while the budget lasts."""
    budget.spend(graph)
    rest, chosen = _without_leaves(graph)
    for part in _parts(rest):
        sides, odd = _sides(part)
        if odd is None:
            chosen |= _koenig(part, sides)
        elif budget.left < 0 or depth >= DEPTH:
            chosen |= _twice(part)
        else:
            chosen |= _branch(part, odd, budget, depth)
    return chosen


def _branch(graph: Graph, position: int, budget: _Budget, depth: int) -> set[int]:
    """Either this client goes, or all its opponents do."""
    opponents = graph[position]
    best = {position} | _cover(without(graph, {position}), budget, depth + 1)
    if len(best) > len(_disjoint(graph)):  # no cover has fewer than one client for each of these
        rest = without(graph, opponents | {position})
        other = opponents | _cover(rest, budget, depth + 1)
        best = min(best, other, key=len)
    return best


def without(graph: Graph, gone: AbstractSet[int]) -> Graph:
    """The graph without some of its clients, and without those who then stand alone."""
    left = {position: others - gone for position, others in graph.items() if position not in gone}
    return {position: others for position, others in left.items() if others}


def _without_leaves(graph: Graph) -> tuple[Graph, set[int]]:
    """What is left when the opponent of whoever has just one has gone, again and again; and these.

    Where two have only each other, the lower position goes.
    """
    left = {position: set(others) for position, others in graph.items()}
    leaves = deque(sorted((p for p, others in left.items() if len(others) == 1), reverse=True))
    gone: set[int] = set()
    while leaves:
        leaf = leaves.popleft()
        if len(left.get(leaf, ())) != 1:
            continue
        (opponent,) = left[leaf]
        gone.add(opponent)
        for other in left.pop(opponent):
            left[other].discard(opponent)
            if len(left[other]) == 1:
                leaves.append(other)
            elif not left[other]:
                del left[other]
    return left, gone


def _parts(graph: Graph) -> Iterator[Graph]:
    """The connected parts."""
    unseen = dict.fromkeys(sorted(graph))
    while unseen:
        start = next(iter(unseen))
        del unseen[start]
        found = [start]
        for position in found:
            for other in graph[position]:
                if other in unseen:
                    del unseen[other]
                    found.append(other)
        yield {position: graph[position] for position in sorted(found)}


def _sides(part: Graph) -> tuple[dict[int, bool], int | None]:
    """Two sides with disputes only across, or a client on an odd cycle: the one most at odds."""
    start = next(iter(part))
    sides, parents, queue = {start: False}, {start: start}, [start]
    for position in queue:
        for other in sorted(part[position]):
            if other not in sides:
                sides[other], parents[other] = not sides[position], position
                queue.append(other)
            elif sides[other] == sides[position]:
                cycle = _cycle(parents, position, other)
                return sides, max(cycle, key=lambda p: (len(part[p]), -p))
    return sides, None


def _cycle(parents: Mapping[int, int], one: int, other: int) -> set[int]:
    """What two neighbours in a tree of shortest paths have not in common on their ways to its root."""
    ways: list[list[int]] = []
    for end in (one, other):
        way = [end]
        while parents[way[-1]] != way[-1]:
            way.append(parents[way[-1]])
        ways.append(way)
    return set(ways[0]) ^ set(ways[1])


def _koenig(part: Graph, sides: Mapping[int, bool]) -> set[int]:
    """The smallest cover of a part with two sides."""
    left = [position for position in part if not sides[position]]
    partner = _matching(part, left)
    reached = {position for position in left if position not in partner}
    queue = sorted(reached)
    for position in queue:  # along an unmatched dispute to the right, along a matched one back
        for other in part[position]:
            if other not in reached:
                reached.add(other)
                back = partner[other]
                if back not in reached:
                    reached.add(back)
                    queue.append(back)
    return {p for p in part if sides[p] == (p in reached)}


def _matching(part: Graph, left: Iterable[int]) -> dict[int, int]:
    """A largest set of disjoint disputes across (Hopcroft and Karp 1973), both ways."""
    partner: dict[int, int] = {}
    left = list(left)
    for position in left:
        free = next((other for other in sorted(part[position]) if other not in partner), None)
        if free is not None:
            partner[position], partner[free] = free, position
    while True:
        layers = _layers(part, left, partner)
        if layers is None:
            return partner
        unread = {position: iter(sorted(part[position])) for position in layers}
        for position in left:
            if position not in partner:
                _augment(position, layers, unread, partner)


def _layers(part: Graph, left: Iterable[int], partner: Mapping[int, int]) -> dict[int, int] | None:
    """How far left positions are from an unmatched one, or None when no path can grow."""
    layers = {position: 0 for position in left if position not in partner}
    queue, ends = list(layers), False
    for position in queue:
        for other in part[position]:
            back = partner.get(other)
            if back is None:
                ends = True
            elif back not in layers:
                layers[back] = layers[position] + 1
                queue.append(back)
    return layers if ends else None


def _augment(
    start: int,
    layers: Mapping[int, int],
    unread: Mapping[int, Iterator[int]],
    partner: dict[int, int],
) -> None:
    """Exchange the disputes of one path that alternates and ends free, if there is one."""
    path, taken = [start], list[int]()
    while path:
        position = path[-1]
        other = next(unread[position], None)
        if other is None:
            path.pop()
            if taken:
                taken.pop()
            continue
        back = partner.get(other)
        if back is None:
            for one, two in zip(path, [*taken, other], strict=True):
                partner[one], partner[two] = two, one
            return
        if layers.get(back) == layers[position] + 1:
            path.append(back)
            taken.append(other)


def _disjoint(graph: Graph) -> set[frozenset[int]]:
    """Disputes without a common end, as many as fit one after the other."""
    ends, disputes = set[int](), set[frozenset[int]]()
    for position in sorted(graph, key=lambda p: (len(graph[p]), p)):
        if position in ends:
            continue
        free = [other for other in graph[position] if other not in ends]
        if free:
            other = min(free, key=lambda p: (len(graph[p]), p))
            ends |= {position, other}
            disputes.add(frozenset((position, other)))
    return disputes


def _twice(graph: Graph) -> set[int]:
    """A cover of at most twice the fewest: all ends of disjoint disputes that somebody needs gone."""
    chosen = {end for dispute in _disjoint(graph) for end in dispute}
    for position in sorted(chosen, key=lambda p: (len(graph[p]), -p)):
        if graph[position] <= chosen:
            chosen.discard(position)
    return chosen
