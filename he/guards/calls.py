"""Wrappers of public calls, whose exceptions refer to no secret.

Python keeps every frame that an exception passed through, with its variables, as long as anything keeps the
exception: a log handler, a debugger, or a service that collects errors and prints variables.  In this
package's frames these variables are keys, plain vectors and the errors that hide them.
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from he.errors import HeError, InternalError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

__all__ = ["callers_own", "iterating_leaves_nothing", "leaving_nothing"]

P = ParamSpec("P")
R = TypeVar("R")


class _PassingError(Exception):
    """An exception of the caller's own code, such as an iterator's, on its way back to the caller."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


@contextmanager
def callers_own() -> Generator[None]:
    """Mark exceptions raised here as the caller's own, which reach the caller unchanged."""
    try:
        yield
    except Exception as error:
        raise _PassingError(error) from error


def leaving_nothing(call: Callable[P, R]) -> Callable[P, R]:
    """Make a public call whose exceptions do not refer to its arguments and variables.

    The frames of a typed error keep their places in the source, and lose their variables.  Other exceptions
    are not passed on, since a KeyError or a ValueError may hold values: an `InternalError` names their type
    and place.  A call with too many or too few arguments raises Python's TypeError, as usual.

    Example:
        >>> @leaving_nothing
        ... def look_up(secret):
        ...     return {}[secret]
        >>> look_up(b"key")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        he.errors.InternalError: KeyError in ...; what it said may hold secrets and is left out
    """

    @functools.wraps(call)
    def outermost(*args: P.args, **kwargs: P.kwargs) -> R:
        # The exception that the caller is handling becomes the context of errors below.
        handled = sys.exception()
        try:
            return call(*args, **kwargs)
        except BaseException as error:
            failure = _told(error, handled)
            # This frame is still running, so `_empty` cannot clear it; it drops its own references.
            del args, kwargs, handled
            if failure is error:
                del failure
                raise
        try:
            raise failure
        finally:
            del failure  # otherwise its own traceback would keep it alive, in a cycle

    return outermost


def iterating_leaves_nothing(call: Callable[P, Iterator[R]]) -> Callable[P, Iterator[R]]:
    """Like `leaving_nothing`, for exceptions that a generator raises during an iteration."""

    @functools.wraps(call)
    def outermost(*args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        try:
            yield from call(*args, **kwargs)
        except BaseException as error:
            failure = _told(error, None)
            del args, kwargs
            if failure is error:
                del failure
                raise
        else:
            return
        try:
            raise failure
        finally:
            del failure

    return outermost


def _told(error: BaseException, handled: BaseException | None) -> BaseException:
    """The exception that the caller gets in place of another one; all frames are cleared."""
    if isinstance(error, _PassingError):
        theirs, error.__cause__, error.__context__ = error.error, None, None
        _empty(error, handled)
        beneath = theirs.__traceback__
        return theirs.with_traceback(None if beneath is None else beneath.tb_next)
    _empty(error, handled)
    match error:
        case HeError():
            return error
        case TypeError() if error.__traceback__ is None or error.__traceback__.tb_next is None:
            return (
                error  # the arguments did not fit the parameters, so the message holds only names
            )
        case Exception():
            return _named(error)
        case _:  # an interrupt, which holds no values
            return error


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
    if not isinstance(error.__cause__, HeError):
        error.__cause__ = None
    error.__context__ = None if handled is error else handled
    traceback.clear_frames(error.__traceback__)
    for before in led.values():
        if before is not handled:
            _empty(before, handled)
