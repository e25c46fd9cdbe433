"""Sums with Laplace noise, continuous or on the grid: their privacy loss is bounded (docs/privacy.md §12)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dp.checks import assign, whole
from dp.events.checks import check_noise_multiplier, check_sampling
from dp.events.sampling import NoSampling
from dp.losses.cost import Cost
from dp.losses.laplace import LaplacePair, largest_loss
from dp.losses.outward import ARGUMENT, quotient_up

if TYPE_CHECKING:
    from dp.events.interface import NeighboringRelation, Sampling

__all__ = ["DiscreteLaplaceEvent", "LaplaceEvent"]


@dataclass(frozen=True, slots=True)
class LaplaceEvent:
    """One release of a vector with independent Laplace noise in each coordinate.

    Without sampling it is (1/noise_multiplier, 0)-private.  This package draws no such noise, because Laplace
    noise in floating-point numbers reveals values (Mironov 2012).

    Args:
        noise_multiplier: scale ÷ L1 sensitivity; the standard deviation is √2 times the scale.  0 is a
            release without privacy.
        sampling: sampling scheme of the cohort.

    Example:
        >>> from dp import Accountant
        >>> run = Accountant().compose(LaplaceEvent(16.0), 32)
        >>> run.epsilon(0.0).high, 1 < run.epsilon(1e-5).low < 1.6
        (2.0, True)
    """

    noise_multiplier: float
    sampling: Sampling = field(default_factory=NoSampling)

    def __post_init__(self) -> None:
        assign(self, noise_multiplier=check_noise_multiplier(self.noise_multiplier))
        check_sampling(self.sampling)

    def cost(self, relation: NeighboringRelation) -> Cost:
        """See Event."""
        return _laplace_cost(self.noise_multiplier, None, self.sampling, relation)


@dataclass(frozen=True, slots=True)
class DiscreteLaplaceEvent:
    """One release of an integer vector with independent noise ∝ e^(−|k|/scale) in each coordinate.

    Args:
        noise_multiplier: scale ÷ l1_sensitivity.
        l1_sensitivity: L1 sensitivity in grid units, a whole number.
        sampling: sampling scheme of the cohort.

    Example:
        >>> from dp import Accountant
        >>> run = Accountant().compose(DiscreteLaplaceEvent(0.5, l1_sensitivity=1))
        >>> round(run.epsilon(0.0).high, 9)
        2.0
    """

    noise_multiplier: float
    l1_sensitivity: int = field(kw_only=True)
    sampling: Sampling = field(default_factory=NoSampling, kw_only=True)

    def __post_init__(self) -> None:
        assign(
            self,
            noise_multiplier=check_noise_multiplier(self.noise_multiplier),
            l1_sensitivity=whole("l1_sensitivity", self.l1_sensitivity),
        )
        check_sampling(self.sampling)

    def cost(self, relation: NeighboringRelation) -> Cost:
        """See Event."""
        return _laplace_cost(self.noise_multiplier, self.l1_sensitivity, self.sampling, relation)


def _laplace_cost(
    noise_multiplier: float,
    sensitivity: int | None,
    sampling: Sampling,
    relation: NeighboringRelation,
) -> Cost:
    if noise_multiplier == 0:
        return Cost(exposed=sampling.exposure, failure=sampling.failure)
    rate, distance = sampling.mixture(relation)
    reach = distance / noise_multiplier
    steps = None if sensitivity is None else round(sensitivity * distance)  # distance is 1 or 2
    return Cost(
        pairs=(LaplacePair(rate, reach, steps),),
        failure=sampling.failure,
        pure=_pure(rate, quotient_up(distance, noise_multiplier)),
    )


def _pure(rate: float, reach: float) -> float:
    """The largest loss, rounded up; a plain release has no other rounding than the reach's."""
    return reach if rate == 1 else largest_loss(rate, reach) * (1 + ARGUMENT)
