"""The server: adds ciphertexts that it cannot open, upload by whole upload."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from he.coding.residues import reduce
from he.coding.words import pack_words, restore_low_bits, unpack_words
from he.crypto.context import PublicContext, hash_context
from he.crypto.enrolment import Proof
from he.errors import CapacityError, LocalProtocolError, RemoteProtocolError, UnsafeParametersError
from he.params.capacity import DEGREE, MODULUS, WORD_BITS
from he.wire import SumChunk, UploadChunk, check_client_id, encode_sum, open_upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from he.crypto.enrolment import Directory
    from he.crypto.tags import UploadName

__all__ = ["Server"]


@dataclass(frozen=True, slots=True)
class _Tagged:
    """A chunk's ciphertexts, uint64[parts, c, N] below q, and their tags: only ever added together."""

    parts: NDArray[np.uint64]
    tags: tuple[int, ...]

    def add(self, other: _Tagged) -> _Tagged:
        """Add in place; what is returned takes over the array."""
        total = self.parts
        total += other.parts
        tags = ((left + right) % MODULUS for left, right in zip(self.tags, other.tags, strict=True))
        return _Tagged(reduce(total, below=2), tuple(tags))


@dataclass(frozen=True, slots=True)
class _Partial:
    """An upload whose chunks have not all arrived."""

    name: UploadName
    chunks: dict[int, _Tagged] = field(default_factory=dict[int, _Tagged])
    proofs: list[Proof] = field(default_factory=list[Proof])  # of chunk 0, of enrolled clients


class Server:
    """Collects uploads and adds them. It holds no secret and takes none.

    A client counts when all its chunks have arrived, and not before: a broken-off upload never touches
    the sum. A refused chunk changes nothing.

    Args:
        public: the public context, exactly; anything that holds a key is refused.
        context: non-empty bytes that name the round, the same at every party.
        enrolled: clients' own keys: each then signs with its own, and nobody else is let in.

    Raises:
        UnsafeParametersError: `public` is no `PublicContext`.

    Example:
        >>> import numpy as np
        >>> from he import Client, KeyHolder, Params, SecretContext
        >>> secret = SecretContext.generate(Params.for_sum(3, max_abs=100))
        >>> server = Server(secret.public(), context=b"round 1")
        >>> for client_id in (4, 9):
        ...     for chunk in Client(secret, client_id, context=b"round 1").encrypt(np.array([1, -2])):
        ...         server.receive(client_id, chunk)
        >>> holder = KeyHolder(secret, min_clients=2, context=b"round 1")
        >>> holder.decrypt(server.result())
        SumResult(total=array([ 2, -4]), survivors=(4, 9))
    """

    __slots__ = (
        "_closed",
        "_context",
        "_enrolled",
        "_names",
        "_partial",
        "_proofs",
        "_public",
        "_sums",
    )

    def __init__(
        self, public: PublicContext, *, context: bytes, enrolled: Directory | None = None
    ) -> None:
        if type(public) is not PublicContext:
            raise UnsafeParametersError(
                "the server takes a PublicContext and never a key; give it .public() of yours"
            )
        self._public = public
        self._context = hash_context(context)
        self._enrolled = enrolled
        self._proofs: dict[int, Proof] = {}
        self._partial: dict[int, _Partial] = {}
        self._names: dict[int, UploadName] = {}
        self._sums: list[_Tagged] = []
        self._closed = False

    @property
    def contributors(self) -> tuple[int, ...]:
        """The clients whose uploads are in the sum, ascending."""
        return tuple(sorted(self._names))

    def receive(self, client_id: int, chunk: bytes) -> None:
        """Take one chunk of a client's upload, in any order.

        Args:
            client_id: who sent it, as the transport knows.
            chunk: what `Client.encrypt` made.

        Raises:
            WireFormatError: no canonical chunk.
            ContextMismatchError: made for another round, under other parameters or another key.
            AuthenticationError: damaged, or not signed by the group; with a directory, by this client.
            RemoteProtocolError: another client's chunk, a duplicate, a second upload, chunks of two
                uploads, another vector length than the rest of the cohort's.
            CapacityError: more clients than the parameters allow.
            LocalProtocolError: the sum was taken already.
        """
        if self._closed:
            raise LocalProtocolError("the sum was taken already; no more chunks are added to it")
        check_client_id(client_id)
        upload = open_upload(
            chunk, self._public, self._context, sender=client_id, enrolled=self._enrolled
        )
        self._check_sender(client_id, upload)
        partial = self._partial.get(client_id) or _Partial(upload.name)
        if partial.name != upload.name:
            raise RemoteProtocolError(
                f"client {client_id} mixes chunks of two uploads; drop({client_id}) to begin again"
            )
        if upload.index in partial.chunks:
            raise RemoteProtocolError(f"client {client_id} sent chunk {upload.index} twice")
        tagged = self._read(upload)
        if upload.proof is not None and not upload.index:
            partial.proofs.append(upload.proof)
        if len(partial.chunks) + 1 == self._public.params.chunks(upload.name.vector_length):
            self._commit(partial, {**partial.chunks, upload.index: tagged})
        else:
            partial.chunks[upload.index] = tagged
            self._partial[client_id] = partial

    def drop(self, client_id: int) -> None:
        """Discard what a client sent of an upload that is not complete; a complete one stays."""
        self._partial.pop(client_id, None)

    def result(self) -> Iterator[bytes]:
        """Close the sum and hand it out, as chunks for the key holder.

        Raises:
            LocalProtocolError: no upload is complete.
        """
        if not self._sums:
            raise LocalProtocolError("no upload is complete: there is no sum")
        self._closed = True
        self._partial.clear()
        return self._chunks()

    def _chunks(self) -> Iterator[bytes]:
        names = tuple(self._names[client_id] for client_id in sorted(self._names))
        for index, total in enumerate(self._sums):
            body = pack_words(total.parts, WORD_BITS)
            roster = () if index else names
            proofs = None
            if self._enrolled is not None:
                proofs = tuple(self._proofs[name.client_id] for name in roster)
            chunk = SumChunk(index, names[0].vector_length, roster, total.tags, body, proofs)
            yield encode_sum(chunk, self._public, self._context)

    def _read(self, upload: UploadChunk) -> _Tagged:
        params = self._public.params
        words = unpack_words(upload.body, params.word_bits)
        restored = restore_low_bits(words, params.word_bits)
        return _Tagged(restored.reshape(params.parts, -1, DEGREE), upload.tags)

    def _check_sender(self, client_id: int, upload: UploadChunk) -> None:
        """Refuse who may not contribute (more)."""
        if upload.name.client_id != client_id:
            raise RemoteProtocolError(
                f"client {client_id} sent a chunk of client {upload.name.client_id}"
            )
        if client_id in self._names:
            raise RemoteProtocolError(f"client {client_id} has contributed already")
        known = self._names.keys() | self._partial.keys()
        if client_id not in known and len(known) >= self._public.params.n_clients:
            raise CapacityError(
                f"client {client_id} is one more than the {self._public.params.n_clients} declared; "
                "drop a client that fell silent, or choose parameters for more"
            )
        others = next(iter(self._names.values()), None) or self._any_partial()
        if others is not None and others.vector_length != upload.name.vector_length:
            raise RemoteProtocolError(
                f"client {client_id} sent a vector of {upload.name.vector_length} integers "
                f"where others sent {others.vector_length}"
            )

    def _any_partial(self) -> UploadName | None:
        return next((partial.name for partial in self._partial.values()), None)

    def _commit(self, partial: _Partial, chunks: dict[int, _Tagged]) -> None:
        """Add a complete upload, chunk by chunk and in place: nothing can be refused any more."""
        fresh = [chunks[index] for index in range(len(chunks))]
        if self._sums:
            fresh = [total.add(chunk) for total, chunk in zip(self._sums, fresh, strict=True)]
        self._sums = fresh
        client_id = partial.name.client_id
        self._names[client_id] = partial.name
        for proof in partial.proofs:
            self._proofs[client_id] = proof
        self._partial.pop(client_id, None)
