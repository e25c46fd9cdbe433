"""Chunks of an upload under a one-time key: header, planes of limbs, and the client's signature."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from he.crypto.digests import long_digest
from he.errors import ContextMismatchError, RemoteProtocolError, WireFormatError
from he.guards.checks import octets
from he.wire.headers import (
    HEADER,
    MAGIC,
    ONE_TIME_UPLOAD,
    SIGNED_ONE_TIME_UPLOAD,
    ChunkHeader,
    read_header,
)
from he.wire.uploads import SIGNATURE_BYTES, signature_by

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from he.crypto.enrolment import Directory, Signer
    from he.onetime.params import Layout, Params

__all__ = [
    "OpenedChunk",
    "encode_chunk",
    "is_upload",
    "limbs_of",
    "open_chunk",
    "upload_digest",
    "upload_words",
]

_SENDER = struct.Struct("<Q")
_START = HEADER.size + _SENDER.size
_KINDS = (ONE_TIME_UPLOAD, SIGNED_ONE_TIME_UPLOAD)


@dataclass(frozen=True, slots=True)
class OpenedChunk:
    """A chunk that was checked.

    Args:
        index: index of the chunk.
        digest: BLAKE3 of the message without its signature.
        planes: one memory for each polynomial: the planes of its limbs, the lowest first.
    """

    index: int
    digest: bytes
    planes: tuple[memoryview, ...]


def encode_chunk(
    params: Params,
    context: bytes,
    client_id: int,
    index: int,
    polynomials: Iterable[NDArray[np.int64]],
    signer: Signer | None,
) -> tuple[bytes, bytes]:
    """The bytes of a chunk, and its digest.

    Args:
        params: the parameters of the sum.
        context: hash of the round's context.
        client_id: the sender.
        index: index of the chunk.
        polynomials: int64[L, width] each, carried.
        signer: the client's own key, if clients are enrolled.
    """
    kind = ONE_TIME_UPLOAD if signer is None else SIGNED_ONE_TIME_UPLOAD
    head = HEADER.pack(MAGIC, kind, params.fingerprint, context, index, params.vector_length)
    planes = [
        limb.astype(form).tobytes()
        for limbs in polynomials
        for limb, form in zip(limbs, _forms(params.layout), strict=True)
    ]
    message = b"".join((head, _SENDER.pack(client_id), *planes))
    digest = long_digest(message)
    if signer is not None:
        message += signature_by(signer, _statement(digest))
    return message, digest


def open_chunk(
    data: bytes, params: Params, context: bytes, sender: int, enrolled: Directory | None
) -> OpenedChunk:
    """Decode a chunk once it is known to be the sender's own, for this round.

    Every body of the right length is a ciphertext in its one form, so nothing else can be refused here.

    Raises:
        WireFormatError: the bytes are no chunk, or the chunk has another length or place.
        ContextMismatchError: it was made for another round or under other parameters.
        RemoteProtocolError: it is another client's chunk.
        AuthenticationError: the client is not enrolled, or the signature is invalid.
    """
    signed = enrolled is not None
    header = read_header(data, SIGNED_ONE_TIME_UPLOAD if signed else ONE_TIME_UPLOAD)
    end = len(data) - (SIGNATURE_BYTES if signed else 0)
    if end < _START:
        raise WireFormatError("the chunk ends within its header")
    (client_id,) = cast("tuple[int]", _SENDER.unpack_from(data, HEADER.size))
    if client_id != sender:
        raise RemoteProtocolError(f"client {sender} sent a chunk of client {client_id}")
    digest = long_digest(memoryview(data)[:end])
    if enrolled is not None:
        enrolled.verify(sender, _statement(digest), data[end:])
    _check_header(header, params, context)
    sizes = [params.width(number) * params.word_bytes for number in params.in_chunk(header.index)]
    if end != _START + sum(sizes):
        raise WireFormatError(f"no such chunk has {len(data)} bytes")
    places = [_START + sum(sizes[:k]) for k in range(len(sizes))]
    view = memoryview(data)
    planes = tuple(view[place : place + size] for place, size in zip(places, sizes, strict=True))
    return OpenedChunk(header.index, digest, planes)


def _check_header(header: ChunkHeader, params: Params, context: bytes) -> None:
    if header.fingerprint != params.fingerprint:
        raise ContextMismatchError("the chunk was made with other parameters")
    if header.context != context:
        raise ContextMismatchError("the chunk was made for another round")
    if header.vector_length != params.vector_length or header.index >= params.chunks:
        raise WireFormatError("the chunk has no place in a vector of this length")


def limbs_of(planes: memoryview, layout: Layout) -> list[NDArray[np.unsignedinteger]]:
    """The limbs of a polynomial from the bytes of its planes, each [width]."""
    width = len(planes) // layout.word_bytes
    # A plane of 16 bits begins at two bytes a word for each plane below it.
    return [
        np.frombuffer(planes, form, width, 2 * width * limb)
        for limb, form in enumerate(_forms(layout))
    ]


def upload_digest(digests: Iterable[bytes]) -> bytes:
    """The digest of an upload from those of its chunks, in order."""
    return hashlib.sha256(b"he one-time upload" + b"".join(digests)).digest()


def is_upload(message: bytes) -> bool:
    """Whether bytes claim to be a chunk of an upload under a one-time key.

    Raises:
        LocalProtocolError: the value is not bytes.

    Example:
        >>> is_upload(b"something else")
        False
    """
    message = octets("message", message)
    return len(message) >= _START and message[:4] == MAGIC and message[4] in _KINDS


def upload_words(message: bytes) -> NDArray[np.uint64]:
    """The bytes of a chunk's ciphertexts as 64-bit words, for pictures and statistics.

    Args:
        message: a chunk; its signature is not checked.

    Returns:
        uint64[…]; bytes that fill no word are left out.

    Raises:
        WireFormatError: the bytes are no such chunk.
        LocalProtocolError: the value is not bytes.

    Example:
        >>> from he.onetime import Encryptor, Params
        >>> (chunk,) = Encryptor(Params(3, 100, 640), 7, context=b"a").encrypt(np.arange(640) % 99)
        >>> upload_words(chunk).dtype
        dtype('uint64')
    """
    if not is_upload(message):
        raise WireFormatError("these bytes are no upload under a one-time key")
    end = len(message) - (SIGNATURE_BYTES if message[4] == SIGNED_ONE_TIME_UPLOAD else 0)
    count = max(0, end - _START) // 8
    return np.frombuffer(message, "<u8", count, _START).astype(np.uint64)


def _forms(layout: Layout) -> list[str]:
    """The types of the planes: 16 bits a limb, and 8 for the last one if a word has odd bytes."""
    return ["<u2"] * (layout.word_bytes // 2) + ["<u1"] * (layout.word_bytes % 2)


def _statement(digest: bytes) -> bytes:
    """What an enrolled client signs."""
    return b"he one-time chunk\0" + digest
