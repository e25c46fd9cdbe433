"""Sparse graphs of neighbours: the smallest degree, with its threshold, for which bad events are rare.

docs/protocol.md has the conditions.  X counts colluders, and Z clients that drop out, among the neighbours of
one client. Both are hypergeometric, since the order of the ring is a hash that no party controls.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = [
    "first_rare",
    "smallest_degree",
    "sparse_local",
    "sparse_malicious",
    "sparse_semi_honest",
    "steps",
]

SECURITY_BITS = 40
"""σ: a bad event of the neighbour graph has probability at most 2^−σ."""
GRINDING_BITS = 64
"""Log2 of the number of rosters that a malicious server may try for a suitable order; added to σ."""
CORRECTNESS_BITS = 30
"""η: honest drop-outs end a session with probability at most 2^−η."""
GUARDED_BITS = SECURITY_BITS + GRINDING_BITS + 1
LINEAR = 512  # degrees up to this are tried one by one, larger ones by bisection


def steps(roster: int) -> Iterator[int]:
    """The degrees that are tried for a roster, ascending: even ones up to 512, then by doubling."""
    largest = (roster - 2) // 2 * 2  # even, and smaller than that of a complete graph
    yield from range(4, min(LINEAR, largest) + 1, 2)
    high = LINEAR
    while high < largest:
        high = min(2 * high, largest)
        yield high


def smallest_degree(roster: int, search: Callable[[int], int | None]) -> tuple[int, int] | None:
    """The smallest even degree below the smallest roster for which `search` finds a threshold.

    Degrees up to 512 are all tried.  Larger ones are found by doubling and bisection, because the bounds only
    become easier.
    """
    low = 0
    # Server and clients must find the same degree: docs/protocol.md, "Search for k", fixes this order.
    for step in steps(roster):
        threshold = search(step)
        if threshold is not None:
            return (step, threshold) if step <= LINEAR else _bisect(low, step, threshold, search)
        low = step
    return None


def _bisect(
    low: int, high: int, threshold: int, search: Callable[[int], int | None]
) -> tuple[int, int]:
    while high - low > 2:  # both are even: none lies between at a difference of 2
        middle = (low + high) // 4 * 2
        found = search(middle)
        if found is None:
            low = middle
        else:
            high, threshold = middle, found
    return high, threshold


def sparse_malicious(n: int, roster: int, colluders: int, silent: int, k: int) -> int | None:
    """Smallest safe threshold in a k-regular circulant graph, or None.

    X counts corrupt clients among k places, in the smallest roster that a client accepts.  (1) To get both
    secrets of one client takes 2t ≤ k + 1 + X shares.  (2) To cut an arc out of the ring of honest survivors,
    both its end clients must be opened although the k/2 places on one side of each have dropped out or are
    corrupt, for any drop-outs. At each end t ≤ k/2 + 1 + its corrupt ones, so 2t ≤ k + 2 + X over both.
    There are fewer than n² pairs of ends; (2) implies (1).  Bell et al. 2020, section 4, bounds random
    drop-outs here; in this protocol the server chooses them.
    """
    bits = GUARDED_BITS + 2 * math.log2(n)  # a union over fewer than n² pairs of ends
    # The smallest t with 2t − k − 2 ≥ X.
    worst = (first_rare(roster - 1, colluders, k, bits) + k + 3) // 2
    return worst if worst <= _most_answered(n, silent, k) else None


def sparse_local(n: int, roster: int, colluders: int, silent: int, k: int) -> int | None:
    """The largest threshold that drop-outs allow, if it is safe with quorums of neighbours; else None.

    Three conditions make it safe. (1) The server does not get both secrets of one client.  (2) A client that
    gave shares is not declared dropped elsewhere: the quorum k + X + 1 − t excludes that, and enough
    neighbours must answer to form it.  (3) A gap of k/2 places after a client in the sum does not help: the
    client has at most k/2 holders behind it, its own share, and the colluders ahead.
    """
    threshold = _most_answered(n, silent, k)
    bits = GUARDED_BITS + math.log2(n)
    around = first_rare(roster - 1, colluders, k, bits)
    ahead = first_rare(roster - 1, colluders, k // 2, bits + 1)  # one bit more: either side
    both = 2 * threshold - k - 1 >= around
    cut = threshold - 1 - k // 2 >= ahead
    return threshold if both and cut else None


def sparse_semi_honest(n: int, roster: int, colluders: int, silent: int, k: int) -> int | None:
    """The smallest threshold that colluders alone do not reach, in a graph that stays connected."""
    bits = SECURITY_BITS + 1
    # The ring is cut where k/2 places in a row are corrupt or silent: n·∏ (c + ⌈δn⌉ − j)/(n − 1 − j).
    gone = np.arange(k // 2, dtype=np.float64)
    left = np.clip(colluders + silent - gone, 0, None)
    with np.errstate(divide="ignore"):
        cut = np.log2(left).sum() - np.log2(n - 1 - gone).sum() + math.log2(n)
    if cut > -bits:
        return None
    worst = max(
        first_rare(roster - 1, colluders, k, bits + math.log2(n)),
        (k + 1) // 2 + 1,
    )
    return worst if worst <= _most_answered(n, silent, k) else None


def _most_answered(n: int, silent: int, k: int) -> int:
    """The largest threshold for which k − t + 1 dropped-out neighbours of any of n clients are rare."""
    return k + 1 - first_rare(n - 1, silent, k, CORRECTNESS_BITS + math.log2(n))


def first_rare(population: int, marked: int, drawn: int, bits: float) -> int:
    """The smallest x with Pr[X ≥ x] ≤ 2^−bits; beyond the largest possible x the probability is 0.

    Example:
        >>> first_rare(10, 1, 5, 1.0), first_rare(10, 1, 5, 1.01)
        (1, 2)
    """
    marked = min(marked, population)
    low, high = max(0, drawn + marked - population), min(drawn, marked)
    x = np.arange(low, high + 1)
    logs = _log_factorials(population.bit_length())  # one table for each power of two

    def choose(total: int, part: NDArray[np.int64]) -> NDArray[np.float64]:
        return logs[total] - logs[part] - logs[total - part]

    whole = logs[population] - logs[drawn] - logs[population - drawn]
    density = choose(marked, x) + choose(population - marked, drawn - x) - whole
    # Tails are added up from the rare end: 2^−105 would be lost in 1 minus the other tail.
    tails = np.logaddexp.accumulate(density[::-1])[::-1]
    rare = np.flatnonzero(tails <= -bits * math.log(2))
    return int(x[rare[0]]) if rare.size else high + 1


@functools.lru_cache(maxsize=24)
def _log_factorials(exponent: int) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, 2**exponent + 1)))])
