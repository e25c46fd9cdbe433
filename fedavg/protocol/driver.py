"""The driver of one round: it carries bytes between a server and its parties until the sum is complete."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from dp import DpError
from fedavg.errors import FedAvgError
from he import HeError
from secagg import SecAggError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fedavg.protocol.transcript import Transcript
    from fedavg.sums.interface import Conviction, SumResult

__all__ = ["Delivery", "Round", "RoundTraffic", "Transport", "run_round"]

PROTOCOL_ERRORS = (FedAvgError, SecAggError, HeError, DpError)
"""Errors that the fault of a peer or of a caller raises, in any of the packages."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One party's answer: messages, or, in a simulation, the reason why there are none."""

    party: int
    messages: Sequence[bytes]
    failure: str | None = None


class Transport(Protocol):
    """Carries messages to parties and yields their answers in the order of arrival."""

    def exchange(self, outgoing: Mapping[int, Sequence[bytes]]) -> Iterator[Delivery]:
        """Deliver the messages; a party that does not answer yields nothing."""
        ...


class Round(Protocol):
    """The server's side of one round: bytes in, bytes out."""

    @property
    def stage(self) -> str:
        """Name of the stage whose messages are awaited."""
        ...

    @property
    def collecting(self) -> bool:
        """Whether the messages awaited now carry the clients' vectors."""
        ...

    @property
    def convictions(self) -> Sequence[Conviction]:
        """Clients that the sum has shown to cheat so far."""
        ...

    def open(self) -> Mapping[int, Sequence[bytes]]:
        """The first messages, by party."""
        ...

    def receive(self, sender: int, message: bytes) -> None:
        """Take one message, or raise; after an error the sender counts as dropped out."""
        ...

    def advance(self) -> Mapping[int, Sequence[bytes]]:
        """Close the stage and return the next messages; {} when the sum is complete."""
        ...

    def result(self) -> SumResult:
        """The sum over the survivors."""
        ...


@dataclass(slots=True)
class RoundTraffic:
    """Bytes, seconds and refused messages of one round, for the server's operator."""

    bytes_up: int = 0
    bytes_down: int = 0
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    refused: dict[int, str] = field(default_factory=dict[int, str])
    failures: dict[int, str] = field(default_factory=dict[int, str])
    contributed: set[int] = field(default_factory=set[int])
    """Clients that contributed: their vectors were sent towards a sum of this round, accepted or refused."""
    convictions: dict[int, Conviction] = field(default_factory=dict[int, "Conviction"])
    """Clients that a sum of this round has shown to cheat."""


def run_round(
    server: Round,
    transport: Transport,
    traffic: RoundTraffic,
    transcript: Transcript | None = None,
) -> SumResult:
    """Run every stage of one round.

    Args:
        server: the round's server, not yet opened.
        transport: carries the bytes.
        traffic: bytes and times; filled in during the round, even when it aborts.
        transcript: when given, records every message that the server sent or received.

    Raises:
        RoundAbortedError, secagg.Aborted, he.HeError: there is no sum, and no update was revealed.
    """
    outgoing: Mapping[int, Sequence[bytes]] = server.open()
    while True:
        started, stage = time.perf_counter(), server.stage
        try:
            _deliver(server, transport, traffic, transcript, outgoing)
            outgoing = server.advance()
        finally:
            # Times and convictions are kept when the stage fails: the operator needs them then most of all.
            spent = time.perf_counter() - started
            traffic.seconds[stage] = traffic.seconds.get(stage, 0.0) + spent
            traffic.convictions |= {found.client: found for found in server.convictions}
        if not outgoing:
            break
    return server.result()


def _deliver(
    server: Round,
    transport: Transport,
    traffic: RoundTraffic,
    transcript: Transcript | None,
    outgoing: Mapping[int, Sequence[bytes]],
) -> None:
    stage, collecting = server.stage, server.collecting
    for party, messages in outgoing.items():
        for message in messages:
            traffic.bytes_down += len(message)
            if transcript is not None:
                transcript.record(stage, "down", party, message)
    for delivery in transport.exchange(outgoing):
        if delivery.failure is not None:
            traffic.failures[delivery.party] = delivery.failure
        for message in delivery.messages:
            traffic.bytes_up += len(message)
            if transcript is not None:
                transcript.record(stage, "up", delivery.party, message)
            if collecting:  # even a refused vector has left its client and must not be sent again
                traffic.contributed.add(delivery.party)
            try:
                server.receive(delivery.party, message)
            except PROTOCOL_ERRORS as error:
                traffic.refused[delivery.party] = str(error)
                # The sender counts as dropped out, so its further messages of this stage are not read.
                break
