"""Envelopes: everything that clients, server and key holder send, in one canonical form each.

An upload chunk is signed over all of its bytes, with the group's key or with its client's enrolled one,
and nothing of its body is parsed before the signature holds. A sum chunk needs no signature: the linear
tag, which the server cannot make, vouches for it; where clients are enrolled the first chunk also
carries what they signed.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, cast

from he.capacity import WORD_BITS
from he.enrolment import Directory, Proof, Signer
from he.errors import (
    AuthenticationError,
    ContextMismatchError,
    LocalProtocolError,
    RemoteProtocolError,
    WireFormatError,
)
from he.layout import body_bytes, restore_low_bits, unpack_words
from he.packing import MAX_VECTOR_LENGTH
from he.params import BLOCK, MODULUS
from he.tags import UploadName

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from he.context import PublicContext

__all__ = [
    "ChunkHeader",
    "SumChunk",
    "UploadChunk",
    "check_client_id",
    "check_proof",
    "ciphertext_coefficients",
    "encode_sum",
    "encode_upload",
    "envelope_kind",
    "open_sum",
    "open_upload",
    "sign_as_client",
]

_MAGIC = b"HEC\x02"
_UPLOAD, _SUM, _ENROLLED_UPLOAD, _ENROLLED_SUM = 1, 2, 3, 4
_KINDS = {_UPLOAD: "upload", _SUM: "sum", _ENROLLED_UPLOAD: "upload", _ENROLLED_SUM: "sum"}

# magic, kind; fingerprint (over parameters and key), context; index, vector length. The number of
# chunks and of ciphertexts in this one follow from the vector's length.
_HEADER = struct.Struct("<4sB16s32sIQ")
_SENDER = struct.Struct("<Q32s")  # client, nonce: of an upload; of each contributor of a sum
_PROOF = struct.Struct("<32s64s")  # after each contributor, where clients are enrolled
_ROSTER = struct.Struct("<I")
_TAG_BYTES = 8
_SIGNATURE_BYTES = 64
_UPLOAD_START = _HEADER.size + _SENDER.size
_STATEMENT = b"he enrolled upload\0"


@dataclass(frozen=True, slots=True)
class ChunkHeader:
    """What upload chunks and sum chunks have in common."""

    kind: int
    fingerprint: bytes
    context: bytes
    index: int
    vector_length: int


@dataclass(frozen=True, slots=True)
class UploadChunk:
    """Up to `BLOCK` ciphertexts of one client's upload.

    Args:
        name: whose upload this is, and of which round.
        index: the chunk's place.
        tags: the ciphertexts' linear tags, each below q.
        body: the words of c0, `Params.word_bits` each, or of all c0 and then all c1.
        proof: of an enrolled client's chunk that was read.
    """

    name: UploadName
    index: int
    tags: tuple[int, ...]
    body: bytes | memoryview
    proof: Proof | None = None

    @property
    def first(self) -> int:
        """Number of the first ciphertext in the upload."""
        return self.index * BLOCK


@dataclass(frozen=True, slots=True)
class SumChunk:
    """Up to `BLOCK` ciphertexts of the sum.

    Args:
        index: the chunk's place.
        vector_length: d.
        contributors: the uploads that were added, by ascending client; in chunk 0 only.
        tags: the sums of their tags modulo q.
        body: the words of c0, 60 bits each, or of all c0 and then all c1.
        proofs: of each contributor, where clients are enrolled; in chunk 0 only.
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


def check_client_id(client_id: int) -> None:
    """Raises LocalProtocolError: not an integer in 0 … 2^63 − 1."""
    if isinstance(client_id, bool) or not isinstance(client_id, int):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
        raise LocalProtocolError("client_id must be an integer")
    if not 0 <= client_id < 1 << 63:
        raise LocalProtocolError("client_id must lie in 0 … 2^63 − 1")


def encode_upload(chunk: UploadChunk, public: PublicContext, *, enrolled: bool = False) -> bytes:
    """The bytes of an upload chunk, to be signed."""
    head = _upload_head(chunk.name, chunk.index, public, enrolled=enrolled)
    return b"".join((head, _pack_tags(chunk.tags), chunk.body))


def sign_as_client(message: bytes, signer: Signer) -> bytes:
    """Complete an enrolled client's chunk."""
    head, body = message[:_UPLOAD_START], memoryview(message)[_UPLOAD_START:]
    return message + signer.sign(_statement(head, hashlib.sha256(body).digest()))


def open_upload(
    data: bytes,
    public: PublicContext,
    context: bytes,
    *,
    sender: int | None = None,
    enrolled: Directory | None = None,
) -> UploadChunk:
    """Read an upload chunk once it is known to come from the group, or from its sender, for this round.

    Args:
        data: the chunk.
        public: the group's context.
        context: the round's, hashed.
        sender: who the transport says sent it; asked for with `enrolled`.
        enrolled: clients' own keys, which then sign in place of the group's.

    Raises:
        WireFormatError: not the canonical form.
        ContextMismatchError: made for another round, under other parameters or another key.
        RemoteProtocolError: another client's chunk.
        AuthenticationError: not enrolled, or the signature does not hold.
    """
    if enrolled is not None and data[:5] == bytes((*_MAGIC, _UPLOAD)):
        raise AuthenticationError(
            f"client {sender} signed with the group's key where its own enrolled key is due"
        )
    header = _read_header(data, _UPLOAD if enrolled is None else _ENROLLED_UPLOAD)
    _check_origin(header, public, context)
    if len(data) < _UPLOAD_START + _SIGNATURE_BYTES:
        raise WireFormatError("the upload chunk ends within its header")
    proof = None
    if enrolled is None:
        public.verify(data[:-_SIGNATURE_BYTES], data[-_SIGNATURE_BYTES:])
    else:
        proof = _check_client(data, sender, enrolled)
    count = _check_place(header, public)
    start = _UPLOAD_START + count * _TAG_BYTES
    params = public.params
    size = body_bytes(count, parts=params.parts, bits=params.word_bits)
    if len(data) != start + size + _SIGNATURE_BYTES:
        raise WireFormatError(f"no such upload chunk has {len(data)} bytes")
    client_id, nonce = cast("tuple[int, bytes]", _SENDER.unpack_from(data, _HEADER.size))
    if client_id >> 63:
        raise WireFormatError("the client's number is beyond 2^63 − 1")
    name = UploadName(header.context, client_id, nonce, header.vector_length)
    tags = _read_tags(data[_UPLOAD_START:start])
    return UploadChunk(name, header.index, tags, memoryview(data)[start:-_SIGNATURE_BYTES], proof)


def check_proof(proof: Proof, name: UploadName, public: PublicContext, enrolled: Directory) -> None:
    """Check that an enrolled client signed an upload of this name.

    Raises:
        AuthenticationError: it is not enrolled, or did not.
    """
    head = _upload_head(name, 0, public, enrolled=True)
    enrolled.verify(name.client_id, _statement(head, proof.body), proof.signature)


def encode_sum(chunk: SumChunk, public: PublicContext, context: bytes) -> bytes:
    """The bytes of a sum chunk."""
    kind = _SUM if chunk.proofs is None else _ENROLLED_SUM
    header = _HEADER.pack(
        _MAGIC, kind, public.fingerprint, context, chunk.index, chunk.vector_length
    )
    roster = [_SENDER.pack(name.client_id, name.nonce) for name in chunk.contributors]
    for place, proof in enumerate(chunk.proofs or ()):
        roster[place] += _PROOF.pack(proof.body, proof.signature)
    parts = (header, _ROSTER.pack(len(roster)), *roster, _pack_tags(chunk.tags), chunk.body)
    return b"".join(parts)


def open_sum(
    data: bytes, public: PublicContext, context: bytes, *, enrolled: bool = False
) -> SumChunk:
    """Read a sum chunk; its tags, and its contributors' proofs, are still to be verified.

    Raises:
        WireFormatError: not the canonical form.
        ContextMismatchError: made for another round, under other parameters or another key.
    """
    header = _read_header(data, _ENROLLED_SUM if enrolled else _SUM)
    entry = _SENDER.size + (_PROOF.size if enrolled else 0)
    start = _HEADER.size + _ROSTER.size
    if len(data) < start:
        raise WireFormatError("the sum chunk ends within its header")
    _check_origin(header, public, context)
    count = _check_place(header, public)
    (size,) = cast("tuple[int]", _ROSTER.unpack_from(data, _HEADER.size))
    end = start + size * entry
    body = end + count * _TAG_BYTES
    if len(data) != body + body_bytes(count, parts=public.params.parts, bits=WORD_BITS):
        raise WireFormatError(f"{len(data)} bytes do not fit {size} contributors")
    if (size > 0) != (header.index == 0):
        raise WireFormatError("the contributors belong in the first chunk of a sum, and only there")
    places = range(start, end, entry)
    senders = [cast("tuple[int, bytes]", _SENDER.unpack_from(data, place)) for place in places]
    clients = [client_id for client_id, _ in senders]
    if any(left >= right for left, right in pairwise(clients)):
        raise WireFormatError("contributors must ascend, each once")
    names = tuple(
        UploadName(context, client, nonce, header.vector_length) for client, nonce in senders
    )
    tags = _read_tags(data[end:body])
    proofs = tuple(
        Proof(*cast("tuple[bytes, bytes]", _PROOF.unpack_from(data, place + _SENDER.size)))
        for place in places
        if enrolled
    )
    content = memoryview(data)[body:]
    return SumChunk(
        header.index, header.vector_length, names, tags, content, proofs if enrolled else None
    )


def envelope_kind(data: bytes) -> str:
    """Name a message of this package for a report: "upload" or "sum".

    Raises:
        WireFormatError: it is neither.
    """
    if len(data) < _HEADER.size or data[:4] != _MAGIC or data[4] not in _KINDS:
        raise WireFormatError("these bytes are no envelope of an encrypted sum")
    return _KINDS[data[4]]


def ciphertext_coefficients(chunk: bytes) -> NDArray[np.uint64]:
    """The coefficients that an upload chunk shows to whoever sees it, for pictures and statistics.

    Args:
        chunk: an upload chunk; its signature is not looked at.

    Returns:
        uint64, below q = 1152921504606830593: [c·N] of c0, with c1 expanded from a seed, or [2·c·N].

    Raises:
        WireFormatError: no upload chunk.

    Example:
        >>> import numpy as np
        >>> from he import Client, Params, SecretContext
        >>> secret = SecretContext.generate(Params.for_sum(3, max_abs=100))
        >>> chunk, = Client(secret, 7, context=b"round 1").encrypt(np.array([1, 2, 3]))
        >>> ciphertext_coefficients(chunk).shape
        (4096,)
    """
    _read_header(chunk, _UPLOAD, _ENROLLED_UPLOAD)
    # c ciphertexts take 8·c bytes of tags and 512·c for each bit of their words, c ≤ 16
    size = len(chunk) - _UPLOAD_START - _SIGNATURE_BYTES
    count = size % body_bytes(1, parts=1, bits=1) // _TAG_BYTES
    bits, rest = divmod(size - count * _TAG_BYTES, max(1, body_bytes(count, parts=1, bits=1)))
    bits = bits // 2 if bits > WORD_BITS else bits
    if rest or not 1 <= count <= BLOCK or bits not in range(32, WORD_BITS + 1, 4):
        raise WireFormatError(f"no upload chunk has {len(chunk)} bytes")
    body = chunk[_UPLOAD_START + count * _TAG_BYTES : -_SIGNATURE_BYTES]
    return restore_low_bits(unpack_words(body, bits), bits)


def _pack_tags(tags: tuple[int, ...]) -> bytes:
    return struct.pack(f"<{len(tags)}Q", *tags)


def _read_tags(data: bytes) -> tuple[int, ...]:
    tags = cast("tuple[int, ...]", struct.unpack(f"<{len(data) // _TAG_BYTES}Q", data))
    if max(tags) >= MODULUS:
        raise WireFormatError("a tag is not below q")
    return tags


def _upload_head(name: UploadName, index: int, public: PublicContext, *, enrolled: bool) -> bytes:
    kind = _ENROLLED_UPLOAD if enrolled else _UPLOAD
    header = _HEADER.pack(_MAGIC, kind, public.fingerprint, name.context, index, name.vector_length)
    return header + _SENDER.pack(name.client_id, name.nonce)


def _statement(head: bytes, body_hash: bytes) -> bytes:
    """What an enrolled client signs: short, so that it can be shown without the upload."""
    return _STATEMENT + head + body_hash


def _check_client(data: bytes, sender: int | None, enrolled: Directory) -> Proof:
    (client_id, _) = cast("tuple[int, bytes]", _SENDER.unpack_from(data, _HEADER.size))
    if client_id != sender:
        raise RemoteProtocolError(f"client {sender} sent a chunk of client {client_id}")
    body = memoryview(data)[_UPLOAD_START:-_SIGNATURE_BYTES]
    proof = Proof(hashlib.sha256(body).digest(), data[-_SIGNATURE_BYTES:])
    enrolled.verify(client_id, _statement(data[:_UPLOAD_START], proof.body), proof.signature)
    return proof


def _read_header(data: bytes, *kinds: int) -> ChunkHeader:
    if envelope_kind(data) != _KINDS[kinds[0]]:
        raise WireFormatError(f"an {_KINDS[data[4]]} chunk stands where {_KINDS[kinds[0]]} is due")
    if data[4] not in kinds:
        signed = "enrolled clients" if data[4] in (_ENROLLED_UPLOAD, _ENROLLED_SUM) else "the group"
        raise WireFormatError(
            f"this {_KINDS[data[4]]} chunk is one of {signed}: all parties have a directory, or none has"
        )
    fields = cast("tuple[bytes, int, bytes, bytes, int, int]", _HEADER.unpack_from(data))
    return ChunkHeader(*fields[1:])


def _check_origin(header: ChunkHeader, public: PublicContext, context: bytes) -> None:
    if header.fingerprint != public.fingerprint:
        raise ContextMismatchError("the chunk was made with other parameters or another key")
    if header.context != context:
        raise ContextMismatchError("the chunk was made for another round")


def _check_place(header: ChunkHeader, public: PublicContext) -> int:
    """How many ciphertexts the chunk must hold."""
    if not 1 <= header.vector_length <= MAX_VECTOR_LENGTH:
        raise WireFormatError(f"a vector of {header.vector_length} integers is out of range")
    if header.index >= public.params.chunks(header.vector_length):
        raise WireFormatError(f"there is no chunk {header.index} of such a vector")
    return public.params.ciphertexts_in_chunk(header.index, header.vector_length)
