"""A client's part: one vector under a key of its own, which serves once."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import numpy as np

from he.coding.packing import check_bounded
from he.crypto.streams import sample_binomials, uniform_limbs
from he.errors import CapacityError, LocalProtocolError
from he.guards.calls import iterating_leaves_nothing, leaving_nothing
from he.guards.checks import check_client_id, check_type, flag, is_int64_array
from he.onetime.packing import add_fields, carried
from he.onetime.params import Params
from he.onetime.ring import KeyProducts
from he.onetime.wire import encode_chunk, upload_digest
from he.rounds import hash_context, recorded
from he.secrecy import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from he.crypto.enrolment import Signer
    from he.guards.journal import Journal

__all__ = ["Encryptor", "public_seed"]


class Encryptor(Secret):
    """Encrypts one vector of one sum, and then gives its key away for the sum of keys.

    The key is drawn when the encryption begins and is kept until `take_key`; it cannot be exported, pickled
    or used again. A second vector under one key would show the server the difference of both. It works in
    the process that made it, and in no fork of it.

    Args:
        params: the parameters of the sum.
        client_id: id of the client, 0 … 2^63 − 1.
        context: non-empty bytes that name the round, the same for all parties.
        signing_key: this client's enrolled key, if the server has a `he.Directory`.
        journal: record of the rounds in which this client encrypted; with it, a client that is restored from
            a copy refuses to encrypt in the same round again.

    Raises:
        LocalProtocolError: an argument has a wrong type.

    Example:
        >>> encryptor = Encryptor(Params(3, 100, 3), 7, context=b"round 1")
        >>> encryptor
        Encryptor(<redacted>)
        >>> [len(chunk) for chunk in encryptor.encrypt(np.array([1, -2, 3]))]
        [457]
        >>> encryptor.take_key().shape
        (2048,)
    """

    __slots__ = (
        "_client_id",
        "_context",
        "_digests",
        "_journal",
        "_key",
        "_params",
        "_process",
        "_signer",
        "_unused",
    )

    @leaving_nothing
    def __init__(
        self,
        params: Params,
        client_id: int,
        *,
        context: bytes,
        signing_key: Signer | None = None,
        journal: Journal | None = None,
    ) -> None:
        self._params = check_type("params", params, Params)
        self._client_id = check_client_id(client_id)
        self._context = hash_context(context)
        for name, value, method in (
            ("signing_key", signing_key, "sign"),
            ("journal", journal, "add"),
        ):
            if value is not None and not callable(getattr(value, method, None)):
                raise LocalProtocolError(
                    f"{name} must have the method {method}, not be {type(value).__name__}"
                )
        self._signer = signing_key
        self._journal = journal
        self._unused = [True]  # popped once, so that two threads cannot both encrypt
        self._key: list[NDArray[np.int64]] = []  # popped once, too
        self._digests: list[bytes] = []
        self._process = os.getpid()  # a fork would copy the key

    @leaving_nothing
    def encrypt(self, vector: NDArray[np.int64], *, copy: bool = True) -> Iterator[bytes]:
        """Encrypt a vector, once; the chunks may be sent in any order.

        Args:
            vector: int64[params.vector_length], magnitudes ≤ max_abs.
            copy: whether to encrypt a copy. Without a copy, the caller must not modify the vector until the
                last chunk exists.

        Returns:
            An iterator over `params.chunks` chunks.

        Raises:
            CapacityError: a value is out of range.
            LocalProtocolError: the vector has another type or length, this is a second call or another
                process, or the journal says that this client encrypted in this round.
        """
        own = vector.copy() if flag("copy", copy) and is_int64_array(vector) else vector
        check_bounded(own, self._params.max_abs)
        if own.size != self._params.vector_length:
            raise CapacityError(
                f"the vector has {own.size} integers; the sum is one of {self._params.vector_length}"
            )
        # The checks come first: a refused vector does not use up the key.
        self._check_process()
        try:
            self._unused.pop()
        except IndexError:
            raise LocalProtocolError(
                "this encryptor's key was used; a new sum needs a new Encryptor"
            ) from None
        if self._journal is not None:
            fact = b"he one-time key" + self._client_id.to_bytes(8, "little") + self._context
            if not recorded(self._journal, fact, "nothing is encrypted"):
                raise LocalProtocolError(
                    "the journal says that this client encrypted in this round, or may have; it is refused "
                    "a second time"
                )
        return self._chunks(own)

    @leaving_nothing
    def take_key(self) -> NDArray[np.int64]:
        """The key, for the sum of keys, once; this object forgets it.

        Returns:
            int64[params.degree], magnitudes ≤ 21. A party that has it can read this vector.

        Raises:
            LocalProtocolError: the upload is not complete, the key was taken, or this is another process.
        """
        self._check_process()
        if len(self._digests) < self._params.chunks:
            raise LocalProtocolError("the key is given away once all chunks of the upload exist")
        try:
            return self._key.pop()
        except IndexError:
            raise LocalProtocolError("the key of this upload was taken already") from None

    @property
    def digest(self) -> bytes:
        """32 bytes over all chunks, which another protocol can bind the key to.

        Raises:
            LocalProtocolError: the upload is not complete.
        """
        if len(self._digests) < self._params.chunks:
            raise LocalProtocolError("an upload has a digest once all its chunks exist")
        return upload_digest(self._digests)

    def _check_process(self) -> None:
        """In a copy by fork, one key would serve again with other errors."""
        if self._process != os.getpid():
            raise LocalProtocolError(
                "this encryptor belongs to another process, from which this one was forked; make an "
                "Encryptor after the fork"
            )

    @iterating_leaves_nothing
    def _chunks(self, vector: NDArray[np.int64]) -> Iterator[bytes]:
        params = self._params
        seed = public_seed(params, self._context)
        # Drawn only now: a copy of this object that is made before holds no key.
        key = sample_binomials(params.degree).astype(np.int64)
        products = KeyProducts(key)
        for index in range(params.chunks):
            self._check_process()
            polynomials = [
                _encrypted(params, seed, products, number, vector)
                for number in params.in_chunk(index)
            ]
            chunk, digest = encode_chunk(
                params, self._context, self._client_id, index, polynomials, self._signer
            )
            if index == params.chunks - 1:
                self._key.append(key)
            self._digests.append(digest)
            yield chunk


def public_seed(params: Params, context: bytes) -> bytes:
    """The seed of the public polynomials of a sum; all clients of one sum have the same."""
    return hashlib.sha256(b"he one-time seed" + params.to_bytes() + context).digest()


def _encrypted(
    params: Params, seed: bytes, products: KeyProducts, number: int, vector: NDArray[np.int64]
) -> NDArray[np.int64]:
    """One ciphertext p + e − a·s, carried, int64[L, width]."""
    layout, width = params.layout, params.width(number)
    public = uniform_limbs(seed, number, layout.limbs, layout.degree)
    limbs = products.multiply(public)[:, :width]
    np.negative(limbs, out=limbs)
    limbs[0] += sample_binomials(width)
    step = layout.degree * layout.fields
    values = vector[number * step : (number + 1) * step].copy()
    check_bounded(values, params.max_abs)  # again, as the caller may have modified its vector
    add_fields(limbs, values, layout)
    return carried(limbs, layout)
