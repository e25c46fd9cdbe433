"""The server of one round; it exchanges bytes and holds no reference to a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.errors import LocalProtocolError, RoundAbortedError
from fedavg.protocol.agreement import agreed_spec
from fedavg.protocol.messages import (
    OpenRequest,
    Ready,
    RoundStart,
    SumMessage,
    SumOpen,
    decode,
    encode,
    start_digest,
)
from fedavg.sums.interface import is_client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedavg.protocol.agreement import Agreement
    from fedavg.sums.interface import Conviction, ServerSession, ServerSide, SumResult

__all__ = ["RoundServer"]


class RoundServer:
    """One attempt at a round: it asks a cohort to compute, then sums over the clients that are ready.

    Args:
        agreement: the server's copy of what all roles agreed on, such as a resolved plan.
        side: the server's material of the secure sum.
        start: the first message to the cohort; use each round and attempt once.
        cohort: clients that are asked.
        stage: name of the stage in which they compute.
        members: what messages to the operator call them.
    """

    def __init__(
        self,
        agreement: Agreement,
        side: ServerSide,
        *,
        start: RoundStart,
        cohort: Sequence[int],
        stage: str = "train",
        members: str = "clients",
    ) -> None:
        self._agreement, self._side, self._start = agreement, side, start
        self._first_stage, self._members = stage, members
        # The digest enters the sum's context: clients that were sent different models cannot join one sum.
        self._digest = start_digest(start)
        self._asked = frozenset(cohort)
        self._heard: set[int] = set()
        self._roster: tuple[int, ...] = ()
        self._session: ServerSession | None = None
        self._done = False

    @property
    def stage(self) -> str:
        """Name of the stage whose messages are awaited."""
        return self._first_stage if self._session is None else self._session.stage

    @property
    def collecting(self) -> bool:
        """Whether the messages awaited now carry the clients' vectors."""
        return self._session is not None and self._session.collecting

    @property
    def convictions(self) -> Sequence[Conviction]:
        """Clients that the sum has shown to cheat so far."""
        return () if self._session is None else self._session.convictions

    @property
    def roster(self) -> tuple[int, ...]:
        """The clients among whom the sum is taken: those that were ready; () before it begins."""
        return self._roster

    @property
    def silent(self) -> frozenset[int]:
        """Parties that were asked in the last stage and did not answer."""
        return self._asked - self._heard

    def open(self) -> dict[int, Sequence[bytes]]:
        """The first messages, which send the model to every client of the cohort."""
        # All clients get one object, which `decode` reads only once in each process.
        message = encode(self._start)
        return dict.fromkeys(sorted(self._asked), (message,))

    def receive(self, sender: int, message: bytes) -> None:
        """Take one message.

        Raises:
            WireFormatError, LocalProtocolError: the bytes are no message, or the message is not awaited.
            secagg.RemoteProtocolError, he.HeError: the secure sum refuses the message; the sender counts
                as dropped out from now on.
        """
        decoded = decode(message)
        # A message out of its stage changes nothing, even if it is valid.
        match decoded:
            case Ready() if self._session is None and self._is_ours(decoded):
                if sender not in self._asked:
                    raise LocalProtocolError(f"party {sender} was not asked this round")
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
            RoundAbortedError, secagg.Aborted, he.HeError: there is no sum, and no update was revealed.
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
        # The roster is fixed when training ends; a client that is ready later waits for another round.
        roster = sorted(self._heard)
        bounds = self._agreement.bounds
        # The bounds are public and every client checks them too, so a smaller sum would be refused anyway.
        if not bounds.floor <= len(roster) <= bounds.cap:
            raise RoundAbortedError(
                f"{len(roster)} {self._members} are ready; a round takes {bounds.floor} … {bounds.cap}"
            )
        self._roster = tuple(roster)
        index, attempt = self._start.round, self._start.attempt
        spec = agreed_spec(self._agreement, index, len(roster), self._digest)
        self._session = self._side.session(spec, roster)
        if not roster:  # an empty Poisson draw: the release is noise alone
            self._session.advance()
            self._done = True
            return {}
        return {
            client: tuple(encode(SumOpen(index, len(roster), data, attempt)) for data in messages)
            for client, messages in self._session.open().items()
        }

    def _wrap(self, party: int, messages: Sequence[bytes]) -> Sequence[bytes]:
        index, attempt = self._start.round, self._start.attempt
        if is_client(party):
            return tuple(encode(SumMessage(index, data, attempt)) for data in messages)
        # Other parties compute the sum's context themselves, so they get the numbers that enter it.
        size, block = len(self._roster), self._start.block
        return (encode(OpenRequest(index, size, self._digest, tuple(messages), attempt, block)),)

    def result(self) -> SumResult:
        """The sum over the survivors; raises before the end."""
        if self._session is None or not self._done:
            raise LocalProtocolError("the round is still open")
        return self._session.result()
