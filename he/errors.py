"""Errors of the encrypted sum: one root, each class an address for one kind of trouble."""

from __future__ import annotations

__all__ = [
    "AuthenticationError",
    "CapacityError",
    "ContextMismatchError",
    "HeError",
    "InternalError",
    "LocalProtocolError",
    "RemoteProtocolError",
    "UnsafeParametersError",
    "WireFormatError",
]


class HeError(Exception):
    """Root of every error that this package raises on purpose."""


class LocalProtocolError(HeError):
    """The caller used an object at the wrong time, twice, or with an argument it must not have."""


class RemoteProtocolError(HeError):
    """A peer misbehaved; the message names it. The round can go on without it."""


class WireFormatError(HeError):
    """Bytes that are no message of this package, or not in their one canonical form."""


class ContextMismatchError(HeError):
    """A message made for another round, with other parameters, or under another key."""


class AuthenticationError(HeError):
    """A signature or a linear tag that does not hold: damage, or a forged message."""


class CapacityError(HeError):
    """Values, or sums of them, that the chosen parameters cannot hold."""


class UnsafeParametersError(HeError):
    """Parameters below 128-bit security, or a key where no key may be."""


class InternalError(HeError):
    """A call failed beneath this package's own checks: memory, SEAL, a signer, or a mistake of the package.

    The message names the exception's type and place; what the exception said is left out, since it may
    hold secrets.
    """
