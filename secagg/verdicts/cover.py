"""Smallest vertex covers: the fewest clients whose removal ends all disputes.

The result is exact within a bound on the work. Clients with one opponent are handled first. A part without
odd cycles is solved by maximum matching (König 1931: its smallest cover has as many clients as it has
disjoint disputes). In any other part, either a client on an odd cycle is removed, or all its opponents are.
If the bound ends the search, the cover has at most twice the smallest size: both ends of a maximal set of
disjoint disputes, without those that are not needed. All choices follow the ascending positions, so the same
disputes always remove the same clients.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

__all__ = ["Graph", "smallest_cover", "without"]

Graph = dict[int, set[int]]
"""Position → positions of its opponents; symmetric, and each client has at least one."""

WORK = 1_000_000
"""Number of edges that a search examines before it accepts an approximation: about a second."""
DEPTH = 100
"""Largest number of clients on odd cycles that are removed one after the other within one part."""


class _Budget:
    """The remaining work."""

    __slots__ = ("left",)

    def __init__(self, work: int) -> None:
        self.left = work

    def spend(self, graph: Graph) -> None:
        """Count all edges of a graph as examined."""
        self.left -= sum(map(len, graph.values()))


def smallest_cover(graph: Graph, *, work: int = WORK) -> set[int]:
    """Positions that contain at least one end of every dispute, as few as possible.

    Args:
        graph: the disputes.
        work: number of edges to examine before a cover of at most twice the smallest size is accepted.

    Example:
        >>> sorted(smallest_cover({0: {1, 2}, 1: {0}, 2: {0, 3}, 3: {2}}))
        [0, 2]
    """
    budget, chosen = _Budget(work), set[int]()
    for part in _parts(graph):
        found, bounded = _cover(part, budget, 0), _twice(part)
        chosen |= min(found, bounded, key=len)  # a search that ran out of work may be the worse
    return chosen


def _cover(graph: Graph, budget: _Budget, depth: int) -> set[int]:
    """A cover; the smallest one while the budget lasts."""
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
    """The smaller cover of two: with this client removed, or with all its opponents removed."""
    opponents = graph[position]
    best = {position} | _cover(without(graph, {position}), budget, depth + 1)
    if len(best) > len(_disjoint(graph)):  # every cover has at least one client for each of these
        rest = without(graph, opponents | {position})
        other = opponents | _cover(rest, budget, depth + 1)
        best = min(best, other, key=len)
    return best


def without(graph: Graph, gone: AbstractSet[int]) -> Graph:
    """The graph without some of its clients, and without those that then have no opponent."""
    left = {position: others - gone for position, others in graph.items() if position not in gone}
    return {position: others for position, others in left.items() if others}


def _without_leaves(graph: Graph) -> tuple[Graph, set[int]]:
    """Repeatedly remove the only opponent of a client; return the remaining graph, and the removed clients.

    If two clients have only each other as opponents, the lower position is removed.
    """
    left = {position: set(others) for position, others in graph.items()}
    leaves = deque(sorted((p for p, others in left.items() if len(others) == 1), reverse=True))
    gone: set[int] = set()
    while leaves:
        leaf = leaves.popleft()
        if len(left.get(leaf, ())) != 1:
            continue
        # A leaf's opponent covers the leaf's dispute and perhaps more, so it is never the worse choice.
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
    """Two sides with disputes only between them, or the client on an odd cycle with the most opponents."""
    start = next(iter(part))
    sides, parents, queue = {start: False}, {start: start}, [start]
    for position in queue:
        for other in sorted(part[position]):
            if other not in sides:
                sides[other], parents[other] = not sides[position], position
                queue.append(other)
            elif sides[other] == sides[position]:
                cycle = _cycle(parents, position, other)
                return sides, max(cycle, key=lambda p: (len(part[p]), -p))  # ends most disputes
    return sides, None


def _cycle(parents: Mapping[int, int], one: int, other: int) -> set[int]:
    """The nodes on only one of the paths of two neighbours to the root, in a tree of shortest paths."""
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
    for position in queue:  # to the right along an unmatched dispute, and back along a matched one
        for other in part[position]:
            if other not in reached:
                reached.add(other)
                back = partner[other]
                if back not in reached:
                    reached.add(back)
                    queue.append(back)
    # König's cover: the clients on the left that were not reached, and those on the right that were.
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
    """Distances of left positions from an unmatched one; None when no path can be extended."""
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
    """Exchange the disputes along one alternating path with free ends, if there is one."""
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
    """A maximal set of disputes without a common end."""
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
    """A cover of at most twice the smallest size: the needed ends of a maximal set of disjoint disputes."""
    chosen = {end for dispute in _disjoint(graph) for end in dispute}
    for position in sorted(chosen, key=lambda p: (len(graph[p]), -p)):
        if graph[position] <= chosen:  # others cover all its disputes
            chosen.discard(position)
    return chosen
