"""What a cohort needs to be safe: threshold, neighbour degree, quorum and sum size, from a threat model.

The derivations stand in docs/protocol.md.  X counts colluders and Z silent clients among the neighbours of
one client: hypergeometric, since the order of the ring is a hash that nobody controls.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from secagg.errors import UnsafeParametersError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["LOCAL", "MODELS", "SMALLEST", "Requirements", "ThreatModel", "requirements"]

ThreatModel = Literal["malicious", "semi-honest", "malicious-local"]
MODELS: tuple[ThreatModel, ...] = get_args(ThreatModel)
LOCAL: ThreatModel = "malicious-local"

SMALLEST = 3
"""With two clients, each learns the other's input from the sum."""
LARGEST_GLOBAL = 2_000
"""Beyond, each client of a malicious server would check more signatures than a session is worth."""
LARGEST = 1_000_000

SECURITY_BITS = 40
"""σ: a bad event of the neighbour graph has probability at most 2^−σ."""
GRINDING_BITS = 64
"""Trials a malicious server is granted at choosing a roster whose order suits it; added to σ."""
CORRECTNESS_BITS = 30
"""η: honest drop-outs end a session with probability at most 2^−η."""
_GUARDED_BITS = SECURITY_BITS + GRINDING_BITS + 1
_LINEAR = 512  # degrees tried one by one; beyond, by bisection


@dataclass(frozen=True, slots=True)
class Requirements:
    """What `requirements` found.

    Args:
        threshold: shares that rebuild a secret, out of a neighbourhood (the dealer included).
        degree: neighbours of each client; n − 1 stands for the complete graph.
        quorum: signatures on one survivor set that a client must see before it gives any share: of all
            survivors, or, with a local quorum, of its neighbours.
        min_survivors: fewest inputs that a sum can contain.
        min_roster: fewest clients that may appear on a roster.
    """

    threshold: int
    degree: int
    quorum: int
    min_survivors: int
    min_roster: int

    def __post_init__(self) -> None:
        if min(self.threshold, self.degree, self.quorum, self.min_survivors) < 2:
            raise UnsafeParametersError("a threshold, degree, quorum or sum of one protects nobody")


def requirements(
    n_clients: int, dropout_rate: float, corrupt_rate: float, threat_model: ThreatModel
) -> Requirements:
    """Derive what a cohort needs, for up to a million clients on paper (sessions: up to 10,000).

    Raises:
        UnsafeParametersError: no safe parameters exist; the message names a remedy.

    Example:
        >>> requirements(1000, 0.05, 0.05, "malicious").degree
        88
        >>> requirements(1_000_000, 0.05, 0.05, "malicious-local").degree < 250
        True
    """
    check_domain(n_clients, dropout_rate, corrupt_rate, threat_model)
    found = _derive(n_clients, float(dropout_rate), float(corrupt_rate), threat_model)
    if found is None:
        smallest = smallest_from_here(dropout_rate, corrupt_rate, threat_model)
        other = "; threat_model='malicious' has a lower floor" if threat_model == LOCAL else ""
        raise UnsafeParametersError(
            f"{n_clients} clients cannot bear dropout_rate={dropout_rate} with "
            f"corrupt_rate={corrupt_rate} against a {threat_model} server; the smallest cohort that "
            f"can is {smallest}{other}"
        )
    return found


def feasible(n_clients: int, dropout: float, corrupt: float, model: ThreatModel) -> bool:
    """Whether safe parameters exist, without the long search for a cohort that has some.

    Raises:
        UnsafeParametersError: no derivation covers these values.
    """
    check_domain(n_clients, dropout, corrupt, model)
    return _derive(n_clients, float(dropout), float(corrupt), model) is not None


def check_domain(n_clients: int, dropout: float, corrupt: float, model: str) -> None:
    """Raise UnsafeParametersError for what no derivation covers."""
    if model not in MODELS:
        raise UnsafeParametersError(f"threat_model must be one of {MODELS}, not {model!r}")
    for name, rate in (("dropout_rate", dropout), ("corrupt_rate", corrupt)):
        if not (math.isfinite(rate) and 0 <= rate < 1):
            raise UnsafeParametersError(f"{name} must lie in [0, 1), not {rate!r}")
    if n_clients < SMALLEST:
        raise UnsafeParametersError(
            f"{n_clients} clients cannot hide an input in a sum; the smallest cohort is {SMALLEST}"
        )
    if n_clients > LARGEST:
        raise UnsafeParametersError(f"derived for at most {LARGEST} clients, not {n_clients}")
    if model == "malicious" and n_clients > LARGEST_GLOBAL:
        raise UnsafeParametersError(
            f"a quorum of all clients is for at most {LARGEST_GLOBAL}, not {n_clients}; beyond, "
            f"threat_model='{LOCAL}' takes quorums of neighbours, under a weaker guarantee"
        )


def colluders_of(n: int, corrupt: float) -> int:
    """Clients assumed to collude: c = ⌈γ·n⌉."""
    return _up(corrupt, n)


def colluders_around(n: int, corrupt: float, degree: int, min_roster: int) -> int:
    """Most of one client's neighbours that can be corrupt.

    At most c. On a sparse graph that more are, around any of n clients of the smallest roster, is as rare
    as what the degree is chosen against: 2^−105.
    """
    colluders = colluders_of(n, corrupt)
    if degree >= min_roster - 1:
        return colluders
    bits = _GUARDED_BITS + math.log2(n)
    return min(colluders, _first_rare(min_roster - 1, colluders, degree, bits) - 1)


@functools.lru_cache(maxsize=256)
def smallest_from_here(dropout: float, corrupt: float, model: ThreatModel) -> int:
    """Smallest n from which on, up to 2,000, every cohort has safe parameters.

    Quorums of neighbours: found by bisection among up to a million.

    Raises:
        UnsafeParametersError: there is none.
    """
    if model == LOCAL:
        return _smallest_local(dropout, corrupt)
    for n in range(LARGEST_GLOBAL, SMALLEST - 1, -1):
        if not _feasible(n, dropout, corrupt, model):
            if n == LARGEST_GLOBAL:
                break
            return n + 1
    else:
        return SMALLEST
    raise _no_cohort(LARGEST_GLOBAL, dropout, corrupt, model)


def _smallest_local(dropout: float, corrupt: float) -> int:
    if _local_degree(LARGEST, dropout, corrupt) is None:
        raise _no_cohort(LARGEST, dropout, corrupt, LOCAL)
    low, high = SMALLEST - 1, LARGEST
    while high - low > 1:
        middle = (low + high) // 2
        if _local_degree(middle, dropout, corrupt) is None:
            low = middle
        else:
            high = middle
    return high


def _no_cohort(last: int, dropout: float, corrupt: float, model: str) -> UnsafeParametersError:
    return UnsafeParametersError(
        f"no cohort of up to {last} is large enough for dropout_rate={dropout} with "
        f"corrupt_rate={corrupt} against a {model} server; lower a rate"
    )


def _up(rate: float, n: int) -> int:
    # 0.1·30 is 3.0000000000000004 in binary: nudge, or one client too many is counted
    return math.ceil(rate * n - 1e-9)


def _down(rate: float, n: int) -> int:
    return math.floor(rate * n + 1e-9)


def _global_quorum(n: int, colluders: int, model: ThreatModel) -> int:
    # Malicious: two sets signed by q clients each need 2q ≤ n + c signatures, since only colluders
    # sign twice.  Semi-honest: a majority, against crossed messages.
    return (n + colluders) // 2 + 1 if model == "malicious" else n // 2 + 1


def _feasible(n: int, dropout: float, corrupt: float, model: ThreatModel) -> bool:
    colluders = _up(corrupt, n)
    threshold = max(_global_quorum(n, colluders, model), colluders + 1)
    return threshold <= n - _down(dropout, n) and colluders + 2 <= n


@functools.lru_cache(maxsize=4096)
def _derive(n: int, dropout: float, corrupt: float, model: ThreatModel) -> Requirements | None:
    """Requirements, or None where there are no safe ones."""
    if model == LOCAL:
        return _derive_local(n, dropout, corrupt)
    if not _feasible(n, dropout, corrupt, model):
        return None
    colluders, silent = _up(corrupt, n), _up(dropout, n)
    quorum = _global_quorum(n, colluders, model)
    survivors = max(SMALLEST, n - silent, quorum, colluders + 2)
    search = _sparse_malicious if model == "malicious" else _sparse_semi_honest
    found = _smallest_degree(survivors, lambda k: search(n, survivors, colluders, silent, k))
    if found is not None:
        degree, threshold = found
        return Requirements(threshold, degree, quorum, survivors, survivors)
    threshold = max(quorum, colluders + 1)
    survivors = max(survivors, threshold)
    return Requirements(threshold, n - 1, quorum, survivors, survivors)


def _derive_local(n: int, dropout: float, corrupt: float) -> Requirements | None:
    found = _local_degree(n, dropout, corrupt)
    if found is None:
        return None
    degree, threshold = found
    roster, colluders = n - _up(dropout, n), _up(corrupt, n)
    worst = _first_rare(roster - 1, colluders, degree, _GUARDED_BITS + math.log2(n)) - 1
    # every window of k + 1 places around a member holds t − X members; one begins every 3k/2 places
    windows = (roster - degree - 1) // (3 * degree // 2) + 1
    least = max(SMALLEST, windows * (threshold - worst))
    return Requirements(threshold, degree, degree + worst + 1 - threshold, least, roster)


def _local_degree(n: int, dropout: float, corrupt: float) -> tuple[int, int] | None:
    colluders, silent = _up(corrupt, n), _up(dropout, n)
    roster = n - silent
    return _smallest_degree(roster, lambda k: _sparse_local(n, roster, colluders, silent, k))


def _smallest_degree(roster: int, search: Callable[[int], int | None]) -> tuple[int, int] | None:
    """Smallest even degree below the smallest roster for which `search` finds a threshold.

    Up to 512 all are tried.  Beyond, by doubling and bisection: the bounds only become easier.
    """
    last = min(_LINEAR, roster - 2)
    for degree in range(4, last + 1, 2):
        threshold = search(degree)
        if threshold is not None:
            return degree, threshold
    low, high = last, last
    while high < roster - 2:
        low, high = high, min(2 * high, (roster - 2) // 2 * 2)
        if search(high) is not None:
            break
        if low == high:
            return None
    else:
        return None
    while high - low > 2:
        middle = (low + high) // 4 * 2
        low, high = (low, middle) if search(middle) is not None else (middle, high)
    threshold = search(high)
    return None if threshold is None else (high, threshold)


def _sparse_malicious(n: int, roster: int, colluders: int, silent: int, k: int) -> int | None:
    """Smallest safe threshold in a k-regular circulant graph, or None.

    X corrupt among k places, in the smallest roster that a client accepts.  (1) Both secrets of one
    client need 2t ≤ k + 1 + X shares.  (2) To cut an arc out of the ring of honest survivors, both its
    end clients must be opened although the k/2 places on one side of each are gone or corrupt, whoever
    drops: at each end t ≤ k/2 + 1 + its corrupt ones, so 2t ≤ k + 2 + X over both.  Fewer than n² pairs
    of ends; (2) implies (1).  Bell et al. 2020, section 4, bounds random drop-outs here; the server
    chooses them, so we do not.
    """
    bits = _GUARDED_BITS + 2 * math.log2(n)
    worst = (_first_rare(roster - 1, colluders, k, bits) + k + 3) // 2
    return worst if worst <= _most_answered(n, silent, k) else None


def _sparse_local(n: int, roster: int, colluders: int, silent: int, k: int) -> int | None:
    """Largest threshold that drop-outs allow, if it is safe with quorums of neighbours; or None.

    (1) Both secrets of one client.  (2) A client that gave shares is declared dropped elsewhere: the
    quorum k + X + 1 − t excludes that, and must itself be answered.  (3) A gap of k/2 places after a
    client in the sum: it has at most k/2 holders behind it, its own share, and the colluders ahead.
    """
    threshold = _most_answered(n, silent, k)
    bits = _GUARDED_BITS + math.log2(n)
    around = _first_rare(roster - 1, colluders, k, bits)
    ahead = _first_rare(roster - 1, colluders, k // 2, bits + 1)
    both = 2 * threshold - k - 1 >= around
    cut = threshold - 1 - k // 2 >= ahead
    return threshold if both and cut else None


def _sparse_semi_honest(n: int, roster: int, colluders: int, silent: int, k: int) -> int | None:
    """Smallest threshold that colluders alone do not reach, in a graph that stays connected."""
    bits = SECURITY_BITS + 1
    gone = np.arange(k // 2, dtype=np.float64)
    left = np.clip(colluders + silent - gone, 0, None)
    with np.errstate(divide="ignore"):
        cut = np.log2(left).sum() - np.log2(n - 1 - gone).sum() + math.log2(n)
    if cut > -bits:
        return None
    worst = max(
        _first_rare(roster - 1, colluders, k, bits + math.log2(n)),
        (k + 1) // 2 + 1,
    )
    return worst if worst <= _most_answered(n, silent, k) else None


def _most_answered(n: int, silent: int, k: int) -> int:
    """Largest threshold such that k − t + 1 silent neighbours, somewhere among n clients, are rare."""
    return k + 1 - _first_rare(n - 1, silent, k, CORRECTNESS_BITS + math.log2(n))


@functools.lru_cache(maxsize=24)
def _log_factorials(exponent: int) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, 2**exponent + 1)))])


def _first_rare(population: int, marked: int, drawn: int, bits: float) -> int:
    """Smallest x with Pr[X ≥ x] ≤ 2^−bits, X hypergeometric."""
    marked = min(marked, population)
    low, high = max(0, drawn + marked - population), min(drawn, marked)
    x = np.arange(low, high + 1)
    logs = _log_factorials(population.bit_length())

    def choose(total: int, part: NDArray[np.int64]) -> NDArray[np.float64]:
        return logs[total] - logs[part] - logs[total - part]

    whole = logs[population] - logs[drawn] - logs[population - drawn]
    density = choose(marked, x) + choose(population - marked, drawn - x) - whole
    tails = np.logaddexp.accumulate(density[::-1])[::-1]
    rare = np.flatnonzero(tails <= -bits * math.log(2))
    return int(x[rare[0]]) if rare.size else high + 1
