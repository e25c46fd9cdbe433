"""The server's part: adds ciphertexts that it cannot open, and opens their sum with the sum of the keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from he.crypto.enrolment import Directory
from he.crypto.streams import uniform_limbs
from he.errors import CapacityError, LocalProtocolError, RemoteProtocolError
from he.guards.checks import check_array, check_client_id, check_type, octets
from he.onetime.client import public_seed
from he.onetime.packing import opened
from he.onetime.params import KEY_BOUND, Params
from he.onetime.ring import KeyProducts
from he.onetime.wire import OpenedChunk, limbs_of, open_chunk, upload_digest
from he.rounds import SumResult, hash_context

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Server"]


@dataclass(frozen=True, slots=True)
class _Upload:
    """The chunks of one client that have arrived."""

    chunks: dict[int, OpenedChunk] = field(default_factory=dict[int, OpenedChunk])


class Server:
    """Collects uploads, adds those of the chosen clients, and opens the sum with the sum of their keys.

    An upload is kept as it arrived until `add`, since which clients are in the sum of keys may be known only
    later. From then on it takes no memory of its own. Several threads may call one server.

    Args:
        params: the parameters of the sum.
        context: non-empty bytes that name the round, the same for all parties.
        enrolled: the clients' own keys; each client then signs with its own, and other clients are refused.

    Raises:
        LocalProtocolError: an argument has the wrong type.

    Example:
        >>> from he.onetime import Encryptor
        >>> params = Params(3, 100, 2)
        >>> server, keys = Server(params, context=b"round 1"), []
        >>> for client_id in (4, 9):
        ...     encryptor = Encryptor(params, client_id, context=b"round 1")
        ...     for chunk in encryptor.encrypt(np.array([1, -2])):
        ...         server.receive(client_id, chunk)
        ...     server.add(client_id)
        ...     keys.append(encryptor.take_key())
        >>> server.open_with_key_sum(keys[0] + keys[1])
        SumResult(total=array([ 2, -4]), survivors=(4, 9))
    """

    __slots__ = ("_added", "_context", "_enrolled", "_lock", "_params", "_totals", "_uploads")

    def __init__(
        self, params: Params, *, context: bytes, enrolled: Directory | None = None
    ) -> None:
        self._params = check_type("params", params, Params)
        self._context = hash_context(context)
        self._enrolled = None if enrolled is None else check_type("enrolled", enrolled, Directory)
        self._uploads: dict[int, _Upload] = {}
        self._added: set[int] = set()
        self._totals: list[NDArray[np.uint32]] = []  # a polynomial each, [L, width], not carried
        self._lock = Lock()

    @property
    def complete(self) -> tuple[int, ...]:
        """The clients whose uploads are complete and not yet added, ascending."""
        whole = self._params.chunks
        return tuple(sorted(i for i, one in self._uploads.items() if len(one.chunks) == whole))

    @property
    def contributors(self) -> tuple[int, ...]:
        """The clients whose uploads were added, ascending."""
        return tuple(sorted(self._added))

    def receive(self, client_id: int, chunk: bytes) -> None:
        """Take one chunk of a client's upload, in any order; a refused chunk changes nothing.

        Args:
            client_id: the sender, as the transport knows it.
            chunk: a chunk from `Encryptor.encrypt`.

        Raises:
            WireFormatError: the bytes are no chunk of such an upload.
            ContextMismatchError: the chunk was made for another round or under other parameters.
            AuthenticationError: with a directory: the client is not enrolled, or did not sign this chunk.
            RemoteProtocolError: it is another client's chunk, or one that arrived before.
            LocalProtocolError: the id is no client's number, or the chunk no bytes.
        """
        client_id = check_client_id(client_id)
        chunk = octets("chunk", chunk)
        found = open_chunk(chunk, self._params, self._context, client_id, self._enrolled)
        with self._lock:
            # A new entry is stored only at the end: a refused chunk changes nothing.
            upload = self._uploads.get(client_id) or _Upload()
            if client_id in self._added or found.index in upload.chunks:
                raise RemoteProtocolError(f"client {client_id} sent chunk {found.index} twice")
            upload.chunks[found.index] = found
            self._uploads[client_id] = upload

    def digest(self, client_id: int) -> bytes:
        """The digest of a complete upload that was not added yet: `Encryptor.digest` of its sender.

        Raises:
            LocalProtocolError: the client has no such upload.
        """
        chunks = self._whole(client_id).chunks
        return upload_digest(chunks[index].digest for index in range(len(chunks)))

    def add(self, client_id: int) -> None:
        """Add a client's complete upload to the sum and free its memory.

        Raises:
            LocalProtocolError: the client has no complete upload, or it was added.
            CapacityError: the sum has as many clients as the parameters allow.
        """
        upload = self._whole(client_id)
        with self._lock:
            if len(self._added) >= self._params.n_clients:
                raise CapacityError(
                    f"client {client_id} is one more than the {self._params.n_clients} declared; "
                    "choose parameters for more"
                )
            if self._uploads.pop(client_id, None) is not upload:
                raise LocalProtocolError(f"client {client_id} was added or dropped meanwhile")
            if not self._totals:
                limbs = self._params.layout.limbs
                self._totals = [
                    np.zeros((limbs, self._params.width(number)), np.uint32)
                    for number in range(self._params.polynomials)
                ]
            planes = (
                p for index in range(self._params.chunks) for p in upload.chunks[index].planes
            )
            for total, polynomial in zip(self._totals, planes, strict=True):
                for index, limb in enumerate(limbs_of(polynomial, self._params.layout)):
                    total[index] += limb  # 16 bits each, at most 1,560 of them: no carry is lost
            self._added.add(client_id)

    def drop(self, client_id: int) -> None:
        """Discard a client's upload that was not added."""
        client_id = check_client_id(client_id)
        with self._lock:
            self._uploads.pop(client_id, None)

    def open_with_key_sum(self, key_sum: NDArray[np.int64]) -> SumResult:
        """Open the sum of the uploads that were added.

        Args:
            key_sum: int64[params.degree], the sum of the keys of exactly the `contributors`.

        Returns:
            The exact sum of their vectors.

        Raises:
            RemoteProtocolError: the keys are not those of the contributors, or a client sent no proper
                ciphertext: the sum has more noise, or larger integers, than honest clients can cause. A wrong
                sum of keys that does not depend on the public polynomials passes with probability 2^−128 at
                most. A client that knows its own key can send any vector.
            LocalProtocolError: nothing was added, or `key_sum` has another type or length.
        """
        params = self._params
        check_array("key_sum", key_sum, np.int64, params.degree)
        with self._lock:
            if not self._added:
                raise LocalProtocolError("no upload was added: there is no sum")
            clients = len(self._added)
            # A sum beyond this is of no such keys, and the product would not be exact for it.
            if max(int(key_sum.max()), -int(key_sum.min())) > KEY_BOUND * clients:
                raise RemoteProtocolError(f"this is no sum of the keys of {clients} clients")
            return SumResult(self._opened(KeyProducts(key_sum), clients), self.contributors)

    def _opened(self, products: KeyProducts, clients: int) -> NDArray[np.int64]:
        params, layout = self._params, self._params.layout
        seed = public_seed(params, self._context)
        result = np.empty(params.vector_length, np.int64)
        step = layout.degree * layout.fields
        for number, total in enumerate(self._totals):
            public = uniform_limbs(seed, number, layout.limbs, layout.degree)
            phase = products.multiply(public)[:, : total.shape[1]]
            phase += total
            values = opened(phase, layout, contributors=clients, limit=clients * params.max_abs)
            room = result[number * step : (number + 1) * step]
            room[:] = values[: room.size]
            if values[room.size :].any():
                raise RemoteProtocolError(
                    "the opened sum has integers where its vectors have none: a client sent no proper "
                    "ciphertext, or the sum of keys is not that of these clients"
                )
        return result

    def _whole(self, client_id: int) -> _Upload:
        upload = self._uploads.get(check_client_id(client_id))
        if upload is None or len(upload.chunks) < self._params.chunks:
            raise LocalProtocolError(f"client {client_id} has no complete upload to add")
        return upload
