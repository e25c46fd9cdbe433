"""Derivation of safe parameters from a threat model: threshold, neighbour degree, quorum and sum size.

docs/protocol.md has the derivations, and `secagg.params.degrees` those of sparse graphs.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from secagg.errors import UnsafeParametersError
from secagg.guards.checks import number, text, whole
from secagg.params.degrees import (
    GUARDED_BITS,
    LINEAR,
    first_rare,
    smallest_degree,
    sparse_local,
    sparse_malicious,
    sparse_semi_honest,
    steps,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LOCAL", "MODELS", "SMALLEST", "Requirements", "ThreatModel", "requirements"]

ThreatModel = Literal["malicious", "semi-honest", "malicious-local"]
MODELS: tuple[ThreatModel, ...] = get_args(ThreatModel)
LOCAL: ThreatModel = "malicious-local"

SMALLEST = 3
"""With two clients, each learns the other's input from the sum."""
LARGEST_GLOBAL = 2_000
"""Above this, each client of a malicious server would check more signatures than a session is worth."""
LARGEST_SESSION = 10_000
"""Largest number of clients in a session."""
LARGEST = 1_000_000
"""Largest number of clients for which parameters can be derived, on paper."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """The result of `requirements`.

    Args:
        threshold: number of shares that reconstruct a secret, out of a neighbourhood with the dealer.
        degree: number of neighbours of each client; n − 1 stands for the complete graph.
        quorum: number of signatures on one survivor set that a client must see before it gives any share: of
            all survivors, or, with a local quorum, of its neighbours.
        min_survivors: smallest number of inputs in a sum.
        min_roster: smallest number of clients on a roster.

    Example:
        >>> needs = requirements(100, 0.1, 0.1, "malicious")  # at most 10 colluders
        >>> needs.degree, needs.threshold, needs.quorum, needs.min_survivors
        (34, 24, 56, 90)
    """

    threshold: int
    degree: int
    quorum: int
    min_survivors: int
    min_roster: int

    def __post_init__(self) -> None:
        for name in ("threshold", "degree", "quorum", "min_survivors", "min_roster"):
            object.__setattr__(self, name, whole(name, getattr(self, name)))
        if min(self.threshold, self.degree, self.quorum, self.min_survivors) < 2:
            raise UnsafeParametersError("a threshold, degree, quorum or sum of one protects nobody")


def requirements(
    n_clients: int, dropout_rate: float, corrupt_rate: float, threat_model: ThreatModel
) -> Requirements:
    """Derive the requirements of a cohort, for up to a million clients on paper (sessions: up to 10,000).

    Raises:
        UnsafeParametersError: no safe parameters exist; the message names a remedy.

    Example:
        >>> requirements(1000, 0.05, 0.05, "malicious").degree
        88
        >>> requirements(1_000_000, 0.05, 0.05, "malicious-local").degree < 250
        True
    """
    n, dropout, corrupt, model = check_domain(n_clients, dropout_rate, corrupt_rate, threat_model)
    found = _derive(n, dropout, corrupt, model)
    if found is None:
        raise UnsafeParametersError(
            f"{n} clients cannot bear dropout_rate={dropout} with corrupt_rate={corrupt} against a "
            f"{model} server; {_remedy(dropout, corrupt, model)}"
        )
    return found


def feasible(n_clients: int, dropout: float, corrupt: float, model: ThreatModel) -> bool:
    """Whether safe parameters exist; this avoids the long search for a cohort that has some.

    Raises:
        UnsafeParametersError: no derivation covers these values.
    """
    return _derive(*check_domain(n_clients, dropout, corrupt, model)) is not None


def check_domain(
    n_clients: object, dropout: object, corrupt: object, model: object
) -> tuple[int, float, float, ThreatModel]:
    """The four values in their canonical types, so that a cache keeps equal values once.

    Raises:
        UnsafeParametersError: no derivation covers the values.
        LocalProtocolError: a value has another type.
    """
    n, named = whole("n_clients", n_clients), text("threat_model", model)
    rates = (number("dropout_rate", dropout), number("corrupt_rate", corrupt))
    if named not in MODELS:
        raise UnsafeParametersError(f"threat_model must be one of {MODELS}, not {named!r}")
    for name, rate in zip(("dropout_rate", "corrupt_rate"), rates, strict=True):
        if not 0 <= rate < 1:
            raise UnsafeParametersError(f"{name} must lie in [0, 1), not {rate!r}")
    if n < SMALLEST:
        raise UnsafeParametersError(
            f"{n} clients cannot hide an input in a sum; the smallest cohort is {SMALLEST}"
        )
    if n > LARGEST:
        raise UnsafeParametersError(f"derived for at most {LARGEST} clients, not {n}")
    if named == "malicious" and n > LARGEST_GLOBAL:
        raise UnsafeParametersError(
            f"a quorum of all clients is for at most {LARGEST_GLOBAL}, not {n}; beyond, "
            f"threat_model='{LOCAL}' takes quorums of neighbours, under a weaker guarantee"
        )
    return n, rates[0] + 0.0, rates[1] + 0.0, named  # −0.0 is 0.0


def colluders_of(n: int, corrupt: float) -> int:
    """Number of clients assumed to collude: c = ⌈γ·n⌉."""
    return rounded_up(corrupt, n)


def colluders_around(n: int, corrupt: float, degree: int, min_roster: int) -> int:
    """The largest number of one client's neighbours that can be corrupt.

    It is at most c. On a sparse graph, the probability that any of n clients of the smallest roster has more
    is as small as that of the events that the degree excludes: 2^−105.
    """
    colluders = colluders_of(n, corrupt)
    if degree >= min_roster - 1:  # complete graph: all colluders are neighbours
        return colluders
    bits = GUARDED_BITS + math.log2(n)
    # `first_rare` finds the smallest count that is rare, so the largest to expect is one less.
    return min(colluders, first_rare(min_roster - 1, colluders, degree, bits) - 1)


@functools.lru_cache(maxsize=256)
def smallest_from_here(dropout: float, corrupt: float, model: ThreatModel) -> int:
    """The smallest n such that every cohort of n or more clients in a session has safe parameters.

    Some smaller cohorts may have them too: rates are rounded to whole clients, so parameters for n clients do
    not imply parameters for n + 1.  Therefore all cohorts are examined, from the largest down.

    Raises:
        UnsafeParametersError: the largest cohort has no safe parameters.
    """
    largest = LARGEST_GLOBAL if model == "malicious" else LARGEST_SESSION
    n = largest
    if model == LOCAL:
        n = _last_without_degree(largest, dropout, corrupt)
    else:
        while n >= SMALLEST and _feasible(n, dropout, corrupt, model):
            n -= 1
    if n == largest:
        raise UnsafeParametersError(
            f"no cohort of up to {largest} is large enough for dropout_rate={dropout} with "
            f"corrupt_rate={corrupt} against a {model} server; lower a rate"
        )
    return n + 1


def _remedy(dropout: float, corrupt: float, model: ThreatModel) -> str:
    """The remedy for a cohort without safe parameters."""
    smallest = smallest_from_here(dropout, corrupt, model)
    largest = LARGEST_GLOBAL if model == "malicious" else LARGEST_SESSION
    other = "; threat_model='malicious' has a lower floor" if model == LOCAL else ""
    return f"every cohort of {smallest} to {largest} can{other}"


def rounded_up(rate: float, n: int) -> int:
    """⌈rate·n⌉: 0.1·30, which is 3.0000000000000004 in binary, is 3."""
    return math.ceil(rate * n - 1e-9)


def rounded_down(rate: float, n: int) -> int:
    return math.floor(rate * n + 1e-9)


def _global_quorum(n: int, colluders: int, model: ThreatModel) -> int:
    # Malicious: two sets with q signatures each need 2q ≤ n + c signatures, since only colluders sign
    # twice.  Semi-honest: a majority, as a protection against crossed messages.
    return (n + colluders) // 2 + 1 if model == "malicious" else n // 2 + 1


def _smallest_sum(n: int, dropout: float, corrupt: float, model: ThreatModel) -> int:
    """u: the smallest number of inputs in a sum, and of clients in every phase, with a quorum of all.

    It is a majority or more, and more than the colluders; in the complete graph, that many shares reconstruct
    a secret.
    """
    colluders = rounded_up(corrupt, n)
    quorum = _global_quorum(n, colluders, model)
    # With colluders + 2, a sum minus the colluders' inputs is over two honest clients or more.
    return max(SMALLEST, n - rounded_up(dropout, n), quorum, colluders + 2)


def _feasible(n: int, dropout: float, corrupt: float, model: ThreatModel) -> bool:
    """Whether any ⌊δ·n⌋ clients may drop out, at any time."""
    return _smallest_sum(n, dropout, corrupt, model) <= n - rounded_down(dropout, n)


@functools.lru_cache(maxsize=4096)
def _derive(n: int, dropout: float, corrupt: float, model: ThreatModel) -> Requirements | None:
    """The requirements, or None if there are no safe ones."""
    if model == LOCAL:
        return _derive_local(n, dropout, corrupt)
    if not _feasible(n, dropout, corrupt, model):
        return None
    colluders, silent = rounded_up(corrupt, n), rounded_up(dropout, n)
    quorum = _global_quorum(n, colluders, model)
    survivors = _smallest_sum(n, dropout, corrupt, model)
    search = sparse_malicious if model == "malicious" else sparse_semi_honest
    found = smallest_degree(survivors, lambda k: search(n, survivors, colluders, silent, k))
    if found is not None:
        degree, threshold = found
        return Requirements(threshold, degree, quorum, survivors, survivors)
    # Complete graph. A malicious server would need 2t > n + c shares for both secrets of a client, and only
    # the c colluders give two. Against a semi-honest one, t > c: colluders alone rebuild nothing.
    return Requirements(max(quorum, colluders + 1), n - 1, quorum, survivors, survivors)


def _derive_local(n: int, dropout: float, corrupt: float) -> Requirements | None:
    found = _local_degree(n, dropout, corrupt)
    if found is None:
        return None
    degree, threshold = found
    roster, colluders = n - rounded_up(dropout, n), rounded_up(corrupt, n)
    worst = first_rare(roster - 1, colluders, degree, GUARDED_BITS + math.log2(n)) - 1
    # Every window of k + 1 places around a member holds t − X members; one begins every 3k/2 places.
    windows = (roster - degree - 1) // (3 * degree // 2) + 1
    least = max(SMALLEST, windows * (threshold - worst))
    # Of q signers at least q − X are honest, and none of these gives a share of the client's mask key any
    # more: the k − q + X shares that are left are fewer than t.
    quorum = max(2, degree + worst + 1 - threshold)
    return Requirements(threshold, degree, quorum, least, roster)


def _local_degree(n: int, dropout: float, corrupt: float) -> tuple[int, int] | None:
    return smallest_degree(n - rounded_up(dropout, n), _local_search(n, dropout, corrupt))


def _local_search(n: int, dropout: float, corrupt: float) -> Callable[[int], int | None]:
    colluders, silent = rounded_up(corrupt, n), rounded_up(dropout, n)
    return lambda k: sparse_local(n, n - silent, colluders, silent, k)


def _last_without_degree(largest: int, dropout: float, corrupt: float) -> int:
    """The largest n, up to `largest`, without a degree for quorums of neighbours; 2 if all have one.

    Among cohorts with the same number of drop-outs and of corrupt clients, one more client makes each event
    rarer, by more than the factor n of its probability grows.  So a degree that suits the smallest of these
    cohorts suits all of them, except a degree that is tried only because the roster ends there.
    """
    n, guess = largest, 0
    while n >= SMALLEST:
        first, alike = n, [rounded_up(rate, n) for rate in (dropout, corrupt)]
        while first > SMALLEST and alike == [rounded_up(r, first - 1) for r in (dropout, corrupt)]:
            first -= 1
        guess = _some_degree(first, dropout, corrupt, guess)
        # These degrees are tried for every longer roster, so this one suits the larger cohorts too.
        if guess and (guess <= LINEAR or guess.bit_count() == 1):
            n = first - 1
        elif _some_degree(n, dropout, corrupt, guess):
            n -= 1
        else:
            return n
    return SMALLEST - 1


def _some_degree(n: int, dropout: float, corrupt: float, guess: int) -> int:
    """A degree that n clients can have, preferably the guess; 0 if there is none."""
    search, tried = _local_search(n, dropout, corrupt), list(steps(n - rounded_up(dropout, n)))
    likely = [guess] if guess in tried else []
    # Conditions become easier with the degree, so large degrees are tried before small ones.
    likely += [k for k in tried if k >= LINEAR] + [k for k in reversed(tried) if k < LINEAR]
    return next((k for k in likely if search(k) is not None), 0)
