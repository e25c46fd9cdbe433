"""The narrow waist: one protocol for every way of adding integer vectors without showing them.

A secure sum takes one int64[d] vector from each client of a roster and gives the server the sum over
the survivors, modulo 2^b and centred (or exact, where no honest input can overflow), and nothing else.
Three roles exchange bytes only: the server, the clients, and, for homomorphic encryption, a key
holder.  Each role is a *side* that opens one *session* a round.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fedavg.errors import CapacityError, PlanError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from secagg import Identity

__all__ = [
    "KEY_HOLDER",
    "ClientSession",
    "ClientSide",
    "Conviction",
    "KeyHolderSession",
    "KeyHolderSide",
    "Provision",
    "SecureSum",
    "ServerSession",
    "ServerSide",
    "SumResult",
    "SumSpec",
    "centred",
]

KEY_HOLDER = -1
"""The address of the key holder, beside the clients' own ids."""


@dataclass(frozen=True, slots=True)
class SumSpec:
    """The public facts of one sum, known to every role before it starts.

    Args:
        vector_length: d'.
        max_abs: bound on the inputs, when an input beyond it is refused; None under DP.
        ring_bits: b, when inputs are reduced modulo 2^b and never refused; None without DP.
        roster_size: clients asked this round.
        context: digest of plan, round and model; whoever holds another digest is not summed with.
    """

    vector_length: int
    max_abs: int | None
    ring_bits: int | None
    roster_size: int
    context: bytes

    def __post_init__(self) -> None:
        if (self.max_abs is None) == (self.ring_bits is None):
            raise PlanError("a sum is bounded either by max_abs or by ring_bits, not both or none")
        if self.vector_length < 1 or self.roster_size < 0:
            raise PlanError("a sum needs at least one coordinate")

    @property
    def input_bound(self) -> int:
        """Largest magnitude that enters the protocol: max_abs, or 2^(b−1) after reduction."""
        if self.max_abs is not None:
            return self.max_abs
        return 1 << (self.modulus_bits - 1)

    @property
    def modulus_bits(self) -> int:
        """b: given, or the smallest with 2^b > n·(2·max_abs + 1)."""
        if self.ring_bits is not None:
            return self.ring_bits
        return (self.roster_size * (2 * self.input_bound + 1)).bit_length()

    def admit(self, vector: NDArray[np.int64]) -> NDArray[np.int64]:
        """Check or reduce a client's vector before it enters a protocol.

        Raises:
            CapacityError: wrong length, or (without DP) a coordinate beyond max_abs.
        """
        if vector.shape != (self.vector_length,):
            raise CapacityError(f"expected int64[{self.vector_length}], got shape {vector.shape}")
        if self.max_abs is None:
            return centred(vector, self.modulus_bits)
        if int(vector.max()) > self.max_abs or int(vector.min()) < -self.max_abs:
            raise CapacityError(f"a coordinate exceeds max_abs={self.max_abs}")
        return vector

    def settle(self, total: NDArray[np.int64]) -> NDArray[np.int64]:
        """Reduce a sum of admitted vectors the way every backend reduces it."""
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
        return values  # most vectors are within: two looks instead of a new array
    reduced = values + half
    reduced &= mask
    reduced -= half
    return reduced


class SumResult(Protocol):
    """What a secure sum gives: every backend's own result type has this shape."""

    @property
    def total(self) -> NDArray[np.int64]:
        """int64[d'], the sum over the survivors."""
        ...

    @property
    def survivors(self) -> tuple[int, ...]:
        """The clients whose vectors are in the sum."""
        ...


@dataclass(frozen=True, slots=True)
class Conviction:
    """A client that a sum has shown to cheat: it is asked no more in the run.

    Args:
        client: its id.
        reason: what it did, as a sentence.
        context: of the sum (`SumSpec.context`), which the evidence is about.
        evidence: what shows it; after a masked sum `secagg.check_conviction` checks it.
    """

    client: int
    reason: str
    context: bytes
    evidence: bytes = field(repr=False)


class ServerSession(Protocol):
    """The server's part of one sum."""

    @property
    def stage(self) -> str:
        """Name of the stage whose messages are awaited, for reports: nothing is decided by it."""
        ...

    @property
    def collecting(self) -> bool:
        """Whether the messages awaited now carry the clients' vectors.

        From what arrives while this holds, the server counts whose vector has left towards this sum.  Such a
        client is not asked again in the round, and the round counts in its part of the privacy budget.
        """
        ...

    @property
    def convictions(self) -> Sequence[Conviction]:
        """Clients that have been shown to cheat so far, also when there is no sum."""
        ...

    def open(self) -> Mapping[int, Sequence[bytes]]:
        """First messages, by recipient."""
        ...

    def receive(self, sender: int, message: bytes) -> None:
        """Take one message, or raise, naming the sender, with the state unchanged."""
        ...

    def advance(self) -> Mapping[int, Sequence[bytes]]:
        """Close the stage (the silent are dropped) and return the next messages; {} at the end."""
        ...

    def result(self) -> SumResult:
        """The sum; raises before the end."""
        ...


class ClientSession(Protocol):
    """One client's part of one sum."""

    @property
    def roster_size(self) -> int:
        """Clients offered the round, as bound into the session; sizes the noise share."""
        ...

    @property
    def left(self) -> bool:
        """Whether the vector has left, masked or encrypted: it must not enter another sum."""
        ...

    def set_input(self, vector: NDArray[np.int64]) -> None:
        """Give the vector, once, before any message that carries it leaves."""
        ...

    def start(self) -> Sequence[bytes]:
        """First messages to the server."""
        ...

    def receive(self, message: bytes) -> Sequence[bytes]:
        """Answer one message of the server."""
        ...


class KeyHolderSession(Protocol):
    """The key holder's part of one sum."""

    def receive(self, messages: Sequence[bytes]) -> Sequence[bytes]:
        """Open the encrypted sum, once, after every check; answer with the sum in the clear."""
        ...


class ServerSide(Protocol):
    """The server's long-lived material: never a client's secret."""

    def session(self, spec: SumSpec, roster: Sequence[int]) -> ServerSession:
        """Begin one sum over a roster."""
        ...


class ClientSide(Protocol):
    """A client's long-lived material; one may serve several clients of a simulation."""

    def session(
        self, spec: SumSpec, client_id: int, identity: Identity, opening: bytes
    ) -> ClientSession:
        """Answer the server's opening message of one sum."""
        ...


class KeyHolderSide(Protocol):
    """The key holder's long-lived material."""

    def session(self, spec: SumSpec) -> KeyHolderSession:
        """Begin one sum."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Provision:
    """Material handed out once, before the first round; `clients` and `key_holder` may be secret."""

    server: bytes
    clients: bytes
    key_holder: bytes | None

    def __repr__(self) -> str:
        return "Provision(<redacted>)"

    def __reduce__(self) -> str:
        raise TypeError("a Provision may hold secret keys and cannot be pickled")


class SecureSum(Protocol):
    """One way of summing: parameters, and a side for each role."""

    @property
    def kind(self) -> str:
        """Its name in configurations and reports."""
        ...

    @property
    def upload_word_bits(self) -> int | None:
        """Width of the numbers that `uploaded` shows; None for that of the sum's modulus."""
        ...

    @property
    def hides_updates(self) -> bool:
        """Whether the server learns nothing but the sum."""
        ...

    @property
    def dropout_rate(self) -> float:
        """Share of a roster that may fall silent."""
        ...

    @property
    def threat_model(self) -> str:
        """What the server is assumed to do, in a few words."""
        ...

    @property
    def received(self) -> str:
        """What the server receives of one client's update, in a sentence for a report."""
        ...

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What a user has to believe, one sentence each."""
        ...

    def smallest_cohort(self) -> int:
        """Fewest clients that a round may ask."""
        ...

    def min_survivors(self, roster_size: int) -> int:
        """Fewest clients that a sum may contain."""
        ...

    def colluders(self, roster_size: int) -> int:
        """Clients of a roster that are assumed to share what they know with the server."""
        ...

    def check(self, spec: SumSpec) -> None:
        """Raise, before any round, when no parameters exist for such a sum."""
        ...

    def provision(self, spec: SumSpec, directory: Mapping[int, bytes]) -> Provision:
        """Make the material for every role; `spec` is the largest sum of the run."""
        ...

    def server_side(self, material: bytes) -> ServerSide:
        """Open the server's material."""
        ...

    def client_side(self, material: bytes) -> ClientSide:
        """Open the clients' material."""
        ...

    def key_holder_side(self, material: bytes) -> KeyHolderSide:
        """Open the key holder's material; raises where there is no such role."""
        ...

    def describe(self, message: bytes) -> str:
        """The kind of one of its messages, for a report."""
        ...

    def uploaded(self, message: bytes) -> NDArray[np.int64] | NDArray[np.uint64] | None:
        """The numbers that a client's upload shows the server, or None for another message."""
        ...
