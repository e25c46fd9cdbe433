"""Named arrays as one vector and back, by names, shapes and types that both sides know."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from fedavg.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[np.generic]]

__all__ = ["ArrayLayout", "content_digest"]

_KINDS = "fiu"
_PLAIN = "fiubcSU"
_EXACT = 1 << 53
"""Integers up to here, and all between them, are float64 numbers."""
_MEANS = {"f2": "f4", "f4": "f4", "f8": "f8"}
"""Type of a mean by the type of an array; half precision has no room for a mean, and integers have none."""


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """Names, shapes and types of arrays, in the order in which they fill a vector.

    The order is that of the names, since engines do not promise to keep another.

    Args:
        names: names of the arrays.
        shapes: their shapes.
        dtypes: types of their means: "f4" or "f8". Means of float16 are "f4", of integers "f8".

    Example:
        >>> weights = {"w": np.ones((2, 2), np.float32), "steps": np.array(7)}
        >>> layout = ArrayLayout.of(weights)
        >>> layout.size, layout.dtypes
        (5, ('f8', 'f4'))
        >>> layout.unflatten(layout.flatten(weights))["steps"]
        array(7.)
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]

    @classmethod
    def of(cls, arrays: Arrays, carries: Callable[[str], bool] | None = None) -> ArrayLayout:
        """The layout of arrays, or of those that are carried.

        Args:
            arrays: name to array, of floats or integers of any size.
            carries: which names are part of the layout; None for all.

        Raises:
            PlanError: an array has another type, such as bool or complex, or integers beyond ±2^53.
        """
        chosen = {
            name: checked(name, array)
            for name, array in sorted(arrays.items())
            if carries is None or carries(name)
        }
        return cls(
            tuple(chosen),
            tuple(array.shape for array in chosen.values()),
            tuple(_MEANS.get(array.dtype.str[1:], "f8") for array in chosen.values()),
        )

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def parts(self) -> tuple[tuple[str, slice], ...]:
        """Each name with its place in the vector."""
        found: list[tuple[str, slice]] = []
        start = 0
        for name, shape in zip(self.names, self.shapes, strict=True):
            stop = start + math.prod(shape)
            found.append((name, slice(start, stop)))
            start = stop
        return tuple(found)

    def flatten(self, arrays: Arrays) -> NDArray[np.float64]:
        """One vector of the arrays of this layout; other arrays are left out.

        Returns:
            float64[size], a copy.

        Raises:
            PlanError: an array is missing, has another shape or type, or integers beyond ±2^53.
        """
        vector = np.empty(self.size)
        for (name, place), shape in zip(self.parts, self.shapes, strict=True):
            if name not in arrays:
                raise PlanError(
                    f"array {name!r} is missing: a sum needs the same arrays from every node; leave it out "
                    "of the agreement (`arrays`), or send it"
                )
            array = checked(name, arrays[name])
            if array.shape != shape:
                raise PlanError(
                    f"array {name!r} has shape {array.shape}, and the server's has {shape}"
                )
            vector[place] = array.ravel()
        return vector

    def unflatten(self, vector: NDArray[np.float64]) -> dict[str, NDArray[np.floating]]:
        """The arrays of a vector float64[size], in the types of means."""
        return {
            name: vector[place].astype(dtype).reshape(shape)
            for (name, place), shape, dtype in zip(
                self.parts, self.shapes, self.dtypes, strict=True
            )
        }


def checked(name: str, array: object) -> NDArray[np.generic]:
    """Return an array of numbers; raise PlanError that names it otherwise."""
    if isinstance(array, np.generic):
        array = np.asarray(array)  # what arithmetic on an array without dimensions returns
    if type(array) is not np.ndarray:
        raise PlanError(f"array {name!r} must be a numpy array, not {type(array).__name__}")
    found = cast("NDArray[np.generic]", array)
    if found.dtype.kind not in _KINDS:
        raise PlanError(
            f"array {name!r} holds {found.dtype}; only floating-point numbers and integers can be summed: "
            "leave it out of the agreement (`arrays`)"
        )
    if (
        found.dtype.kind in "iu"
        and found.dtype.itemsize == 8  # shorter ones are exact
        and found.size
        and not -_EXACT <= int(found.min()) <= int(found.max()) <= _EXACT
    ):
        raise PlanError(
            f"array {name!r} holds integers beyond ±2^53, which a mean in float64 would round: leave it out "
            "of the agreement (`arrays`)"
        )
    return found


def _any_plain(name: str, array: object) -> NDArray[np.generic]:
    """Return an array that a server may send beside those that are summed; raise PlanError otherwise."""
    found = np.asarray(array) if isinstance(array, np.generic) else array
    if type(found) is not np.ndarray:
        raise PlanError(f"array {name!r} must be a numpy array, not {type(found).__name__}")
    sent = cast("NDArray[np.generic]", found)
    if sent.dtype.kind not in _PLAIN:
        raise PlanError(
            f"array {name!r} holds {sent.dtype}; a server may send numbers, truth values and texts: take it "
            "out of what the server sends"
        )
    return sent


def content_digest(arrays: Arrays, settings: bytes) -> bytes:
    """SHA-256 of everything that a server sends with a request; two nodes sum only under one digest.

    The order of the arrays is part of it, since a node's own function may tell them apart by their places.

    Args:
        arrays: the server's arrays, of numbers, truth values or texts, in the order in which a node is given
            them.
        settings: everything else that the server sends, in one canonical form.

    Example:
        >>> one, other = {"w": np.zeros(2)}, {"w": np.zeros(2, np.float32)}
        >>> content_digest(one, b"") == content_digest(other, b"")
        False
    """
    hashed = hashlib.sha256(b"fedavg exchange content 2")
    for name, array in arrays.items():
        found = _any_plain(name, array)
        head = f"{name}\0{found.dtype.str}\0{found.shape}".encode()
        hashed.update(len(head).to_bytes(8, "little") + head)
        hashed.update(np.ascontiguousarray(found).data)
    hashed.update(b"settings" + len(settings).to_bytes(8, "little") + settings)
    return hashed.digest()
