"""A client of a sum by a committee: it speaks once."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from secagg.committee.arithmetic.sharing import deal, pack_shares
from secagg.committee.params.params import CommitteeParams
from secagg.committee.params.policy import CommitteePolicy
from secagg.committee.sealing import Committee, associated, share_key
from secagg.committee.wire.codec import HASH_SIZE, encode
from secagg.committee.wire.messages import Contribution, Head
from secagg.crypto.keys import AgreementKey, Identity, Secret, check_client_id
from secagg.crypto.sealed import seal
from secagg.errors import CapacityError, LocalProtocolError
from secagg.guards.calls import Turn, leaving_nothing
from secagg.guards.checks import context_of, instance, octets, plain_vector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Contributor"]

_POLICY = CommitteePolicy()


class Contributor(Secret):
    """One client, for one contribution.

    Args:
        params: parameters of the session.
        client_id: the client's id, 0 … 2^32 − 1.
        identity: the client's identity; the members and the collector know it beforehand.
        committee: the committee of this epoch.
        context: non-empty bytes that name everything all parties must agree on, such as round, model and
            number of clients. A contribution counts in no other context.
        policy: what the client requires of the parameters, which may come from the server.

    A client has no journal: that one secret, such as a key, enters one context only is the caller's duty.

    Raises:
        UnsafeParametersError: the parameters are below the policy.
        LocalProtocolError: an argument has another type, or the committee another size than the parameters.

    Example:
        >>> import numpy as np
        >>> from secagg import Directory, Identity
        >>> from secagg.committee import Committee, CommitteeParams, Contributor, SealingKey
        >>> params = CommitteeParams.for_committee(
        ...     4, corrupt=1, absent=0, vector_length=2, max_clients=3, max_abs=9, min_clients=3
        ... )
        >>> who = {i: Identity.generate() for i in range(4)}
        >>> cards = [SealingKey.generate(it, i, epoch=1).card for i, it in who.items()]
        >>> committee = Committee(Directory({i: it.public for i, it in who.items()}), cards, epoch=1)
        >>> client = Contributor(params, 7, Identity.generate(), committee, context=b"round 1, n = 3")
        >>> message = client.contribute(np.array([3, -4]), message_digest=bytes(32))
        >>> len(message) == params.contribution_size
        True
        >>> client.contribute(np.array([3, -4]), message_digest=bytes(32))
        Traceback (most recent call last):
        secagg.errors.LocalProtocolError: this contributor has contributed; make a new one for a new context
    """

    __slots__ = (
        "_client_id",
        "_committee",
        "_identity",
        "_params",
        "_session",
        "_spoken",
        "_turn",
    )

    @leaving_nothing
    def __init__(
        self,
        params: CommitteeParams,
        client_id: int,
        identity: Identity,
        committee: Committee,
        *,
        context: bytes,
        policy: CommitteePolicy = _POLICY,
    ) -> None:
        self._params = instance("params", params, CommitteeParams)
        instance("policy", policy, CommitteePolicy).check(self._params)
        self._client_id = check_client_id(client_id)
        self._identity = instance("identity", identity, Identity)
        self._committee = instance("committee", committee, Committee)
        self._session = committee.session(self._params, context_of(context))
        self._spoken = False
        self._turn = Turn("this contributor")

    @leaving_nothing
    def contribute(self, vector: NDArray[np.int64], *, message_digest: bytes) -> bytes:
        """The client's one message.

        Args:
            vector: int64[vector_length], within ±max_abs.
            message_digest: 32 bytes, SHA-256 of the message that this contribution belongs to, such as a
                ciphertext; it is signed and bound into every share.

        Raises:
            CapacityError: the vector has another shape or type, or a coordinate is out of range. Nothing was
                sent, and the call may be repeated.
            LocalProtocolError: it has contributed, or the digest is none.
        """
        with self._turn:
            if self._spoken:
                raise LocalProtocolError(
                    "this contributor has contributed; make a new one for a new context"
                )
            named = octets("message_digest", message_digest)
            if len(named) != HASH_SIZE:
                raise LocalProtocolError(
                    f"message_digest takes {HASH_SIZE} bytes, not {len(named)}"
                )
            values = plain_vector("vector", vector, self._params.vector_length, CapacityError)
            bound = self._params.max_abs
            if bool(((values < -bound) | (values > bound)).any()):
                raise CapacityError(f"a coordinate of the vector is beyond ±{bound}")
            self._spoken = True
            return self._message(values, named)

    def _message(self, values: NDArray[np.int64], message_digest: bytes) -> bytes:
        # A fresh key for each contribution: every key derived from it seals one share, so nonces are fixed.
        key, session = AgreementKey.generate(), self._session
        shares = pack_shares(self._params, deal(self._params, values))
        envelopes: list[bytes] = []
        for place, share in enumerate(shares):
            try:
                agreed = key.agree(self._committee.sealing[place])
            except ValueError as error:  # `Committee` has refused such keys
                raise LocalProtocolError("a member's sealing key is of low order") from error
            secret = share_key(agreed, session, key.public, self._client_id, place)
            about = associated(session, self._client_id, place, message_digest)
            envelopes.append(seal(secret, share, about))
        root = hashlib.sha256(b"".join(envelopes)).digest()
        head = Head(self._client_id, message_digest, key.public, root)
        signature = self._identity.sign(head.name(session))
        message = Contribution(
            self._client_id, message_digest, key.public, signature, tuple(envelopes)
        )
        return encode(message, session)
