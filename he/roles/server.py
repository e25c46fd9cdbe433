"""The server: adds ciphertexts that it cannot open, one complete upload at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from he.coding.residues import reduce
from he.coding.words import pack_words, restore_low_bits, unpack_words
from he.crypto.context import PublicContext
from he.crypto.enrolment import Directory, Proof
from he.crypto.tags import UploadName
from he.errors import CapacityError, LocalProtocolError, RemoteProtocolError, UnsafeParametersError
from he.guards.checks import check_client_id, check_type, octets
from he.params import check_length
from he.params.capacity import DEGREE, MODULUS, WORD_BITS
from he.rounds import hash_context
from he.wire import SumChunk, UploadChunk, encode_sum, open_upload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray


__all__ = ["Server"]


@dataclass(frozen=True, slots=True)
class _Tagged:
    """A chunk's ciphertexts, uint64[parts, c, N] below q, with their tags; they are only added together."""

    parts: NDArray[np.uint64]
    tags: tuple[int, ...]

    def add(self, other: _Tagged) -> _Tagged:
        """Add in place; the result takes over the array."""
        total = self.parts
        total += other.parts
        tags = ((left + right) % MODULUS for left, right in zip(self.tags, other.tags, strict=True))
        return _Tagged(reduce(total, below=2), tuple(tags))


@dataclass(frozen=True, slots=True)
class _Partial:
    """An upload whose chunks have not all arrived."""

    name: UploadName
    chunks: dict[int, _Tagged] = field(default_factory=dict[int, _Tagged])
    proofs: list[Proof] = field(default_factory=list[Proof])  # of chunk 0, if clients are enrolled


@dataclass(slots=True)
class _Sum:
    """The complete uploads of one vector length, added up chunk by chunk."""

    totals: list[_Tagged] = field(default_factory=list[_Tagged])
    names: dict[int, UploadName] = field(default_factory=dict[int, UploadName])
    proofs: dict[int, Proof] = field(default_factory=dict[int, Proof])

    def add(self, partial: _Partial, chunks: dict[int, _Tagged]) -> None:
        """Add a complete upload in place; no check can fail any more."""
        fresh = [chunks[index] for index in range(len(chunks))]
        if self.totals:
            fresh = [total.add(chunk) for total, chunk in zip(self.totals, fresh, strict=True)]
        self.totals = fresh
        client_id = partial.name.client_id
        self.names[client_id] = partial.name
        for proof in partial.proofs:
            self.proofs[client_id] = proof


class Server:
    """Collects uploads and adds them. It holds no secret and accepts none.

    A client counts only when all its chunks have arrived: an interrupted upload never enters the sum. A
    refused chunk changes nothing. Several threads may call one server.

    All vectors of a sum have one length. Declare it: a client that sends another length is then refused by
    name, whenever it sends. Without `vector_length`, no client's length has precedence: uploads are added
    separately by length, and the sum is that of the length that most clients sent. `outvoted` names the
    other clients.

    Args:
        public: the public context; an object that holds a key is refused.
        context: non-empty bytes that name the round, the same for all parties.
        vector_length: number of integers in each vector, 1 … 2^32.
        enrolled: the clients' own keys; each client then signs with its own, and other clients are refused.

    Raises:
        UnsafeParametersError: `public` is no `PublicContext`.
        LocalProtocolError: another argument has the wrong type or is out of range.

    Example:
        >>> import numpy as np
        >>> from he import Client, KeyHolder, Params, SecretContext
        >>> secret = SecretContext.generate(Params.for_sum(3, max_abs=100))
        >>> server = Server(secret.public(), context=b"round 1", vector_length=2)
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
        "_lock",
        "_partial",
        "_public",
        "_sums",
        "_vector_length",
        "_whole",
    )

    def __init__(
        self,
        public: PublicContext,
        *,
        context: bytes,
        vector_length: int | None = None,
        enrolled: Directory | None = None,
    ) -> None:
        if type(public) is not PublicContext:
            raise UnsafeParametersError(
                "the server takes a PublicContext and never a key; give it .public() of yours"
            )
        self._public = public
        self._context = hash_context(context)
        self._vector_length = None if vector_length is None else check_length(vector_length)
        self._enrolled = None if enrolled is None else check_type("enrolled", enrolled, Directory)
        self._partial: dict[int, _Partial] = {}
        self._sums: dict[int, _Sum] = {}  # by vector length; a single one if the length is declared
        self._whole: set[int] = set()  # clients with a complete upload, of any length
        self._closed = False
        self._lock = Lock()

    @property
    def contributors(self) -> tuple[int, ...]:
        """The clients whose uploads are in the sum, ascending."""
        leading = self._leading()
        return () if leading is None else tuple(sorted(leading.names))

    @property
    def outvoted(self) -> Mapping[int, int]:
        """Clients whose complete uploads are not in the sum, because most others sent another length.

        Client id to the length of its vector; always empty if `vector_length` is declared.
        """
        leading = self._leading()
        return {
            client_id: name.vector_length
            for one in self._sums.values()
            if one is not leading
            for client_id, name in sorted(one.names.items())
        }

    def receive(self, client_id: int, chunk: bytes) -> None:
        """Take one chunk of a client's upload, in any order.

        Args:
            client_id: the sender, as the transport knows it.
            chunk: a chunk from `Client.encrypt`.

        Raises:
            WireFormatError: the bytes are no canonical chunk.
            ContextMismatchError: the chunk was made for another round, under other parameters or another key.
            AuthenticationError: it is damaged, or not signed by the group, or, with a directory, by this
                client.
            RemoteProtocolError: it is another client's chunk, a duplicate, part of a second upload or of a
                mixture of two, or has another vector length than declared.
            CapacityError: there are more clients than the parameters allow.
            LocalProtocolError: the sum was taken already, the id is no client's number, or the chunk no
                bytes.
        """
        client_id = check_client_id(client_id)
        chunk = octets("chunk", chunk)
        with self._lock:
            self._receive(client_id, chunk)

    def _receive(self, client_id: int, chunk: bytes) -> None:
        if self._closed:
            raise LocalProtocolError("the sum was taken already; no more chunks are added to it")
        upload = open_upload(
            chunk, self._public, self._context, sender=client_id, enrolled=self._enrolled
        )
        self._check_sender(client_id, upload)
        # A new upload is stored only at the end: a refused chunk changes nothing.
        partial = self._partial.get(client_id) or _Partial(upload.name)
        if partial.name != upload.name:
            raise RemoteProtocolError(
                f"client {client_id} mixes chunks of two uploads; drop({client_id}) to begin again"
            )
        if upload.index in partial.chunks:
            raise RemoteProtocolError(f"client {client_id} sent chunk {upload.index} twice")
        tagged = self._read(upload)
        # The key holder checks the signature on chunk 0: it proves that the client made this upload.
        if upload.proof is not None and not upload.index:
            partial.proofs.append(upload.proof)
        length = upload.name.vector_length
        if len(partial.chunks) + 1 == self._public.params.chunks(length):
            chunks = {**partial.chunks, upload.index: tagged}
            self._sums.setdefault(length, _Sum()).add(partial, chunks)
            self._whole.add(client_id)
            self._partial.pop(client_id, None)
        else:
            partial.chunks[upload.index] = tagged
            self._partial[client_id] = partial

    def drop(self, client_id: int) -> None:
        """Discard a client's incomplete upload; a complete upload stays."""
        client_id = check_client_id(client_id)
        with self._lock:
            self._partial.pop(client_id, None)

    def result(self) -> Iterator[bytes]:
        """Close the sum and return it, as chunks for the key holder.

        Raises:
            LocalProtocolError: no upload is complete; or no vector length is declared, and no length was sent
                by most clients.
        """
        with self._lock:
            if not self._sums:
                raise LocalProtocolError("no upload is complete: there is no sum")
            leading = self._leading()
            if leading is None:
                lengths = ", ".join(map(str, sorted(self._sums)))
                raise LocalProtocolError(
                    f"as many clients sent vectors of one length as of another ({lengths}); declare "
                    "the right one with Server(..., vector_length=...)"
                )
            self._closed = True
            self._partial.clear()  # an unfinished upload never enters a sum
        return self._chunks(leading)

    def _leading(self) -> _Sum | None:
        """The sum of the length that most clients sent, if one length leads."""
        ranked = sorted(self._sums.values(), key=lambda one: len(one.names), reverse=True)
        if not ranked or (len(ranked) > 1 and len(ranked[0].names) == len(ranked[1].names)):
            return None
        return ranked[0]

    def _chunks(self, leading: _Sum) -> Iterator[bytes]:
        names = tuple(leading.names[client_id] for client_id in sorted(leading.names))
        for index, total in enumerate(leading.totals):
            body = pack_words(total.parts, WORD_BITS)
            roster = () if index else names
            proofs = None
            if self._enrolled is not None:
                proofs = tuple(leading.proofs[name.client_id] for name in roster)
            chunk = SumChunk(index, names[0].vector_length, roster, total.tags, body, proofs)
            yield encode_sum(chunk, self._public, self._context)

    def _read(self, upload: UploadChunk) -> _Tagged:
        params = self._public.params
        words = unpack_words(upload.body, params.word_bits)
        restored = restore_low_bits(words, params.word_bits)
        return _Tagged(restored.reshape(params.parts, -1, DEGREE), upload.tags)

    def _check_sender(self, client_id: int, upload: UploadChunk) -> None:
        """Refuse a client that may not contribute, or not again."""
        if upload.name.client_id != client_id:
            raise RemoteProtocolError(
                f"client {client_id} sent a chunk of client {upload.name.client_id}"
            )
        if self._vector_length not in (None, upload.name.vector_length):
            raise RemoteProtocolError(
                f"client {client_id} sent a vector of {upload.name.vector_length} integers; "
                f"this sum is one of vectors of {self._vector_length}"
            )
        if client_id in self._whole:
            raise RemoteProtocolError(f"client {client_id} has contributed already")
        # Unfinished uploads count: all of them may still finish, and noise is bounded for n_clients.
        seats = len(self._whole) + len(self._partial)
        if client_id not in self._partial and seats >= self._public.params.n_clients:
            raise CapacityError(
                f"client {client_id} is one more than the {self._public.params.n_clients} declared; "
                "drop a client that fell silent, or choose parameters for more"
            )
