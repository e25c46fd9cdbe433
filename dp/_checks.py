"""Range checks shared by events, accountants and samplers: finite first, then the range."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dp.errors import InvalidParameterError, NonFiniteError

if TYPE_CHECKING:
    from types import UnionType

__all__ = ["at_least", "finite", "fraction", "is_a", "positive", "whole"]


def finite(name: str, value: object) -> float:
    """Refuse what is not a finite real number, and return it as a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidParameterError(f"{name} must be a number, not {type(value).__name__}")
    number = float(value)
    if not math.isfinite(number):
        raise NonFiniteError(f"{name} must be finite, not {number!r}")
    return number


def is_a(value: object, kind: type | UnionType) -> bool:
    """Whether a caller kept to a type that the annotations promise; callers need not be checked."""
    return isinstance(value, kind)


def at_least(name: str, value: object, floor: float) -> float:
    """Refuse a number below the floor."""
    number = finite(name, value)
    if number < floor:
        raise InvalidParameterError(f"{name} must be at least {floor:g}, not {number!r}")
    return number


def positive(name: str, value: object) -> float:
    """Refuse a number that is not above zero."""
    number = finite(name, value)
    if number <= 0:
        raise InvalidParameterError(f"{name} must be positive, not {number!r}")
    return number


def fraction(name: str, value: object) -> float:
    """Refuse a number outside [0, 1]."""
    number = finite(name, value)
    if not 0 <= number <= 1:
        raise InvalidParameterError(f"{name} must lie in [0, 1], not {number!r}")
    return number


def whole(name: str, value: object, floor: int = 1) -> int:
    """Refuse what is not an integer of at least the floor."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidParameterError(f"{name} must be an int, not {type(value).__name__}")
    if value < floor:
        raise InvalidParameterError(f"{name} must be at least {floor}, not {value}")
    return value
