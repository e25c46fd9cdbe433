"""Poisson-sampled Gaussian runs that accountants are asked about."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

__all__ = ["GRID", "SHORT", "Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """One question: ε at δ of T rounds.

    Args:
        rate: q of the Poisson sampling; 1 is none.
        noise: σ, standard deviation ÷ sensitivity.
        rounds: T.
        delta: δ.
    """

    rate: float
    noise: float
    rounds: int
    delta: float

    def __str__(self) -> str:
        return f"q={self.rate:g} σ={self.noise:g} T={self.rounds:,} δ={self.delta:g}"


GRID = tuple(
    itertools.starmap(
        Case,
        itertools.product(
            (0.001, 0.01, 0.1, 1.0),
            (0.5, 0.8, 1.0, 2.0, 5.0),
            (1, 100, 1000, 10_000),
            (1e-5, 1e-8),
        ),
    )
)
"""All 160 questions."""

SHORT = (
    Case(0.01, 1.0, 1000, 1e-5),
    Case(0.1, 1.0, 100, 1e-5),
    Case(0.01, 5.0, 10_000, 1e-8),
    Case(0.001, 0.8, 10_000, 1e-5),
    Case(0.1, 2.0, 1000, 1e-8),
    Case(0.01, 0.5, 100, 1e-5),
    Case(0.001, 1.0, 10_000, 1e-8),
    Case(0.1, 5.0, 10_000, 1e-5),
)
"""Questions for the peers: common ones, heavy tails, many rounds; none with a closed form."""
