"""What every object that holds a key has in common: it prints nothing and cannot be pickled."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["Secret"]


class Secret:
    """Base of the key-holding types; `copy` is refused along with `pickle`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<redacted>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds keys and cannot be pickled or copied")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__reduce__()
