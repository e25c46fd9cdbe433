"""Checks of public arguments: exact type first, then value; every refusal is an error of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from he.errors import HeError, LocalProtocolError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "check_array",
    "check_client_id",
    "check_nonce",
    "check_nonces",
    "check_type",
    "flag",
    "integer",
    "is_int64_array",
    "octets",
    "read_only",
]

_T = TypeVar("_T")
_LONGEST = 1024  # bits


def integer(
    name: str, value: object, low: int, high: int, error: type[HeError] = LocalProtocolError
) -> int:
    """Return an int within low … high; NumPy's integers are accepted, truth values are not.

    Example:
        >>> integer("min_clients", np.int64(3), 2, 10)
        3
    """
    # NumPy's time differences derive from its integers, and are none.
    if isinstance(value, np.integer) and not isinstance(value, np.timedelta64):
        value = int(value)
    if type(value) is not int:  # excludes bool, too
        raise error(f"{name} must be an integer, not {type(value).__name__}")
    if not low <= value <= high:
        raise error(f"{name} must lie in {_power(low)} … {_power(high)}, not {_power(value)}")
    return value


def flag(name: str, value: object, error: type[HeError] = LocalProtocolError) -> bool:
    """Return a bool; NumPy's bools are accepted, the integers 0 and 1 are not."""
    if not isinstance(value, (bool, np.bool)):
        raise error(f"{name} must be True or False, not {type(value).__name__}")
    return bool(value)


def octets(name: str, value: object) -> bytes:
    """Return bytes; a bytearray or a memoryview is copied, text is refused."""
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise LocalProtocolError(f"{name} must be bytes, not {type(value).__name__}")
    return bytes(value)


def check_type(name: str, value: _T, *kinds: type) -> _T:
    """Return the value itself, if it has one of these types; instances of subclasses are refused.

    Raises:
        LocalProtocolError: the value has another type.
    """
    if type(value) not in kinds:
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise LocalProtocolError(f"{name} must be {expected}, not {type(value).__name__}")
    return value


def check_client_id(client_id: object) -> int:
    """Return a client's number, 0 … 2^63 − 1.

    Raises:
        LocalProtocolError: the value is no such integer.
    """
    return integer("client_id", client_id, 0, (1 << 63) - 1)


def check_nonce(nonce: object) -> bytes:
    """Return an upload's nonce of 32 bytes.

    Raises:
        LocalProtocolError: the value is not 32 bytes.
    """
    found = octets("nonce", nonce)
    if len(found) != 32:
        raise LocalProtocolError(f"a nonce takes 32 bytes, not {len(found)}")
    return found


def check_nonces(nonces: object) -> list[bytes]:
    """Return the nonces of the uploads in a sum.

    Raises:
        LocalProtocolError: the value is no list of nonces, or is empty.
    """
    if not isinstance(nonces, list) or not nonces:
        raise LocalProtocolError("nonces are a list of 32 bytes for each upload of the sum")
    return [check_nonce(nonce) for nonce in cast("list[object]", nonces)]


def is_int64_array(value: object, dimensions: int = 1) -> bool:
    """Whether a value is NumPy's own array of int64 in native byte order, possibly mapped from a file.

    Subclasses change the meaning of an array's operations: a masked array would hide entries from a check
    although the encryption reads them.
    """
    if type(value) not in (np.ndarray, np.memmap):
        return False
    array = cast("NDArray[np.int64]", value)
    return array.dtype == np.int64 and array.ndim == dimensions


def check_array(
    name: str, value: object, dtype: type[np.int64 | np.uint64], *shape: int | range
) -> None:
    """Check that a value is NumPy's own array of a type and shape; a range lists the allowed sizes.

    Raises:
        LocalProtocolError: it is not. The message does not contain the value.
    """
    if type(value) in (np.ndarray, np.memmap):
        array = cast("NDArray[np.int64]", value)
        fits = [
            size in sizes if isinstance(sizes, range) else size == sizes
            for size, sizes in zip(array.shape, shape, strict=False)
        ]
        if array.dtype == dtype and array.ndim == len(shape) and all(fits):
            return
    sizes = [f"{x.start}…{x.stop - 1}" if isinstance(x, range) else str(x) for x in shape]
    raise LocalProtocolError(f"{name} must be a numpy array {dtype.__name__}[{', '.join(sizes)}]")


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


def _power(value: int) -> str:
    """The value as text: 2^b − 1 is easier to read than twenty digits, and Python may refuse longer ones."""
    bits = value.bit_length()
    if bits > _LONGEST:
        return f"a number of {bits} bits"
    return f"2^{bits} − 1" if bits > 30 and value == (1 << bits) - 1 else str(value)
