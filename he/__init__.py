"""Exact sums of integer vectors under CKKS or BFV encryption; the server adds what it cannot read.

Roles exchange bytes: a `Client` encrypts, the `Server` adds, and the `KeyHolder` opens the sum.
`SecretContext` belongs to the key holder and (in symmetric mode) the clients, `PublicContext` to the server.
`he.onetime` needs no key holder: each client has a key for one sum, and only the sum of keys opens.

Names are imported on first use (PEP 562): `he.onetime` loads no SEAL.

Example:
    >>> import numpy as np
    >>> from he import Client, KeyHolder, Params, PublicContext, SecretContext, Server
    >>> params = Params.for_sum(3, max_abs=1000, scheme="bfv")
    >>> secret = SecretContext.generate(params)
    >>> server = Server(PublicContext.from_bytes(secret.public().to_bytes()), context=b"round 1")
    >>> for client_id in range(3):
    ...     vector = np.arange(5) - 100 * client_id
    ...     for chunk in Client(secret, client_id, context=b"round 1").encrypt(vector):
    ...         server.receive(client_id, chunk)
    >>> holder = KeyHolder(secret, min_clients=2, context=b"round 1")
    >>> holder.decrypt(server.result()).total
    array([-300, -297, -294, -291, -288])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from he import onetime
    from he.crypto.context import EncryptContext, PublicContext, SecretContext
    from he.crypto.enrolment import Directory, SigningKey
    from he.errors import (
        AuthenticationError,
        CapacityError,
        ContextMismatchError,
        HeError,
        InternalError,
        LocalProtocolError,
        RemoteProtocolError,
        UnsafeParametersError,
        WireFormatError,
    )
    from he.guards.journal import Journal
    from he.params import Params
    from he.roles.client import Client
    from he.roles.keyholder import KeyHolder
    from he.roles.parallel import encrypt_chunks
    from he.roles.server import Server
    from he.rounds import SumResult
    from he.wire import ciphertext_coefficients, envelope_kind

_HOME = {
    "AuthenticationError": "errors",
    "CapacityError": "errors",
    "Client": "roles.client",
    "ContextMismatchError": "errors",
    "Directory": "crypto.enrolment",
    "EncryptContext": "crypto.context",
    "HeError": "errors",
    "InternalError": "errors",
    "Journal": "guards.journal",
    "KeyHolder": "roles.keyholder",
    "LocalProtocolError": "errors",
    "Params": "params",
    "PublicContext": "crypto.context",
    "RemoteProtocolError": "errors",
    "SecretContext": "crypto.context",
    "Server": "roles.server",
    "SigningKey": "crypto.enrolment",
    "SumResult": "rounds",
    "UnsafeParametersError": "errors",
    "WireFormatError": "errors",
    "ciphertext_coefficients": "wire",
    "encrypt_chunks": "roles.parallel",
    "envelope_kind": "wire",
}

__all__ = [
    "AuthenticationError",
    "CapacityError",
    "Client",
    "ContextMismatchError",
    "Directory",
    "EncryptContext",
    "HeError",
    "InternalError",
    "Journal",
    "KeyHolder",
    "LocalProtocolError",
    "Params",
    "PublicContext",
    "RemoteProtocolError",
    "SecretContext",
    "Server",
    "SigningKey",
    "SumResult",
    "UnsafeParametersError",
    "WireFormatError",
    "ciphertext_coefficients",
    "encrypt_chunks",
    "envelope_kind",
    "onetime",
]


def __getattr__(name: str) -> object:
    if name == "onetime":
        return importlib.import_module("he.onetime")
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'he' has no attribute {name!r}")
    return getattr(importlib.import_module(f"he.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
