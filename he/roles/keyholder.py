"""The key holder: opens one authentic sum of enough clients, and only once."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import numpy as np

from he.coding.packing import clear_padding, unpack
from he.coding.plaintexts import decode
from he.coding.residues import bands
from he.coding.words import unpack_words
from he.crypto.context import SecretContext
from he.crypto.enrolment import Directory
from he.errors import (
    AuthenticationError,
    LocalProtocolError,
    RemoteProtocolError,
    WireFormatError,
)
from he.guards.calls import callers_own, leaving_nothing
from he.guards.checks import check_type, integer, octets
from he.params import check_length
from he.params.capacity import DEGREE, WORD_BITS
from he.rounds import SumResult, hash_context, recorded
from he.wire import check_proof, open_sum
from he.wire.headers import pack_tags

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from he.crypto.tags import UploadName
    from he.guards.journal import Journal
    from he.wire import SumChunk

__all__ = ["KeyHolder"]

_END = object()


class KeyHolder:
    """Opens the sum of one round, after every check and at most once.

    It opens only a sum of ciphertexts that clients of the group made for this round: one upload of each
    contributor, with all its chunks. The linear tag proves this, and the server cannot create one. Two sums
    of a round could have a client's input as their difference, so the second one is refused, even by another
    `KeyHolder` of the same `SecretContext`. With a `journal` this holds beyond the end of the process: key
    holders that share it, in any process, open a round once. Without one, a fork of the process opens none.

    The round counts as opened from the moment before the sum is decrypted, even if it then turns out that a
    client sent values out of range. The reason is that the inputs may decide whether an opening fails, so
    another sum of the same inputs must not be tried.

    Args:
        secret: the secret context.
        min_clients: smallest number of contributors of a sum that is opened, at least 2.
        context: non-empty bytes that name the round, the same for all parties.
        vector_length: number of integers in the sum, if it is known; a sum of another length is not opened.
        enrolled: the clients' own keys; each contributor must then have signed an upload of this round.
        journal: record of opened rounds, such as a `fedavg.FileJournal`.

    Raises:
        LocalProtocolError: an argument has the wrong type or is out of range.

    Example:
        >>> import numpy as np
        >>> from he import Client, Params, Server
        >>> secret = SecretContext.generate(Params.for_sum(3, max_abs=100))
        >>> server = Server(secret.public(), context=b"round 1")
        >>> for chunk in Client(secret, 5, context=b"round 1").encrypt(np.array([7, -1])):
        ...     server.receive(5, chunk)
        >>> KeyHolder(secret, min_clients=2, context=b"round 1").decrypt(server.result())
        Traceback (most recent call last):
        he.errors.RemoteProtocolError: the sum has 1 contributors, fewer than min_clients=2; it stays closed
    """

    __slots__ = ("_context", "_enrolled", "_journal", "_min_clients", "_secret", "_vector_length")

    @leaving_nothing
    def __init__(
        self,
        secret: SecretContext,
        *,
        min_clients: int,
        context: bytes,
        vector_length: int | None = None,
        enrolled: Directory | None = None,
        journal: Journal | None = None,
    ) -> None:
        if type(secret) is not SecretContext:
            raise LocalProtocolError(
                f"only a SecretContext can open a sum, not {type(secret).__name__}"
            )
        self._secret = secret
        # a sum of one vector is that vector
        self._min_clients = integer("min_clients", min_clients, 2, secret.params.n_clients)
        self._context = hash_context(context)
        self._vector_length = None if vector_length is None else check_length(vector_length)
        self._enrolled = None if enrolled is None else check_type("enrolled", enrolled, Directory)
        if journal is not None and not callable(getattr(journal, "add", None)):
            raise LocalProtocolError(
                f"journal must have add(fact), as he.Journal says, not be {type(journal).__name__}"
            )
        self._journal = journal

    def __repr__(self) -> str:
        return f"KeyHolder(<redacted>, min_clients={self._min_clients})"

    @leaving_nothing
    def decrypt(self, chunks: Iterable[bytes]) -> SumResult:
        """Verify a sum and open it.

        Args:
            chunks: the chunks of `Server.result`, in its order.

        Raises:
            WireFormatError: a chunk is not canonical, missing, repeated or out of order.
            ContextMismatchError: the sum was made for another round, under other parameters or another key.
            AuthenticationError: it is not the sum of what the named clients sent; or one of them is not
                enrolled, or signed no upload of this name.
            RemoteProtocolError: there are too few or too many contributors, or the vector length is not the
                declared one; after the round counts as opened: the sum has values that no honest client
                sends.
            LocalProtocolError: a sum of this round was opened already, this is a fork of the process that
                made the secret context and there is no journal, or `chunks` are no chunks.
        """
        sums: list[NDArray[np.uint64]] = []
        first: SumChunk | None = None
        params = self._secret.params
        for data in _messages(chunks):
            enrolled = self._enrolled is not None
            chunk = open_sum(data, self._secret.public(), self._context, enrolled=enrolled)
            first = first or chunk
            _check_order(chunk, first, len(sums))
            if chunk is first:
                self._check_length(first)
                self._check_contributors(first)
            words = unpack_words(chunk.body, WORD_BITS).reshape(params.parts, -1, DEGREE)
            self._check_tags(chunk, words, first.contributors)
            sums.append(words)
        if first is None or len(sums) != params.chunks(first.vector_length):
            raise WireFormatError("chunks of the sum are missing; hand in all of Server.result()")
        # All chunks are there with valid tags: a forged or incomplete sum does not use up the round.
        self._claim()
        return self._open(first, sums)

    def _claim(self) -> None:
        """Record that the round is being opened, in this process and then durably."""
        if self._journal is None:
            self._secret.check_process()
        # If the journal fails, the fact may be written nevertheless: the round stays claimed here.
        self._secret.claim_opening(self._context)
        fact = b"he opened" + self._secret.public().fingerprint + self._context
        if self._journal is not None and not recorded(self._journal, fact, "nothing is opened"):
            raise LocalProtocolError(
                "the journal says that a sum of this round was opened already, or may have been; "
                "a second one is refused"
            )

    def _open(self, first: SumChunk, sums: list[NDArray[np.uint64]]) -> SumResult:
        contributors, length = len(first.contributors), first.vector_length
        params = self._secret.params
        nonces = [name.nonce for name in first.contributors]
        total = np.empty(length, np.int64)
        place = 0
        with self._secret.phases(nonces) as phases:
            for parts in sums:
                phase = phases.next(parts)
                for band in bands(len(phase)):
                    slots = decode(phase[band], params, contributors=contributors)
                    clear_padding(slots, params, length - place)
                    values = unpack(slots, params, contributors=contributors)
                    room = total[place : place + values.size]
                    room[:] = values[: room.size]
                    place += values.size
        survivors = tuple(name.client_id for name in first.contributors)
        return SumResult(total, survivors)

    def _check_length(self, first: SumChunk) -> None:
        if self._vector_length not in (None, first.vector_length):
            raise RemoteProtocolError(
                f"the sum is one of vectors of {first.vector_length} integers, not of "
                f"{self._vector_length}; it stays closed"
            )

    def _check_contributors(self, first: SumChunk) -> None:
        contributors = first.contributors
        if len(contributors) < self._min_clients:
            raise RemoteProtocolError(
                f"the sum has {len(contributors)} contributors, fewer than "
                f"min_clients={self._min_clients}; it stays closed"
            )
        if len(contributors) > self._secret.params.n_clients:
            raise RemoteProtocolError(
                f"the sum names {len(contributors)} contributors, more than the "
                f"{self._secret.params.n_clients} that its parameters allow"
            )
        if self._enrolled is not None:
            for name, proof in zip(contributors, first.proofs or (), strict=True):
                check_proof(proof, name, self._secret.public(), self._enrolled)

    def _check_tags(
        self,
        chunk: SumChunk,
        words: NDArray[np.uint64],
        contributors: tuple[UploadName, ...],
    ) -> None:
        expected = self._secret.tag_key.expected(words, contributors, chunk.first)
        # The time must not show how much of a tag is right: a server could find a valid one part by part.
        if not hmac.compare_digest(pack_tags(tuple(expected)), pack_tags(chunk.tags)):
            raise AuthenticationError(
                f"chunk {chunk.index} is not the sum of what the named clients sent; "
                "the server, or the way from it, changed it"
            )


def _messages(chunks: object) -> Iterator[bytes]:
    """The chunks, each as bytes."""
    if isinstance(chunks, (str, bytes, bytearray, memoryview)) or not isinstance(chunks, Iterable):
        raise LocalProtocolError(
            f"chunks must be the messages of Server.result() in their order, not {type(chunks).__name__}"
        )
    try:
        iterator = iter(cast("Iterable[object]", chunks))
    except TypeError as error:  # an array without dimensions
        raise LocalProtocolError("chunks cannot be iterated over") from error
    while True:
        with callers_own():
            data = next(iterator, _END)
        if data is _END:
            return
        yield octets("a chunk of the sum", data)


def _check_order(chunk: SumChunk, first: SumChunk, index: int) -> None:
    if chunk.index != index:
        raise WireFormatError(f"chunk {chunk.index} of the sum stands where {index} is due")
    if chunk.vector_length != first.vector_length:
        raise WireFormatError("the chunks belong to sums of different vectors")
