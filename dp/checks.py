"""Checks of public arguments: first the exact type, then the value; the result is a plain number.

A number is a Python int or float, or a NumPy integer or floating scalar.  Booleans, strings, arrays, masked
values and subclasses of numbers are not numbers.  A check returns the accepted number as an exact int or
float, so that no NumPy scalar ends up in a file, a cache key or a comparison.

`Checks` has the checks with the errors of one package; the functions of this module raise this package's
errors. `fedavg.checks` has the same checks with the errors of `fedavg`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dp.errors import InvalidParameterError, NonFiniteError

if TYPE_CHECKING:
    from types import UnionType

    from numpy.typing import NDArray

__all__ = [
    "Checks",
    "assign",
    "at_least",
    "finite",
    "fraction",
    "fraction_below_one",
    "is_a",
    "number",
    "plain_array",
    "positive",
    "positive_fraction",
    "positive_or_infinite",
    "proper_fraction",
    "real_array",
    "whole",
]

_EXACT_INTEGERS = 2**53
_PLAIN_ARRAYS = (np.ndarray, np.memmap)


def is_a(value: object, kind: type | UnionType) -> bool:
    """Whether a value has the annotated type; callers without a type checker may pass others."""
    return isinstance(value, kind)


def assign(target: object, **fields: object) -> None:
    """Set the fields of a frozen value to checked values, from within its `__post_init__`."""
    for name, value in fields.items():
        object.__setattr__(target, name, value)


def _is_integer(value: object) -> bool:
    # NumPy registers timedelta64 as a signed integer
    if isinstance(value, np.generic):
        return isinstance(value, np.integer) and not isinstance(value, np.timedelta64)
    return type(value) is int


def _is_number(value: object) -> bool:
    return type(value) is float or isinstance(value, np.floating) or _is_integer(value)


@dataclass(frozen=True, slots=True)
class Checks:
    """Range checks that raise one package's errors.

    Args:
        out_of_range: class of the error for a wrong type, or a value outside its range.
        not_finite: class of the error for NaN and infinity where a finite number is needed.

    Example:
        >>> Checks(ValueError, ValueError).positive_fraction("rate", np.float32(0.5))
        0.5
        >>> Checks(KeyError, KeyError).whole("clients", 2.0)
        Traceback (most recent call last):
        KeyError: 'clients must be an int, not float'
    """

    out_of_range: type[Exception]
    not_finite: type[Exception]

    def number(self, name: str, value: object) -> float:
        """Refuse all but real numbers of a plain type; NaN and infinity are accepted."""
        if not _is_number(value):
            raise self.out_of_range(f"{name} must be a number, not {type(value).__name__}")
        given: Any = value
        try:
            result = float(given)
        except OverflowError:
            raise self.out_of_range(f"{name} is beyond the range of a float") from None
        # An integer beyond 2^53 or a long double may have no equal float: a rounded one is another number.
        if result != given and not math.isnan(result):
            raise self.out_of_range(f"{name} has more digits than a float holds: {given!r}")
        return result

    def finite(self, name: str, value: object) -> float:
        """Refuse all but finite real numbers, and return the number as a float."""
        result = self.number(name, value)
        if not math.isfinite(result):
            raise self.not_finite(f"{name} must be finite, not {result!r}")
        return result

    def at_least(self, name: str, value: object, floor: float) -> float:
        """Refuse a number below the floor."""
        result = self.finite(name, value)
        if result < floor:
            raise self.out_of_range(f"{name} must be at least {floor:g}, not {result!r}")
        return result

    def positive(self, name: str, value: object) -> float:
        """Refuse a number that is not above zero."""
        result = self.finite(name, value)
        if result <= 0:
            raise self.out_of_range(f"{name} must be positive, not {result!r}")
        return result

    def positive_or_infinite(self, name: str, value: object) -> float:
        """Refuse a number that is not above zero; infinity stands for "no limit"."""
        result = self.number(name, value)
        return result if result == math.inf else self.positive(name, result)

    def fraction(self, name: str, value: object) -> float:
        """Refuse a number outside [0, 1]."""
        result = self.finite(name, value)
        if not 0 <= result <= 1:
            raise self.out_of_range(f"{name} must lie in [0, 1], not {result!r}")
        return result

    def positive_fraction(self, name: str, value: object) -> float:
        """Refuse a number outside (0, 1]."""
        result = self.finite(name, value)
        if not 0 < result <= 1:
            raise self.out_of_range(f"{name} must lie in (0, 1], not {result!r}")
        return result

    def fraction_below_one(self, name: str, value: object) -> float:
        """Refuse a number outside [0, 1)."""
        result = self.finite(name, value)
        if not 0 <= result < 1:
            raise self.out_of_range(f"{name} must lie in [0, 1), not {result!r}")
        return result

    def proper_fraction(self, name: str, value: object) -> float:
        """Refuse a number outside (0, 1)."""
        result = self.finite(name, value)
        if not 0 < result < 1:
            raise self.out_of_range(f"{name} must lie in (0, 1), not {result!r}")
        return result

    def whole(self, name: str, value: object, floor: int = 1) -> int:
        """Refuse all but integers of at least the floor, and return the number as an int."""
        if not _is_integer(value):
            raise self.out_of_range(f"{name} must be an int, not {type(value).__name__}")
        given: Any = value
        result = int(given)
        if result < floor:
            raise self.out_of_range(f"{name} must be at least {floor}, not {result}")
        return result

    def plain_array(self, name: str, value: object, kinds: str = "fiu") -> NDArray[Any]:
        """Refuse arrays that are more than their values, such as masked ones, and other kinds of entries.

        Args:
            name: name of the argument.
            value: an array, or a list or tuple of numbers.
            kinds: NumPy's letters of the allowed kinds of entries; by default, of real numbers.

        Returns:
            The array itself, or an array made of the list.
        """
        # Converting a masked array would bring back the entries that it hides.
        if type(value) not in (*_PLAIN_ARRAYS, list, tuple):
            masked = isinstance(value, np.ma.MaskedArray)
            remedy = "fill its gaps yourself" if masked else "pass numpy.asarray of its values"
            raise self.out_of_range(
                f"{name} must be a plain NumPy array, not {type(value).__name__}: {remedy}"
            )
        try:
            array = np.asarray(value)
        except ValueError as cause:
            raise self.out_of_range(f"{name} is no array of numbers: {cause}") from None
        if array.dtype.kind not in kinds:
            wanted = "booleans" if kinds == "b" else "real numbers"
            raise self.out_of_range(f"{name} must hold {wanted}, not {array.dtype}")
        return array

    def real_array(self, name: str, value: object) -> NDArray[np.float64]:
        """Like `plain_array`, with every entry as an equal float64; NaN and infinity are accepted."""
        array = self.plain_array(name, value)
        result = array.astype(np.float64)
        if array.dtype.kind in "iu":
            # An integer of 64 bits may have no equal float64 from 2^53 on.
            exact = array.dtype.itemsize < 8 or bool((np.abs(result) < _EXACT_INTEGERS).all())
        else:
            exact = array.dtype.itemsize <= 8 or bool(((result == array) | np.isnan(array)).all())
        if not exact:
            raise self.out_of_range(f"{name} has entries with more digits than a float64 holds")
        return result


_OURS = Checks(InvalidParameterError, NonFiniteError)

number = _OURS.number
finite = _OURS.finite
at_least = _OURS.at_least
positive = _OURS.positive
positive_or_infinite = _OURS.positive_or_infinite
fraction = _OURS.fraction
positive_fraction = _OURS.positive_fraction
fraction_below_one = _OURS.fraction_below_one
proper_fraction = _OURS.proper_fraction
whole = _OURS.whole
plain_array = _OURS.plain_array
real_array = _OURS.real_array
