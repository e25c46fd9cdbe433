"""Checks that several events share."""

from __future__ import annotations

from dp._checks import is_a, positive
from dp.errors import InvalidParameterError, UnsupportedEventError
from dp.events.interface import Sampling

__all__ = ["check_norms", "check_sampling"]


def check_sampling(sampling: Sampling) -> None:
    """Refuse what does not draw cohorts."""
    if not is_a(sampling, Sampling):
        raise UnsupportedEventError(
            f"{type(sampling).__name__} is no sampling: it lacks the methods of dp.Sampling; use one "
            "of dp's schemes"
        )


def check_norms(l1: float, l2: float) -> None:
    """Refuse sensitivities that are not positive, or that no vector has."""
    positive("l2_sensitivity", l2)
    positive("l1_sensitivity", l1)
    if l1 < l2 * (1 - 1e-12):
        raise InvalidParameterError(
            f"l1_sensitivity {l1:g} is below l2_sensitivity {l2:g}, which no vector allows"
        )
