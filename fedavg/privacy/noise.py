"""The source of a round's privacy noise: shares that the clients add, or one draw by the server.

With distributed noise, every client in a roster of n adds a share of variance σ²/(h·n).  Here σ is the noise
multiplier times the sensitivity in grid units, and h the fraction of the roster that is guaranteed to be
honest *and* to survive.  So the sum carries at least σ² for every roster above the floor, and σ²/h in a round
without drop-outs.  The server adds the shares of clients that dropped out before anything is released.  A
release therefore always carries σ²/h, for every roster and every set of drop-outs, and its noise reveals
nothing about the cohort (docs/privacy.md §4.3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

import msgspec

from dp import (
    DiscreteGaussianSumEvent,
    FixedSizeSampling,
    GaussianEvent,
    NoSampling,
    PoissonSampling,
    RoundedGaussianSumEvent,
    SkellamEvent,
    TruncatedPoissonSampling,
    sample_discrete_gaussian,
    sample_rounded_gaussian,
    sample_skellam,
)
from fedavg import checks
from fedavg.parts import Part, register

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
    "guaranteed_variance",
    "share_stddev",
]

Sampling = NoSampling | PoissonSampling | TruncatedPoissonSampling | FixedSizeSampling
_LEAST_STDDEV = (
    2.0  # of one share, and of the part held back: below this, τ is no longer negligible
)
Event = GaussianEvent | RoundedGaussianSumEvent | SkellamEvent | DiscreteGaussianSumEvent


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The largest contribution of one client to the sum, in grid units, and its number of coordinates."""

    l2: float
    l1: float
    dimension: int


@dataclass(frozen=True, slots=True)
class Shares:
    """The division of a round's noise into shares.

    Args:
        honest_fraction: h; at least this fraction of every roster survives and keeps its shares secret.
        cap: size of the largest cohort, whose shares are the smallest.
    """

    honest_fraction: float
    cap: int


class Noise(Protocol):
    """Integer noise on the grid.

    Example:
        >>> from dp import Accountant, NoSampling
        >>> sensitivity, shares = Sensitivity(l2=500.0, l1=4000.0, dimension=64), Shares(0.5, cap=20)
        >>> def cost(noise: Noise) -> float:
        ...     event = noise.event(sensitivity, shares, NoSampling())
        ...     return round(Accountant().compose(event).upper_epsilon(1e-5), 2)
        >>> cost(CentralGaussian(2.0)), cost(DistributedGaussian(2.0)), cost(DistributedSkellam(2.0))
        (1.99, 1.99, 2.17)
    """

    @property
    def noise_multiplier(self) -> float:
        """Claimed standard deviation ÷ sensitivity."""
        ...

    kind: ClassVar[str]
    """Name of the noise in configurations and reports."""

    distributed: ClassVar[bool]
    """Whether clients add the noise; otherwise the server does."""

    held_back: ClassVar[float]
    """Variance in grid units that is added beyond the claimed one, because the theorem uses it up."""

    def at(self, noise_multiplier: float) -> Noise:
        """The same noise at another strength."""
        ...

    def event(self, sensitivity: Sensitivity, shares: Shares, sampling: Sampling) -> Event:
        """The privacy cost of one release, for the accountant."""
        ...

    def sample(self, stddev: float, size: int) -> NDArray[np.int64]:
        """Draw int64[size] of about this standard deviation from operating-system entropy."""
        ...

    def tail(self, variance: float, log_probability: float) -> float:
        """A magnitude that noise of this total variance exceeds with probability ≤ e^−log_probability."""
        ...


def guaranteed_variance(noise: Noise, sensitivity: Sensitivity) -> float:
    """σ² in grid units: the least noise that the honest survivors, or the server alone, add."""
    return (noise.noise_multiplier * sensitivity.l2) ** 2 + noise.held_back


def share_stddev(
    noise: Noise, sensitivity: Sensitivity, honest_fraction: float, roster: int
) -> float:
    """Standard deviation of one client's noise share, in grid units.  Run by the client.

    Args:
        noise: a distributed noise.
        sensitivity: sensitivity of the encoded update.
        honest_fraction: guaranteed honest survivors ÷ roster, a public number.
        roster: number of clients in the sum, as bound into the round's session.
    """
    roster = checks.plan.whole("the roster's size", roster)
    # Each share is sized as if only the guaranteed honest survivors added noise.
    return math.sqrt(guaranteed_variance(noise, sensitivity) / (honest_fraction * roster))


def _check(multiplier: float) -> None:
    checks.plan.positive("a noise multiplier", multiplier)


class _Noise(Part, frozen=True):
    """The common field of all noises in this package: the noise multiplier."""

    noise_multiplier: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.noise_multiplier)

    def at(self, noise_multiplier: float) -> Self:
        """The same noise at another strength."""
        return msgspec.structs.replace(self, noise_multiplier=noise_multiplier)


class _DiscreteGaussianShares(_Noise, frozen=True):
    """Noise shares from the discrete Gaussian."""

    distributed: ClassVar[bool] = True

    def sample(self, stddev: float, size: int) -> NDArray[np.int64]:
        """Draw from the discrete Gaussian."""
        return sample_discrete_gaussian(stddev, size)

    def tail(self, variance: float, log_probability: float) -> float:
        """A sum of discrete Gaussians is sub-Gaussian with its nominal variance."""
        return _gaussian_tail(variance, log_probability)


def _gaussian_tail(variance: float, log_probability: float) -> float:
    # The logarithm of 2 is for the two sides.
    return math.sqrt(2 * variance * (log_probability + math.log(2)))


@register("noise")
class DistributedGaussian(_DiscreteGaussianShares, frozen=True, tag="gaussian"):
    """Shares of discrete Gaussian noise, accounted as one Gaussian plus a proven slack.

    The sum of any number of discrete Gaussian shares is within a factor e^(±τ) of one discrete Gaussian of
    their total variance.  That one is N(0, σ²), post-processed with the variance held back
    (docs/privacy.md §4).

    Example:
        >>> noise, sensitivity = DistributedGaussian(2.0), Sensitivity(l2=500.0, l1=4000.0, dimension=64)
        >>> share = share_stddev(noise, sensitivity, honest_fraction=0.5, roster=20)
        >>> round(share * math.sqrt(10) / 500, 3)  # the ten honest shares alone carry the claimed noise
        2.0
    """

    kind: ClassVar[str] = "gaussian"
    held_back: ClassVar[float] = _LEAST_STDDEV**2

    def event(
        self, sensitivity: Sensitivity, shares: Shares, sampling: Sampling
    ) -> RoundedGaussianSumEvent:
        """The event of one release, with the slack of the shares of all clients and of the server.

        The slack falls with the size of the smallest share and grows with the number of shares. The event
        takes the worst of both, and refuses shares of less than two grid units.
        """
        # The shares are smallest in the largest roster.
        local = share_stddev(self, sensitivity, shares.honest_fraction, shares.cap)
        return RoundedGaussianSumEvent(
            self.noise_multiplier,
            # The theorem needs a size that neither a share nor the part held back falls below.
            local_stddev=min(local, _LEAST_STDDEV),
            # Besides the clients' shares, the server may add one, and the part held back counts as one.
            shares=shares.cap + 2,
            dimension=sensitivity.dimension,
            sampling=sampling,
        )


@register("noise")
class DistributedDiscreteGaussian(_DiscreteGaussianShares, frozen=True, tag="discrete-gaussian"):
    """The same shares, accounted by the published theorem (Kairouz, Liu, Steinke 2021).

    Example:
        >>> from dp import Accountant, NoSampling
        >>> noise, sensitivity = DistributedDiscreteGaussian(2.0), Sensitivity(500.0, 4000.0, dimension=64)
        >>> event = noise.event(sensitivity, Shares(0.5, cap=20), NoSampling())
        >>> round(Accountant().compose(event).upper_epsilon(1e-5), 2)  # as DistributedGaussian
        1.99
    """

    kind: ClassVar[str] = "discrete-gaussian"
    held_back: ClassVar[float] = 0.0

    def event(
        self, sensitivity: Sensitivity, shares: Shares, sampling: Sampling
    ) -> DiscreteGaussianSumEvent:
        """The event, for the smallest shares and their largest number, the server's share included."""
        return DiscreteGaussianSumEvent(
            self.noise_multiplier,
            local_stddev=share_stddev(self, sensitivity, shares.honest_fraction, shares.cap),
            # The server may add a share for clients that dropped out.
            shares=shares.cap + 1,
            dimension=sensitivity.dimension,
            l2_sensitivity=sensitivity.l2,
            l1_sensitivity=sensitivity.l1,
            sampling=sampling,
        )


@register("noise")
class DistributedSkellam(_Noise, frozen=True, tag="skellam"):
    """Shares of Skellam noise, closed under sums (Agarwal, Kairouz, Liu 2021).

    Example:
        >>> noise = DistributedSkellam(2.0)
        >>> shares = [noise.sample(5.0, 10_000) for _ in range(16)]
        >>> bool(19 < sum(shares).std() < 21)  # variances add, and the sum is a Skellam variable again
        True
    """

    kind: ClassVar[str] = "skellam"
    distributed: ClassVar[bool] = True
    held_back: ClassVar[float] = 0.0

    def event(self, sensitivity: Sensitivity, shares: Shares, sampling: Sampling) -> SkellamEvent:
        """The event of one release; a sum of shares is a Skellam variable, so their sizes do not matter."""
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


@register("noise")
class CentralGaussian(_Noise, frozen=True, tag="central-gaussian"):
    """Rounded Gaussian noise added by the server to the sum; the server sees the sum without it.

    Example:
        >>> from dp import Accountant, NoSampling
        >>> noise = CentralGaussian(2.0)
        >>> event = noise.event(Sensitivity(500.0, 4000.0, dimension=64), Shares(1.0, cap=20), NoSampling())
        >>> round(Accountant().compose(event).epsilon(1e-5).high, 4), noise.distributed
        (1.9931, False)
    """

    kind: ClassVar[str] = "central-gaussian"
    distributed: ClassVar[bool] = False
    held_back: ClassVar[float] = 0.0

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
