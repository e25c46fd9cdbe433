"""The server: carries messages between clients, adds masked inputs, and removes the masks of the sum.

`secagg.roles.server.tally` has the effects of messages and of the end of a phase.  There is no clock: the
caller decides when a phase is over and calls `advance`, and clients that have not answered by then drop out.
A bad message raises, names its sender and changes nothing.  A masked input is added to the sum when it is
complete, and is not kept.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from secagg.crypto.keys import Directory, check_client_id, entropy
from secagg.errors import (
    Aborted,
    LocalProtocolError,
    RemoteProtocolError,
    SecAggError,
    WireFormatError,
)
from secagg.guards.calls import Turn, leaving_nothing
from secagg.guards.checks import context_of, executor_of, instance, octets
from secagg.params.params import Params
from secagg.roles.server import admission
from secagg.roles.server.staging import Staging
from secagg.roles.server.tally import Tally
from secagg.roles.server.unmask import SumResult
from secagg.session.state import SERVER_AWAITS, Phase, next_phase
from secagg.wire.bounds import largest_message
from secagg.wire.codec import decode, encode, read_header
from secagg.wire.messages import NONCE_SIZE, Offer

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from concurrent.futures import Executor

    import numpy as np
    from numpy.typing import NDArray

    from secagg.errors.conviction import Conviction
    from secagg.wire.messages import MaskedInput, Message

__all__ = ["Server", "SumResult"]


class Server:
    """The server of one session.

    Args:
        params: the session's parameters; `params.n_clients` clients may take part.
        context: name of what the inputs belong to; clients with another context do not join.
        directory: the clients' list of identities. A client with an unknown identity is refused here, instead
            of ending the session at all other clients. Where clients accept any identity from the server, a
            `TrustServerDirectory`.
        executor: executor of threads, to remove the masks of long vectors on several cores.

    It makes one call at a time: a call from a second thread raises LocalProtocolError, and nothing changes.

    Raises:
        LocalProtocolError: an argument has another type.

    Example:
        >>> from secagg import Directory, Identity, Params
        >>> known = Directory({i: Identity.generate().public for i in range(5)})
        >>> params = Params.for_cohort(5, 8, max_abs=100)
        >>> server = Server(params, context=b"round 1", directory=known)
        >>> server.phase.name
        'ADVERTISE_KEYS'
    """

    def __init__(
        self,
        params: Params,
        *,
        context: bytes,
        directory: Directory,
        executor: Executor | None = None,
    ) -> None:
        self._turn = Turn("this server")
        self._params = instance("params", params, Params)
        known, helper = instance("directory", directory, Directory), executor_of(executor)
        offer = Offer(params, entropy(NONCE_SIZE))  # the nonce makes the session's name unique
        self._session = offer.session(context_of(context))
        self._offer = encode(offer, self._session)
        self._tally = Tally(params, self._session, self._offer, known, helper)
        self._phase = Phase.ADVERTISE_KEYS
        # The ids that may send in this phase; in the first phase, any client may.
        self._live: set[int] = set()
        self._answers: dict[int, Message] = {}
        self._staging = Staging()

    @property
    def phase(self) -> Phase:
        """The phase whose messages are awaited."""
        return self._phase

    @property
    def params(self) -> Params:
        """The parameters of the session."""
        return self._params

    @property
    def convictions(self) -> tuple[Conviction, ...]:
        """Clients that have been shown to cheat so far, with the evidence."""
        return self._tally.convictions

    @property
    def disputes(self) -> tuple[tuple[int, int], ...]:
        """Pairs (holder, dealer) where the holder said that the dealer's shares did not open."""
        return self._tally.disputes

    def offer(self) -> bytes:
        """Message 0, the same for every client."""
        return self._offer

    @leaving_nothing
    def receive(self, client_id: int, message: bytes) -> None:
        """Take a client's message of this phase; the transport knows the sender.

        Raises:
            RemoteProtocolError: the message is not acceptable; nothing has changed. Unless a good message
                follows, the client drops out when the phase closes.
            LocalProtocolError: the session is over, another call is at work, or an argument has another
                type.
            InternalError: the call failed below the package's checks; the session is over.
        """
        sender, data = check_client_id(client_id), octets("message", message)
        with self._turn, self._unbroken():
            self._check_sender(sender)
            self._take(sender, data)

    @leaving_nothing
    def receive_chunk(self, client_id: int, chunk: bytes) -> None:
        """Stage a part of a message; the last part commits the whole message as `receive` does.

        Raises:
            RemoteProtocolError: the chunk is not the next part (the earlier parts stay), or the whole message
                is not acceptable (all its parts are then discarded).
            LocalProtocolError, InternalError: as for `receive`.
        """
        sender, data = check_client_id(client_id), octets("chunk", chunk)
        with self._turn, self._unbroken():
            self._check_sender(sender)
            # The longest message of this phase bounds the memory of an unfinished upload.
            limit = largest_message(SERVER_AWAITS[self._phase], self._params)
            whole = self._staging.take(sender, data, session=self._session, limit=limit)
            if whole is not None:
                self._take(sender, whole)

    @leaving_nothing
    def receive_sum(self, signatures: Mapping[int, bytes], total: NDArray[np.int64]) -> None:
        """Take masked inputs as one sum modulo 2^b, int64[d], added under a second encryption.

        `signatures` has the clients whose inputs are in the sum; with b"" where inputs are not signed.

        Raises:
            RemoteProtocolError: see `check_apart`.
            LocalProtocolError: the call comes at a wrong time, has a wrong shape, or names no client.
            InternalError: the call failed below the package's checks; the session is over.
        """
        with self._turn, self._unbroken():
            # All senders are checked before any words are added: a sum cannot be taken apart afterwards.
            inputs = [self._apart(*pair) for pair in admission.somebody(signatures).items()]
            self._tally.add_sum(inputs, total)
            for message in inputs:
                self._answers[message.client_id] = message

    @leaving_nothing
    def check_apart(self, client_id: int, signature: bytes) -> MaskedInput:
        """Check all of a masked input except its words, which arrive in a sum. Raises as `receive` does.

        Args:
            client_id: id of the sender.
            signature: signature on its partners, where quorums consist of neighbours; else b"".
        """
        sender, signed = check_client_id(client_id), octets("signature", signature)
        with self._turn, self._unbroken():
            return self._apart(sender, signed)

    def _apart(self, client_id: int, signature: bytes) -> MaskedInput:
        self._check_sender(client_id)
        admission.check_due(self._phase)
        return self._tally.check_apart(client_id, signature)

    @leaving_nothing
    def advance(self) -> dict[int, bytes]:
        """Close the phase, drop clients that did not answer, and return each live client's next message.

        The result is {} at the end.

        Raises:
            Aborted: too few clients remain, or a mask cannot be removed; there is no sum.
            LocalProtocolError: the session is over, or another call is at work.
            InternalError: the call failed below the package's checks; the session is over.
        """
        with self._turn:
            self._check_running()
            # Any other error than Aborted may have left the phase half closed.
            with self._unbroken(Aborted):
                return self._advance()

    def _advance(self) -> dict[int, bytes]:
        messages, failure = self._closed()
        # It is raised here, because the first error's traceback refers to secrets.
        if failure is not None:
            raise failure
        self._phase = next_phase(self._phase)
        self._live = set(messages)
        self._answers = {}
        self._staging.clear()
        if self._phase is Phase.DONE:
            self._forget()
        return messages

    def _closed(self) -> tuple[dict[int, bytes], Aborted | None]:
        """The result of the phase: messages, or the end of the session with everything known about it."""
        tally = self._tally
        try:
            return tally.close(self._phase, self._answers), None
        except Aborted as error:
            reason, detail = error.reason, error.args[1]
        self._forget()
        self._phase = Phase.ABORTED
        culprit = tally.convictions[0].client_id if tally.convictions else None
        return {}, Aborted(reason, detail, culprit, tally.convictions, tally.disputes)

    def result(self) -> SumResult:
        """The sum.

        Raises:
            LocalProtocolError: the session is not done.
        """
        if self._tally.result is None:
            raise LocalProtocolError(f"no result in phase {self._phase.name}")
        return self._tally.result

    # What is acceptable -----------------------------------------------------------------------------

    @contextmanager
    def _unbroken(self, refusal: type[SecAggError] = SecAggError) -> Generator[None]:
        """End the session when a call is interrupted other than by a refusal: a sum may be partly added."""
        try:
            yield
        except refusal:
            raise
        except BaseException:
            self._forget()
            self._phase = Phase.ABORTED
            raise

    def _check_running(self) -> None:
        if self._phase in (Phase.DONE, Phase.ABORTED):
            raise LocalProtocolError(f"the session is {self._phase.name}")

    def _check_sender(self, client_id: int) -> None:
        self._check_running()
        if self._phase is Phase.ADVERTISE_KEYS:
            if len(self._answers) >= self._params.n_clients and client_id not in self._answers:
                raise RemoteProtocolError("came after the roster was full", client_id)
        elif client_id not in self._live:
            raise RemoteProtocolError("is not, or no longer, part of the session", client_id)
        if client_id in self._answers:  # or its input would be in the sum twice
            raise RemoteProtocolError("sent a second message in one phase", client_id)

    def _take(self, client_id: int, data: bytes | bytearray) -> None:
        """Decode, check and keep a whole message."""
        try:
            kind, session = read_header(data)
            # The header is checked before the body is decoded: a message out of turn costs no work.
            if session != self._session:
                raise RemoteProtocolError("sent a message of another session", client_id)
            if kind is not SERVER_AWAITS[self._phase]:
                raise RemoteProtocolError(
                    f"sent {kind.name} in phase {self._phase.name}", client_id
                )
            _, content = decode(data)
        except WireFormatError as error:
            raise RemoteProtocolError(f"sent a malformed message: {error}", client_id) from error
        if getattr(content, "client_id", None) != client_id:
            raise RemoteProtocolError("sent a message in another client's name", client_id)
        self._accept(client_id, content)
        self._staging.drop(client_id)

    def _accept(self, client_id: int, content: Message) -> None:
        self._answers[client_id] = self._tally.accept(client_id, content)

    def _forget(self) -> None:
        self._answers, self._live = {}, set()
        self._staging.clear()
        self._tally.forget()
