"""The server of one round, and the key holder; both exchange bytes and hold no reference to a client."""

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
from fedavg.sums.interface import is_client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.sums.interface import (
        Conviction,
        KeyHolderSide,
        ServerSession,
        ServerSide,
        SumResult,
    )
    from he import Journal

__all__ = ["KeyHolder", "RoundServer"]


class RoundServer:
    """One round at the server: it asks a cohort to train, then sums over the clients that are ready.

    Args:
        resolution: the resolved plan, with its population and model.
        side: the server's material of the secure sum.
        start: the first message to the cohort; use each round and attempt once.
        cohort: clients drawn for this round.
    """

    def __init__(
        self,
        resolution: ResolvedPlan,
        side: ServerSide,
        *,
        start: RoundStart,
        cohort: Sequence[int],
    ) -> None:
        self._resolution = resolution
        self._side = side
        self._round, self._attempt = start.round, start.attempt
        self._start = start
        # The digest enters the sum's context: clients that were sent different models cannot join one sum.
        self._digest = start_digest(start)
        self._cohort = frozenset(cohort)
        self._ready: set[int] = set()
        self._session: ServerSession | None = None
        self._asked: frozenset[int] = frozenset()
        self._done = False

    @property
    def stage(self) -> str:
        """Name of the stage whose messages are awaited."""
        return "train" if self._session is None else self._session.stage

    @property
    def collecting(self) -> bool:
        """Whether the messages awaited now carry the clients' vectors."""
        return self._session is not None and self._session.collecting

    @property
    def convictions(self) -> Sequence[Conviction]:
        """Clients that the sum has shown to cheat so far."""
        return () if self._session is None else self._session.convictions

    def open(self) -> dict[int, Sequence[bytes]]:
        """The first messages, which send the model to every client of the cohort."""
        # All clients get one object, which `decode` reads only once in each process.
        message = encode(self._start)
        return dict.fromkeys(sorted(self._cohort), (message,))

    def receive(self, sender: int, message: bytes) -> None:
        """Take one message.

        Raises:
            WireFormatError, LocalProtocolError: the bytes are no message, or the message is not awaited.
            secagg.RemoteProtocolError, he.HeError: the secure sum refuses the message; the sender counts
                as dropped out from now on.
        """
        decoded = decode(message)
        ours = isinstance(decoded, (Ready, SumMessage)) and self._is_ours(decoded)
        # A message out of its stage changes nothing, even if it is valid.
        if ours and isinstance(decoded, Ready) and self._session is None:
            if sender not in self._cohort:
                raise LocalProtocolError(f"client {sender} was not asked this round")
            self._ready.add(sender)
        elif ours and isinstance(decoded, SumMessage) and self._session:
            self._session.receive(sender, decoded.payload)
        else:
            raise LocalProtocolError(f"party {sender} sent a message that is not awaited now")

    def _is_ours(self, message: Ready | SumMessage) -> bool:
        return (message.round, message.attempt) == (self._round, self._attempt)

    def advance(self) -> dict[int, Sequence[bytes]]:
        """Close the stage and return the next messages; {} when the sum is complete.

        Raises:
            RoundAbortedError, secagg.Aborted, he.HeError: there is no sum, and no update was revealed.
        """
        if self._session is None:
            return self._begin_sum()
        outgoing = self._session.advance()
        if not outgoing:
            self._done = True
        return {party: self._wrap(party, data) for party, data in outgoing.items()}

    def _begin_sum(self) -> dict[int, Sequence[bytes]]:
        # The roster is fixed when training ends; a client that is ready later waits for another round.
        roster = sorted(self._ready)
        bounds = self._resolution.bounds
        # The bounds are public and every client checks them too, so a smaller sum would be refused anyway.
        if not bounds.floor <= len(roster) <= bounds.cap:
            raise RoundAbortedError(
                f"{len(roster)} clients are ready; a round takes {bounds.floor} … {bounds.cap}"
            )
        # The size of the roster is bound in, because it sizes every client's share of the noise.
        context = round_context(self._resolution.digest, self._round, len(roster), self._digest)
        self._session = self._side.session(self._resolution.spec(len(roster), context), roster)
        if not roster:  # an empty Poisson draw: the release is noise alone
            self._session.advance()
            self._done = True
            return {}
        return {
            client: tuple(
                encode(SumOpen(self._round, len(roster), data, self._attempt)) for data in messages
            )
            for client, messages in self._session.open().items()
        }

    def _wrap(self, party: int, messages: Sequence[bytes]) -> Sequence[bytes]:
        if is_client(party):
            return tuple(encode(SumMessage(self._round, data, self._attempt)) for data in messages)
        # Other parties compute the sum's context themselves, so they get the numbers that enter it.
        request = OpenRequest(
            self._round,
            len(self._ready),
            self._digest,
            tuple(messages),
            self._attempt,
            self._start.block,
        )
        return (encode(request),)

    @property
    def roster(self) -> tuple[int, ...]:
        """The clients among whom the sum was taken: those that were ready."""
        return tuple(sorted(self._ready))

    def result(self) -> SumResult:
        """The sum over the survivors; raises before the end."""
        if self._session is None or not self._done:
            raise LocalProtocolError("the round is still open")
        return self._session.result()


class KeyHolder:
    """The key holder: opens one encrypted sum a round, once, after its checks.

    It sees sums, never a single update.

    Args:
        resolution: the resolved plan, as agreed at enrolment.
        side: the key holder's material.
        journal: records each sum before it is opened, so that no sum is opened twice, even after a restart,
            with another key or at the server's request. With None, this memory ends with the process.
    """

    def __init__(
        self, resolution: ResolvedPlan, side: KeyHolderSide, journal: Journal | None = None
    ) -> None:
        self._resolution = resolution
        self._side = side
        self._journal = journal
        self._round = -1
        self._tried: set[bytes] = set()
        self._opened = 0  # number of sums opened in this round

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Answer the server's request to open a sum.

        Raises:
            LocalProtocolError: the request is the second one for an attempt, is for a round that was opened
                already (possibly before a restart), or names a roster outside the plan's bounds.
            JournalError: the sum cannot be recorded; it was not opened.
            he.HeError: the sum is forged, belongs to another round, or is too small.
        """
        request = decode(message)
        if not isinstance(request, OpenRequest):
            raise LocalProtocolError("the key holder only opens sums")
        blocks = self._resolution.plan.blocks
        count, limit = blocks.count if blocks else 1, self._resolution.plan.retry_limit
        begun = request.round == self._round
        # Counts of a new round start at zero, but the old ones stay until all checks have passed.
        tried, opened = (self._tried, self._opened) if begun else (set[bytes](), 0)
        # One sum for each block and round. A client sends its update once a round, under one first message.
        spent = opened >= count or len(tried) >= count * (1 + limit)
        if request.round < self._round or request.start_digest in tried or spent:
            raise LocalProtocolError(f"the sum of round {request.round} was asked for before")
        if not 0 <= request.attempt <= limit:
            raise LocalProtocolError(f"the plan allows no attempt {request.attempt} at a round")
        resolution = self._of_block(request)
        # The key holder checks the plan's bounds itself: its floor of contributors follows from the named
        # roster.
        bounds = self._resolution.bounds
        if not bounds.floor <= request.roster_size <= bounds.cap:
            raise LocalProtocolError(
                f"a sum over {request.roster_size} clients is outside the plan's bounds "
                f"{bounds.floor} … {bounds.cap}"
            )
        # The round is on disk before anything is decrypted, so that a restart cannot open it twice.
        if not begun:
            self._record(request.round)
        # A request counts as tried before it is decrypted: one that fails is not repeated with other uploads.
        self._round, self._tried, self._opened = (
            request.round,
            tried | {request.start_digest},
            opened,
        )
        context = round_context(
            self._resolution.digest, request.round, request.roster_size, request.start_digest
        )
        session = self._side.session(resolution.spec(request.roster_size, context))
        answers = session.receive(request.chunks)
        # Only sums that were opened count here, so a failed attempt leaves room for the next one.
        self._opened += 1
        return tuple(encode(SumMessage(request.round, data, request.attempt)) for data in answers)

    def _of_block(self, request: OpenRequest) -> ResolvedPlan:
        """The resolved plan of the requested sum: blocks have vectors of different lengths."""
        blocks, block = self._resolution.plan.blocks, request.block
        if blocks is None and block is None:
            return self._resolution
        if blocks is None or block is None or not 0 <= block < blocks.count:
            raise LocalProtocolError(f"the plan has no sum of block {block}")
        return self._resolution.of_block(block)

    def _record(self, number: int) -> None:
        """Record that a round begins; refuse a round that began before a restart and may have been opened."""
        # Without a journal only this process prevents a second opening; after a restart nothing does.
        if self._journal is None:
            return
        fact = (
            b"fedavg opening" + self._resolution.digest + number.to_bytes(8, "little", signed=True)
        )
        if not self._journal.add(fact):
            raise LocalProtocolError(
                f"a sum of round {number} may have been opened before the key holder's restart; "
                "the round is void"
            )
