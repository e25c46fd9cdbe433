"""Checks that several events share."""

from __future__ import annotations

import numpy as np

from dp.checks import at_least, is_a, positive
from dp.errors import InvalidParameterError, UnsupportedEventError
from dp.events.interface import Sampling

__all__ = ["check_flag", "check_noise_multiplier", "check_norms", "check_sampling"]

_SMALLEST = 1e-100
_LARGEST = 1e15


def check_sampling(sampling: Sampling) -> None:
    """Refuse an object that does not draw cohorts."""
    if not is_a(sampling, Sampling):
        raise UnsupportedEventError(
            f"{type(sampling).__name__} is no sampling: it lacks the methods of dp.Sampling; use one "
            "of dp's schemes"
        )


def check_flag(name: str, value: object) -> bool:
    """Refuse all but booleans, Python's and NumPy's; return Python's."""
    if not is_a(value, bool | np.bool_):
        raise InvalidParameterError(f"{name} must be True or False, not {type(value).__name__}")
    return bool(value)


def check_norms(l1_sensitivity: float, l2_sensitivity: float) -> tuple[float, float]:
    """Refuse sensitivities that are not positive, or that no vector has; return both as floats."""
    l1 = positive("l1_sensitivity", l1_sensitivity)
    l2 = positive("l2_sensitivity", l2_sensitivity)
    if l1 < l2 * (1 - 1e-12):
        raise InvalidParameterError(
            f"l1_sensitivity {l1:g} is below l2_sensitivity {l2:g}, which no vector allows"
        )
    return l1, l2


def check_noise_multiplier(noise_multiplier: float) -> float:
    """Refuse a multiplier below 0, or one whose square floats do not hold; return it as a float."""
    z = at_least("noise_multiplier", noise_multiplier, 0)
    if z != 0 and not _SMALLEST <= z <= _LARGEST:
        raise InvalidParameterError(
            f"noise_multiplier must be 0, or from {_SMALLEST:g} to {_LARGEST:g}, not {z!r}; 0 is a "
            "release without privacy"
        )
    return z
