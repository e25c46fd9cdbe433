"""A node's contribution to one round, from the time at which the round was claimed until it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Protocol

import numpy as np

from fedavg.adapters.exchange.messages import Reply
from fedavg.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fedavg.adapters.exchange.vectors.coordinates import Vectors
    from fedavg.adapters.exchange.vectors.layout import Arrays

__all__ = ["Contribution", "FirstMessage"]


class FirstMessage(Protocol):
    """What a contribution needs of a session: `ClientSession` has it, and `SuspendedClient`.

    Example:
        >>> class Echo:  # it sends the vector as it is, which no session does
        ...     def set_input(self, vector):
        ...         self.vector = vector
        ...     def start(self):
        ...         return (bytes(self.vector),)
        >>> session: FirstMessage = Echo()
        >>> session.set_input(np.frombuffer(b"hello", np.uint8))
        >>> session.start()
        (b'hello',)
    """

    def set_input(self, vector: NDArray[np.int64]) -> None:
        """Give the vector; a vector that is refused leaves room for another one."""
        ...

    def start(self) -> Sequence[bytes]:
        """The first messages to the server, once."""
        ...


class Contribution:
    """A node's first message of a round, from the time at which the round was claimed.

    Get it from `Node.join`, train, and call `send` once. Where training fails or `send` refuses the record,
    call `send_nothing`: a node that is silent tells the server that one of its values is beyond a range.
    """

    __slots__ = ("_asked", "_at", "_card", "_made", "_node", "_reference", "_session")

    def __init__(
        self,
        node: tuple[int, bytes],
        at: Vectors,
        asked: int,
        reference: Arrays,
        session: FirstMessage,
    ) -> None:
        # Its id, and the card of its present sealing key if it is a member of the committee.
        self._node, self._card = node
        self._at = at
        self._asked = asked
        self._reference = reference
        self._session = session
        self._made = False

    def __repr__(self) -> str:
        return "Contribution(<redacted>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Contribution holds keys and cannot be pickled or copied")

    def send(self, arrays: Arrays, metrics: Mapping[str, object]) -> bytes:
        """The reply to the request, once.

        Args:
            arrays: the node's arrays by name.
            metrics: its metrics by name, with the weight among them, which records with noise do not use.

        Raises:
            PlanError, DataError, CapacityError, NonFiniteError: see `Coordinates.encode`; nothing is sent,
                and `send_nothing` is still possible.
            LocalProtocolError: the reply was made already.
            ConfigError: the state of a masked sum cannot be stored; nothing is sent.
        """
        self._check_open()
        return self._sent(self._at.encode(arrays, metrics, self._reference))

    def send_nothing(self) -> bytes:
        """The reply of a node without a record, once: weight 0, which the server cannot tell from another.

        Under noise it holds the node's share of the noise and nothing else.

        Raises:
            LocalProtocolError: the reply was made already.
            ConfigError: the state of a masked sum cannot be stored; nothing is sent.
        """
        self._check_open()
        return self._sent(np.zeros(self._at.length, np.int64))

    def _check_open(self) -> None:
        if self._made:
            raise LocalProtocolError("this reply was made already; a round is answered once")

    def _sent(self, integers: NDArray[np.int64]) -> bytes:
        # Here and nowhere else, so that nothing leaves this node without its share of the noise.
        self._session.set_input(self._at.sent(integers, self._asked))
        self._made = True
        return Reply(self._node, tuple(self._session.start()), self._card).to_bytes()
