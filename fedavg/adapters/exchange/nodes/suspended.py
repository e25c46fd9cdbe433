"""A node as a client of masked sums: a process for each message, and between two of them one sealed state.

docs/protocol.md, "Suspended clients", says what a state and its copies can do and cannot.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from fedavg.adapters.exchange.errors import RefusedRequestError
from fedavg.errors import ConfigError
from secagg import InternalError, LocalProtocolError, SecAggError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.adapters.exchange.nodes.states import Shelf
    from fedavg.sums.interface import SumSpec
    from fedavg.sums.sides.masked_client import SecAggClientSession, SecAggClientSide
    from secagg import Identity, Journal

__all__ = ["SuspendedClient"]


@dataclass(frozen=True, slots=True, repr=False)
class SuspendedClient:
    """One node's client, of which there is one at any time: an object, or a state on the shelf.

    Args:
        side: the clients' side of the sum.
        node: id of the node.
        identity: its signing key.
        journal: the node's journal, in which each phase is claimed before its message is read.
        shelf: where the state lies.

    Example:
        >>> from secagg import Directory, Identity
        >>> from fedavg.sums.masked import SecAgg
        >>> from fedavg.sums.sides.others import MemoryJournal
        >>> me, shelf = Identity.generate(), object()
        >>> side = SecAgg().client_side(SecAgg().provision(None, {3: me.public}).clients)
        >>> SuspendedClient(side, 3, me, MemoryJournal(), shelf)
        SuspendedClient(<redacted>)
    """

    side: SecAggClientSide
    node: int
    identity: Identity = field(repr=False)
    journal: Journal = field(repr=False)
    shelf: Shelf = field(repr=False)

    def __repr__(self) -> str:
        return "SuspendedClient(<redacted>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SuspendedClient holds a secret key and cannot be pickled or copied")

    def begin(self, spec: SumSpec, opening: bytes) -> _FirstOfMany:
        """Join a sum.

        Args:
            spec: the public facts of the sum.
            opening: the server's offer.

        Raises:
            RefusedRequestError: the offer is of another sum, or was accepted before, or it is unsafe.
            ConfigError: the journal failed.
        """
        with _refusing():
            session = self.side.session(spec, self.node, self.identity, opening, self.journal)
        return _FirstOfMany(session, self.shelf)

    def forget(self) -> None:
        """Remove the state of an earlier sum, which no later message will meet."""
        with self.shelf.locked():
            self.shelf.clear()

    def go_on(self, context: bytes, message: bytes, claim: Callable[[], None]) -> tuple[bytes, ...]:
        """Answer the next message of a sum; the new state is stored before this returns.

        Args:
            context: name of the sum.
            message: the server's message.
            claim: records that this node answers this message, and raises if it did before. A second copy of
                a message would otherwise meet the state after the first, and use up its phase.

        Raises:
            RefusedRequestError: there is no state of this sum, or the message is not acceptable. The second
                is final: the node is out of this sum.
            ConfigError: the state or the journal cannot be used; nothing is answered.
        """
        # One process at a time: another one could otherwise replace the state of a later sum by this one's.
        with self.shelf.locked(), _refusing():
            session = self._resumed(context)
            claim()
            try:
                parts = tuple(session.receive(message))
                if not session.over:
                    self.shelf.put(session.suspend())
                    return parts
            except BaseException:
                self.shelf.clear()  # the phase is used up, so that this state answers nothing more
                raise
            self.shelf.clear()
            return parts

    def _resumed(self, context: bytes) -> SecAggClientSession:
        state = self.shelf.take_in()
        if state is None:
            raise RefusedRequestError(
                "this node is not in this sum: it sent no record, or gave its last answer, or a later sum "
                "has begun here since"
            )
        return self.side.resume(context, self.node, self.identity, state, self.journal)


class _FirstOfMany:
    """The client until its first message is made; after that only its state is left."""

    __slots__ = ("_session", "_shelf")

    def __init__(self, session: SecAggClientSession, shelf: Shelf) -> None:
        self._session, self._shelf = session, shelf

    def set_input(self, vector: NDArray[np.int64]) -> None:
        self._session.set_input(vector)

    def start(self) -> Sequence[bytes]:
        parts, state = self._session.start(), self._session.suspend()
        with self._shelf.locked():
            self._shelf.put(state)
        return parts


@contextmanager
def _refusing() -> Generator[None]:
    """Tell the server what is wrong with its messages or with the state, and the node's own log the rest."""
    try:
        yield
    except StateError as error:
        raise RefusedRequestError(f"this node cannot go on with this sum: {error}") from None
    except LocalProtocolError as error:
        # The journal: its path and its disk are no matter of the server's.
        raise ConfigError(f"this node cannot take part in the sum: {error}") from error
    except InternalError as error:
        # A failure of this machine: the place in our code is no matter of the server's either.
        raise ConfigError(f"this node cannot take part in the sum: {error}") from error
    except SecAggError as error:
        raise RefusedRequestError(f"the masked sum cannot go on here: {error}") from None
