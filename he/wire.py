"""Envelopes: everything that clients, server and key holder send, in one canonical form each.

An upload chunk is signed over all of its bytes, and nothing of its body is parsed before the signature
holds. A sum chunk needs no signature: the linear tag, which the server cannot make, vouches for it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, cast

from he.errors import ContextMismatchError, LocalProtocolError, WireFormatError
from he.layout import FULL_BYTES, SEEDED_BYTES, read_body
from he.packing import MAX_VECTOR_LENGTH
from he.params import MODULUS
from he.tags import UploadName

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from he.context import PublicContext

__all__ = [
    "ChunkHeader",
    "SumChunk",
    "UploadChunk",
    "check_client_id",
    "ciphertext_coefficients",
    "encode_sum",
    "encode_upload",
    "envelope_kind",
    "open_sum",
    "open_upload",
]

_MAGIC = b"HEC\x01"
_UPLOAD, _SUM = 1, 2
_KINDS = {_UPLOAD: "upload", _SUM: "sum"}

# magic, kind; fingerprint (over parameters and key), context; index, count, vector length, tag
_HEADER = struct.Struct("<4sB16s32sIIQQ")
_SENDER = struct.Struct("<Q16s")  # client, nonce: of an upload; of each contributor of a sum
_ROSTER = struct.Struct("<I")
_SIGNATURE_BYTES = 64
_UPLOAD_OVERHEAD = _HEADER.size + _SENDER.size + _SIGNATURE_BYTES


@dataclass(frozen=True, slots=True)
class ChunkHeader:
    """What upload chunks and sum chunks have in common."""

    kind: int
    fingerprint: bytes
    context: bytes
    index: int
    count: int
    vector_length: int
    tag: int


@dataclass(frozen=True, slots=True)
class UploadChunk:
    """One ciphertext of one client's upload.

    Args:
        name: whose upload this is, and of which round.
        index: its place, below `count`.
        count: ciphertexts in the upload.
        tag: the linear tag, below q.
        body: the ciphertext.
    """

    name: UploadName
    index: int
    count: int
    tag: int
    body: bytes


@dataclass(frozen=True, slots=True)
class SumChunk:
    """One ciphertext of the sum.

    Args:
        index: its place, below `count`.
        count: ciphertexts in the sum.
        vector_length: d.
        contributors: the uploads that were added, by ascending client; in chunk 0 only.
        tag: the sum of their tags modulo q.
        body: (c0, c1).
    """

    index: int
    count: int
    vector_length: int
    contributors: tuple[UploadName, ...]
    tag: int
    body: bytes


def check_client_id(client_id: int) -> None:
    """Raises LocalProtocolError: not an integer in 0 … 2^63 − 1."""
    if isinstance(client_id, bool) or not isinstance(client_id, int):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
        raise LocalProtocolError("client_id must be an integer")
    if not 0 <= client_id < 1 << 63:
        raise LocalProtocolError("client_id must lie in 0 … 2^63 − 1")


def encode_upload(
    chunk: UploadChunk, public: PublicContext, sign: Callable[[bytes], bytes]
) -> bytes:
    """The signed bytes of an upload chunk."""
    name = chunk.name
    place = (chunk.index, chunk.count, name.vector_length, chunk.tag)
    header = _HEADER.pack(_MAGIC, _UPLOAD, public.fingerprint, name.context, *place)
    message = header + _SENDER.pack(name.client_id, name.nonce) + chunk.body
    return message + sign(message)


def open_upload(data: bytes, public: PublicContext, context: bytes) -> UploadChunk:
    """Read an upload chunk once it is known to come from the group, for this round.

    Raises:
        WireFormatError: not the canonical form.
        ContextMismatchError: made for another round, under other parameters or another key.
        AuthenticationError: the signature does not hold.
    """
    header = _read_header(data, _UPLOAD)
    if len(data) - _UPLOAD_OVERHEAD not in (SEEDED_BYTES, FULL_BYTES):
        raise WireFormatError(f"no upload chunk has {len(data)} bytes")
    _check_origin(header, public, context)
    public.verify(data[:-_SIGNATURE_BYTES], data[-_SIGNATURE_BYTES:])
    _check_place(header, public)
    client_id, nonce = cast("tuple[int, bytes]", _SENDER.unpack_from(data, _HEADER.size))
    if client_id >> 63:
        raise WireFormatError("the client's number is beyond 2^63 − 1")
    name = UploadName(header.context, client_id, nonce, header.vector_length)
    body = data[_HEADER.size + _SENDER.size : -_SIGNATURE_BYTES]
    return UploadChunk(name, header.index, header.count, header.tag, body)


def encode_sum(chunk: SumChunk, public: PublicContext, context: bytes) -> bytes:
    """The bytes of a sum chunk."""
    place = (chunk.index, chunk.count, chunk.vector_length, chunk.tag)
    header = _HEADER.pack(_MAGIC, _SUM, public.fingerprint, context, *place)
    roster = b"".join(_SENDER.pack(name.client_id, name.nonce) for name in chunk.contributors)
    return header + _ROSTER.pack(len(chunk.contributors)) + roster + chunk.body


def open_sum(data: bytes, public: PublicContext, context: bytes) -> SumChunk:
    """Read a sum chunk; its tag is still to be verified.

    Raises:
        WireFormatError: not the canonical form.
        ContextMismatchError: made for another round, under other parameters or another key.
    """
    header = _read_header(data, _SUM)
    start = _HEADER.size + _ROSTER.size
    if len(data) < start:
        raise WireFormatError("the sum chunk ends within its header")
    (size,) = cast("tuple[int]", _ROSTER.unpack_from(data, _HEADER.size))
    end = start + size * _SENDER.size
    if len(data) != end + FULL_BYTES:
        raise WireFormatError(f"{len(data)} bytes do not fit {size} contributors")
    _check_origin(header, public, context)
    _check_place(header, public)
    if (size > 0) != (header.index == 0):
        raise WireFormatError("the contributors belong in the first chunk of a sum, and only there")
    senders = cast("list[tuple[int, bytes]]", list(_SENDER.iter_unpack(data[start:end])))
    clients = [client_id for client_id, _ in senders]
    if any(left >= right for left, right in pairwise(clients)):
        raise WireFormatError("contributors must ascend, each once")
    names = tuple(
        UploadName(context, client, nonce, header.vector_length) for client, nonce in senders
    )
    return SumChunk(header.index, header.count, header.vector_length, names, header.tag, data[end:])


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
        uint64, below q = 1152921504606830593: [N] of c0, with c1 expanded from a seed, or [2N] of c0, c1.

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
    _read_header(chunk, _UPLOAD)
    coefficients, _ = read_body(chunk[_HEADER.size + _SENDER.size : -_SIGNATURE_BYTES])
    return coefficients


def _read_header(data: bytes, kind: int) -> ChunkHeader:
    if envelope_kind(data) != _KINDS[kind]:
        raise WireFormatError(f"an {_KINDS[data[4]]} chunk stands where {_KINDS[kind]} is due")
    fields = cast("tuple[bytes, int, bytes, bytes, int, int, int, int]", _HEADER.unpack_from(data))
    return ChunkHeader(*fields[1:])


def _check_origin(header: ChunkHeader, public: PublicContext, context: bytes) -> None:
    if header.fingerprint != public.fingerprint:
        raise ContextMismatchError("the chunk was made with other parameters or another key")
    if header.context != context:
        raise ContextMismatchError("the chunk was made for another round")


def _check_place(header: ChunkHeader, public: PublicContext) -> None:
    if not 1 <= header.vector_length <= MAX_VECTOR_LENGTH:
        raise WireFormatError(f"a vector of {header.vector_length} integers is out of range")
    if header.count != public.params.ciphertexts(header.vector_length):
        raise WireFormatError("the number of chunks does not fit the vector's length")
    if header.index >= header.count:
        raise WireFormatError(f"there is no chunk {header.index} among {header.count}")
    if header.tag >= MODULUS:
        raise WireFormatError("the tag is not below q")
