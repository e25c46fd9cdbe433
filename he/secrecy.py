"""The common base of all objects that hold a key: they print no key and cannot be pickled."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["Secret", "SecretBytes"]


class Secret:
    """Base class of the types that hold keys; `copy` is refused as well as `pickle`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<redacted>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds keys and cannot be pickled or copied")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__reduce__()


class SecretBytes(bytes):
    """Bytes of a key on their way to a worker process: they print redacted and arrive as plain bytes.

    Example:
        >>> SecretBytes(b"key")
        SecretBytes(<redacted>)
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "SecretBytes(<redacted>)"

    def __str__(self) -> str:
        return repr(self)

    def __reduce__(self) -> tuple[type[bytes], tuple[bytes]]:
        return bytes, (bytes(self),)

    def __reduce_ex__(self, protocol: object) -> tuple[type[bytes], tuple[bytes]]:
        return self.__reduce__()
