"""The client: packs, encrypts, tags and signs one vector."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from he.context import EncryptContext, SecretContext, hash_context
from he.errors import LocalProtocolError
from he.packing import check_vector, pack
from he.tags import UploadName
from he.wire import UploadChunk, check_client_id, encode_upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Client"]


class Client:
    """Encrypts one vector for one round.

    Args:
        keys: the `SecretContext` (symmetric mode) or an `EncryptContext` (public-key mode).
        client_id: 0 … 2^63 − 1.
        context: non-empty bytes that name the round, the same at every party.

    Raises:
        LocalProtocolError: an argument of the wrong kind.

    Example:
        >>> import numpy as np
        >>> from he import Params
        >>> secret = SecretContext.generate(Params.for_sum(3, max_abs=100))
        >>> client = Client(secret, 7, context=b"round 1")
        >>> [len(chunk) for chunk in client.encrypt(np.array([1, -2, 3]))]
        [30949]
    """

    __slots__ = ("_client_id", "_context", "_keys", "_used")

    def __init__(
        self, keys: SecretContext | EncryptContext, client_id: int, *, context: bytes
    ) -> None:
        if not isinstance(keys, (SecretContext, EncryptContext)):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
            raise LocalProtocolError("a client needs a SecretContext or an EncryptContext")
        check_client_id(client_id)
        self._keys = keys
        self._client_id = client_id
        self._context = hash_context(context)
        self._used = False

    def encrypt(self, vector: NDArray[np.int64]) -> Iterator[bytes]:
        """Encrypt a vector, once; the chunks may be sent in any order, as they are made.

        Args:
            vector: int64[d], 1 ≤ d ≤ 2^32, magnitudes ≤ max_abs. It is copied.

        Returns:
            An iterator over ⌈d / values_per_ciphertext⌉ chunks.

        Raises:
            CapacityError: a value beyond max_abs.
            LocalProtocolError: not such a vector, or a second call.
        """
        if self._used:
            raise LocalProtocolError(
                "this client encrypted already; a new round needs a new Client"
            )
        check_vector(vector, self._keys.params)
        self._used = True
        return self._chunks(vector.copy())

    def _chunks(self, vector: NDArray[np.int64]) -> Iterator[bytes]:
        keys, params = self._keys, self._keys.params
        name = UploadName(self._context, self._client_id, secrets.token_bytes(16), vector.size)
        count, step = params.ciphertexts(vector.size), params.values_per_ciphertext
        for index in range(count):
            slots = pack(vector[index * step : (index + 1) * step], params)
            encrypted = keys.encrypt_slots(slots)
            tag = keys.tag_key.tag(encrypted.coefficients, name, index)
            chunk = UploadChunk(name, index, count, tag, encrypted.body)
            yield encode_upload(chunk, keys.public(), keys.sign)
