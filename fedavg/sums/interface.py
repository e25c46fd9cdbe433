"""The interface of all secure sums: they add integer vectors without showing single vectors to the server.

A secure sum takes one int64[d] vector from each client of a roster. It gives the server the sum over the
survivors, and nothing else. The sum is modulo 2^b and centred, or exact where no honest input can overflow.
The roles exchange bytes only: the server, the clients, for homomorphic encryption a key holder, and for sums
that a committee opens its members, which are *openers*. Each role is a *side*, with one *session* a sum.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fedavg.errors import CapacityError, PlanError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from he import Journal
    from secagg import Identity

__all__ = [
    "FIRST_OPENER",
    "KEY_HOLDER",
    "ClientSession",
    "ClientSide",
    "Conviction",
    "KeyHolderSession",
    "KeyHolderSide",
    "OpenerSide",
    "Provision",
    "SecureSum",
    "ServerSession",
    "ServerSide",
    "SumResult",
    "SumSpec",
    "centred",
    "is_client",
]

KEY_HOLDER = -1
"""The address of the key holder; the ids of clients are not negative."""

FIRST_OPENER = -2
"""The address of the first opener; further ones have −3, −4, …"""


def is_client(address: int) -> bool:
    """Whether an address is a client's, and not that of the key holder or of an opener.

    Example:
        >>> is_client(0), is_client(KEY_HOLDER), is_client(FIRST_OPENER)
        (True, False, False)
    """
    return address >= 0


@dataclass(frozen=True, slots=True)
class SumSpec:
    """The public facts of one sum, known to every role before it starts.

    Args:
        vector_length: d', the number of coordinates.
        max_abs: bound on the inputs, when an input beyond it is refused; None under DP.
        ring_bits: b, when inputs are reduced modulo 2^b and never refused; None without DP.
        roster_size: number of clients among whom the sum is taken.
        context: digest of plan, round and model; only clients with the same digest enter the same sum.
        round: number of the round, 0 outside of rounds; in a provision, that of the last round.
    """

    vector_length: int
    max_abs: int | None
    ring_bits: int | None
    roster_size: int
    context: bytes
    round: int = 0

    def __post_init__(self) -> None:
        # One bound decides how the ring is found: exact sums never wrap, reduced ones may.
        if (self.max_abs is None) == (self.ring_bits is None):
            raise PlanError("a sum is bounded either by max_abs or by ring_bits, not both or none")
        if self.vector_length < 1 or self.roster_size < 0:
            raise PlanError("a sum needs at least one coordinate")
        if self.round < 0:
            raise PlanError(f"rounds count from 0; there is none of number {self.round}")

    @property
    def input_bound(self) -> int:
        """The largest magnitude that enters the protocol: max_abs, or 2^(b−1) after reduction."""
        if self.max_abs is not None:
            return self.max_abs
        return 1 << (self.modulus_bits - 1)

    @property
    def modulus_bits(self) -> int:
        """b: the given ring_bits, or the smallest b with 2^b > n·(2·max_abs + 1)."""
        if self.ring_bits is not None:
            return self.ring_bits
        # This is the rule of secagg (docs/protocol.md, Parameters).
        return (self.roster_size * (2 * self.input_bound + 1)).bit_length()

    def admit(self, vector: NDArray[np.int64]) -> NDArray[np.int64]:
        """Check or reduce a client's vector before it enters a protocol.

        Raises:
            CapacityError: the vector has another length, or (without DP) a coordinate beyond max_abs.
        """
        if vector.shape != (self.vector_length,):
            raise CapacityError(f"expected int64[{self.vector_length}], got shape {vector.shape}")
        if self.max_abs is None:
            return centred(vector, self.modulus_bits)
        # A coordinate that is too large could wrap the sum into a wrong number, so it is refused.
        if int(vector.max()) > self.max_abs or int(vector.min()) < -self.max_abs:
            raise CapacityError(f"a coordinate exceeds max_abs={self.max_abs}")
        return vector

    def reduce(self, total: NDArray[np.int64]) -> NDArray[np.int64]:
        """Reduce a sum of admitted vectors in the way that all backends share."""
        return total if self.ring_bits is None else centred(total, self.ring_bits)


def centred(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Reduce modulo 2^bits into [−2^(bits−1), 2^(bits−1)).

    Example:
        >>> centred(np.array([127, 128, -129]), 8).tolist()
        [127, -128, 127]
    """
    half = np.int64(1) << np.int64(bits - 1)
    mask = np.int64((1 << bits) - 1)
    if values.size and -half <= values.min() and values.max() < half:
        return values  # most vectors are in range already: two passes instead of a new array
    # int64 itself wraps modulo 2^64, which the mask turns into modulo 2^bits.
    reduced = values + half
    reduced &= mask
    reduced -= half
    return reduced


class SumResult(Protocol):
    """The result of a secure sum; every backend's own result type has these members."""

    @property
    def total(self) -> NDArray[np.int64]:
        """int64[d'], the sum over the survivors; read-only in the results of this package."""
        ...

    @property
    def survivors(self) -> tuple[int, ...]:
        """The clients whose vectors are in the sum."""
        ...


@dataclass(frozen=True, slots=True)
class Conviction:
    """Proof that a client cheated in a sum; the run does not ask that client again.

    Args:
        client: id of the client.
        reason: what the client did, as a sentence.
        context: `SumSpec.context` of the sum that the evidence is about.
        evidence: the proof; for a masked sum `secagg.check_conviction` checks it.
    """

    client: int
    reason: str
    context: bytes
    evidence: bytes = field(repr=False)


class ServerSession(Protocol):
    """The server's part of one sum."""

    @property
    def stage(self) -> str:
        """Name of the stage whose messages are awaited; reports show it, and no decision depends on it."""
        ...

    @property
    def collecting(self) -> bool:
        """Whether the messages awaited now carry the clients' vectors.

        While this holds, every client that sends a message counts as having contributed its vector.  Such a
        client is not asked again in the round, and the round counts in its part of the privacy budget.
        """
        ...

    @property
    def convictions(self) -> Sequence[Conviction]:
        """Clients that have been shown to cheat so far, even when the sum fails."""
        ...

    def open(self) -> Mapping[int, Sequence[bytes]]:
        """The first messages, by recipient."""
        ...

    def receive(self, sender: int, message: bytes) -> None:
        """Take one message, or raise an error that names the sender and leaves the state unchanged."""
        ...

    def advance(self) -> Mapping[int, Sequence[bytes]]:
        """Close the stage, drop clients that did not answer, and return the next messages; {} at the end."""
        ...

    def result(self) -> SumResult:
        """The sum; raises before the protocol has ended."""
        ...


class ClientSession(Protocol):
    """One client's part of one sum."""

    @property
    def roster_size(self) -> int:
        """Number of clients in the sum, as bound into the session; it sizes the noise shares."""
        ...

    @property
    def left(self) -> bool:
        """Whether the vector was sent, masked or encrypted: after that it must not enter another sum."""
        ...

    def set_input(self, vector: NDArray[np.int64]) -> None:
        """Give the vector, once, before any message that carries it is sent."""
        ...

    def start(self) -> Sequence[bytes]:
        """The first messages to the server."""
        ...

    def receive(self, message: bytes) -> Sequence[bytes]:
        """Process one message of the server and return the answers."""
        ...


class KeyHolderSession(Protocol):
    """The key holder's part of one sum."""

    def receive(self, messages: Sequence[bytes]) -> Sequence[bytes]:
        """Check the encrypted sum, open it (once only), and return it in the clear."""
        ...


class OpenerSide(Protocol):
    """One opener's long-lived material."""

    def session(self, spec: SumSpec, journal: Journal) -> KeyHolderSession:
        """Begin an opener's part of one sum; what it does once for a sum is recorded in the journal."""
        ...


class ServerSide(Protocol):
    """The server's long-lived material; it contains no client's secret."""

    def session(self, spec: SumSpec, roster: Sequence[int]) -> ServerSession:
        """Begin one sum over a roster."""
        ...


class ClientSide(Protocol):
    """A client's long-lived material; in a simulation several clients may share it."""

    def session(
        self, spec: SumSpec, client_id: int, identity: Identity, opening: bytes
    ) -> ClientSession:
        """Begin a client's part of one sum, from the server's opening message."""
        ...


class KeyHolderSide(Protocol):
    """The key holder's long-lived material."""

    def session(self, spec: SumSpec) -> KeyHolderSession:
        """Begin one sum."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Provision:
    """Material that is handed out once, before the first round.

    `clients`, `key_holder` and `openers` may be secret.

    Args:
        server: the server's material.
        clients: the clients' material.
        key_holder: the key holder's material; None where there is none.
        openers: each opener's material, by address (`FIRST_OPENER` and below).
    """

    server: bytes
    clients: bytes
    key_holder: bytes | None
    openers: Mapping[int, bytes] = field(default_factory=dict[int, bytes])

    def __repr__(self) -> str:
        return "Provision(<redacted>)"

    def __reduce__(self) -> str:
        # A pickled Provision would carry secret keys into files or other processes.
        raise TypeError("a Provision may hold secret keys and cannot be pickled")


class SecureSum(Protocol):
    """One method of summing: its parameters, and one side for each role.

    Example:
        >>> from fedavg import InsecurePlain, SecAgg, sum_once
        >>> vectors = {client: np.array([client, -7]) for client in range(1, 6)}
        >>> def describe(method: SecureSum) -> tuple[bool, list[int]]:
        ...     found = sum_once(method, vectors, max_abs=9, context=method.kind.encode())
        ...     return method.hides_updates, found.total.tolist()
        >>> describe(InsecurePlain()), describe(SecAgg())
        ((False, [15, -35]), (True, [15, -35]))
    """

    @property
    def kind(self) -> str:
        """Name of the method in configurations and reports."""
        ...

    @property
    def upload_word_bits(self) -> int | None:
        """Width of the numbers that `uploaded` returns; None for the width of the sum's modulus."""
        ...

    @property
    def hides_updates(self) -> bool:
        """Whether the server learns nothing but the sum."""
        ...

    @property
    def dropout_rate(self) -> float:
        """Largest share of a roster that may drop out."""
        ...

    @property
    def threat_model(self) -> str:
        """The assumed behaviour of the server, in a few words."""
        ...

    def received(self, spec: SumSpec) -> str:
        """What the server receives of one client's update in such a sum, as a sentence for a report."""
        ...

    def assumptions(self, spec: SumSpec) -> tuple[str, ...]:
        """The assumptions that a user of such sums has to accept, one sentence each."""
        ...

    def smallest_cohort(self) -> int:
        """Smallest number of clients that a round may ask."""
        ...

    def min_survivors(self, roster_size: int) -> int:
        """Smallest number of clients that a sum may contain."""
        ...

    def colluders(self, roster_size: int) -> int:
        """Number of clients in a roster that are assumed to share their knowledge with the server."""
        ...

    def check(self, spec: SumSpec) -> None:
        """Raise, before any round, when no parameters exist for such a sum."""
        ...

    def check_population(self, size: int) -> None:
        """Raise PlanError, before any round, where a sum is made for another number of all clients."""
        ...

    def provision(self, spec: SumSpec, directory: Mapping[int, bytes]) -> Provision:
        """Create the material of every role; `spec` is the largest sum of the run."""
        ...

    def server_side(self, material: bytes) -> ServerSide:
        """Load the server's material."""
        ...

    def client_side(self, material: bytes) -> ClientSide:
        """Load the clients' material."""
        ...

    def key_holder_side(self, material: bytes) -> KeyHolderSide:
        """Load the key holder's material; raises when the method has no key holder."""
        ...

    def opener_side(self, material: bytes) -> OpenerSide:
        """Load one opener's material; raises when the method has no openers."""
        ...

    def describe(self, message: bytes) -> str:
        """The kind of one of the method's messages, for a report."""
        ...

    def uploaded(self, message: bytes) -> NDArray[np.int64] | NDArray[np.uint64] | None:
        """The numbers that a client's upload shows to the server; None for other messages."""
        ...
