"""Where the privacy noise of a round comes from: shares added by the clients, or one draw at the server.

A distributed noise gives every client of a roster of n a share of variance σ²/(h·n), where σ is
noise multiplier · sensitivity in grid units and h the fraction of the roster that is guaranteed to be
honest *and* to survive.  So the sum carries at least σ² whatever happens above the floor, and σ²/h
in a round without drop-outs: a total that does not depend on the cohort's size, which it would
otherwise give away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from dp import (
    DiscreteGaussianSumEvent,
    FixedSizeSampling,
    GaussianEvent,
    NoSampling,
    PoissonSampling,
    RoundedGaussianSumEvent,
    SkellamEvent,
    sample_discrete_gaussian,
    sample_rounded_gaussian,
    sample_skellam,
)
from fedavg.errors import PlanError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "CentralGaussian",
    "DistributedDiscreteGaussian",
    "DistributedGaussian",
    "DistributedSkellam",
    "Noise",
    "Sensitivity",
    "Shares",
    "share_stddev",
]

Sampling = NoSampling | PoissonSampling | FixedSizeSampling
Event = GaussianEvent | RoundedGaussianSumEvent | SkellamEvent | DiscreteGaussianSumEvent


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What one client can add to the sum, in grid units, and over how many coordinates."""

    l2: float
    l1: float
    dimension: int


@dataclass(frozen=True, slots=True)
class Shares:
    """How many noise shares an accountant may count on.

    Args:
        honest_fraction: h; at least ⌊h·n⌋ … shares of every roster of n survive and stay secret.
        smallest: guaranteed honest shares of the smallest cohort.
        largest: guaranteed honest shares of the largest cohort.
        cap: size of the largest cohort, whose shares are the smallest.
    """

    honest_fraction: float
    smallest: int
    largest: int
    cap: int


class Noise(Protocol):
    """Integer noise on the grid."""

    @property
    def noise_multiplier(self) -> float:
        """Claimed standard deviation ÷ sensitivity."""
        ...

    kind: ClassVar[str]
    """Its name in configurations and reports."""

    distributed: ClassVar[bool]
    """Whether the clients add it; otherwise the server does."""

    def event(self, sensitivity: Sensitivity, shares: Shares, sampling: Sampling) -> Event:
        """What one release costs, for the accountant."""
        ...

    def sample(self, stddev: float, size: int) -> NDArray[np.int64]:
        """Draw int64[size] of about this standard deviation from operating-system entropy."""
        ...

    def tail(self, variance: float, log_probability: float) -> float:
        """A magnitude that noise of this total variance exceeds with probability ≤ e^−log_probability."""
        ...


def share_stddev(
    noise: Noise, sensitivity: Sensitivity, honest_fraction: float, roster: int
) -> float:
    """Standard deviation of one client's share, grid units.  Run by the client.

    Args:
        noise: a distributed noise.
        sensitivity: of the encoded update.
        honest_fraction: guaranteed honest survivors ÷ roster, public.
        roster: clients offered this round, as bound into the round's session.
    """
    if roster < 1:
        raise PlanError(f"a roster needs at least one client, not {roster}")
    return noise.noise_multiplier * sensitivity.l2 / math.sqrt(honest_fraction * roster)


def _check(multiplier: float) -> None:
    if not (math.isfinite(multiplier) and multiplier > 0):
        raise PlanError(f"a noise multiplier must be positive and finite, not {multiplier!r}")


def _gaussian_tail(variance: float, log_probability: float) -> float:
    return math.sqrt(2 * variance * (log_probability + math.log(2)))


@dataclass(frozen=True, slots=True)
class DistributedGaussian:
    """Shares of rounded Gaussian noise; accounted as one Gaussian plus a proven slack.

    Example:
        >>> DistributedGaussian(1.3).kind
        'gaussian'
    """

    noise_multiplier: float
    kind: ClassVar[str] = "gaussian"
    distributed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check(self.noise_multiplier)

    def event(
        self, sensitivity: Sensitivity, shares: Shares, sampling: Sampling
    ) -> RoundedGaussianSumEvent:
        """The slack grows with the number of shares and falls with their size: take the worst of both."""
        local = share_stddev(self, sensitivity, shares.honest_fraction, shares.cap)
        return RoundedGaussianSumEvent(
            self.noise_multiplier,
            local_stddev=local,
            shares=shares.largest,
            dimension=sensitivity.dimension,
            sampling=sampling,
        )

    def sample(self, stddev: float, size: int) -> NDArray[np.int64]:
        """Draw from the rounded Gaussian."""
        return sample_rounded_gaussian(stddev, size)

    def tail(self, variance: float, log_probability: float) -> float:
        """Gaussian tail; the rounding of each share is added by the plan."""
        return _gaussian_tail(variance, log_probability)


@dataclass(frozen=True, slots=True)
class DistributedDiscreteGaussian:
    """Shares of discrete Gaussian noise (Kairouz, Liu, Steinke 2021)."""

    noise_multiplier: float
    kind: ClassVar[str] = "discrete-gaussian"
    distributed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check(self.noise_multiplier)

    def event(
        self, sensitivity: Sensitivity, shares: Shares, sampling: Sampling
    ) -> DiscreteGaussianSumEvent:
        """Bounded with the smallest shares and the largest number of them."""
        return DiscreteGaussianSumEvent(
            self.noise_multiplier,
            local_stddev=share_stddev(self, sensitivity, shares.honest_fraction, shares.cap),
            shares=shares.largest,
            dimension=sensitivity.dimension,
            l2_sensitivity=sensitivity.l2,
            l1_sensitivity=sensitivity.l1,
            sampling=sampling,
        )

    def sample(self, stddev: float, size: int) -> NDArray[np.int64]:
        """Draw from the discrete Gaussian."""
        return sample_discrete_gaussian(stddev, size)

    def tail(self, variance: float, log_probability: float) -> float:
        """A sum of discrete Gaussians is sub-Gaussian with its nominal variance."""
        return _gaussian_tail(variance, log_probability)


@dataclass(frozen=True, slots=True)
class DistributedSkellam:
    """Shares of Skellam noise, closed under sums (Agarwal, Kairouz, Liu 2021)."""

    noise_multiplier: float
    kind: ClassVar[str] = "skellam"
    distributed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check(self.noise_multiplier)

    def event(self, sensitivity: Sensitivity, shares: Shares, sampling: Sampling) -> SkellamEvent:
        """The sum is a Skellam variable itself: shares do not matter."""
        del shares
        return SkellamEvent(
            self.noise_multiplier,
            l2_sensitivity=sensitivity.l2,
            l1_sensitivity=sensitivity.l1,
            sampling=sampling,
        )

    def sample(self, stddev: float, size: int) -> NDArray[np.int64]:
        """Draw from the Skellam distribution of variance stddev²."""
        return sample_skellam(stddev * stddev, size)

    def tail(self, variance: float, log_probability: float) -> float:
        """Bernstein's inequality: Skellam tails are heavier than Gaussian ones."""
        log_term = log_probability + math.log(2)
        return log_term / 3 + math.sqrt((log_term / 3) ** 2 + 2 * variance * log_term)


@dataclass(frozen=True, slots=True)
class CentralGaussian:
    """Rounded Gaussian noise added by the server to the sum; the server sees the sum without it."""

    noise_multiplier: float
    kind: ClassVar[str] = "central-gaussian"
    distributed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check(self.noise_multiplier)

    def event(self, sensitivity: Sensitivity, shares: Shares, sampling: Sampling) -> GaussianEvent:
        """Rounding an integer plus a Gaussian is post-processing of the Gaussian mechanism."""
        del sensitivity, shares
        return GaussianEvent(self.noise_multiplier, sampling=sampling)

    def sample(self, stddev: float, size: int) -> NDArray[np.int64]:
        """Draw from the rounded Gaussian."""
        return sample_rounded_gaussian(stddev, size)

    def tail(self, variance: float, log_probability: float) -> float:
        """Gaussian tail."""
        return _gaussian_tail(variance, log_probability)
