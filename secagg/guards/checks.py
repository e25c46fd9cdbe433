"""Checks of arguments of the public interface: the exact type first, then the value.

Each check returns the value in the form that the package uses: a Python int for NumPy's integers, bytes for
any buffer, and an array that shares no memory with the caller's.  docs/protocol.md, "Arguments", lists what
each argument may be.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from secagg.errors import LocalProtocolError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from secagg.errors import SecAggError
    from secagg.guards.journal import Journal

__all__ = [
    "boolean",
    "context_of",
    "executor_of",
    "instance",
    "journal_of",
    "mapping",
    "number",
    "octets",
    "plain_array",
    "plain_vector",
    "read_only",
    "text",
    "whole",
]

T = TypeVar("T")

_LONGEST = 1024  # bits: a longer number is no count, id or bound, and Python may refuse to print it
_NO_NUMBERS = (bool, np.bool_, np.timedelta64)  # excluded, although they derive from integers
_PLAIN: frozenset[type] = frozenset({np.ndarray, np.memmap})


def whole(name: str, value: object) -> int:
    """Return an integer of Python or NumPy as int; refuse bool and float.

    Example:
        >>> whole("n_clients", np.int16(7))
        7
    """
    if isinstance(value, _NO_NUMBERS) or not isinstance(value, (int, np.integer)):
        raise LocalProtocolError(f"{name} must be an integer, not {_kind(value)}")
    exact = operator.index(value)  # a plain int, also of a subclass
    if exact.bit_length() > _LONGEST:
        raise LocalProtocolError(f"{name} is a number of {exact.bit_length()} bits")
    return exact


def number(name: str, value: object) -> float:
    """Return a real number as a float, which may be infinite or NaN: the caller checks its range.

    Example:
        >>> number("dropout_rate", np.float32(0.5)), number("dropout_rate", 0)
        (0.5, 0.0)
    """
    numbers = (int, float, np.integer, np.floating)
    if isinstance(value, _NO_NUMBERS) or not isinstance(value, numbers):
        raise LocalProtocolError(f"{name} must be a number, not {_kind(value)}")
    try:
        return float(value)
    except OverflowError:
        return math.inf  # beyond all floats: the caller's check of the range refuses it


def boolean(name: str, value: object) -> bool:
    """Return a truth value of Python or NumPy as bool; refuse numbers."""
    if not isinstance(value, (bool, np.bool_)):
        raise LocalProtocolError(f"{name} must be True or False, not {_kind(value)}")
    return bool(value)


def text(name: str, value: object) -> str:
    """A string."""
    if not isinstance(value, str):
        raise LocalProtocolError(f"{name} must be a string, not {_kind(value)}")
    return str(value)


def octets(name: str, value: object) -> bytes:
    """Return bytes, copied from any other buffer, so that later changes of the buffer do not matter.

    Example:
        >>> octets("context", bytearray(b"round 1"))
        b'round 1'
    """
    if type(value) is bytes:  # a subclass is copied: its methods may show other bytes
        return value
    if not isinstance(value, (bytes, bytearray, memoryview)):
        encode = "; encode it" if isinstance(value, str) else ""
        raise LocalProtocolError(f"{name} must be bytes, not {_kind(value)}{encode}")
    return memoryview(value).tobytes()


def context_of(value: object) -> bytes:
    """Return an input's context as bytes; empty bytes are refused, as they fit any model and round."""
    named = octets("context", value)
    if not named:
        raise LocalProtocolError("context must be non-empty bytes that name this round and model")
    return named


def instance(name: str, value: object, kind: type[T]) -> T:
    """Return an object of a class of this package; refuse others."""
    if not isinstance(value, kind):
        raise LocalProtocolError(f"{name} must be a {kind.__name__}, not {_kind(value)}")
    return value


def mapping(name: str, value: object) -> list[tuple[object, object]]:
    """The items of a mapping, as they are now."""
    if not isinstance(value, Mapping):
        raise LocalProtocolError(f"{name} must be a mapping, such as a dict, not {_kind(value)}")
    return list(cast("Mapping[object, object]", value).items())


def executor_of(value: object) -> Executor | None:
    """Return an executor, or None for the calling thread alone."""
    if value is not None and not callable(getattr(value, "submit", None)):
        raise LocalProtocolError(f"executor must have a method submit, which {_kind(value)} lacks")
    return cast("Executor | None", value)


def journal_of(value: object) -> Journal | None:
    """Return a journal, or None for the client's own memory alone."""
    if value is not None and not callable(getattr(value, "add", None)):
        raise LocalProtocolError(f"journal must have a method add, which {_kind(value)} lacks")
    return cast("Journal | None", value)


def plain_vector(
    name: str, value: object, length: int, error: type[SecAggError] = LocalProtocolError
) -> NDArray[np.int64]:
    """A copy of an array int64[length]; see `plain_array`.

    Raises:
        error: the value is anything else.
    """
    return np.array(plain_array(name, value, length, error), copy=True, subok=False)


def plain_array(
    name: str, value: object, length: int, error: type[SecAggError] = LocalProtocolError
) -> NDArray[np.int64]:
    """An array int64[length], the caller's own: it may still change, so its values must be read once only.

    A subclass of NumPy's array may mean other values than it holds, as a masked array does, and is refused;
    an array that is mapped from a file is accepted.

    Raises:
        error: the value is anything else.
    """
    if type(value) not in _PLAIN:
        told = _kind(value)
        if isinstance(value, np.ndarray):
            told += ", which may mean other values than it holds: make a plain array of them"
        raise error(f"{name} must be a NumPy array int64[{length}], not {told}")
    array = cast("NDArray[np.int64]", value)
    if array.dtype != np.int64 or array.shape != (length,):
        raise error(f"{name} must be int64[{length}], not {array.dtype}{list(array.shape)}")
    return array


def read_only(array: NDArray[np.int64]) -> NDArray[np.int64]:
    """A view of an array, for a frozen value: nothing is copied, and nothing can be written through it.

    Example:
        >>> read_only(np.array([1, 2]))[0] = 5
        Traceback (most recent call last):
        ValueError: assignment destination is read-only
    """
    view = array.view()
    view.setflags(write=False)
    return view


def _kind(value: object) -> str:
    """A name for a value in messages; never the value itself, which may be long or secret."""
    return "None" if value is None else f"a {type(value).__name__}"
