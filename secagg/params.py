"""Parameters of one session: thresholds, neighbour degree and ring, computed from a threat model.

Nothing here is chosen by hand: `Params` derives everything from the cohort and two rates, and refuses
to exist with other values, so that a client that has decoded an offer has checked it.
"""

from __future__ import annotations

import functools
import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from secagg.errors import CapacityError, UnsafeParametersError, WireFormatError
from secagg.ring import MAX_RING_BITS, bits_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MAX_CLIENTS", "MAX_LENGTH", "Params", "ThreatModel"]

ThreatModel = Literal["malicious", "semi-honest"]

MAX_CLIENTS = 10_000
"""Beyond, each client would check more signatures than a session is worth."""
MAX_LENGTH = 1 << 28
"""Coordinates in one session."""
SMALLEST = 3
"""With two clients, each learns the other's input from the sum."""

SECURITY_BITS = 40
"""σ: a bad event of the neighbour graph has probability at most 2^−σ."""
GRINDING_BITS = 64
"""Trials a malicious server is granted at choosing a roster whose order suits it; added to σ."""
CORRECTNESS_BITS = 30
"""η: honest drop-outs end a session with probability at most 2^−η."""
LAST_SIZE_SEARCHED = 2_000

_MODELS: tuple[ThreatModel, ...] = get_args(ThreatModel)
_LAYOUT = struct.Struct("<IIBBQIIIddB")


@dataclass(frozen=True, slots=True)
class Params:
    """What every party of a session agrees on; part of the session's name.

    Use `for_cohort`. The constructor takes all fields, recomputes those that carry the protocol's
    security (threshold, degree, min_survivors, ring_bits) and refuses any other value.

    Args:
        n_clients: clients offered the session.
        vector_length: coordinates of each input.
        max_abs: bound on each coordinate, or None when inputs are reduced modulo 2^ring_bits.
        ring_bits: b; sums are taken modulo 2^b.
        threshold: shares that rebuild a secret, out of a neighbourhood (the dealer included).
        degree: neighbours of each client; n_clients − 1 stands for the complete graph.
        min_survivors: fewest inputs that a sum may contain, and fewest clients at every phase.
        dropout_rate: share of the cohort that may fall silent.
        corrupt_rate: share of the cohort that may collude with the server.
        threat_model: "malicious" or "semi-honest" server.

    Raises:
        UnsafeParametersError: weaker or other values than the derivation gives.
        CapacityError: a ring that does not hold the sum, or of more than 62 bits.
    """

    n_clients: int
    vector_length: int
    max_abs: int | None
    ring_bits: int
    threshold: int
    degree: int
    min_survivors: int
    dropout_rate: float
    corrupt_rate: float
    threat_model: ThreatModel

    def __post_init__(self) -> None:
        _check_domain(self.n_clients, self.dropout_rate, self.corrupt_rate, self.threat_model)
        if not 1 <= self.vector_length <= MAX_LENGTH:
            raise CapacityError(
                f"vector_length must lie in 1…{MAX_LENGTH}, not {self.vector_length}"
            )
        _check_ring(self.n_clients, self.max_abs, self.ring_bits)
        safe = _derive(self.n_clients, self.dropout_rate, self.corrupt_rate, self.threat_model)
        for name, value in zip(("threshold", "degree", "min_survivors"), safe, strict=True):
            if getattr(self, name) != value:
                raise UnsafeParametersError(
                    f"{name}={getattr(self, name)} is not the {value} that {self.n_clients} clients "
                    f"need under these rates; build parameters with Params.for_cohort"
                )

    @classmethod
    def for_cohort(
        cls,
        n_clients: int,
        vector_length: int,
        *,
        max_abs: int | None = None,
        ring_bits: int | None = None,
        dropout_rate: float = 0.1,
        corrupt_rate: float = 0.1,
        threat_model: ThreatModel = "malicious",
    ) -> Params:
        """Derive the parameters of a session offered to `n_clients`.

        With `max_abs` the ring is the smallest that no sum can overflow, and an input out of range
        raises CapacityError at its client. With `ring_bits` inputs are reduced modulo 2^ring_bits.

        Raises:
            UnsafeParametersError: no safe parameters exist; the message names the smallest n that has.
            CapacityError: the sum needs more than 62 bits, or ring_bits is not in 2…62.

        Example:
            >>> params = Params.for_cohort(100, 5, max_abs=1000)
            >>> params.ring_bits, params.degree < 99, params.quorum
            (18, True, 56)
        """
        if (max_abs is None) == (ring_bits is None):
            raise UnsafeParametersError("give exactly one of max_abs and ring_bits")
        _check_domain(n_clients, dropout_rate, corrupt_rate, threat_model)
        threshold, degree, min_survivors = _derive(
            n_clients, dropout_rate, corrupt_rate, threat_model
        )
        if max_abs is not None:
            if max_abs < 0:
                raise CapacityError(f"max_abs must not be negative, as {max_abs} is")
            ring_bits = max(2, bits_for(n_clients, max_abs))
        return cls(
            n_clients=n_clients,
            vector_length=vector_length,
            max_abs=max_abs,
            ring_bits=ring_bits or 0,
            threshold=threshold,
            degree=degree,
            min_survivors=min_survivors,
            dropout_rate=float(dropout_rate),
            corrupt_rate=float(corrupt_rate),
            threat_model=threat_model,
        )

    @staticmethod
    def smallest_cohort(
        *, dropout_rate: float, corrupt_rate: float, threat_model: ThreatModel = "malicious"
    ) -> int:
        """Smallest n from which on, up to 2,000, every cohort has safe parameters.

        Raises:
            UnsafeParametersError: there is none: the rates leave no majority that answers.

        Example:
            >>> Params.smallest_cohort(dropout_rate=0.1, corrupt_rate=0.1)
            3
        """
        _check_domain(SMALLEST, dropout_rate, corrupt_rate, threat_model)
        return _smallest_from_here(dropout_rate, corrupt_rate, threat_model)

    @property
    def colluders(self) -> int:
        """Clients (c = ⌈γ·n⌉) assumed to share what they know with the server."""
        return _up(self.corrupt_rate, self.n_clients)

    @property
    def quorum(self) -> int:
        """Signatures on one survivor set that a client must see before it gives any share."""
        return _quorum(self.n_clients, self.colluders, self.threat_model)

    @property
    def complete(self) -> bool:
        """Whether every client is every other's neighbour."""
        return self.degree == self.n_clients - 1

    def to_bytes(self) -> bytes:
        """Canonical fixed-size form, part of the session's name."""
        bounded = self.max_abs is not None
        return _LAYOUT.pack(
            self.n_clients,
            self.vector_length,
            self.ring_bits,
            bounded,
            self.max_abs or 0,
            self.threshold,
            self.degree,
            self.min_survivors,
            self.dropout_rate,
            self.corrupt_rate,
            _MODELS.index(self.threat_model),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Params:
        """Read `to_bytes`.

        Raises:
            WireFormatError: not the canonical form.
            UnsafeParametersError, CapacityError: as the constructor.
        """
        if len(data) != _LAYOUT.size:
            raise WireFormatError(f"parameters take {_LAYOUT.size} bytes, not {len(data)}")
        n, length, bits, bounded, bound, threshold, degree, survivors, drop, corrupt, model = (
            _LAYOUT.unpack(data)
        )
        if bounded > 1 or (not bounded and bound) or model >= len(_MODELS):
            raise WireFormatError("parameters are not in canonical form")
        params = cls(
            n_clients=n,
            vector_length=length,
            max_abs=bound if bounded else None,
            ring_bits=bits,
            threshold=threshold,
            degree=degree,
            min_survivors=survivors,
            dropout_rate=drop,
            corrupt_rate=corrupt,
            threat_model=_MODELS[model],
        )
        if params.to_bytes() != data:  # −0.0 for a rate
            raise WireFormatError("parameters are not in canonical form")
        return params


PARAMS_SIZE = _LAYOUT.size


def _check_domain(n_clients: int, dropout: float, corrupt: float, model: str) -> None:
    if model not in _MODELS:
        raise UnsafeParametersError(f"threat_model must be one of {_MODELS}, not {model!r}")
    for name, rate in (("dropout_rate", dropout), ("corrupt_rate", corrupt)):
        if not (math.isfinite(rate) and 0 <= rate < 1):
            raise UnsafeParametersError(f"{name} must lie in [0, 1), not {rate!r}")
    if n_clients > MAX_CLIENTS:
        raise UnsafeParametersError(f"at most {MAX_CLIENTS} clients a session, not {n_clients}")
    if n_clients < SMALLEST:
        raise UnsafeParametersError(
            f"{n_clients} clients cannot hide an input in a sum; the smallest cohort is {SMALLEST}"
        )


def _check_ring(n_clients: int, max_abs: int | None, ring_bits: int) -> None:
    if not 2 <= ring_bits <= MAX_RING_BITS:
        raise CapacityError(
            f"the sum needs a ring of {ring_bits} bits; 2…{MAX_RING_BITS} are possible: "
            "lower max_abs or the number of clients"
        )
    if max_abs is not None and (max_abs < 0 or ring_bits != max(2, bits_for(n_clients, max_abs))):
        raise UnsafeParametersError(
            f"a sum of {n_clients} inputs within ±{max_abs} takes "
            f"{max(2, bits_for(n_clients, max_abs))} bits, not {ring_bits}"
        )


def _up(rate: float, n: int) -> int:
    # 0.1·30 is 3.0000000000000004 in binary: nudge, or one client too many is counted
    return math.ceil(rate * n - 1e-9)


def _down(rate: float, n: int) -> int:
    return math.floor(rate * n + 1e-9)


def _quorum(n: int, colluders: int, model: ThreatModel) -> int:
    # Malicious: two sets signed by q clients each need 2q ≤ n + c signatures, since only colluders
    # sign twice.  Semi-honest: a majority, against crossed messages.
    return (n + colluders) // 2 + 1 if model == "malicious" else n // 2 + 1


def _feasible(n: int, dropout: float, corrupt: float, model: ThreatModel) -> bool:
    colluders = _up(corrupt, n)
    threshold = max(_quorum(n, colluders, model), colluders + 1)
    return threshold <= n - _down(dropout, n) and colluders + 2 <= n


@functools.lru_cache(maxsize=256)
def _smallest_from_here(dropout: float, corrupt: float, model: ThreatModel) -> int:
    for n in range(LAST_SIZE_SEARCHED, SMALLEST - 1, -1):
        if not _feasible(n, dropout, corrupt, model):
            if n == LAST_SIZE_SEARCHED:
                break
            return n + 1
    else:
        return SMALLEST
    raise UnsafeParametersError(
        f"no cohort is large enough for dropout_rate={dropout} with corrupt_rate={corrupt} against a "
        f"{model} server; lower a rate"
    )


@functools.lru_cache(maxsize=4096)
def _derive(n: int, dropout: float, corrupt: float, model: ThreatModel) -> tuple[int, int, int]:
    """(threshold, degree, min_survivors): the cheapest neighbour graph, or the complete one."""
    if not _feasible(n, dropout, corrupt, model):
        smallest = _smallest_from_here(dropout, corrupt, model)
        raise UnsafeParametersError(
            f"{n} clients cannot bear dropout_rate={dropout} with corrupt_rate={corrupt} against a "
            f"{model} server; the smallest cohort that can is {smallest}"
        )
    colluders = _up(corrupt, n)
    quorum = _quorum(n, colluders, model)
    survivors = max(SMALLEST, n - _up(dropout, n), quorum, colluders + 2)
    search = _sparse_malicious if model == "malicious" else _sparse_semi_honest
    silent = _up(dropout, n)
    for degree in range(4, survivors - 1, 2):  # even; fewer than the smallest roster
        threshold = search(n, survivors, colluders, silent, degree)
        if threshold is not None:
            return threshold, degree, survivors
    threshold = max(quorum, colluders + 1)
    return threshold, n - 1, max(survivors, threshold)


def _sparse_malicious(n: int, roster: int, colluders: int, silent: int, k: int) -> int | None:
    """Smallest safe threshold in a k-regular circulant graph, or None.

    X corrupt among k places, in the smallest roster that a client accepts.  (1) Both secrets of one
    client need 2t ≤ k + 1 + X shares.  (2) To cut an arc out of the ring of honest survivors, both its
    end clients must be opened although the k/2 places on one side of each are gone or corrupt, whoever
    drops: at each end t ≤ k/2 + 1 + its corrupt ones, so 2t ≤ k + 2 + X over both.  Fewer than n² pairs
    of ends; (2) implies (1).  Bell et al. 2020, section 4, bounds random drop-outs here; the server
    chooses them, so we do not.
    """
    bits = SECURITY_BITS + GRINDING_BITS + 1 + 2 * math.log2(n)
    worst = (_first_rare(roster - 1, colluders, k, bits) + k + 3) // 2
    return _if_answered(n, silent, k, worst)


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
    return _if_answered(n, silent, k, worst)


def _if_answered(n: int, silent: int, k: int, threshold: int) -> int | None:
    # too many silent neighbours: at least k − t + 1 of them, somewhere among n clients
    enough = _first_rare(n - 1, silent, k, CORRECTNESS_BITS + math.log2(n)) <= k - threshold + 1
    return threshold if enough else None


@functools.lru_cache(maxsize=64)
def _log_factorials(size: int) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, size + 1)))])


def _first_rare(population: int, marked: int, drawn: int, bits: float) -> int:
    """Smallest x with Pr[X ≥ x] ≤ 2^−bits, X hypergeometric."""
    marked = min(marked, population)
    low, high = max(0, drawn + marked - population), min(drawn, marked)
    x = np.arange(low, high + 1)
    logs = _log_factorials(population)

    def choose(total: int, part: NDArray[np.int64]) -> NDArray[np.float64]:
        return logs[total] - logs[part] - logs[total - part]

    whole = logs[population] - logs[drawn] - logs[population - drawn]
    density = choose(marked, x) + choose(population - marked, drawn - x) - whole
    tails = np.logaddexp.accumulate(density[::-1])[::-1]
    rare = np.flatnonzero(tails <= -bits * math.log(2))
    return int(x[rare[0]]) if rare.size else high + 1
