"""Key material of encrypted sums, and the side of the key holder, which opens them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

import he
from fedavg.sums.sides.opening import HeKeyHolderSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedavg.sums.interface import SumSpec

__all__ = ["HeKeyHolderSide", "HeMaterial"]


class HeMaterial(msgspec.Struct, frozen=True, array_like=True):
    """One role's material: encryption parameters, that role's part of the key, and public identities.

    Args:
        params: parameters, as bytes.
        keys: the secret key, the key that clients encrypt with, or the server's public context.
        directory: identities of enrolled clients, where the sum needs them.
    """

    params: bytes
    keys: bytes
    directory: bytes = b""

    def __repr__(self) -> str:
        # Logs and tracebacks print objects, and this one may hold a secret key.
        return "HeMaterial(<redacted>)"

    @classmethod
    def from_bytes(cls, material: bytes) -> HeMaterial:
        """Read the material that `to_bytes` wrote."""
        return msgspec.msgpack.decode(material, type=cls)

    def to_bytes(self) -> bytes:
        """The material as bytes."""
        return msgspec.msgpack.encode(self)

    def secret(self) -> he.SecretContext:
        """The context that holds the secret key."""
        return he.SecretContext.from_secret_key(he.Params.from_bytes(self.params), self.keys)

    def encrypting(self, key_at: str) -> he.SecretContext | he.EncryptContext:
        """The context that a client encrypts with: it cannot decrypt where a holder has the secret key."""
        if key_at == "clients":
            return self.secret()
        params = he.Params.from_bytes(self.params)
        return he.EncryptContext.from_encryption_keys(params, self.keys)


@dataclass(frozen=True, slots=True)
class HeKeyHolderSide:
    """Opens the sums of each round, which must have enough contributors, all of them enrolled.

    Args:
        secret: context with the secret key.
        min_survivors: roster size → smallest number of contributors.
        vector_length: number of words that a round encrypts; `SumSpec.vector_length` without it.
        enrolled: clients whose signature each contribution needs; nobody signs without it.
    """

    secret: he.SecretContext
    min_survivors: Callable[[int], int]
    vector_length: Callable[[SumSpec], int] | None = None
    enrolled: he.Directory | None = None

    def session(self, spec: SumSpec) -> HeKeyHolderSession:
        """Start the opening of one round."""
        # Some sums encrypt only a part of the vector, and then the length differs.
        length = self.vector_length(spec) if self.vector_length else spec.vector_length
        return HeKeyHolderSession(
            he.KeyHolder(
                self.secret,
                # The key holder has a floor of its own and does not rely on the server's.
                min_clients=self.min_survivors(spec.roster_size),
                context=spec.context,
                vector_length=length,
                enrolled=self.enrolled,
            )
        )
