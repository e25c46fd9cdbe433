"""The server: adds ciphertexts that it cannot open, upload by whole upload."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from he.context import PublicContext, hash_context
from he.errors import CapacityError, LocalProtocolError, RemoteProtocolError, UnsafeParametersError
from he.layout import pack_coefficients, read_body
from he.params import MODULUS
from he.scheme import ring_for
from he.wire import SumChunk, UploadChunk, check_client_id, encode_sum, open_upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from he.scheme import Ciphertext
    from he.tags import UploadName

__all__ = ["Server"]


@dataclass(frozen=True, slots=True)
class _Tagged:
    """A ciphertext and its tag, which are only ever added together."""

    ciphertext: Ciphertext
    tag: int


@dataclass(frozen=True, slots=True)
class _Partial:
    """An upload whose chunks have not all arrived."""

    name: UploadName
    chunks: dict[int, _Tagged] = field(default_factory=dict[int, _Tagged])


class Server:
    """Collects uploads and adds them. It holds no secret and takes none.

    A client counts when all its chunks have arrived, and not before: a broken-off upload never touches
    the sum. A refused chunk changes nothing.

    Args:
        public: the public context, exactly; anything that holds a key is refused.
        context: non-empty bytes that name the round, the same at every party.

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

    __slots__ = ("_closed", "_context", "_names", "_partial", "_public", "_ring", "_sums")

    def __init__(self, public: PublicContext, *, context: bytes) -> None:
        if type(public) is not PublicContext:
            raise UnsafeParametersError(
                "the server takes a PublicContext and never a key; give it .public() of yours"
            )
        self._public = public
        self._context = hash_context(context)
        self._ring = ring_for(public.params)
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
            WireFormatError: no canonical chunk; a ciphertext that is none.
            ContextMismatchError: made for another round, under other parameters or another key.
            AuthenticationError: damaged, or not signed by the group.
            RemoteProtocolError: another client's chunk, a duplicate, a second upload, chunks of two
                uploads, another vector length than the rest of the cohort's.
            CapacityError: more clients than the parameters allow.
            LocalProtocolError: the sum was taken already.
        """
        if self._closed:
            raise LocalProtocolError("the sum was taken already; no more chunks are added to it")
        check_client_id(client_id)
        upload = open_upload(chunk, self._public, self._context)
        self._check_sender(client_id, upload)
        partial = self._partial.get(client_id) or _Partial(upload.name)
        if partial.name != upload.name:
            raise RemoteProtocolError(
                f"client {client_id} mixes chunks of two uploads; drop({client_id}) to begin again"
            )
        if upload.index in partial.chunks:
            raise RemoteProtocolError(f"client {client_id} sent chunk {upload.index} twice")
        tagged = _Tagged(self._ring.ciphertext(*read_body(upload.body)), upload.tag)
        if len(partial.chunks) + 1 == upload.count:
            self._commit(partial.name, {**partial.chunks, upload.index: tagged})
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
        length, count = names[0].vector_length, len(self._sums)
        for index, total in enumerate(self._sums):
            body = pack_coefficients(self._ring.coefficients(total.ciphertext))
            chunk = SumChunk(index, count, length, () if index else names, total.tag, body)
            yield encode_sum(chunk, self._public, self._context)

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

    def _commit(self, name: UploadName, chunks: dict[int, _Tagged]) -> None:
        """Add a complete upload: first all additions, then all changes."""
        fresh = [chunks[index] for index in range(len(chunks))]
        sums = (
            [self._add(*pair) for pair in zip(self._sums, fresh, strict=True)]
            if self._sums
            else fresh
        )
        self._sums = sums
        self._names[name.client_id] = name
        self._partial.pop(name.client_id, None)

    def _add(self, left: _Tagged, right: _Tagged) -> _Tagged:
        total = self._ring.add(left.ciphertext, right.ciphertext)
        return _Tagged(total, (left.tag + right.tag) % MODULUS)
