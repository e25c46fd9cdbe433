"""Integers ↔ slots: several balanced digits to one slot, so that sums never carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from he.errors import CapacityError, LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from he.params import Params

__all__ = ["check_vector", "pack", "unpack"]

MAX_VECTOR_LENGTH = 1 << 32


def check_vector(vector: NDArray[np.int64], params: Params) -> None:
    """Check a client's vector before anything is encrypted.

    Args:
        vector: int64[d], 1 ≤ d ≤ 2^32, magnitudes ≤ `params.max_abs`.
        params: the parameters of the sum.

    Raises:
        LocalProtocolError: not an int64 vector of such a length.
        CapacityError: a value beyond max_abs.
    """
    if not isinstance(vector, np.ndarray) or vector.dtype != np.int64 or vector.ndim != 1:  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
        raise LocalProtocolError("the vector must be a one-dimensional numpy array of int64")
    if not 1 <= vector.size <= MAX_VECTOR_LENGTH:
        raise LocalProtocolError(f"the vector must hold 1 … {MAX_VECTOR_LENGTH} integers")
    if int(vector.max()) > params.max_abs or int(vector.min()) < -params.max_abs:
        raise CapacityError(
            f"a value exceeds max_abs={params.max_abs}; "
            "clip or reduce the vector, or choose parameters with a larger max_abs"
        )


def pack(values: NDArray[np.int64], params: Params) -> NDArray[np.int64]:
    """Pack up to `params.values_per_ciphertext` integers into one ciphertext's slots.

    Slot s holds Σ_j values[j·slots + s] · radix^j; what is missing at the end counts as zero.

    Args:
        values: int64[m], m ≤ params.values_per_ciphertext.
        params: the parameters of the sum.

    Returns:
        int64[slots], magnitudes ≤ params.slot_bound.

    Example:
        >>> from he.params import Params
        >>> params = Params.for_sum(2, max_abs=3)
        >>> slots = pack(np.array([1, -2, 3]), params)
        >>> unpack(slots, params, contributors=1)[:4].tolist()
        [1, -2, 3, 0]
    """
    digits = np.zeros(params.values_per_ciphertext, np.int64)
    digits[: values.size] = values
    rows = digits.reshape(params.fields, params.slots)
    packed = rows[-1].copy()
    for row in rows[-2::-1]:  # Horner, over fields, never over coordinates
        packed *= params.radix
        packed += row
    return packed


def unpack(packed: NDArray[np.int64], params: Params, *, contributors: int) -> NDArray[np.int64]:
    """Split the slots of an opened sum into its integers.

    Args:
        packed: int64[slots].
        params: the parameters of the sum.
        contributors: how many inputs were added, for the bound on each integer.

    Returns:
        int64[params.values_per_ciphertext].

    Raises:
        RemoteProtocolError: a value that no sum of honest inputs can reach.
    """
    bound = params.slot_bound
    if int(packed.max()) > bound or int(packed.min()) < -bound:
        raise RemoteProtocolError("the opened sum lies beyond what its contributors may have sent")
    rest = packed + bound
    rows = np.empty((params.fields, params.slots), np.int64)
    for row in rows[:-1]:
        np.divmod(rest, params.radix, out=(rest, row))
    rows[-1] = rest
    rows -= (params.radix - 1) // 2
    digits = rows.reshape(-1)
    limit = contributors * params.max_abs
    if int(digits.max()) > limit or int(digits.min()) < -limit:
        raise RemoteProtocolError("a summed value exceeds contributors × max_abs")
    return digits
