"""One question or one answer as bytes: the messages of a sum, with the round and the stage they belong to."""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec

from fedavg.errors import LocalProtocolError, WireFormatError

__all__ = ["Letter", "content_digest"]

_Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]


def content_digest(content: bytes) -> bytes:
    """SHA-256 of what the clients of a round are given, which is part of the name of the round's sum.

    Raises:
        LocalProtocolError: the content is not of type bytes.

    Example:
        >>> content_digest(b"the model of round 7").hex()[:16]
        'a22818b17d387a3c'
    """
    if type(content) is not bytes:
        raise LocalProtocolError(
            f"the content of a round must be bytes, not {type(content).__name__}; empty if there is none"
        )
    return hashlib.sha256(content).digest()


class Letter(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The messages of one stage from the server to one party, or back.

    Args:
        number: number of the round.
        stage: number of the stage in it, from 0.
        messages: the messages of the secure sum, at least one.
        content: in the first question to a client what it is given for the round, such as a model; in a
            question to a member the digest of that; else empty.

    Example:
        >>> sent = Letter(7, 0, (b"first", b"second"))
        >>> Letter.from_bytes(sent.to_bytes()) == sent, sent.ticket
        (True, '7.0')
    """

    number: _Count
    stage: _Count
    messages: Annotated[tuple[bytes, ...], msgspec.Meta(min_length=1)]
    content: bytes = b""

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(message)} B" for message in self.messages)
        return f"Letter({self.ticket}: {sizes})"

    @property
    def ticket(self) -> str:
        """Round and stage in one word, such as "7.0"."""
        return f"{self.number}.{self.stage}"

    def to_bytes(self) -> bytes:
        """The encoding, in MessagePack: numbers, and each message as it is behind its length."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Letter:
        """Decode.

        Raises:
            WireFormatError: the bytes are no letter.
        """
        try:
            return msgspec.msgpack.decode(data, type=cls)
        # Deeply nested bytes raise RecursionError, and no bytes may end a party.
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise WireFormatError("these bytes are no question and no answer") from error
