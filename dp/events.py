"""What happened to the data: one frozen event for each kind of release, with how its cohort was sampled.

An event carries what accounting needs and nothing else.  Mechanisms emit events, accountants consume
them, neither knows the other.  Noise multipliers are standard deviation ÷ L2 clip norm, under every
relation: REPLACE_ONE takes a pair of updates at distance 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from dp._checks import at_least, fraction, is_a, positive, whole
from dp.errors import InvalidParameterError, UnsupportedEventError

__all__ = [
    "DiscreteGaussianSumEvent",
    "Event",
    "FailureEvent",
    "FixedSizeSampling",
    "GaussianEvent",
    "NeighboringRelation",
    "NoSampling",
    "PoissonSampling",
    "RoundedGaussianSumEvent",
    "Sampling",
    "SkellamEvent",
    "TruncatedPoissonSampling",
]

MIN_LOCAL_STDDEV = 2.0
"""Below it the slack of a sum of rounded Gaussians is no longer negligible (docs/privacy.md §4)."""


class NeighboringRelation(Enum):
    """Which two data sets an adversary must not tell apart."""

    ADD_REMOVE = "add_remove"
    """One client is there, or is not."""
    REPLACE_ONE = "replace_one"
    """One client's data is exchanged for other data; the number of clients is public."""


@dataclass(frozen=True, slots=True)
class NoSampling:
    """Every client takes part.

    Also right for the server's own view of a sampled cohort: the server knows who takes part, so its
    adjacency replaces one participating update by zero, and a client counts its own participations.
    """


@dataclass(frozen=True, slots=True)
class PoissonSampling:
    """Each client joins by its own coin, independent of all others.

    Args:
        rate: probability of joining, in (0, 1].
    """

    rate: float

    def __post_init__(self) -> None:
        fraction("rate", positive("rate", self.rate))


@dataclass(frozen=True, slots=True)
class TruncatedPoissonSampling:
    """Poisson sampling from at most `dataset_size` clients, of which at most `max_size` are kept.

    Args:
        rate: probability of joining, in (0, 1].
        dataset_size: a public bound on the number of clients.
        max_size: the largest cohort that is run.
    """

    rate: float
    dataset_size: int
    max_size: int

    def __post_init__(self) -> None:
        fraction("rate", positive("rate", self.rate))
        whole("dataset_size", self.dataset_size)
        whole("max_size", self.max_size)


@dataclass(frozen=True, slots=True)
class FixedSizeSampling:
    """A cohort of exactly `size` of the `dataset_size` clients, uniform and fresh each round.

    Args:
        size: clients in the cohort.
        dataset_size: clients in the data set, the larger one of two neighbours.
    """

    size: int
    dataset_size: int

    def __post_init__(self) -> None:
        whole("size", self.size)
        whole("dataset_size", self.dataset_size)
        if self.size > self.dataset_size:
            raise InvalidParameterError(
                f"size {self.size} exceeds dataset_size {self.dataset_size}; lower the cohort size"
            )


Sampling = NoSampling | PoissonSampling | TruncatedPoissonSampling | FixedSizeSampling


def _check_sampling(sampling: Sampling) -> None:
    if not is_a(sampling, Sampling):
        raise UnsupportedEventError(
            f"sampling {type(sampling).__name__} is unknown to this package; use one of dp's schemes"
        )


@dataclass(frozen=True, slots=True)
class GaussianEvent:
    """One release of a sum with Gaussian noise, or anything computed from that.

    Args:
        noise_multiplier: standard deviation ÷ L2 sensitivity; 0 is a release without privacy.
        sampling: how the cohort was drawn.

    Example:
        >>> GaussianEvent(1.3, PoissonSampling(0.15)).sampling.rate
        0.15
    """

    noise_multiplier: float
    sampling: Sampling = field(default_factory=NoSampling)

    def __post_init__(self) -> None:
        at_least("noise_multiplier", self.noise_multiplier, 0)
        _check_sampling(self.sampling)


@dataclass(frozen=True, slots=True)
class RoundedGaussianSumEvent:
    """One release of an integer sum that carries `shares` independent rounded Gaussians a coordinate.

    The law of the noise must not depend on whether one client takes part: shares of a fixed number, or
    discrete Gaussian shares of a fixed total variance, some of it held back (docs/privacy.md §4).

    Args:
        noise_multiplier: √shares · local_stddev ÷ L2 sensitivity, both in grid units.
        local_stddev: standard deviation of one share before it is rounded, in grid units.
        shares: noise shares that are guaranteed to be in the sum and unknown to the adversary.
        dimension: coordinates of the sum.
        sampling: how the cohort was drawn.

    Raises:
        UnsupportedEventError: several shares of less than two grid units each.
    """

    noise_multiplier: float
    local_stddev: float = field(kw_only=True)
    shares: int = field(kw_only=True)
    dimension: int = field(kw_only=True)
    sampling: Sampling = field(default_factory=NoSampling, kw_only=True)

    def __post_init__(self) -> None:
        at_least("noise_multiplier", self.noise_multiplier, 0)
        positive("local_stddev", self.local_stddev)
        whole("shares", self.shares)
        whole("dimension", self.dimension)
        _check_sampling(self.sampling)
        if self.shares > 1 and self.local_stddev < MIN_LOCAL_STDDEV:
            raise UnsupportedEventError(
                f"local_stddev {self.local_stddev:g} is below {MIN_LOCAL_STDDEV:g} grid units, so the "
                "sum of the shares is not close enough to one Gaussian; raise the grid's scale"
            )


@dataclass(frozen=True, slots=True)
class SkellamEvent:
    """One release of an integer sum with Skellam noise of variance (noise_multiplier·l2_sensitivity)².

    Args:
        noise_multiplier: standard deviation of the noise in the sum ÷ l2_sensitivity.
        l2_sensitivity: in grid units.
        l1_sensitivity: in grid units; between l2_sensitivity and l2_sensitivity·√d.
        sampling: how the cohort was drawn.
    """

    noise_multiplier: float
    l2_sensitivity: float = field(kw_only=True)
    l1_sensitivity: float = field(kw_only=True)
    sampling: Sampling = field(default_factory=NoSampling, kw_only=True)

    def __post_init__(self) -> None:
        at_least("noise_multiplier", self.noise_multiplier, 0)
        _check_norms(self.l1_sensitivity, self.l2_sensitivity)
        _check_sampling(self.sampling)


@dataclass(frozen=True, slots=True)
class DiscreteGaussianSumEvent:
    """One release of an integer sum with `shares` discrete Gaussians a coordinate.

    Args:
        noise_multiplier: √shares · local_stddev ÷ l2_sensitivity.
        local_stddev: the parameter σ of one share, in grid units.
        shares: guaranteed honest shares.
        dimension: coordinates of the sum.
        l2_sensitivity: in grid units.
        l1_sensitivity: in grid units.
        sampling: how the cohort was drawn.
    """

    noise_multiplier: float
    local_stddev: float = field(kw_only=True)
    shares: int = field(kw_only=True)
    dimension: int = field(kw_only=True)
    l2_sensitivity: float = field(kw_only=True)
    l1_sensitivity: float = field(kw_only=True)
    sampling: Sampling = field(default_factory=NoSampling, kw_only=True)

    def __post_init__(self) -> None:
        at_least("noise_multiplier", self.noise_multiplier, 0)
        positive("local_stddev", self.local_stddev)
        whole("shares", self.shares)
        whole("dimension", self.dimension)
        _check_norms(self.l1_sensitivity, self.l2_sensitivity)
        _check_sampling(self.sampling)


@dataclass(frozen=True, slots=True)
class FailureEvent:
    """Something outside every theorem, of at most this probability under either neighbour.

    A cohort below its floor, a cap that binds, the total variation of a sampler's table.  A total of p
    over a run turns δ(ε) into δ(ε) + (1 + e^ε)·p.

    Args:
        probability: in [0, 1].
    """

    probability: float

    def __post_init__(self) -> None:
        fraction("probability", self.probability)


Event = (
    GaussianEvent | RoundedGaussianSumEvent | SkellamEvent | DiscreteGaussianSumEvent | FailureEvent
)


def _check_norms(l1: float, l2: float) -> None:
    positive("l2_sensitivity", l2)
    positive("l1_sensitivity", l1)
    if l1 < l2 * (1 - 1e-12):
        raise InvalidParameterError(
            f"l1_sensitivity {l1:g} is below l2_sensitivity {l2:g}, which no vector allows"
        )
