"""Privacy curves for audits: how rare an event must be without a client, given its probability with it.

A mechanism is f-private when P₁(E) ≤ F(P₀(E)) for every event E and both orders of every neighbouring
pair, F = 1 − f (Dong, Roth, Su 2022).  A curve here is F's inverse: the least P₀(E) at a given P₁(E).
It is convex, non-decreasing, and at most the identity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from scipy.special import ndtr, ndtri_exp

from dp.checks import assign, at_least, fraction
from dp.errors import InvalidParameterError

__all__ = ["Curve", "GaussianCurve", "ProfileCurve"]

_TINY = 1e-300


class Curve(Protocol):
    """The inverse of a blow-up function F."""

    def least(self, likely: float) -> float:
        """The smallest probability under one neighbour of an event this likely under the other."""
        ...


@dataclass(frozen=True, slots=True)
class GaussianCurve:
    """μ-Gaussian differential privacy: N(0,1) against N(μ,1).

    Args:
        mu: sensitivity ÷ standard deviation, over all releases: √T/z for T of them.

    Example:
        >>> round(GaussianCurve(1.0).least(0.5), 6)
        0.158655
    """

    mu: float

    def __post_init__(self) -> None:
        assign(self, mu=at_least("mu", self.mu, 0))

    def least(self, likely: float) -> float:
        """Φ(Φ⁻¹(likely) − μ)."""
        if likely <= _TINY:
            return 0.0
        if likely >= 1:
            return 1.0
        quantile = float(ndtri_exp(math.log(likely)))
        return float(ndtr(quantile - self.mu))


@dataclass(frozen=True, slots=True)
class ProfileCurve:
    """The privacy curve of a list of (ε, δ) pairs; one pair is approximate differential privacy.

    Args:
        points: pairs, each of which holds for both orders of neighbours; ε ≥ 0, δ in [0, 1].

    Raises:
        InvalidParameterError: there is no pair, or one is out of range.

    Example:
        >>> ProfileCurve(((0.0, 0.1),)).least(0.5)
        0.4
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if not self.points:
            raise InvalidParameterError("a privacy curve needs one (epsilon, delta) pair at least")
        points = tuple(
            (at_least("epsilon", epsilon, 0), fraction("delta", delta))
            for epsilon, delta in self.points
        )
        assign(self, points=points)

    def least(self, likely: float) -> float:
        """The largest of (y − δ)·e^−ε and its mirror image 1 − δ − e^ε·(1 − y), over the pairs."""
        return max(
            0.0,
            *(
                max((likely - d) * math.exp(-e), 1 - d - math.exp(min(e, 700.0)) * (1 - likely))
                for e, d in self.points
            ),
        )
