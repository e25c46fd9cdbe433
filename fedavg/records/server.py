"""The server of one step, and the key holder; both exchange bytes and hold no reference to a silo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.errors import LocalProtocolError, RoundAbortedError
from fedavg.protocol.messages import (
    OpenRequest,
    Ready,
    RoundStart,
    SumMessage,
    SumOpen,
    decode,
    encode,
    round_context,
    start_digest,
)
from fedavg.sums.interface import KEY_HOLDER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedavg.records.resolution import ResolvedRecords
    from fedavg.sums.interface import (
        Conviction,
        KeyHolderSide,
        ServerSession,
        ServerSide,
        SumResult,
    )

__all__ = ["StepKeyHolder", "StepServer"]


class StepServer:
    """One attempt at a step: it asks the silos to draw, then sums over those that are ready.

    Args:
        resolution: the resolved plan.
        side: the server's material of the secure sum.
        start: the first message to the silos; use each step and attempt once.
        silos: the silos that are asked.
    """

    def __init__(
        self,
        resolution: ResolvedRecords,
        side: ServerSide,
        start: RoundStart,
        silos: Sequence[int],
    ) -> None:
        self._resolution, self._side, self._start = resolution, side, start
        self._digest = start_digest(start)
        self._asked = frozenset(silos)
        self._heard: set[int] = set()
        self._roster: tuple[int, ...] = ()
        self._session: ServerSession | None = None
        self._done = False

    @property
    def stage(self) -> str:
        """Name of the stage whose messages are awaited."""
        return "gradients" if self._session is None else self._session.stage

    @property
    def collecting(self) -> bool:
        """Whether the messages awaited now carry the silos' vectors."""
        return self._session is not None and self._session.collecting

    @property
    def convictions(self) -> Sequence[Conviction]:
        """Silos that the sum has shown to cheat so far."""
        return () if self._session is None else self._session.convictions

    @property
    def roster(self) -> tuple[int, ...]:
        """The silos among whom the sum is taken; () before it begins."""
        return self._roster

    @property
    def silent(self) -> frozenset[int]:
        """Silos that were asked in the last stage and did not answer."""
        return self._asked - self._heard

    def open(self) -> dict[int, Sequence[bytes]]:
        """The first messages, which send the model to every silo."""
        message = encode(self._start)
        return dict.fromkeys(sorted(self._asked), (message,))

    def receive(self, sender: int, message: bytes) -> None:
        """Take one message.

        Raises:
            WireFormatError, LocalProtocolError: the bytes are no message, or the message is not awaited.
            secagg.RemoteProtocolError, he.HeError: the secure sum refuses the message.
        """
        decoded = decode(message)
        match decoded:
            case Ready() if self._session is None and self._is_ours(decoded):
                if sender not in self._asked:
                    raise LocalProtocolError(f"silo {sender} was not asked in this step")
            case SumMessage() if self._session is not None and self._is_ours(decoded):
                self._session.receive(sender, decoded.payload)
            case _:
                raise LocalProtocolError(f"party {sender} sent a message that is not awaited now")
        self._heard.add(sender)

    def _is_ours(self, message: Ready | SumMessage) -> bool:
        return (message.round, message.attempt) == (self._start.round, self._start.attempt)

    def advance(self) -> dict[int, Sequence[bytes]]:
        """Close the stage and return the next messages; {} when the sum is complete.

        Raises:
            RoundAbortedError, secagg.Aborted, he.HeError: there is no sum.
        """
        if self._session is None:
            outgoing = self._begin_sum()
        else:
            told = self._session.advance()
            self._done = not told
            outgoing = {party: self._wrap(party, data) for party, data in told.items()}
        if outgoing:
            self._asked, self._heard = frozenset(outgoing), set()
        return outgoing

    def _begin_sum(self) -> dict[int, Sequence[bytes]]:
        roster, resolution = sorted(self._heard), self._resolution
        if not resolution.floor <= len(roster) <= resolution.silos:
            raise RoundAbortedError(
                f"{len(roster)} silos are ready; a sum takes {resolution.floor} … {resolution.silos}"
            )
        self._roster = tuple(roster)
        # The size of the roster is bound in, because it sizes every silo's share of the noise.
        step, attempt = self._start.round, self._start.attempt
        context = round_context(resolution.digest, step, len(roster), self._digest)
        self._session = self._side.session(resolution.spec(len(roster), context), roster)
        return {
            silo: tuple(encode(SumOpen(step, len(roster), data, attempt)) for data in messages)
            for silo, messages in self._session.open().items()
        }

    def _wrap(self, party: int, messages: Sequence[bytes]) -> Sequence[bytes]:
        step, attempt = self._start.round, self._start.attempt
        if party != KEY_HOLDER:
            return tuple(encode(SumMessage(step, data, attempt)) for data in messages)
        size = len(self._roster)
        return (encode(OpenRequest(step, size, self._digest, tuple(messages), attempt)),)

    def result(self) -> SumResult:
        """The sum; raises before the end."""
        if self._session is None or not self._done:
            raise LocalProtocolError("the step is still open")
        return self._session.result()


class StepKeyHolder:
    """The key holder of encrypted sums: it opens one sum for each attempt, and attempts only go up.

    Args:
        resolution: the resolved plan, as agreed at enrolment.
        side: the key holder's material.
    """

    def __init__(self, resolution: ResolvedRecords, side: KeyHolderSide) -> None:
        self._resolution, self._side = resolution, side
        self._last = (-1, 0)

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Answer the server's request to open a sum.

        Raises:
            LocalProtocolError: the request is for an attempt that was asked for before, or names a roster
                outside the plan's bounds.
            he.HeError: the sum is forged, belongs to another step, or is too small.
        """
        request = decode(message)
        match request:
            case OpenRequest():
                return self._open(request)
            case _:
                raise LocalProtocolError("the key holder only opens sums")

    def _open(self, request: OpenRequest) -> Sequence[bytes]:
        resolution = self._resolution
        if (request.round, request.attempt) <= self._last:
            raise LocalProtocolError(f"a sum of step {request.round} was asked for before")
        if not resolution.floor <= request.roster_size <= resolution.silos:
            raise LocalProtocolError(
                f"a sum over {request.roster_size} silos is outside the plan's bounds"
            )
        # A request counts before it is decrypted: one that fails is not repeated with other uploads.
        self._last = (request.round, request.attempt)
        context = round_context(
            resolution.digest, request.round, request.roster_size, request.start_digest
        )
        session = self._side.session(resolution.spec(request.roster_size, context))
        answers = session.receive(request.chunks)
        return tuple(encode(SumMessage(request.round, data, request.attempt)) for data in answers)
