"""Upload chunks, from a client to the server, signed with the group's key or with the client's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from he.coding.words import body_bytes, restore_low_bits, unpack_words
from he.crypto.digests import long_digest
from he.crypto.enrolment import Directory, Proof, Signer
from he.crypto.tags import UploadName
from he.errors import (
    AuthenticationError,
    LocalProtocolError,
    RemoteProtocolError,
    WireFormatError,
)
from he.guards.checks import octets
from he.params import BLOCK
from he.params.capacity import WORD_BITS
from he.wire.headers import (
    ENROLLED_UPLOAD,
    HEADER,
    MAGIC,
    SENDER,
    TAG_BYTES,
    UPLOAD,
    check_origin,
    check_place,
    pack_tags,
    read_header,
    read_tags,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from he.crypto.context import PublicContext

__all__ = [
    "SIGNATURE_BYTES",
    "UploadChunk",
    "check_proof",
    "ciphertext_coefficients",
    "encode_upload",
    "open_upload",
    "sign_as_client",
    "signature_by",
]

SIGNATURE_BYTES = 64
_UPLOAD_START = HEADER.size + SENDER.size
_STATEMENT = b"he enrolled upload\0"


@dataclass(frozen=True, slots=True)
class UploadChunk:
    """Up to `BLOCK` ciphertexts of one client's upload.

    Args:
        name: name of the upload, with its client and round.
        index: index of the chunk.
        tags: the ciphertexts' linear tags, each below q.
        body: the words of c0, `Params.word_bits` each, or of all c0 and then all c1.
        proof: proof of an enrolled client's chunk that was decoded.
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


def encode_upload(chunk: UploadChunk, public: PublicContext, *, enrolled: bool = False) -> bytes:
    """The bytes of an upload chunk, to be signed."""
    head = _upload_head(chunk.name, chunk.index, public, enrolled=enrolled)
    return b"".join((head, pack_tags(chunk.tags), chunk.body))


def sign_as_client(message: bytes, signer: Signer) -> bytes:
    """Complete an enrolled client's chunk.

    Raises:
        LocalProtocolError: the signer returned no signature.
    """
    head, body = message[:_UPLOAD_START], memoryview(message)[_UPLOAD_START:]
    return message + signature_by(signer, _statement(head, long_digest(body)))


def signature_by(signer: Signer, statement: bytes) -> bytes:
    """A client's signature of a statement.

    Raises:
        LocalProtocolError: the signer returned no signature.
    """
    signature = signer.sign(statement)
    if not isinstance(signature, bytes) or len(signature) != SIGNATURE_BYTES:  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
        raise LocalProtocolError("the signing key gave no Ed25519 signature, which is 64 bytes")
    return signature


def open_upload(
    data: bytes,
    public: PublicContext,
    context: bytes,
    *,
    sender: int | None = None,
    enrolled: Directory | None = None,
) -> UploadChunk:
    """Decode an upload chunk once it is known to come from the group, or from its sender, for this round.

    Args:
        data: the chunk.
        public: the group's context.
        context: hash of the round's context.
        sender: the sender, as the transport knows it; needed with `enrolled`.
        enrolled: the clients' own keys, which then sign in place of the group's key.

    Raises:
        WireFormatError: the bytes are not in canonical form.
        ContextMismatchError: the chunk was made for another round, under other parameters or another key.
        RemoteProtocolError: it is another client's chunk.
        AuthenticationError: the client is not enrolled, or the signature is invalid.
    """
    if enrolled is not None and data[:5] == bytes((*MAGIC, UPLOAD)):
        raise AuthenticationError(
            f"client {sender} signed with the group's key where its own enrolled key is due"
        )
    header = read_header(data, UPLOAD if enrolled is None else ENROLLED_UPLOAD)
    check_origin(header, public, context)
    if len(data) < _UPLOAD_START + SIGNATURE_BYTES:
        raise WireFormatError("the upload chunk ends within its header")
    proof = None
    # Nothing of the body is parsed before the signature is verified.
    if enrolled is None:
        public.verify(data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:])
    else:
        proof = _check_client(data, sender, enrolled)
    count = check_place(header, public)
    start = _UPLOAD_START + count * TAG_BYTES
    params = public.params
    size = body_bytes(count, parts=params.parts, bits=params.word_bits)
    if len(data) != start + size + SIGNATURE_BYTES:
        raise WireFormatError(f"no such upload chunk has {len(data)} bytes")
    client_id, nonce = cast("tuple[int, bytes]", SENDER.unpack_from(data, HEADER.size))
    if client_id >> 63:
        raise WireFormatError("the client's number is beyond 2^63 − 1")
    name = UploadName(header.context, client_id, nonce, header.vector_length)
    tags = read_tags(data[_UPLOAD_START:start])
    return UploadChunk(name, header.index, tags, memoryview(data)[start:-SIGNATURE_BYTES], proof)


def check_proof(proof: Proof, name: UploadName, public: PublicContext, enrolled: Directory) -> None:
    """Check that an enrolled client signed an upload of this name.

    Raises:
        AuthenticationError: the client is not enrolled, or the signature is invalid.
    """
    head = _upload_head(name, 0, public, enrolled=True)
    enrolled.verify(name.client_id, _statement(head, proof.body), proof.signature)


def ciphertext_coefficients(chunk: bytes) -> NDArray[np.uint64]:
    """The coefficients of an upload chunk, which anyone can read, for pictures and statistics.

    Args:
        chunk: an upload chunk; its signature is not checked.

    Returns:
        uint64, below q = 1152921504606830593: [c·N] of c0, with c1 expanded from a seed, or [2·c·N].

    Raises:
        WireFormatError: the bytes are no upload chunk.
        LocalProtocolError: the value is not bytes.

    Example:
        >>> import numpy as np
        >>> from he import Client, Params, SecretContext
        >>> secret = SecretContext.generate(Params.for_sum(3, max_abs=100))
        >>> chunk, = Client(secret, 7, context=b"round 1").encrypt(np.array([1, 2, 3]))
        >>> ciphertext_coefficients(chunk).shape
        (4096,)
    """
    chunk = octets("chunk", chunk)
    read_header(chunk, UPLOAD, ENROLLED_UPLOAD)
    # c ciphertexts take 8·c bytes of tags and 512·c for each bit of their words, c ≤ 16.
    size = len(chunk) - _UPLOAD_START - SIGNATURE_BYTES
    count = size % body_bytes(1, parts=1, bits=1) // TAG_BYTES
    bits, rest = divmod(size - count * TAG_BYTES, max(1, body_bytes(count, parts=1, bits=1)))
    bits = bits // 2 if bits > WORD_BITS else bits
    if rest or not 1 <= count <= BLOCK or bits not in range(32, WORD_BITS + 1, 4):
        raise WireFormatError(f"no upload chunk has {len(chunk)} bytes")
    body = chunk[_UPLOAD_START + count * TAG_BYTES : -SIGNATURE_BYTES]
    return restore_low_bits(unpack_words(body, bits), bits)


def _upload_head(name: UploadName, index: int, public: PublicContext, *, enrolled: bool) -> bytes:
    kind = ENROLLED_UPLOAD if enrolled else UPLOAD
    header = HEADER.pack(MAGIC, kind, public.fingerprint, name.context, index, name.vector_length)
    return header + SENDER.pack(name.client_id, name.nonce)


def _statement(head: bytes, body_hash: bytes) -> bytes:
    """The statement that an enrolled client signs: short, so that it can be shown without the upload."""
    return _STATEMENT + head + body_hash


def _check_client(data: bytes, sender: int | None, enrolled: Directory) -> Proof:
    (client_id, _) = cast("tuple[int, bytes]", SENDER.unpack_from(data, HEADER.size))
    if client_id != sender:
        raise RemoteProtocolError(f"client {sender} sent a chunk of client {client_id}")
    body = memoryview(data)[_UPLOAD_START:-SIGNATURE_BYTES]
    proof = Proof(long_digest(body), data[-SIGNATURE_BYTES:])
    enrolled.verify(client_id, _statement(data[:_UPLOAD_START], proof.body), proof.signature)
    return proof
