"""Sums of floating-point numbers without rounding, as digits that a secure sum adds.

A float64 is a whole multiple of a power of two.  In units of 2^-128 every number from 2^-75 to 1e30 is a
whole number, and its square and its products are whole numbers in units of 2^-256.  A silo adds its rows as
such integers and sends the digits of the total.  Smaller numbers are rounded to a multiple of 2^-128 first.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedavg.data.tables.cells import LARGEST
from fedavg.statistics.summing import largest_input

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["GRAIN", "Digits", "exact_product_sum", "exact_sum", "on_grain"]

GRAIN = 128
"""Binary places that are kept of a number; twice as many of a product."""

_BASE = 16  # bits of a digit
_ROWS = 48  # bits of the largest number of rows
_SPLIT = 2.0**27 + 1  # cuts a float64 into halves of 26 bits
_CHUNK = 1 << 25  # rows whose half mantissas are added exactly as floats


def on_grain(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The numbers as multiples of 2^-128; only magnitudes below 2^-75 change.

    Example:
        >>> on_grain(np.array([0.1, 1e-60])).tolist()
        [0.1, 0.0]
    """
    small = np.abs(values) < 2.0 ** (53 - GRAIN)
    rounded = np.ldexp(np.rint(np.ldexp(np.where(small, values, 0.0), GRAIN)), -GRAIN)
    return np.where(small, rounded, values)


def exact_sum(values: NDArray[np.float64], places: int) -> int:
    """Σ of multiples of 2^-places, in units of 2^-places, without any rounding.

    Args:
        values: float64[n], finite.
        places: binary places.

    Example:
        >>> exact_sum(np.array([1e16, 1.0, -1e16]), 0), float(np.array([1e16, 1.0, -1e16]).sum())
        (1, 0.0)
    """
    total = 0
    for start in range(0, len(values), _CHUNK):
        mantissa, exponent = np.frexp(values[start : start + _CHUNK])
        whole = np.ldexp(mantissa, 53).astype(np.int64)
        lowest = int(exponent.min())
        slot = exponent - lowest
        # Halves of a mantissa have 27 bits: sums of 2^25 of them are exact in a float.
        low = np.bincount(slot, weights=whole & ((1 << 27) - 1))
        high = np.bincount(slot, weights=whole >> 27)
        for place, (upper, lower) in enumerate(zip(high.tolist(), low.tolist(), strict=True)):
            part = (int(upper) << 27) + int(lower)
            shift = lowest + place - 53 + places
            total += part << shift if shift >= 0 else part >> -shift
    return total


def exact_product_sum(first: NDArray[np.float64], second: NDArray[np.float64], places: int) -> int:
    """Σ of products in units of 2^-places, without any rounding; each product is split into two floats.

    Example:
        >>> exact_product_sum(np.array([2.0**27 + 1]), np.array([2.0**27 + 1]), 0) == (2**27 + 1) ** 2
        True
    """
    product = first * second
    first_high, first_low = _halves(first)
    second_high, second_low = _halves(second)
    # Dekker (1971): the rounding error of a product is a float itself.
    error = first_high * second_high - product
    error += first_high * second_low + first_low * second_high
    error += first_low * second_low
    return exact_sum(product, places) + exact_sum(error, places)


def _halves(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    shifted = _SPLIT * values
    high = shifted - (shifted - values)
    return high, values - high


@dataclass(frozen=True, slots=True)
class Digits:
    """Integers as digits for a secure sum; the digits of the sum give the sum and nothing else.

    Digits of single totals would tell of their carries.  Each silo therefore adds a large random number to
    every digit and takes it off the next one: the value is the same, and each digit of the sum is random.

    Args:
        places: binary places of the unit.
        power: the numbers are below LARGEST^power.
        silos: number of silos, which limits the random numbers.
    """

    places: int
    power: int
    silos: int

    @property
    def length(self) -> int:
        """Number of digits."""
        bits = self.power * int(LARGEST).bit_length() + self.places + _ROWS
        return -(-bits // _BASE)

    @property
    def hiding_bits(self) -> int:
        """Bits of the random number on each digit: a carry shows with probability about silos · 2^-bits."""
        return largest_input(self.silos).bit_length() - 2 - _BASE - 1

    def of(self, total: int) -> NDArray[np.int64]:
        """int64[length]: digits of one silo's total, each hidden by a random number."""
        digits: list[int] = []
        carried = 0
        for _ in range(self.length - 1):
            hiding = secrets.randbits(self.hiding_bits)
            digits.append((total & ((1 << _BASE) - 1)) - carried + (hiding << _BASE))
            total >>= _BASE
            carried = hiding
        digits.append(total - carried)
        return np.array(digits, np.int64)

    def value(self, digits: Sequence[int] | NDArray[np.int64]) -> int:
        """The number in units of 2^-places that digits, or sums of digits, stand for.

        Example:
            >>> small = Digits(places=0, power=1, silos=3)
            >>> small.value(small.of(-12345) + small.of(12))
            -12333
        """
        return sum(int(digit) << (_BASE * place) for place, digit in enumerate(digits))
