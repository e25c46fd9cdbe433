"""The header of every envelope: its kind, its key and round, and its position."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from he.errors import ContextMismatchError, WireFormatError
from he.guards.checks import octets
from he.params import MAX_VECTOR_LENGTH, MODULUS

if TYPE_CHECKING:
    from he.crypto.context import PublicContext

__all__ = [
    "ENROLLED_SUM",
    "ENROLLED_UPLOAD",
    "HEADER",
    "MAGIC",
    "ONE_TIME_UPLOAD",
    "SENDER",
    "SIGNED_ONE_TIME_UPLOAD",
    "SUM",
    "TAG_BYTES",
    "UPLOAD",
    "ChunkHeader",
    "check_origin",
    "check_place",
    "envelope_kind",
    "pack_tags",
    "read_header",
    "read_tags",
]

MAGIC = b"HEC\x02"
UPLOAD, SUM, ENROLLED_UPLOAD, ENROLLED_SUM = 1, 2, 3, 4
ONE_TIME_UPLOAD, SIGNED_ONE_TIME_UPLOAD = 5, 6
_KINDS = {
    UPLOAD: "upload",
    SUM: "sum",
    ENROLLED_UPLOAD: "upload",
    ENROLLED_SUM: "sum",
    ONE_TIME_UPLOAD: "one-time upload",
    SIGNED_ONE_TIME_UPLOAD: "one-time upload",
}

# magic, kind; fingerprint (over parameters and key), context; index, vector length. The number of
# chunks and of ciphertexts in this one follow from the vector's length.
HEADER = struct.Struct("<4sB16s32sIQ")
SENDER = struct.Struct("<Q32s")  # client and nonce: of an upload, or of each contributor of a sum
TAG_BYTES = 8


@dataclass(frozen=True, slots=True)
class ChunkHeader:
    """The common fields of upload chunks and sum chunks."""

    kind: int
    fingerprint: bytes
    context: bytes
    index: int
    vector_length: int


def envelope_kind(data: bytes) -> str:
    """The kind of a message of this package, for a report: "upload", "sum" or "one-time upload".

    Raises:
        WireFormatError: the message is none of them.
        LocalProtocolError: the value is not bytes.

    Example:
        >>> import numpy as np
        >>> from he import Client, Params, SecretContext
        >>> secret = SecretContext.generate(Params.for_sum(2, max_abs=9))
        >>> chunks = Client(secret, 5, context=b"round 1").encrypt(np.array([1, 2]))
        >>> [envelope_kind(chunk) for chunk in chunks]
        ['upload']
    """
    data = octets("message", data)
    if len(data) < HEADER.size or data[:4] != MAGIC or data[4] not in _KINDS:
        raise WireFormatError("these bytes are no envelope of an encrypted sum")
    return _KINDS[data[4]]


def read_header(data: bytes, *kinds: int) -> ChunkHeader:
    """Read the header of a chunk that must be of one of these kinds.

    Raises:
        WireFormatError: the bytes are no chunk, or one of another kind.
    """
    if envelope_kind(data) != _KINDS[kinds[0]]:
        raise WireFormatError(
            f"a chunk of kind {_KINDS[data[4]]!r} stands where {_KINDS[kinds[0]]!r} is due"
        )
    if data[4] not in kinds:
        enrolled = (ENROLLED_UPLOAD, ENROLLED_SUM, SIGNED_ONE_TIME_UPLOAD)
        unsigned = "nobody" if data[4] == ONE_TIME_UPLOAD else "the group"
        signed = "enrolled clients" if data[4] in enrolled else unsigned
        raise WireFormatError(
            f"this {_KINDS[data[4]]} chunk is one of {signed}: all parties have a directory, or none has"
        )
    fields = cast("tuple[bytes, int, bytes, bytes, int, int]", HEADER.unpack_from(data))
    return ChunkHeader(*fields[1:])


def check_origin(header: ChunkHeader, public: PublicContext, context: bytes) -> None:
    """Raise ContextMismatchError for other parameters, another key, or another round."""
    if header.fingerprint != public.fingerprint:
        raise ContextMismatchError("the chunk was made with other parameters or another key")
    if header.context != context:
        raise ContextMismatchError("the chunk was made for another round")


def check_place(header: ChunkHeader, public: PublicContext) -> int:
    """The number of ciphertexts that the chunk must hold."""
    if not 1 <= header.vector_length <= MAX_VECTOR_LENGTH:
        raise WireFormatError(f"a vector of {header.vector_length} integers is out of range")
    if header.index >= public.params.chunks(header.vector_length):
        raise WireFormatError(f"there is no chunk {header.index} of such a vector")
    return public.params.ciphertexts_in_chunk(header.index, header.vector_length)


def pack_tags(tags: tuple[int, ...]) -> bytes:
    """Tags as 64-bit little-endian words."""
    return struct.pack(f"<{len(tags)}Q", *tags)


def read_tags(data: bytes) -> tuple[int, ...]:
    """Decode the bytes of `pack_tags`; raise WireFormatError for a tag that is not below q."""
    tags = cast("tuple[int, ...]", struct.unpack(f"<{len(data) // TAG_BYTES}Q", data))
    if max(tags) >= MODULUS:
        raise WireFormatError("a tag is not below q")
    return tags
