"""How public calls are made: one at a time, and with nothing secret in what a failure leaves behind.

Python keeps every frame that an exception came through, with its variables, for as long as somebody keeps
the exception: a log handler, a debugger, a service that collects errors and prints variables.  In the
frames of this package these are keys, seeds, shares and inputs.
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections import deque
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from secagg.errors import InternalError, LocalProtocolError, SecAggError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Turn", "leaving_nothing"]

P = ParamSpec("P")
R = TypeVar("R")


class Turn:
    """Lets one call at a time work on an object; a second one is refused, and does not wait.

    Whoever works holds the only token.  `deque.pop` gives it to one thread alone: that a deque's ends are
    safe between threads is promised by Python's documentation, with and without the global lock.

    Args:
        whose: the object, for the message.

    Example:
        >>> turn = Turn("this client")
        >>> with turn, turn:
        ...     pass
        Traceback (most recent call last):
        secagg.errors.LocalProtocolError: this client is at work on another call; make one at a time
    """

    __slots__ = ("_token", "_whose")

    def __init__(self, whose: str) -> None:
        self._token = deque((None,))
        self._whose = whose

    def __enter__(self) -> None:
        try:
            self._token.pop()
        except IndexError:
            raise LocalProtocolError(
                f"{self._whose} is at work on another call; make one at a time"
            ) from None

    def __exit__(self, *_: object) -> None:
        self._token.append(None)


def leaving_nothing(call: Callable[P, R]) -> Callable[P, R]:
    """Let a public call fail without its arguments and variables in reach of the exception.

    The frames of a typed error keep their places in the source, and lose their variables.  What is raised
    beneath is not passed on, since a KeyError or an AttributeError holds values: an `InternalError` names
    its type and place.  A call with too many arguments or too few is Python's TypeError, as everywhere.

    Example:
        >>> @leaving_nothing
        ... def look_up(secret):
        ...     return {}[secret]
        >>> look_up(b"seed")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        secagg.errors.InternalError: KeyError in ...; what it said may hold secrets and is left out
    """

    @functools.wraps(call)
    def outermost(*args: P.args, **kwargs: P.kwargs) -> R:
        handled = sys.exception()  # the caller's own: the context of what is raised below
        try:
            return call(*args, **kwargs)
        except Exception as error:
            _empty(error, handled)
            del args, kwargs, handled
            if isinstance(error, SecAggError) or _never_began(error):
                raise
            failure = _named(error)
        except BaseException as error:  # an interrupt, which holds none
            _empty(error, handled)
            del args, kwargs, handled
            raise
        try:
            raise failure
        finally:
            del failure  # or its own traceback would keep it alive, in a circle

    return outermost


def _never_began(error: Exception) -> bool:
    """Whether the arguments did not fit the parameters; Python's message then holds names alone."""
    began = error.__traceback__ is not None and error.__traceback__.tb_next is not None
    return isinstance(error, TypeError) and not began


def _named(error: Exception) -> InternalError:
    """What may be told of an exception: its type, and the line that raised it."""
    frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
    place = f"{frame.f_globals.get('__name__')}, line {line}"
    code = error.errno if isinstance(error, OSError) else None
    kind = type(error).__name__ if code is None else f"{type(error).__name__} ({os.strerror(code)})"
    return InternalError(f"{kind} in {place}; what it said may hold secrets and is left out")


def _empty(error: BaseException, handled: BaseException | None) -> None:
    """Take all variables out of the frames of an error and of what led to it; of causes typed ones stay.

    Args:
        error: what was raised.
        handled: what the caller was handling meanwhile, which is the caller's own: it stays the context.
    """
    led = {id(e): e for e in (error.__cause__, error.__context__) if e is not None}
    if not isinstance(error.__cause__, SecAggError):
        error.__cause__ = None
    error.__context__ = None if handled is error else handled
    traceback.clear_frames(error.__traceback__)
    for before in led.values():
        if before is not handled:
            _empty(before, handled)
