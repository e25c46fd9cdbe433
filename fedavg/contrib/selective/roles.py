"""The three roles of a selective sum: two sums run side by side over the same survivors.

A client's ciphertexts travel in the same stage as the message that carries its other coordinates.  The server
holds a client's last ciphertext back until it has accepted that message, so that a client that drops out in
between is in neither sum.  If a client is in one sum only, the server opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec
import numpy as np

from fedavg.errors import LocalProtocolError, RoundAbortedError
from fedavg.sums.interface import KEY_HOLDER
from fedavg.sums.sides.opening import OpenedSum

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from fedavg.sums.encrypted import HeServerSession, HeServerSide
    from fedavg.sums.interface import (
        ClientSession,
        ClientSide,
        Conviction,
        KeyHolderSession,
        KeyHolderSide,
        ServerSession,
        ServerSide,
        SumSpec,
    )
    from secagg import Identity

__all__ = [
    "ENCRYPTED",
    "OPENING",
    "REST",
    "SelectiveClientSide",
    "SelectiveKeyHolderSide",
    "SelectiveServerSide",
]

OPENING, ENCRYPTED, REST = b"S", b"E", b"R"
"""First byte of a message; messages to and from the key holder have none."""


class _Openings(msgspec.Struct, frozen=True, array_like=True):
    encrypted: bytes
    rest: bytes


class _Config(Protocol):
    """The members of a `Selective` that its roles use."""

    def places(self, vector_length: int) -> NDArray[np.bool_]: ...

    def parts(self, spec: SumSpec) -> tuple[SumSpec, SumSpec]: ...

    def describe(self, message: bytes) -> str: ...


@dataclass(frozen=True, slots=True)
class SelectiveServerSide:
    """The server's material for both sums."""

    config: _Config
    encrypted: HeServerSide
    rest: ServerSide

    def session(self, spec: SumSpec, roster: Sequence[int]) -> SelectiveServerSession:
        """Begin both sums over a roster."""
        encrypted, rest = self.config.parts(spec)
        return SelectiveServerSession(
            self.encrypted.session(encrypted, roster),
            self.rest.session(rest, roster),
            self.config.places(spec.vector_length),
        )


class SelectiveServerSession:
    """Both sums at the server: the stages of the masked or plain sum, then the key holder's opening."""

    def __init__(
        self, encrypted: HeServerSession, rest: ServerSession, places: NDArray[np.bool_]
    ) -> None:
        self._encrypted = encrypted
        self._rest = rest
        self._places = places
        self._held: dict[int, bytes] = {}
        self._carried: set[int] = set()
        self._rest_done = False

    @property
    def stage(self) -> str:
        """Name of the stage whose messages are awaited."""
        return self._encrypted.stage if self._rest_done else self._rest.stage

    @property
    def collecting(self) -> bool:
        """Whether the coordinates of the other sum are awaited: ciphertexts arrive in the same stage."""
        return not self._rest_done and self._rest.collecting

    @property
    def convictions(self) -> Sequence[Conviction]:
        """The convictions of both sums."""
        return (*self._encrypted.convictions, *self._rest.convictions)

    def open(self) -> Mapping[int, Sequence[bytes]]:
        """The openings of both sums, in one message per client."""
        rest = self._rest.open()
        return {
            client: (OPENING + msgspec.msgpack.encode(_Openings(messages[0], rest[client][0])),)
            for client, messages in self._encrypted.open().items()
        }

    def receive(self, sender: int, message: bytes) -> None:
        """Take one message.

        Raises:
            LocalProtocolError: the message is not awaited.
            secagg.SecAggError, he.HeError, CapacityError: one of the sums refuses the message.
        """
        part, content = message[:1], message[1:]
        if sender == KEY_HOLDER:
            self._encrypted.receive(sender, message)
        elif part == ENCRYPTED and self.collecting and sender not in self._carried:
            # The chunk before is handed on, and the last one is held until the other part has arrived.
            held = self._held.pop(sender, None)
            if held is not None:
                self._encrypted.receive(sender, held)
            self._held[sender] = content
        elif part == REST and not self._rest_done:
            self._take_rest(sender, content)
        else:
            raise LocalProtocolError(
                f"party {sender} sent a message that does not belong to this stage"
            )

    def _take_rest(self, sender: int, content: bytes) -> None:
        carrying = self.collecting
        # Without ciphertexts this client would be in the other sum only.
        if carrying and sender not in self._held:
            raise LocalProtocolError(f"client {sender} sent no encrypted coordinates")
        self._rest.receive(sender, content)
        if carrying:
            self._carried.add(sender)
            # From here on the client is in both sums.
            self._encrypted.receive(sender, self._held.pop(sender))

    def advance(self) -> Mapping[int, Sequence[bytes]]:
        """Close the stage; both sums proceed with the same clients, or neither proceeds.

        Raises:
            RoundAbortedError: a client is in one sum only, too few clients remain, or the key holder did not
                open the sum.
        """
        outgoing: dict[int, Sequence[bytes]] = {}
        if self.collecting:
            # A client in one of the sums only would have a part of its update in the model.
            if self._carried != set(self._encrypted.contributors):
                torn = sorted(self._carried ^ set(self._encrypted.contributors))
                raise RoundAbortedError(f"clients {torn} are in one of the two sums only")
            outgoing |= self._encrypted.advance()
        elif self._encrypted.opening:
            self._encrypted.advance()
        if not self._rest_done:
            # The other sum goes on after the ciphertexts are fixed, so neither can gain a client later.
            following = self._rest.advance()
            self._rest_done = not following
            outgoing |= {client: _framed(REST, content) for client, content in following.items()}
        return outgoing

    def result(self) -> OpenedSum:
        """The sum, with the coordinates of both sums in their places."""
        encrypted, rest = self._encrypted.result(), self._rest.result()
        if encrypted.survivors != tuple(rest.survivors):
            raise RoundAbortedError("the two sums are over different clients")
        total = np.empty(self._places.size, dtype=np.int64)
        total[self._places], total[~self._places] = encrypted.total, rest.total
        return OpenedSum(total, encrypted.survivors)


@dataclass(frozen=True, slots=True)
class SelectiveClientSide:
    """A client's material for both sums."""

    config: _Config
    encrypted: ClientSide
    rest: ClientSide

    def session(
        self, spec: SumSpec, client_id: int, identity: Identity, opening: bytes
    ) -> SelectiveClientSession:
        """Begin a client's part in both sums, from their openings.

        Raises:
            LocalProtocolError: the message opens no selective sum, or one of another round.
        """
        if opening[:1] != OPENING:
            raise LocalProtocolError("the server's message does not open a selective sum")
        try:
            both = msgspec.msgpack.decode(opening[1:], type=_Openings)
        except msgspec.MsgspecError as error:
            raise LocalProtocolError("the server's opening cannot be read") from error
        encrypted, rest = self.config.parts(spec)
        return SelectiveClientSession(
            self.config,
            self.encrypted.session(encrypted, client_id, identity, both.encrypted),
            self.rest.session(rest, client_id, identity, both.rest),
            self.config.places(spec.vector_length),
        )


class SelectiveClientSession:
    """Both sums at a client."""

    def __init__(
        self,
        config: _Config,
        encrypted: ClientSession,
        rest: ClientSession,
        places: NDArray[np.bool_],
    ) -> None:
        self._config = config
        self._encrypted = encrypted
        self._rest = rest
        self._places = places

    @property
    def roster_size(self) -> int:
        """Number of clients among whom the sum is taken."""
        return self._rest.roster_size

    @property
    def left(self) -> bool:
        """Whether the vector was sent; its two parts are sent together."""
        return self._rest.left

    def set_input(self, vector: NDArray[np.int64]) -> None:
        """Give each sum its coordinates of the vector.

        Raises:
            LocalProtocolError: the vector has another length.
            CapacityError, secagg.CapacityError: a coordinate is out of range.
        """
        if vector.shape != self._places.shape:
            raise LocalProtocolError(
                f"expected int64[{self._places.size}], got shape {vector.shape}"
            )
        self._encrypted.set_input(vector[self._places])
        self._rest.set_input(vector[~self._places])

    def start(self) -> Sequence[bytes]:
        """The first messages."""
        before = self._rest.left
        return self._outgoing(self._rest.start(), before=before)

    def receive(self, message: bytes) -> Sequence[bytes]:
        """Process one message of the server and return the answers."""
        if message[:1] != REST:
            raise LocalProtocolError("the server's message does not belong to this sum")
        before = self._rest.left
        return self._outgoing(self._rest.receive(message[1:]), before=before)

    def _outgoing(self, replies: Sequence[bytes], *, before: bool) -> Sequence[bytes]:
        """Frame the replies of the other sum; ciphertexts precede the reply that carries its coordinates."""
        framed = _framed(REST, replies)
        if self._rest.left and not before:
            return (*_framed(ENCRYPTED, self._encrypted.start()), *framed)
        return framed


@dataclass(frozen=True, slots=True)
class SelectiveKeyHolderSide:
    """The key holder's material: it opens the sum of the encrypted coordinates."""

    config: _Config
    encrypted: KeyHolderSide

    def session(self, spec: SumSpec) -> KeyHolderSession:
        """Begin one sum."""
        return self.encrypted.session(self.config.parts(spec)[0])


def _framed(part: bytes, messages: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(part + message for message in messages)
