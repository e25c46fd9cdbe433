"""How public calls fail: with nothing secret in what the exception leads to.

Python keeps every frame that an exception came through, with its variables, for as long as somebody keeps
the exception: a log handler, a debugger, a service that collects errors and prints variables.  In the
frames of this package these are keys, plain vectors and the errors that hide them.
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
    """What is raised here is the caller's own exception, and reaches it as it is."""
    try:
        yield
    except Exception as error:
        raise _PassingError(error) from error


def leaving_nothing(call: Callable[P, R]) -> Callable[P, R]:
    """Let a public call fail without its arguments and variables in reach of the exception.

    The frames of a typed error keep their places in the source, and lose their variables.  What is raised
    beneath is not passed on, since a KeyError or a ValueError may hold values: an `InternalError` names its
    type and place.  A call with too many arguments or too few is Python's TypeError, as everywhere.

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
        handled = sys.exception()  # the caller's own: the context of what is raised below
        try:
            return call(*args, **kwargs)
        except BaseException as error:
            failure = _told(error, handled)
            del args, kwargs, handled
            if failure is error:
                del failure
                raise
        try:
            raise failure
        finally:
            del failure  # or its own traceback would keep it alive, in a circle

    return outermost


def iterating_leaves_nothing(call: Callable[P, Iterator[R]]) -> Callable[P, Iterator[R]]:
    """As `leaving_nothing`, for what a generator raises while somebody iterates over it."""

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
    """What the caller gets in place of an exception, whose frames are emptied."""
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
            return error  # the arguments did not fit the parameters: the message holds names alone
        case Exception():
            return _named(error)
        case _:  # an interrupt, which holds none
            return error


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
    if not isinstance(error.__cause__, HeError):
        error.__cause__ = None
    error.__context__ = None if handled is error else handled
    traceback.clear_frames(error.__traceback__)
    for before in led.values():
        if before is not handled:
            _empty(before, handled)
