"""The messages between server and clients around a secure sum, and their encoding as bytes."""

from __future__ import annotations

import hashlib

import msgspec

from fedavg.errors import LocalProtocolError, WireFormatError

__all__ = [
    "Message",
    "OpenRequest",
    "Ready",
    "RoundStart",
    "SumMessage",
    "SumOpen",
    "decode",
    "encode",
    "is_start",
    "round_context",
    "start_digest",
]


class RoundStart(msgspec.Struct, frozen=True, array_like=True, tag="start"):
    """Server → client: train this model (float32, little endian), with this clip norm if it adapts.

    `extras` holds the data that stages of the plan send beside the model, by the kind of the stage.
    `block` is the part to train, where the model is cut into blocks.
    `attempt` counts from 0 within a round. `voided` lists the sums that failed (`Plan.sequence`), so that
    clients discard the state that they kept for those sums.
    """

    round: int
    model: bytes
    clip: float | None = None
    extras: dict[str, bytes] = msgspec.field(default_factory=dict[str, bytes])
    block: int | None = None
    attempt: int = 0
    voided: tuple[int, ...] = ()


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="ready"):
    """Client → server: training has ended; the message says nothing about the update or the data."""

    round: int
    attempt: int = 0


class SumOpen(msgspec.Struct, frozen=True, array_like=True, tag="open"):
    """Server → client: a secure sum begins, over this number of clients, with this opening message."""

    round: int
    roster_size: int
    opening: bytes
    attempt: int = 0


class OpenRequest(msgspec.Struct, frozen=True, array_like=True, tag="request"):
    """Server → key holder: open the encrypted sum of this round, or of one block; its chunks follow."""

    round: int
    roster_size: int
    start_digest: bytes
    chunks: tuple[bytes, ...]
    attempt: int = 0
    block: int | None = None


class SumMessage(msgspec.Struct, frozen=True, array_like=True, tag="sum"):
    """In both directions: a message of the secure sum."""

    round: int
    payload: bytes
    attempt: int = 0


Message = RoundStart | Ready | SumOpen | OpenRequest | SumMessage

_LONG = 1 << 16  # bytes; from this length on, msgpack writes its longest header before a payload
_ENCODER = msgspec.msgpack.Encoder(order="deterministic")  # one form, for extras too
_DECODER = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Return a message's bytes.

    Example:
        >>> decode(encode(Ready(3)))
        Ready(round=3, attempt=0)
    """
    return _ENCODER.encode(message)


def decode(data: bytes) -> Message:
    """Read a message.

    Raises:
        WireFormatError: the bytes are no message, or not in canonical form.
    """
    # The same object was checked before; equal bytes in another object are decoded anew.
    if data is _last.data:
        return _last.start
    try:
        message = _DECODER.decode(data)
    # Deeply nested bytes raise RecursionError, and no bytes may end a party.
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireFormatError("these bytes are no message of a round") from error
    # Two encodings of one message would have two digests, over which the parties could disagree.
    if not _is_canonical(message, data):
        raise WireFormatError("a message in a non-canonical form")
    if isinstance(message, RoundStart) and type(data) is bytes:  # an immutable object may be kept
        _last.keep(data, message)
    return message


def is_start(data: bytes) -> bool:
    """Whether bytes claim to be a `RoundStart`, without reading them."""
    return data[1:7] == b"\xa5start"


def _is_canonical(message: Message, data: bytes) -> bool:
    """Whether `encode` gives these bytes; a long payload at the end is compared without a copy."""
    if not isinstance(message, SumMessage) or len(message.payload) < _LONG:
        return _ENCODER.encode(message) == data
    # The payload is not encoded again: a second copy of a long vector would double the memory.
    tail = _ENCODER.encode(message.attempt)
    empty = _ENCODER.encode(SumMessage(message.round, b"", message.attempt))
    head = empty[: -2 - len(tail)]  # without the payload's own head
    head += b"\xc6" + len(message.payload).to_bytes(4, "big")  # msgpack's bin 32
    whole = len(data) == len(head) + len(message.payload) + len(tail)
    return whole and data.startswith(head) and data.endswith(tail)


class _LastStart:
    """The last `RoundStart`: many clients of one process receive the same object, and it is decoded once."""

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.start = RoundStart(-1, b"")
        self.digest: bytes | None = None

    def keep(self, data: bytes, start: RoundStart) -> None:
        self.data, self.start, self.digest = data, start, None


_last = _LastStart()


def start_digest(start: RoundStart) -> bytes:
    """SHA-256 of a round's first message, which holds the model, the attempt and all its other fields."""
    # The digest is cached only for bytes that `decode` has found canonical.
    if start is not _last.start or _last.data is None:
        return hashlib.sha256(_ENCODER.encode(start)).digest()
    if _last.digest is None:
        _last.digest = hashlib.sha256(
            _last.data
        ).digest()  # `decode` checked that they are its bytes
    return _last.digest


def round_context(
    plan_digest: bytes, round_index: int, roster_size: int, digest_of_start: bytes
) -> bytes:
    """Digest that binds a secure sum to the plan, the round, the roster size and the round's first message.

    Clients that received another model or clip norm compute another context, so their vectors do not enter
    the same sum (Pasquini, Francati, Ateniese 2022).  The roster size is bound because it determines the size
    of noise shares.
    """
    # `to_bytes` would raise an untyped error for other numbers, here or in a journal of signed ones.
    if not (0 <= round_index < 1 << 63 and 0 <= roster_size < 1 << 63):
        raise LocalProtocolError("rounds and rosters count from 0, and end before 2^63")
    # All parts but the last have a fixed length, so different inputs give different bytes.
    digest = hashlib.sha256(b"fedavg round v1")
    digest.update(plan_digest)
    digest.update(round_index.to_bytes(8, "big"))
    digest.update(roster_size.to_bytes(8, "big"))
    digest.update(digest_of_start)
    return digest.digest()
