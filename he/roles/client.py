"""The client: packs, encrypts, tags and signs one vector."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from he.coding.packing import check_vector, pack
from he.coding.plaintexts import encode
from he.coding.words import drop_low_bits, pack_words, restore_low_bits
from he.crypto.context import EncryptContext, SecretContext
from he.crypto.tags import UploadName
from he.errors import LocalProtocolError
from he.guards.calls import iterating_leaves_nothing, leaving_nothing
from he.guards.checks import check_client_id, check_type, flag, integer, is_int64_array, octets
from he.params import BLOCK
from he.rounds import hash_context
from he.wire import UploadChunk, encode_upload, sign_as_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from he.crypto.enrolment import Signer

__all__ = ["Client", "Upload"]


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload, whose chunks can be created in any order, each once.

    Two ciphertexts under one nonce share their random half, so the server could compute the difference of
    their contents. A second chunk with the same number is therefore refused. An upload is not copied or
    pickled, and works in the process that began it and in no fork of it: each copy would make every chunk
    once more.

    Args:
        name: name of the upload, with a new nonce.
        enrolled: whether the client signs with its own key instead of the group's.
    """

    name: UploadName
    enrolled: bool = False
    _made: dict[int, object] = field(
        default_factory=dict[int, object], init=False, repr=False, compare=False
    )
    _process: int = field(default_factory=os.getpid, init=False, repr=False, compare=False)

    def __reduce__(self) -> NoReturn:
        raise LocalProtocolError(
            "an upload cannot be copied or pickled: each copy would make its chunks once more under one nonce"
        )

    @leaving_nothing
    def chunk(
        self, keys: SecretContext | EncryptContext, index: int, values: NDArray[np.int64]
    ) -> bytes:
        """Encrypt the values of one chunk and encode it; signed, unless the client signs with its own key.

        Raises:
            CapacityError: a value is out of range, for example because it changed after the check.
            LocalProtocolError: the upload has no such values, or the chunk was created before.
        """
        params = check_type("keys", keys, SecretContext, EncryptContext).params
        # Values are copied, so that the checked ones are encrypted even if the vector is modified.
        if is_int64_array(values):
            values = values.copy()
        check_vector(values, params)
        return self.seal(
            keys, integer("index", index, 0, params.chunks(self.name.vector_length) - 1), values
        )

    def seal(
        self, keys: SecretContext | EncryptContext, index: int, values: NDArray[np.int64]
    ) -> bytes:
        """Create a chunk, once, from values that were checked and that no other code can modify."""
        if self._process != os.getpid():
            raise LocalProtocolError(
                "this upload belongs to another process, from which this one was forked; begin an upload "
                "after the fork"
            )
        mark = object()
        if self._made.setdefault(index, mark) is not mark:  # one atomic step, for threads
            raise LocalProtocolError(f"chunk {index} of this upload was made already")
        params = keys.params
        bits, first = params.word_bits, index * BLOCK
        parts = keys.encrypt(encode(pack(values, params), params), self.name.nonce, first)
        words = drop_low_bits(parts, bits)
        # The tag covers the words that the server adds.
        restored = restore_low_bits(words, bits)
        tags = keys.tag_key.expected(restored, (self.name,), first)
        chunk = UploadChunk(self.name, index, tuple(tags), pack_words(words, bits))
        # An enrolled client signs in `Client.signed`, because its own key does not go to worker processes.
        message = encode_upload(chunk, keys.public(), enrolled=self.enrolled)
        return message if self.enrolled else message + keys.sign(message)


class Client:
    """Encrypts one vector for one round.

    Args:
        keys: the `SecretContext` (symmetric mode) or an `EncryptContext` (public-key mode).
        client_id: id of the client, 0 … 2^63 − 1.
        context: non-empty bytes that name the round, the same for all parties.
        signing_key: this client's enrolled key, if server and key holder have a `Directory`.

    Raises:
        LocalProtocolError: an argument has a wrong type.

    Example:
        >>> import numpy as np
        >>> from he import Params
        >>> secret = SecretContext.generate(Params.for_sum(3, max_abs=100, scheme="bfv"))
        >>> client = Client(secret, 7, context=b"round 1")
        >>> [len(chunk) for chunk in client.encrypt(np.array([1, -2, 3]))]
        [24753]
    """

    __slots__ = ("_client_id", "_context", "_keys", "_signer", "_unused")

    @leaving_nothing
    def __init__(
        self,
        keys: SecretContext | EncryptContext,
        client_id: int,
        *,
        context: bytes,
        signing_key: Signer | None = None,
    ) -> None:
        self._keys = check_type("keys", keys, SecretContext, EncryptContext)
        self._client_id = check_client_id(client_id)
        self._context = hash_context(context)
        if signing_key is not None and not callable(getattr(signing_key, "sign", None)):
            raise LocalProtocolError(
                f"signing_key must be a SigningKey or sign like one, not {type(signing_key).__name__}"
            )
        self._signer = signing_key
        self._unused = [True]  # popped once, so that two threads cannot both encrypt

    @property
    def keys(self) -> SecretContext | EncryptContext:
        """The context that it encrypts with."""
        return self._keys

    @leaving_nothing
    def begin(self, vector: NDArray[np.int64]) -> Upload:
        """Check a vector and start its upload, the only one of this client.

        Raises:
            CapacityError: a value is out of range.
            LocalProtocolError: the vector has another type or length, or this is a second call.
        """
        # The check comes first: a refused vector does not use up the client.
        check_vector(vector, self._keys.params)
        try:
            self._unused.pop()
        except IndexError:
            raise LocalProtocolError(
                "this client encrypted already; a new round needs a new Client"
            ) from None
        nonce = secrets.token_bytes(32)  # two uploads under one nonce would share c1
        name = UploadName(self._context, self._client_id, nonce, vector.size)
        return Upload(name, self._signer is not None)

    @leaving_nothing
    def signed(self, chunk: bytes) -> bytes:
        """Add this client's signature to the result of `Upload.chunk`, if it has a key of its own."""
        chunk = octets("chunk", chunk)
        return chunk if self._signer is None else sign_as_client(chunk, self._signer)

    @leaving_nothing
    def encrypt(self, vector: NDArray[np.int64], *, copy: bool = True) -> Iterator[bytes]:
        """Encrypt a vector, once; the chunks may be sent in any order, as they are created.

        Args:
            vector: int64[d], 1 ≤ d ≤ 2^32, magnitudes ≤ max_abs (residues with ring_bits).
            copy: whether to encrypt a copy. Without a copy, the caller must not modify the vector until the
                last chunk exists, and additional memory stays at some 10 MB for any length.

        Returns:
            An iterator over `params.chunks(d)` chunks.

        Raises:
            CapacityError: a value is out of range.
            LocalProtocolError: the vector has another type or length, or this is a second call.
        """
        copied = flag("copy", copy) and is_int64_array(vector)
        own = vector.copy() if copied else vector
        upload = self.begin(own)
        # `begin` checked the copy; the caller may modify its own vector, so `chunk` checks each part again.
        return self._chunks(own, upload.seal if copied else upload.chunk)

    @iterating_leaves_nothing
    def _chunks(
        self,
        vector: NDArray[np.int64],
        make: Callable[[SecretContext | EncryptContext, int, NDArray[np.int64]], bytes],
    ) -> Iterator[bytes]:
        params = self._keys.params
        step = BLOCK * params.values_per_ciphertext
        for index in range(params.chunks(vector.size)):
            values = vector[index * step : (index + 1) * step]
            yield self.signed(make(self._keys, index, values))
