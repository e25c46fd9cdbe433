"""InsecurePlain: the sum in the clear, for baselines and debugging. The server sees every update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from fedavg import checks
from fedavg.errors import CapacityError, LocalProtocolError, RoundAbortedError
from fedavg.parts import Part, register
from secagg.params.derivation import rounded_up

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fedavg.sums.interface import Conviction, SumSpec
    from secagg import Identity

from fedavg.sums.interface import Provision
from fedavg.sums.sides.opening import OpenedSum
from fedavg.sums.sides.upload import UploadSession, check_opening, openings

__all__ = ["InsecurePlain"]

_OPENING = b"PLN1"
_UPLOADS = {b"PLN2": 2, b"PLN4": 4, b"PLN8": 8}  # kinds of upload, by bytes per coordinate


@register("secure_sum")
class InsecurePlain(Part, frozen=True, tag="insecure-plain"):
    """Adds int64 vectors in the clear: the server reads every update, and nothing protects it.

    Args:
        dropout_rate: largest share of a roster that may drop out before a round is given up.

    Example:
        >>> InsecurePlain().hides_updates
        False
    """

    dropout_rate: float = 0.1

    kind = "insecure-plain"
    hides_updates = False
    upload_word_bits = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.plan.fraction_below_one("dropout_rate", self.dropout_rate)

    @property
    def threat_model(self) -> str:
        """None: the server is trusted with every update."""
        return "none: the server reads every update"

    def received(self, spec: SumSpec) -> str:
        """See `SecureSum.received`."""
        del spec
        return "The update itself, with its noise share if it added one. This sum hides nothing."

    def assumptions(self, spec: SumSpec) -> tuple[str, ...]:
        """One assumption: the server is trusted completely."""
        del spec
        return ("The server sees every client's update in the clear and is trusted with it.",)

    def smallest_cohort(self) -> int:
        """Zero: a sum in the clear may be empty."""
        return 0

    def min_survivors(self, roster_size: int) -> int:
        """The roster without the assumed drop-outs."""
        return roster_size - rounded_up(self.dropout_rate, roster_size)

    def colluders(self, roster_size: int) -> int:
        """One: an observing client knows its own share of the noise."""
        return min(1, roster_size)

    def check(self, spec: SumSpec) -> None:
        """Raise CapacityError when sums do not fit int64."""
        # The limit is that of the protected sums, so that a plan that works here works there.
        if spec.modulus_bits > 62:
            raise CapacityError(
                f"the sum needs {spec.modulus_bits} bits, but at most 62 are available: "
                "encode with fewer bits or smaller weights"
            )

    def provision(self, spec: SumSpec, directory: Mapping[int, bytes]) -> Provision:
        """Return an empty provision: a sum in the clear needs no keys."""
        del spec, directory
        return Provision(server=b"", clients=b"", key_holder=None)

    def server_side(self, material: bytes) -> _PlainServerSide:
        """Load the server's side."""
        del material
        return _PlainServerSide(self)

    def client_side(self, material: bytes) -> _PlainClientSide:
        """Load the clients' side."""
        del material
        return _PlainClientSide()

    def key_holder_side(self, material: bytes) -> NoReturn:
        """Raise LocalProtocolError: a sum in the clear has no key."""
        del material
        raise LocalProtocolError("insecure-plain has no key holder")

    def opener_side(self, material: bytes) -> NoReturn:
        """Raise LocalProtocolError: a sum in the clear has no openers."""
        del material
        raise LocalProtocolError("insecure-plain has no openers")

    def describe(self, message: bytes) -> str:
        """The kind of a message."""
        if message[:4] in _UPLOADS:
            return "update in the clear"
        return "opening" if message[:4] == _OPENING else "unknown"

    def uploaded(self, message: bytes) -> NDArray[np.int64] | None:
        """The update itself."""
        width = _UPLOADS.get(message[:4])
        return None if width is None else _vector_of(message, width)


@dataclass(frozen=True, slots=True)
class _PlainServerSide:
    config: InsecurePlain

    def session(self, spec: SumSpec, roster: Sequence[int]) -> _PlainServerSession:
        self.config.check(spec)
        return _PlainServerSession(spec, roster, self.config.min_survivors(len(roster)))


class _PlainServerSession:
    def __init__(self, spec: SumSpec, roster: Sequence[int], min_survivors: int) -> None:
        self._spec = spec
        self._roster = frozenset(roster)
        self._min_survivors = min_survivors
        self._total = np.zeros(spec.vector_length, dtype=np.int64)
        self._survivors: set[int] = set()
        self._done = False

    @property
    def stage(self) -> str:
        return "upload"

    @property
    def collecting(self) -> bool:
        return not self._done

    @property
    def convictions(self) -> tuple[Conviction, ...]:
        return ()

    def open(self) -> dict[int, Sequence[bytes]]:
        return openings(_OPENING, self._spec, self._roster)

    def receive(self, sender: int, message: bytes) -> None:
        # A second upload of one client would count twice.
        if self._done or sender not in self._roster or sender in self._survivors:
            raise LocalProtocolError(f"the sum awaits no message from client {sender}")
        kind, width = _kind_of(self._spec)
        if message[:4] != kind or len(message) != 4 + width * self._spec.vector_length:
            raise CapacityError(
                f"client {sender} did not send {self._spec.vector_length} coordinates"
            )
        # Coordinates are checked as under protection, so that both refuse the same vectors.
        self._total += self._spec.admit(_vector_of(message, width))
        self._survivors.add(sender)

    def advance(self) -> dict[int, Sequence[bytes]]:
        self._done = True
        # The floor applies here too, so that the same rounds fail as in a protected sum.
        if len(self._survivors) < self._min_survivors:
            raise RoundAbortedError(
                f"{len(self._survivors)} clients answered and {self._min_survivors} are needed"
            )
        return {}

    def result(self) -> OpenedSum:
        if not self._done:
            raise LocalProtocolError("the sum is not finished")
        return OpenedSum(self._spec.reduce(self._total), tuple(sorted(self._survivors)))


@dataclass(frozen=True, slots=True)
class _PlainClientSide:
    def session(
        self, spec: SumSpec, client_id: int, identity: Identity, opening: bytes
    ) -> UploadSession:
        del client_id, identity
        check_opening(_OPENING, spec, opening)
        kind, width = _kind_of(spec)

        def in_the_clear(vector: NDArray[np.int64]) -> tuple[bytes]:
            return (b"".join((kind, vector.astype(f"<i{width}", copy=False).data)),)

        return UploadSession(spec, in_the_clear)


def _kind_of(spec: SumSpec) -> tuple[bytes, int]:
    """The narrowest kind of upload whose coordinates hold every admitted input."""
    bits = spec.ring_bits or spec.input_bound.bit_length() + 1
    wide = (b"PLN8", 8)
    return next((pair for pair in _UPLOADS.items() if bits <= 8 * pair[1]), wide)


def _vector_of(message: bytes, width: int) -> NDArray[np.int64]:
    return np.frombuffer(message, dtype=f"<i{width}", offset=4).astype(np.int64, copy=False)
