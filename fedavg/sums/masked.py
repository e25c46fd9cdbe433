"""SecAgg: pairwise-mask secure aggregation as a secure sum."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn

import msgspec
import numpy as np

import secagg
from fedavg import checks
from fedavg.errors import LocalProtocolError, PlanError
from fedavg.parts import Part, register
from fedavg.sums.assumed import at_most
from fedavg.sums.interface import Conviction, Provision
from fedavg.sums.sides.masked_client import SecAggClientSide
from secagg.params.derivation import rounded_up

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fedavg.sums.interface import SumSpec

__all__ = ["STAGES", "SecAgg", "SecAggClientSide", "convictions_of"]

STAGES = {
    secagg.Phase.ADVERTISE_KEYS: "advertise_keys",
    secagg.Phase.SHARE_KEYS: "share_keys",
    secagg.Phase.CHECK_SHARES: "check_shares",
    secagg.Phase.MASKED_INPUT: "masked_input",
    secagg.Phase.CONSISTENCY: "consistency",
    secagg.Phase.UNMASK: "unmask",
}
"""Names of the phases in which the server waits for clients' messages."""


@register("secure_sum")
class SecAgg(Part, frozen=True, tag="secagg"):
    """Secure aggregation with pairwise masks that cancel in the sum.

    The protocol follows Bonawitz et al. 2017 and Bell et al. 2020.

    Args:
        dropout_rate: largest share of a roster that may drop out, at any time.
        corrupt_rate: largest share of a roster that may collude with the server.
        threat_model: "malicious" (the server may lie actively; up to 2,000 clients a round),
            "malicious-local" (more clients; the server may learn several sums, each over about a quarter
            of the round's clients) or "semi-honest" (the server follows the protocol and only looks).

    Example:
        >>> SecAgg().kind
        'secagg'
    """

    dropout_rate: float = 0.1
    corrupt_rate: float = 0.1
    threat_model: Literal["malicious", "semi-honest", "malicious-local"] = "malicious"

    kind = "secagg"
    hides_updates = True
    upload_word_bits = None
    drawn = ""
    committee = absent_members = epoch_rounds = 0  # its clients open the sum themselves
    survives_processes = True
    """Whether no party needs its memory between two messages: see `SecAggClientSession.suspend`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.plan.fraction_below_one("dropout_rate", self.dropout_rate)
        checks.plan.fraction_below_one("corrupt_rate", self.corrupt_rate)
        if self.threat_model not in ("malicious", "semi-honest", "malicious-local"):
            raise PlanError("threat_model must be 'malicious', 'malicious-local' or 'semi-honest'")

    def received(self, spec: SumSpec) -> str:
        """See `SecureSum.received`."""
        del spec
        return "The same coordinates under pairwise masks: each is uniform on the whole ring."

    def assumptions(self, spec: SumSpec) -> tuple[str, ...]:
        """The assumptions behind the protocol's guarantee, for vectors of any length."""
        del spec
        server = {
            "malicious": "may lie, drop and replay messages at will",
            "malicious-local": "may lie at will, and learn sums over parts of a cohort",
            "semi-honest": "follows the protocol and only looks",
        }[self.threat_model]
        return (
            f"The server {server}; {at_most(self.corrupt_rate)} collude with it.",
            f"{at_most(self.dropout_rate).capitalize()} drop out; beyond that, a round gives no sum.",
            "Every client knows the identity keys of all clients beforehand (a pinned directory).",
            "The server draws the cohorts unobserved: it must not draw more colluders than that share.",
        )

    def smallest_cohort(self) -> int:
        """The smallest number of clients from which parameters exist for every larger number."""
        return secagg.Params.smallest_cohort(
            dropout_rate=self.dropout_rate,
            corrupt_rate=self.corrupt_rate,
            threat_model=self.threat_model,
        )

    def min_survivors(self, roster_size: int) -> int:
        """The roster without the assumed drop-outs; at least three, and at least the protocol's quorum."""
        if self.threat_model == "malicious-local":
            rates = (self.dropout_rate, self.corrupt_rate)
            return secagg.requirements(roster_size, *rates, self.threat_model).min_survivors
        # The formula for u is that of docs/protocol.md, section Parameters.
        corrupt = rounded_up(self.corrupt_rate, roster_size)
        lying = corrupt if self.threat_model == "malicious" else 0
        quorum = (roster_size + lying) // 2 + 1
        silent = rounded_up(self.dropout_rate, roster_size)
        return max(3, roster_size - silent, quorum, corrupt + 2)

    def colluders(self, roster_size: int) -> int:
        """The assumed share of corrupt clients; at least one: an observing client knows its own noise."""
        return max(1, rounded_up(self.corrupt_rate, roster_size))

    def check(self, spec: SumSpec) -> None:
        """Raise secagg.UnsafeParametersError or secagg.CapacityError when no parameters exist."""
        self.params(spec)

    def params(self, spec: SumSpec) -> secagg.Params:
        """The protocol parameters for one roster."""
        return _params(
            spec.roster_size,
            spec.vector_length,
            spec.max_abs,
            spec.ring_bits,
            self,
        )

    def provision(self, spec: SumSpec, directory: Mapping[int, bytes]) -> Provision:
        """Give every role the directory of public identities, which contains no secret."""
        del spec
        packed = msgspec.msgpack.encode(dict(directory))
        return Provision(server=packed, clients=packed, key_holder=None)

    def server_side(self, material: bytes) -> _SecAggServerSide:
        """Load the server's side: the directory, with which it refuses unknown identities."""
        return _SecAggServerSide(self, _directory(material))

    def client_side(self, material: bytes) -> SecAggClientSide:
        """Load the clients' side: the pinned directory."""
        return SecAggClientSide(self, _directory(material))

    def key_holder_side(self, material: bytes) -> NoReturn:
        """Raise LocalProtocolError: masked sums have no key holder."""
        del material
        raise LocalProtocolError("secagg has no key holder")

    def opener_side(self, material: bytes) -> NoReturn:
        """Raise LocalProtocolError: masked sums have no openers."""
        del material
        raise LocalProtocolError("secagg has no openers")

    def describe(self, message: bytes) -> str:
        """The kind of a message, from its header."""
        return secagg.message_kind(message)

    def uploaded(self, message: bytes) -> NDArray[np.uint64] | None:
        """The ring elements of a masked vector."""
        if not message or secagg.message_kind(message) != "masked_input":
            return None
        return secagg.masked_vector(message).astype(np.uint64)


def _directory(material: bytes) -> secagg.Directory:
    return secagg.Directory(msgspec.msgpack.decode(material, type=dict[int, bytes]))


# The search for the degree of a sparse graph takes long for a large roster.
@functools.lru_cache(maxsize=1024)
def _params(
    roster_size: int,
    vector_length: int,
    max_abs: int | None,
    ring_bits: int | None,
    config: SecAgg,
) -> secagg.Params:
    return secagg.Params.for_cohort(
        roster_size,
        vector_length,
        max_abs=max_abs,
        ring_bits=ring_bits,
        dropout_rate=config.dropout_rate,
        corrupt_rate=config.corrupt_rate,
        threat_model=config.threat_model,
    )


@dataclass(frozen=True, slots=True)
class _SecAggServerSide:
    config: SecAgg
    directory: secagg.Directory

    def server(self, spec: SumSpec) -> secagg.Server:
        return secagg.Server(
            self.config.params(spec), context=spec.context, directory=self.directory
        )

    def session(self, spec: SumSpec, roster: Sequence[int]) -> _SecAggServerSession:
        return _SecAggServerSession(self.server(spec), roster, spec.context)


def convictions_of(server: secagg.Server, context: bytes) -> tuple[Conviction, ...]:
    """The clients that this session has convicted, with the context of its sum."""
    return tuple(Conviction(c.client_id, str(c), context, c.evidence) for c in server.convictions)


class _SecAggServerSession:
    def __init__(self, server: secagg.Server, roster: Sequence[int], context: bytes) -> None:
        self._server = server
        self._context = context
        self._roster = frozenset(roster)

    @property
    def stage(self) -> str:
        return STAGES.get(self._server.phase, "done")

    @property
    def collecting(self) -> bool:
        return self._server.phase is secagg.Phase.MASKED_INPUT

    @property
    def convictions(self) -> tuple[Conviction, ...]:
        return convictions_of(self._server, self._context)

    def open(self) -> dict[int, Sequence[bytes]]:
        offer = self._server.offer()
        return dict.fromkeys(self._roster, (offer,))

    def receive(self, sender: int, message: bytes) -> None:
        # The transport states the sender; a client outside the roster must not disturb the session.
        if sender not in self._roster:
            raise LocalProtocolError(f"client {sender} is not on this round's roster")
        self._server.receive(sender, message)

    def advance(self) -> dict[int, Sequence[bytes]]:
        return {client: (message,) for client, message in self._server.advance().items()}

    def result(self) -> secagg.SumResult:
        return self._server.result()
