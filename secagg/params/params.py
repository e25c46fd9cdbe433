"""Parameters of one session, derived from a threat model; other values are refused.

No parameter is chosen by hand. `Params` derives everything from the cohort and two rates, and cannot be
constructed with other values, so a client that has decoded an offer has also checked it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from secagg.crypto.ring import MAX_RING_BITS, bits_for
from secagg.errors import CapacityError, UnsafeParametersError, WireFormatError
from secagg.guards.checks import octets, whole
from secagg.params.derivation import (
    LARGEST_SESSION,
    LOCAL,
    MODELS,
    SMALLEST,
    Requirements,
    ThreatModel,
    check_domain,
    colluders_around,
    colluders_of,
    feasible,
    requirements,
    smallest_from_here,
)

__all__ = ["MAX_CLIENTS", "MAX_LENGTH", "Params", "Requirements", "ThreatModel", "requirements"]

MAX_CLIENTS = LARGEST_SESSION
"""Largest session."""
MAX_LENGTH = 1 << 28
"""Largest number of coordinates in a session."""

_LAYOUT = struct.Struct("<IIBBQIIIddB")


@dataclass(frozen=True, slots=True)
class Params:
    """The parameters that all parties of a session agree on; they are part of the session's name.

    Use `for_cohort`. The constructor takes all fields, recomputes those that the protocol's security depends
    on (threshold, degree, min_survivors, ring_bits) and refuses any other value.

    Args:
        n_clients: number of clients that are offered the session.
        vector_length: number of coordinates of each input.
        max_abs: bound on each coordinate, or None when inputs are reduced modulo 2^ring_bits.
        ring_bits: b; sums are taken modulo 2^b.
        threshold: number of shares that reconstruct a secret, out of a neighbourhood with the dealer.
        degree: number of neighbours of each client; n_clients − 1 stands for the complete graph.
        min_survivors: smallest number of inputs in a sum, and of clients in every phase.
        dropout_rate: share of the cohort that may drop out.
        corrupt_rate: share of the cohort that may collude with the server.
        threat_model: "malicious", "malicious-local" (large cohorts, weaker) or "semi-honest" server.

    Raises:
        UnsafeParametersError: a value is weaker than, or differs from, the derived one.
        CapacityError: the ring does not hold the sum, or has more than 62 bits.
        LocalProtocolError: an argument has another type.

    Example:
        >>> from dataclasses import replace
        >>> params = Params.for_cohort(100, 5, max_abs=1000)
        >>> Params.from_bytes(params.to_bytes()) == params
        True
        >>> replace(params, threshold=2)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        secagg.errors.UnsafeParametersError: threshold=2 is not the 24 that 100 clients need under ...
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
        self._settle()
        if not 1 <= self.vector_length <= MAX_LENGTH:
            raise CapacityError(
                f"vector_length must lie in 1…{MAX_LENGTH}, not {self.vector_length}"
            )
        _check_ring(self.n_clients, self.max_abs, self.ring_bits)
        # An offer is decoded through here too, so a server cannot offer weaker values than the derived ones.
        safe = self._safe()
        for name in ("threshold", "degree", "min_survivors"):
            value = getattr(safe, name)
            if getattr(self, name) != value:
                raise UnsafeParametersError(
                    f"{name}={getattr(self, name)} is not the {value} that {self.n_clients} clients "
                    f"need under these rates; build parameters with Params.for_cohort"
                )

    def _settle(self) -> None:
        """Convert each field to its canonical form: equal parameters have equal bytes and one cache key."""
        rates = (self.dropout_rate, self.corrupt_rate)
        n, dropout, corrupt, model = _check_domain(self.n_clients, *rates, self.threat_model)
        settled: dict[str, object] = {
            "n_clients": n,
            "dropout_rate": dropout,
            "corrupt_rate": corrupt,
            "threat_model": model,
            "max_abs": None if self.max_abs is None else whole("max_abs", self.max_abs),
        }
        for name in ("vector_length", "ring_bits", "threshold", "degree", "min_survivors"):
            settled[name] = whole(name, getattr(self, name))
        for name, value in settled.items():
            object.__setattr__(self, name, value)

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
            UnsafeParametersError: no safe parameters exist; the message names the smallest sufficient n.
            CapacityError: the sum needs more than 62 bits, or ring_bits is not in 2…62.
            LocalProtocolError: an argument has another type; NumPy's numbers are accepted, bools are not.

        Example:
            >>> params = Params.for_cohort(100, 5, max_abs=1000)
            >>> params.ring_bits, params.degree < 99, params.quorum
            (18, True, 56)
        """
        if (max_abs is None) == (ring_bits is None):
            raise UnsafeParametersError("give exactly one of max_abs and ring_bits")
        domain = _check_domain(n_clients, dropout_rate, corrupt_rate, threat_model)
        n, safe = domain[0], requirements(*domain)
        if max_abs is not None:
            max_abs = whole("max_abs", max_abs)
            if max_abs < 0:
                raise CapacityError(f"max_abs must not be negative, as {max_abs} is")
            ring_bits = max(2, bits_for(n, max_abs))
        return cls(
            n_clients=n,
            vector_length=vector_length,
            max_abs=max_abs,
            ring_bits=0 if ring_bits is None else ring_bits,
            threshold=safe.threshold,
            degree=safe.degree,
            min_survivors=safe.min_survivors,
            dropout_rate=dropout_rate,
            corrupt_rate=corrupt_rate,
            threat_model=threat_model,
        )

    @staticmethod
    def smallest_cohort(
        *, dropout_rate: float, corrupt_rate: float, threat_model: ThreatModel = "malicious"
    ) -> int:
        """The smallest n such that every cohort of n or more clients in a session has safe parameters.

        Sessions have up to 2,000 clients against a "malicious" server, else up to 10,000. A smaller cohort
        may have safe parameters too, since rates are rounded to whole clients.

        Raises:
            UnsafeParametersError: there is no such n: under these rates no majority remains that answers.
            LocalProtocolError: an argument has another type.

        Example:
            >>> Params.smallest_cohort(dropout_rate=0.1, corrupt_rate=0.1)
            3
        """
        _, *rates_and_model = check_domain(SMALLEST, dropout_rate, corrupt_rate, threat_model)
        return smallest_from_here(*rates_and_model)

    @property
    def colluders(self) -> int:
        """Number of clients assumed to share their knowledge with the server: c = ⌈γ·n⌉."""
        return colluders_of(self.n_clients, self.corrupt_rate)

    @property
    def colluders_around(self) -> int:
        """The largest number of colluders among one client's neighbours; below c on a sparse graph."""
        return colluders_around(self.n_clients, self.corrupt_rate, self.degree, self.min_roster)

    @property
    def quorum(self) -> int:
        """Number of signatures on one survivor set that a client must see before it gives any share.

        They are of any survivors, or of its own neighbours when the model is "malicious-local".
        """
        return self._safe().quorum

    @property
    def min_roster(self) -> int:
        """Smallest number of clients on a roster."""
        return self._safe().min_roster

    @property
    def local(self) -> bool:
        """Whether quorums consist of neighbours."""
        return self.threat_model == LOCAL

    @property
    def complete(self) -> bool:
        """Whether every client is every other's neighbour."""
        return self.degree == self.n_clients - 1

    def _safe(self) -> Requirements:
        return requirements(self.n_clients, self.dropout_rate, self.corrupt_rate, self.threat_model)

    def to_bytes(self) -> bytes:
        """Encode in canonical form, of fixed size; the bytes are part of the session's name."""
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
            MODELS.index(self.threat_model),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Params:
        """Decode the bytes of `to_bytes`.

        Raises:
            WireFormatError: the bytes are not in canonical form.
            UnsafeParametersError, CapacityError: as for the constructor.
        """
        data = octets("data", data)
        if len(data) != _LAYOUT.size:
            raise WireFormatError(f"parameters take {_LAYOUT.size} bytes, not {len(data)}")
        n, length, bits, bounded, bound, threshold, degree, survivors, drop, corrupt, model = (
            _LAYOUT.unpack(data)
        )
        # The bytes are part of the session's name, so equal parameters must not have two encodings.
        if bounded > 1 or (not bounded and bound) or model >= len(MODELS):
            raise WireFormatError("parameters are not in canonical form")
        _check_domain(n, drop, corrupt, MODELS[model])
        if not feasible(n, drop, corrupt, MODELS[model]):
            # Checked here, since the constructor would search for a remedy, which takes seconds.
            raise UnsafeParametersError(f"no safe parameters exist for {n} clients at these rates")
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
            threat_model=MODELS[model],
        )
        if params.to_bytes() != data:  # a rate of −0.0
            raise WireFormatError("parameters are not in canonical form")
        return params


PARAMS_SIZE = _LAYOUT.size


def _check_domain(
    n_clients: object, dropout: object, corrupt: object, model: object
) -> tuple[int, float, float, ThreatModel]:
    settled = check_domain(n_clients, dropout, corrupt, model)
    if settled[0] > MAX_CLIENTS:
        raise UnsafeParametersError(f"at most {MAX_CLIENTS} clients a session, not {settled[0]}")
    return settled


def _check_ring(n_clients: int, max_abs: int | None, ring_bits: int) -> None:
    if not 2 <= ring_bits <= MAX_RING_BITS:
        raise CapacityError(
            f"the sum needs a ring of {ring_bits} bits; 2…{MAX_RING_BITS} are possible: "
            "lower max_abs or the number of clients"
        )
    # Fewer bits would let the sum wrap; more are refused so that b follows from the bound alone.
    if max_abs is not None and (max_abs < 0 or ring_bits != max(2, bits_for(n_clients, max_abs))):
        raise UnsafeParametersError(
            f"a sum of {n_clients} inputs within ±{max_abs} takes "
            f"{max(2, bits_for(n_clients, max_abs))} bits, not {ring_bits}"
        )
