"""Errors of the encrypted sum: one root class, and one class for each kind of failure."""

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
    """Base class of every error that this package raises on purpose."""


class LocalProtocolError(HeError):
    """The caller used an object at the wrong time, twice, or with an invalid argument."""


class RemoteProtocolError(HeError):
    """A peer misbehaved; the message names it. The round can continue without it."""


class WireFormatError(HeError):
    """Bytes are no message of this package, or are not in canonical form."""


class ContextMismatchError(HeError):
    """A message was made for another round, with other parameters, or under another key."""


class AuthenticationError(HeError):
    """A signature or a linear tag is invalid: the message is damaged or forged."""


class CapacityError(HeError):
    """The chosen parameters cannot hold a value or a sum."""


class UnsafeParametersError(HeError):
    """Parameters have less than 128-bit security, or a key is where no key may be."""


class InternalError(HeError):
    """A call failed below this package's own checks: memory, SEAL, a signer, or a mistake of the package.

    The message names the exception's type and place; the text of the exception is left out, since it may
    hold secrets.
    """
