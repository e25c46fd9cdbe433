"""Integers ↔ slots: several balanced digits in one slot, or one integer in several slots, without carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from he.errors import CapacityError, LocalProtocolError, RemoteProtocolError
from he.guards.checks import is_int64_array
from he.params import MAX_VECTOR_LENGTH

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from he.params import Params

__all__ = ["check_bounded", "check_vector", "clear_padding", "pack", "unpack"]


def check_vector(vector: NDArray[np.int64], params: Params) -> None:
    """Check a client's vector before anything is encrypted.

    Args:
        vector: int64[d], 1 ≤ d ≤ 2^32, magnitudes ≤ `params.max_abs`; residues 0 … max_abs with
            `params.ring_bits`.
        params: the parameters of the sum.

    Raises:
        LocalProtocolError: the value is no int64 vector of such a length, or is a subclass such as a masked
            array.
        CapacityError: a value is out of range.
    """
    if not params.ring_bits:
        check_bounded(vector, params.max_abs)
        return
    _check_form(vector)
    if int(vector.max()) > params.max_abs or int(vector.min()) < 0:
        raise CapacityError(
            f"a value is no residue modulo 2^{params.ring_bits}; reduce the vector to 0 … 2^b − 1"
        )


def check_bounded(vector: NDArray[np.int64], max_abs: int) -> None:
    """Check that a vector is int64[d], 1 ≤ d ≤ 2^32, with magnitudes ≤ max_abs.

    Raises:
        LocalProtocolError: the value is no such vector.
        CapacityError: a value is out of range.
    """
    _check_form(vector)
    if int(vector.max()) > max_abs or int(vector.min()) < -max_abs:
        raise CapacityError(
            f"a value exceeds max_abs={max_abs}; "
            "clip or reduce the vector, or choose parameters with a larger max_abs"
        )


def _check_form(vector: NDArray[np.int64]) -> None:
    if not is_int64_array(vector):
        raise LocalProtocolError(
            f"the vector must be a one-dimensional numpy array of int64, not {_describe(vector)}; "
            "convert it with np.asarray(vector, dtype=np.int64) once no entry is masked or fractional"
        )
    if not 1 <= vector.size <= MAX_VECTOR_LENGTH:
        raise LocalProtocolError(f"the vector must hold 1 … {MAX_VECTOR_LENGTH} integers")


def pack(values: NDArray[np.int64], params: Params) -> NDArray[np.int64]:
    """Pack integers into the slots of as many ciphertexts as they need.

    Slot s of a ciphertext holds Σ_j digit[j·slots + s] · radix^j. The digits are the ciphertext's integers,
    or their lowest limbs, then the next ones; missing digits at the end count as zero.

    Args:
        values: int64[m].
        params: the parameters of the sum.

    Returns:
        int64[ciphertexts, slots], magnitudes ≤ params.slot_bound; 0 … t − 1 with a modular layout.

    Example:
        >>> from he.params import Params
        >>> params = Params.for_sum(2, max_abs=3)
        >>> slots = pack(np.array([1, -2, 3]), params)
        >>> unpack(slots, params, contributors=1)[:4].tolist()
        [1, -2, 3, 0]
    """
    return _join(_digits(values, params), params)


def _join(rows: NDArray[np.int64], params: Params) -> NDArray[np.int64]:
    """Slots from their fields, int64[ciphertexts, fields, slots]."""
    packed = rows[:, -1].copy()
    # Horner's rule, over fields and not over coordinates.
    for field in range(params.fields - 2, -1, -1):
        packed *= params.radix
        packed += rows[:, field]
    return packed


def unpack(packed: NDArray[np.int64], params: Params, *, contributors: int) -> NDArray[np.int64]:
    """Split the slots of an opened sum into its integers.

    Args:
        packed: int64[ciphertexts, slots].
        params: the parameters of the sum.
        contributors: number of inputs that were added, for the bound on each integer.

    Returns:
        int64[ciphertexts · params.values_per_ciphertext]; with `params.ring_bits` reduced modulo
        2^ring_bits and centred.

    Raises:
        RemoteProtocolError: no sum of honest inputs can have such a value.
    """
    layout = params.layout
    count = packed.shape[0]
    rows = np.empty((count, params.fields, params.slots), np.int64)
    if layout.modular:
        _split_bits(packed, rows, params)
        # The top field wraps modulo t, so all its values are possible and none can be refused.
        _check_range(rows[:, :-1], 0, contributors * layout.limb_bound)
    else:
        bound = params.slot_bound
        _check_range(packed, -bound, bound)
        _split_digits(packed + bound, rows, params)  # balanced digits become 0 … radix − 1
        limit = contributors * layout.limb_bound
        full = contributors == params.n_clients  # if so, no digit below the top one can be larger
        _check_range(rows[:, -1] if full else rows, -limit, limit)
    digits = rows.reshape(count, -1)
    size = params.values_per_ciphertext
    if layout.limbs == 1 and not params.ring_bits:
        return digits.reshape(-1)
    values = digits[:, size * (layout.limbs - 1) : size * layout.limbs].copy()
    for limb in range(layout.limbs - 2, -1, -1):
        values <<= layout.limb_bits
        values += digits[:, size * limb : size * (limb + 1)]
    if params.ring_bits:
        return _centred(values, params.ring_bits).reshape(-1)
    limit = contributors * params.max_abs
    _check_range(values, -limit, limit)
    return values.reshape(-1)


def clear_padding(packed: NDArray[np.int64], params: Params, integers: int) -> None:
    """Set to zero, in place, the contents of opened slots behind the integers of the sum.

    A client can fill the end of its last ciphertext. That part belongs to no coordinate, so it must neither
    be read nor make the sum fail.

    Args:
        packed: int64[ciphertexts, slots] of consecutive ciphertexts, from `decode`.
        params: the parameters of the sum.
        integers: number of the sum's integers that begin with these ciphertexts; it may exceed what they
            hold.
    """
    size, layout = params.values_per_ciphertext, params.layout
    whole, rest = divmod(max(0, integers), size)
    if whole >= len(packed):
        return
    packed[whole + (rest > 0) :] = 0
    if not rest:
        return
    last = packed[whole : whole + 1]
    rows = np.empty((1, params.fields, params.slots), np.int64)
    if layout.modular:
        _split_bits(last, rows, params)
    else:
        _split_digits(last + params.slot_bound, rows, params)
    digits = rows.reshape(-1)
    for limb in range(layout.limbs):
        digits[limb * size + rest : (limb + 1) * size] = 0
    digits[layout.limbs * size :] = 0
    packed[whole] = _join(rows, params)[0]


def _describe(value: object) -> str:
    kind = type(value).__name__
    if not isinstance(value, np.ndarray):
        return kind
    return f"{kind} of {value.dtype.str} in {value.ndim} dimensions"


def _digits(values: NDArray[np.int64], params: Params) -> NDArray[np.int64]:
    """int64[ciphertexts, fields, slots]."""
    layout = params.layout
    count, size = params.ciphertexts(values.size), params.values_per_ciphertext
    digits = np.zeros((count, params.fields * params.slots), np.int64)
    # A modular layout wraps modulo 2^b by itself; balanced digits need centred values.
    centre = params.ring_bits and not layout.modular
    values = _centred(values, params.ring_bits) if centre else values
    if layout.limbs == 1:
        digits.reshape(-1)[: values.size] = values
        return digits.reshape(count, params.fields, params.slots)
    rest = np.zeros((count, size), np.int64)
    rest.reshape(-1)[: values.size] = values
    for limb in range(layout.limbs - 1):
        low = _centred(rest, layout.limb_bits)
        digits[:, limb * size : (limb + 1) * size] = low
        rest = (rest - low) >> layout.limb_bits  # exact: these bits are zero
    digits[:, (layout.limbs - 1) * size : layout.limbs * size] = rest
    return digits.reshape(count, params.fields, params.slots)


def _centred(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """The representative of each value modulo 2^bits in −2^(bits−1) … 2^(bits−1) − 1."""
    half = 1 << bits - 1
    return ((values + half) & ((1 << bits) - 1)) - half


def _split_bits(packed: NDArray[np.int64], rows: NDArray[np.int64], params: Params) -> None:
    width = params.radix.bit_length() - 1
    rest = packed & (params.plain_modulus - 1)
    for field in range(params.fields):
        rows[:, field] = (rest >> width * field) & (params.radix - 1)


def _split_digits(rest: NDArray[np.int64], rows: NDArray[np.int64], params: Params) -> None:
    for field in range(params.fields - 1):
        quotient = rest // params.radix
        rows[:, field] = rest - quotient * params.radix
        rest = quotient
    rows[:, -1] = rest
    rows -= (params.radix - 1) // 2


def _check_range(values: NDArray[np.int64], low: int, high: int) -> None:
    if values.size and (int(values.max()) > high or int(values.min()) < low):
        raise RemoteProtocolError("the opened sum lies beyond what its contributors may have sent")
