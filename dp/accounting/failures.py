"""What events outside the theorems add to δ (docs/privacy.md §7)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dp.losses.outward import ULP

if TYPE_CHECKING:
    from dp.accounting.terms import Terms

__all__ = ["failure_delta", "shared_delta", "sum_up"]

_LARGE = 700.0


def shared_delta(terms: Terms) -> float:
    """What shared failures add to δ: their weight, which slack enlarges by its factor."""
    factor = math.exp(min(terms.slack, _LARGE)) * (1 + ULP) if terms.slack > 0 else 1.0
    return min(1.0, terms.shared * factor)


def sum_up(*deltas: float) -> float:
    """A sum that is not rounded down; one number alone stays as it is."""
    return sum(deltas) * (1 + ULP) if sum(delta > 0 for delta in deltas) > 1 else sum(deltas)


def failure_delta(probability: float, epsilon: float) -> float:
    """(1 + e^ε)·p, the cost of an event outside the theorems."""
    if probability == 0:
        return 0.0
    return probability * (1 + math.exp(epsilon)) * (1 + ULP) if epsilon < _LARGE else math.inf
