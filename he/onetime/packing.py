"""Integers ↔ limbs of coefficients: shifts into fields, carries between limbs, and the check of the noise."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from he.errors import RemoteProtocolError
from he.onetime.params import KEY_BOUND, LIMB_BITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from he.onetime.params import Layout

__all__ = ["add_fields", "carried", "opened"]

_LIMB = (1 << LIMB_BITS) - 1
_HALF_WORD = 32


def add_fields(limbs: NDArray[np.int64], values: NDArray[np.int64], layout: Layout) -> None:
    """Add integers to coefficients, in place: coefficient s gets values[j·width + s] in its field j.

    Args:
        limbs: int64[L, width], not carried; each may grow by 2^47 here.
        values: int64[at most fields·width]; missing ones count as zero.
        layout: the layout of the sum.
    """
    width = limbs.shape[1]
    for index in range(layout.fields):
        part = values[index * width : (index + 1) * width]
        limb, shift = divmod(layout.place(index), LIMB_BITS)
        room = slice(0, len(part))
        if layout.field_bits <= LIMB_BITS + _HALF_WORD - 1:
            limbs[limb, room] += part << shift
            continue
        # Wide integers are added in two halves, which the shift cannot push out of 64 bits.
        limbs[limb, room] += (part & ((1 << _HALF_WORD) - 1)) << shift
        limbs[limb + _HALF_WORD // LIMB_BITS, room] += (part >> _HALF_WORD) << shift


def carried(limbs: NDArray[np.int64], layout: Layout) -> NDArray[np.int64]:
    """Bring limbs to 0 … 2^16 − 1, modulo q, in place; the last one has 8 bits if bytes are odd."""
    for lower, upper in pairwise(limbs):
        np.add(upper, lower >> LIMB_BITS, out=upper)  # the shift rounds down, also below zero
        np.bitwise_and(lower, _LIMB, out=lower)
    limbs[-1] &= _LIMB >> (8 if layout.word_bytes % 2 else 0)
    return limbs


def opened(
    limbs: NDArray[np.int64], layout: Layout, *, contributors: int, limit: int
) -> NDArray[np.int64]:
    """Read the integers of a sum from Σ c + a·S.

    Args:
        limbs: int64[L, width], not carried; overwritten.
        layout: the layout of the sum.
        contributors: number of ciphertexts that were added, for the bound on the noise.
        limit: bound on the magnitude of an integer of the sum.

    Returns:
        int64[fields·width], in the order of `add_fields`.

    Raises:
        RemoteProtocolError: no sum of so many honest ciphertexts has such noise or such an integer.
    """
    # Half of each field is added first, so that no field is negative and none borrows from the next.
    half = 1 << layout.noise_bits - 1
    middle = half + sum(
        1 << layout.place(index) + layout.field_bits - 1 for index in range(layout.fields)
    )
    for limb in range(layout.limbs):
        limbs[limb] += middle >> LIMB_BITS * limb & _LIMB
    carried(limbs, layout)
    noise = _bits(limbs, 0, layout.noise_bits)
    noise -= half
    if int(np.abs(noise).max()) > KEY_BOUND * contributors:
        raise RemoteProtocolError(
            f"the sum carries more noise than {contributors} honest clients add: a client sent no proper "
            "ciphertext, or the sum of keys is not that of these clients"
        )
    width = limbs.shape[1]
    values = np.empty(layout.fields * width, np.int64)
    for index in range(layout.fields):
        part = values[index * width : (index + 1) * width]
        part[:] = _bits(limbs, layout.place(index), layout.field_bits)
        part -= 1 << layout.field_bits - 1
    if int(values.max()) > limit or int(values.min()) < -limit:
        raise RemoteProtocolError("the opened sum lies beyond what its contributors may have sent")
    return values


def _bits(limbs: NDArray[np.int64], place: int, size: int) -> NDArray[np.int64]:
    """`size` ≤ 63 bits of carried limbs from bit `place` on."""
    first, shift = divmod(place, LIMB_BITS)
    found = limbs[first] >> shift
    for limb in range(first + 1, (place + size - 1) // LIMB_BITS + 1):
        found |= limbs[limb] << LIMB_BITS * (limb - first) - shift  # int64 drops what lies beyond
    found &= (1 << size) - 1
    return found
