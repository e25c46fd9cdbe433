"""Wrappers of public calls: one call at a time, and exceptions that refer to no secret.

Python keeps every frame that an exception passed through, with its variables, as long as anything keeps
the exception: a log handler, a debugger, or a service that collects errors and prints variables.  In this
package's frames, these variables are keys, seeds, shares and inputs.
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
    """Lets one call at a time work on an object; a second call is refused, and does not wait.

    The working call holds the only token.  `deque.pop` gives it to one thread alone: Python's documentation
    promises that the ends of a deque are safe between threads, with and without the global lock.

    Args:
        whose: name of the object, for the message.

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
    """Make a public call whose exceptions do not refer to its arguments and variables.

    The frames of a typed error keep their places in the source, and lose their variables.  Other exceptions
    are not passed on, since a KeyError or an AttributeError holds values: an `InternalError` names their type
    and place.  A call with too many or too few arguments raises Python's TypeError, as usual.

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
        # The exception that the caller is handling becomes the context of errors below.
        handled = sys.exception()
        try:
            return call(*args, **kwargs)
        except Exception as error:
            _empty(error, handled)
            # This frame is still running, so `_empty` cannot clear it; it drops its own references.
            del args, kwargs, handled
            if isinstance(error, SecAggError) or _never_began(error):
                raise
            failure = _named(error)
        except BaseException as error:  # an interrupt, which holds no values
            _empty(error, handled)
            del args, kwargs, handled
            raise
        try:
            raise failure
        finally:
            del failure  # otherwise its own traceback would keep it alive, in a cycle

    return outermost


def _never_began(error: Exception) -> bool:
    """Whether the arguments did not fit the parameters; Python's message then holds only names."""
    began = error.__traceback__ is not None and error.__traceback__.tb_next is not None
    return isinstance(error, TypeError) and not began


def _named(error: Exception) -> InternalError:
    """The parts of an exception that may be disclosed: its type, and the line that raised it."""
    frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
    place = f"{frame.f_globals.get('__name__')}, line {line}"
    # The system's text for an error number holds no values; the exception's own text may.
    code = error.errno if isinstance(error, OSError) else None
    kind = type(error).__name__ if code is None else f"{type(error).__name__} ({os.strerror(code)})"
    return InternalError(f"{kind} in {place}; what it said may hold secrets and is left out")


def _empty(error: BaseException, handled: BaseException | None) -> None:
    """Clear all variables in the frames of an error and of its contexts; typed causes stay.

    Args:
        error: the exception that was raised.
        handled: the exception that the caller was handling; it is the caller's own, and stays the context.
    """
    led = {id(e): e for e in (error.__cause__, error.__context__) if e is not None}
    if not isinstance(error.__cause__, SecAggError):
        error.__cause__ = None
    error.__context__ = None if handled is error else handled
    traceback.clear_frames(error.__traceback__)
    for before in led.values():
        if before is not handled:
            _empty(before, handled)
