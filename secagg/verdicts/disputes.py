"""Disputes over shares: which clients provably lie, given how many clients can be corrupt.

A dispute is a pair of neighbours, one of which says that the other's shares did not open.  Either the dealer
sealed something else, or the holder lies; the server cannot see which.  But one of the two is corrupt, so the
corrupt clients are a *vertex cover* of the graph of disputes: they contain at least one end of each dispute.
An honest client disputes only with corrupt clients.  So a client is corrupt if it disputes with more clients
than can be corrupt. It is also corrupt if, without the clients that are proven corrupt, it disputes with more
clients than can be corrupt besides these.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from secagg.params.params import Params

__all__ = ["graph_of", "proven"]


def graph_of(accusations: Mapping[int, AbstractSet[int]]) -> dict[int, set[int]]:
    """Position → positions of its opponents, among the clients that reported which shares opened.

    Args:
        accusations: position → neighbours whose shares it reports as not opened, for each that answered.
    """
    graph: dict[int, set[int]] = {}
    for holder in sorted(accusations):
        for dealer in accusations[holder]:
            if dealer in accusations:
                graph.setdefault(holder, set()).add(dealer)
                graph.setdefault(dealer, set()).add(holder)
    return graph


def proven(graph: Mapping[int, AbstractSet[int]], params: Params) -> set[int]:
    """Positions that must be corrupt if at most `params.colluders` of all clients are.

    On a sparse graph this includes clients in dispute with more than `params.colluders_around` neighbours.
    If these would be more clients than can be corrupt, the assumption is false, and nothing is proven.

    Args:
        graph: the disputes.
        params: parameters of the session.
    """
    corrupt, around = params.colluders, params.colluders_around
    left = {position: len(others) for position, others in graph.items()}
    # Steps of docs/protocol.md, "Disputes over shares". Step 1: more than can be corrupt nearby.
    convicted = {position for position, count in left.items() if count > around}
    for position in convicted:
        _forget(position, graph, left)
    waiting = [(-count, position) for position, count in left.items()]
    heapq.heapify(waiting)
    # Step 2: only corrupt − len(convicted) others can be corrupt; honest clients dispute with no others.
    while waiting and len(convicted) <= corrupt:
        count, position = heapq.heappop(waiting)
        if position in convicted or -count != left[position]:  # an outdated entry
            continue
        if left[position] <= corrupt - len(convicted):
            break
        convicted.add(position)
        for other in _forget(position, graph, left):
            heapq.heappush(waiting, (-left[other], other))
    return convicted if len(convicted) <= corrupt else set()  # step 3: c is wrong


def _forget(
    position: int, graph: Mapping[int, AbstractSet[int]], left: dict[int, int]
) -> Iterable[int]:
    """No longer count a client's disputes against its opponents; return the opponents."""
    for other in graph[position]:
        left[other] -= 1
    return graph[position]
