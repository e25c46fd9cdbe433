"""What server and node exchange, as bytes: requests, replies, and the name of a sum.

A request carries the digest of the server's agreement and the public facts of its round.  A node computes
the name of the sum itself, from the request and from what its engine says of the run; the server cannot
choose it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

import msgspec

from fedavg.errors import WireFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Reply", "Request", "Round", "Stage", "named", "read_reply", "read_request"]

_REQUEST, _REPLY = b"FXR1", b"FXA1"
_HASH = 32


class Stage(StrEnum):
    """What a request asks for.

    Example:
        >>> [stage.value for stage in Stage]
        ['contribute', 'open', 'continue', 'name']
    """

    CONTRIBUTE = "contribute"  # the node's own record, in its first message of the sum
    OPEN = "open"  # one of a committee member's three answers
    CONTINUE = "continue"  # the next message of a client that was put away
    NAME = "name"  # which node of the agreement this is


@dataclass(frozen=True, slots=True)
class Round:
    """The public facts of one sum.

    Args:
        run: name of the run, as both engines' sides know it.
        number: number of the sum in the run, from 1; a node answers each number once.
        kind: kind of the record.
        asked: number of nodes that are asked.
        length: length of the vectors.
        content: digest of everything that the server sends with the request.

    Example:
        >>> facts = Round("run 7", 1, "train", 4, 10, bytes(32))
        >>> facts.context(bytes(32)) == Round("run 7", 1, "train", 5, 10, bytes(32)).context(bytes(32))
        False
    """

    run: str
    number: int
    kind: str
    asked: int
    length: int
    content: bytes

    def context(self, agreement: bytes) -> bytes:
        """The name of the sum under an agreement; only nodes with the same name enter one sum."""
        numbers = b"".join(
            number.to_bytes(8, "little") for number in (self.number, self.asked, self.length)
        )
        return named(
            b"sum", agreement, self.run.encode(), self.kind.encode(), numbers, self.content
        )

    def fact(self, what: str) -> bytes:
        """A fact for a journal: this was done in this round, under any content and any agreement."""
        number = self.number.to_bytes(8, "little")
        return named(b"fact", self.run.encode(), self.kind.encode(), number, what.encode())

    def model_fact(self, agreement: bytes, model: bytes, count: int) -> bytes:
        """The fact that a node answers for one model for the count-th time, in any run."""
        return named(b"model", agreement, self.kind.encode(), model, count.to_bytes(8, "little"))

    def slot_facts(self, agreement: bytes, slots: int) -> Iterator[bytes]:
        """The facts that a node uses up one of its answers under an agreement, in any run.

        Args:
            agreement: digest of the agreement.
            slots: number of answers; every one of them is named once.
        """
        # Any order is sound, because an answer takes a free slot. This one finds a free slot at once where
        # the server numbers its sums, and reads all of them where it does not.
        first = int.from_bytes(named(b"first", self.run.encode())[:8], "little") + self.number
        for step in range(slots):
            slot = (first + step) % slots
            yield named(b"slot", agreement, self.kind.encode(), slot.to_bytes(8, "little"))


def named(what: bytes, *parts: bytes) -> bytes:
    """SHA-256 of length-prefixed parts, so that no two lists of parts run together.

    Example:
        >>> named(b"fact", b"ab", b"c") == named(b"fact", b"a", b"bc")
        False
    """
    hashed = hashlib.sha256(b"fedavg exchange " + what)
    for part in parts:
        hashed.update(len(part).to_bytes(8, "little") + part)
    return hashed.digest()


class Request(msgspec.Struct, frozen=True, array_like=True):
    """What a server asks of a node; `read_request` checks it."""

    stage: Stage
    agreement: bytes
    number: int
    asked: int
    length: int
    content: bytes
    body: bytes = b""
    cards: tuple[bytes, ...] = ()  # the members' present sealing keys, which they have signed

    @classmethod
    def about(
        cls,
        stage: Stage,
        facts: Round,
        agreement: bytes,
        body: bytes = b"",
        cards: tuple[bytes, ...] = (),
    ) -> Request:
        """A request about a round."""
        numbers = facts.number, facts.asked, facts.length
        return cls(stage, agreement, *numbers, facts.content, body, cards)

    def facts(self, run: str, kind: str) -> Round:
        """The round that this is about, in a run and of a kind that the receiver's engine names."""
        return Round(run, self.number, kind, self.asked, self.length, self.content)

    def to_bytes(self) -> bytes:
        """Encode."""
        return _REQUEST + msgspec.msgpack.encode(self)


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """What a node sends back: its id, messages of the sum, and its present sealing key if it is a member.

    In the reply to a call the messages are the members' newest cards that the node has seen.
    """

    node: int
    parts: tuple[bytes, ...] = ()
    card: bytes = b""

    def to_bytes(self) -> bytes:
        """Encode."""
        return _REPLY + msgspec.msgpack.encode(self)


def read_request(data: bytes) -> Request:
    """Decode a request.

    Raises:
        WireFormatError: these bytes are none.

    Example:
        >>> read_request(b"hello")
        Traceback (most recent call last):
        fedavg.errors.WireFormatError: these bytes are no request of a secure exchange
    """
    found = _read(data, _REQUEST, Request, "request")
    sizes = len(found.agreement), len(found.content)
    numbers = found.number, found.asked, found.length
    if sizes != (_HASH, _HASH) or not all(0 <= number < 1 << 32 for number in numbers):
        raise WireFormatError("a request of a secure exchange has numbers or digests out of range")
    return found


def read_reply(data: bytes) -> Reply:
    """Decode a reply.

    Raises:
        WireFormatError: these bytes are none.
    """
    found = _read(data, _REPLY, Reply, "reply")
    if not 0 <= found.node < 1 << 32:
        raise WireFormatError("a reply of a secure exchange has the id of no node")
    return found


_Message = TypeVar("_Message", Request, Reply)


def _read(data: bytes, magic: bytes, kind: type[_Message], what: str) -> _Message:
    if type(data) is not bytes or data[:4] != magic:
        raise WireFormatError(f"these bytes are no {what} of a secure exchange")
    try:
        return msgspec.msgpack.decode(data[4:], type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise WireFormatError(f"a {what} of a secure exchange cannot be read") from None
