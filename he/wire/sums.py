"""Sum chunks, from the server to the key holder; the linear tag authenticates them, not a signature."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, cast

from he.coding.words import body_bytes
from he.crypto.enrolment import Proof
from he.crypto.tags import UploadName
from he.errors import WireFormatError
from he.params import BLOCK
from he.params.capacity import WORD_BITS
from he.wire.headers import (
    ENROLLED_SUM,
    HEADER,
    MAGIC,
    SENDER,
    SUM,
    TAG_BYTES,
    check_origin,
    check_place,
    pack_tags,
    read_header,
    read_tags,
)

if TYPE_CHECKING:
    from he.crypto.context import PublicContext

__all__ = ["SumChunk", "encode_sum", "open_sum"]

_PROOF = struct.Struct("<32s64s")  # after each contributor, where clients are enrolled
_ROSTER = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class SumChunk:
    """Up to `BLOCK` ciphertexts of the sum.

    Args:
        index: index of the chunk.
        vector_length: d, number of integers.
        contributors: the uploads that were added, by ascending client; in chunk 0 only.
        tags: the sums of their tags modulo q.
        body: the words of c0, 60 bits each, or of all c0 and then all c1.
        proofs: proof of each contributor, where clients are enrolled; in chunk 0 only.
    """

    index: int
    vector_length: int
    contributors: tuple[UploadName, ...]
    tags: tuple[int, ...]
    body: bytes | memoryview
    proofs: tuple[Proof, ...] | None = None

    @property
    def first(self) -> int:
        """Number of the first ciphertext in the sum."""
        return self.index * BLOCK


def encode_sum(chunk: SumChunk, public: PublicContext, context: bytes) -> bytes:
    """The bytes of a sum chunk."""
    kind = SUM if chunk.proofs is None else ENROLLED_SUM
    header = HEADER.pack(MAGIC, kind, public.fingerprint, context, chunk.index, chunk.vector_length)
    roster = [SENDER.pack(name.client_id, name.nonce) for name in chunk.contributors]
    for place, proof in enumerate(chunk.proofs or ()):
        roster[place] += _PROOF.pack(proof.body, proof.signature)
    parts = (header, _ROSTER.pack(len(roster)), *roster, pack_tags(chunk.tags), chunk.body)
    return b"".join(parts)


def open_sum(
    data: bytes, public: PublicContext, context: bytes, *, enrolled: bool = False
) -> SumChunk:
    """Read a sum chunk; its tags, and its contributors' proofs, are still to be verified.

    Raises:
        WireFormatError: the bytes are not in canonical form.
        ContextMismatchError: the sum was made for another round, under other parameters or another key.
    """
    header = read_header(data, ENROLLED_SUM if enrolled else SUM)
    entry = SENDER.size + (_PROOF.size if enrolled else 0)
    start = HEADER.size + _ROSTER.size
    if len(data) < start:
        raise WireFormatError("the sum chunk ends within its header")
    check_origin(header, public, context)
    count = check_place(header, public)
    (size,) = cast("tuple[int]", _ROSTER.unpack_from(data, HEADER.size))
    end = start + size * entry
    body = end + count * TAG_BYTES
    # The exact length is checked before any contributor is read: the count comes from the message.
    if len(data) != body + body_bytes(count, parts=public.params.parts, bits=WORD_BITS):
        raise WireFormatError(f"{len(data)} bytes do not fit {size} contributors")
    if (size > 0) != (header.index == 0):
        raise WireFormatError("the contributors belong in the first chunk of a sum, and only there")
    places = range(start, end, entry)
    senders = [cast("tuple[int, bytes]", SENDER.unpack_from(data, place)) for place in places]
    clients = [client_id for client_id, _ in senders]
    # Otherwise one upload, added twice and named twice, would pass for two contributors.
    if any(left >= right for left, right in pairwise(clients)):
        raise WireFormatError("contributors must ascend, each once")
    names = tuple(
        UploadName(context, client, nonce, header.vector_length) for client, nonce in senders
    )
    tags = read_tags(data[end:body])
    proofs = tuple(
        Proof(*cast("tuple[bytes, bytes]", _PROOF.unpack_from(data, place + SENDER.size)))
        for place in places
        if enrolled
    )
    content = memoryview(data)[body:]
    return SumChunk(
        header.index, header.vector_length, names, tags, content, proofs if enrolled else None
    )
