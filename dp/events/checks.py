"""Checks that several events share."""

from __future__ import annotations

from dp.checks import is_a, positive
from dp.errors import InvalidParameterError, UnsupportedEventError
from dp.events.interface import Sampling

__all__ = ["check_norms", "check_sampling"]


def check_sampling(sampling: Sampling) -> None:
    """Refuse an object that does not draw cohorts."""
    if not is_a(sampling, Sampling):
        raise UnsupportedEventError(
            f"{type(sampling).__name__} is no sampling: it lacks the methods of dp.Sampling; use one "
            "of dp's schemes"
        )


def check_norms(l1_sensitivity: float, l2_sensitivity: float) -> tuple[float, float]:
    """Refuse sensitivities that are not positive, or that no vector has; return both as floats."""
    l1 = positive("l1_sensitivity", l1_sensitivity)
    l2 = positive("l2_sensitivity", l2_sensitivity)
    if l1 < l2 * (1 - 1e-12):
        raise InvalidParameterError(
            f"l1_sensitivity {l1:g} is below l2_sensitivity {l2:g}, which no vector allows"
        )
    return l1, l2
