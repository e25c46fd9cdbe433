"""Looks for a client's numbers in the bytes that a server received."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

DTYPES = ("<i2", "<i4", "<i8", "<f4", "<f8", ">i4", ">i8", ">f8")


def needles(values: np.ndarray) -> list[bytes]:
    """Encodings under which runs of a vector could stand in a message."""
    found = []
    for dtype in DTYPES:
        info = np.dtype(dtype)
        if info.kind == "i":
            limits = np.iinfo(info)
            if values.min() < limits.min or values.max() > limits.max:
                continue
            if not np.array_equal(values, np.rint(values)):
                continue
        found.append(values.astype(info).tobytes())
    return found


def contains_vector(messages: Iterable[bytes], vector: np.ndarray, *, run: int = 6) -> bool:
    """Whether any run of `run` consecutive coordinates, not all equal, stands in any message."""
    haystack = b"|".join(messages)
    values = np.asarray(vector, dtype=np.float64)
    for start in range(0, max(values.size - run, 1), run):
        piece = values[start : start + run]
        if np.unique(piece).size < 3:
            continue
        if any(needle in haystack for needle in needles(piece)):
            return True
    return False


def contains_number(messages: Iterable[bytes], value: float) -> bool:
    """Whether a float64 or float32 stands in any message, to the last bit."""
    haystack = b"|".join(messages)
    packed = [np.array(value, dtype=d).tobytes() for d in ("<f8", ">f8")]
    return any(needle in haystack for needle in packed)
