"""Sampling schemes of cohorts, and their effect on a release by theorems (docs/privacy.md §2, §3, §5, §7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy.special import betainc

from dp.checks import assign, positive_fraction, whole
from dp.errors import InvalidParameterError, UnsupportedEventError
from dp.events.checks import check_flag
from dp.events.interface import NeighboringRelation
from dp.losses.absence import SilencePair, VacancyPair
from dp.losses.pairs import ExchangePair, MixturePair, SwapPair
from dp.losses.renyi import ORDERS, amplified_curve

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dp.events.interface import Divergence
    from dp.losses.pairs import Pair

__all__ = ["FixedSizeSampling", "NoSampling", "PoissonSampling", "TruncatedPoissonSampling"]

_COIN = 2.0**-53
"""Resolution of random_uniform: a coin of rate q succeeds with probability at most q + 2^-53."""


@dataclass(frozen=True, slots=True)
class NoSampling:
    """Every client takes part.

    This also suits the server's own view of a sampled cohort. The server knows which clients take part, so
    its adjacency replaces one participating update by zero, and a client counts its own participations.

    Example:
        >>> from dp import GaussianEvent
        >>> GaussianEvent(2.0) == GaussianEvent(2.0, NoSampling())  # the default
        True
        >>> NoSampling().mixture(NeighboringRelation.REPLACE_ONE)  # always there, and moved twice as far
        (1.0, 2.0)
    """

    @property
    def exposure(self) -> float:
        """Probability that a given client takes part."""
        return 1.0

    @property
    def failure(self) -> float:
        """Zero: every draw is covered."""
        return 0.0

    def gaussian(self, noise_multiplier: float, relation: NeighboringRelation) -> Pair:
        """Two Gaussians at the clients' distance."""
        return MixturePair(1.0, noise_multiplier / _distance(relation))

    def mixture(self, relation: NeighboringRelation) -> tuple[float, float]:
        """The noise moved by the clients' distance."""
        return 1.0, _distance(relation)

    def renyi(self, divergence: Divergence, relation: NeighboringRelation) -> NDArray[np.float64]:
        """The divergences, unchanged."""
        return divergence(_distance(relation), ORDERS)


@dataclass(frozen=True, slots=True)
class PoissonSampling:
    """Each client joins independently of all others.

    A coin is drawn from 53 bits, so that it joins with a probability of up to rate + 2⁻⁵³.  Both sides of a
    bracket are those of that probability, which matters at rates of 1e-10 and less (docs/privacy.md §2.1).

    Args:
        rate: probability of joining, in (0, 1].

    Example:
        >>> from dp import Accountant, GaussianEvent
        >>> for rate in (1.0, 0.1, 0.01):
        ...     event = GaussianEvent(1.0, PoissonSampling(rate))
        ...     print(rate, round(Accountant().compose(event).epsilon(1e-5).high, 2))
        1.0 4.38
        0.1 1.68
        0.01 0.2
    """

    rate: float

    def __post_init__(self) -> None:
        assign(self, rate=positive_fraction("rate", self.rate))

    @property
    def exposure(self) -> float:
        """Probability that a given client takes part."""
        return min(1.0, self.rate + _COIN)

    @property
    def failure(self) -> float:
        """Zero: every draw is covered."""
        return 0.0

    def gaussian(self, noise_multiplier: float, relation: NeighboringRelation) -> Pair:
        """One Gaussian that the client's coin moves; two of them under REPLACE_ONE."""
        if self.exposure == 1:
            return NoSampling().gaussian(noise_multiplier, relation)
        if relation is NeighboringRelation.REPLACE_ONE:
            return SwapPair(self.exposure, noise_multiplier)
        return MixturePair(self.exposure, noise_multiplier)

    def mixture(self, relation: NeighboringRelation) -> tuple[float, float]:
        """The client's coin moves the noise; under REPLACE_ONE no theorem here covers every noise."""
        if self.exposure == 1:
            return NoSampling().mixture(relation)
        if relation is NeighboringRelation.REPLACE_ONE:
            raise _no_theorem(self, relation)
        return self.exposure, 1.0

    def renyi(self, divergence: Divergence, relation: NeighboringRelation) -> NDArray[np.float64]:
        """Amplification of any curve at integer orders (Zhu and Wang 2019)."""
        return _amplified(self, divergence, relation)


@dataclass(frozen=True, slots=True)
class TruncatedPoissonSampling:
    """Poisson sampling from at most `dataset_size` clients, of which at most `max_size` are kept.

    Args:
        rate: probability of joining, in (0, 1].
        dataset_size: a public bound on the number of clients.
        max_size: the largest cohort that is run.

    Example:
        >>> from dp import Accountant, GaussianEvent
        >>> for largest in (20, 40):  # 10 clients are drawn on average
        ...     event = GaussianEvent(1.0, TruncatedPoissonSampling(0.01, 1000, largest))
        ...     print(largest, round(Accountant().compose(event).epsilon(1e-5).high, 2))
        20 inf
        40 0.2
    """

    rate: float
    dataset_size: int
    max_size: int

    def __post_init__(self) -> None:
        assign(
            self,
            rate=positive_fraction("rate", self.rate),
            dataset_size=whole("dataset_size", self.dataset_size),
            max_size=whole("max_size", self.max_size),
        )

    @property
    def exposure(self) -> float:
        """The largest probability that a given client takes part."""
        return self._coins().exposure

    @property
    def failure(self) -> float:
        """P[Bin(dataset_size, rate) > max_size], an upper bound up to rounding."""
        if self.max_size >= self.dataset_size:
            return 0.0
        k, n = self.max_size, self.dataset_size
        # P[Bin(n, q) > k] is the incomplete beta function I_q(k + 1, n − k); below, room for its rounding.
        tail = float(betainc(k + 1, n - k, self.exposure))
        return min(1.0, tail * (1 + 1e-9) + 1e-290)

    def gaussian(self, noise_multiplier: float, relation: NeighboringRelation) -> Pair:
        """As for Poisson sampling without the cap."""
        return self._coins().gaussian(noise_multiplier, relation)

    def mixture(self, relation: NeighboringRelation) -> tuple[float, float]:
        """As for Poisson sampling without the cap."""
        return self._coins().mixture(relation)

    def renyi(self, divergence: Divergence, relation: NeighboringRelation) -> NDArray[np.float64]:
        """As for Poisson sampling without the cap."""
        return _amplified(self, divergence, relation)

    def _coins(self) -> PoissonSampling:
        return PoissonSampling(self.rate)


@dataclass(frozen=True, slots=True)
class FixedSizeSampling:
    """A cohort of exactly `size` of the `dataset_size` clients, drawn uniformly and anew each round.

    Args:
        size: number of clients in the cohort.
        dataset_size: number of clients in the data set, the larger one of two neighbours; for a group of k
            clients, k − 1 fewer, unless absent clients are enrolled.
        enrolled: whether a client that is absent under ADD_REMOVE is one of the `dataset_size` all the same:
            it is drawn like all others, does not answer, and its place stays empty, so that the number of
            answers must stay secret. Otherwise an absent client is not drawn, and another takes its place.

    Example:
        >>> from dp import Accountant, GaussianEvent, PoissonSampling
        >>> fixed = FixedSizeSampling(10, 1000), FixedSizeSampling(10, 1000, enrolled=True)
        >>> for sampling in (*fixed, PoissonSampling(0.01)):
        ...     one = Accountant().compose(GaussianEvent(2.0, sampling))
        ...     print(f"{sampling.exposure:g} {one.epsilon(1e-5).high:.2f}")
        0.01 0.20
        0.01 0.15
        0.01 0.03
    """

    size: int
    dataset_size: int
    enrolled: bool = False

    def __post_init__(self) -> None:
        size, dataset_size = whole("size", self.size), whole("dataset_size", self.dataset_size)
        enrolled = check_flag("enrolled", self.enrolled)
        assign(self, size=size, dataset_size=dataset_size, enrolled=enrolled)
        if size > dataset_size:
            raise InvalidParameterError(
                f"size {size} exceeds dataset_size {dataset_size}; lower the cohort size"
            )

    @property
    def exposure(self) -> float:
        """Probability that a given client takes part."""
        return self.size / self.dataset_size

    @property
    def failure(self) -> float:
        """Zero: every draw is covered."""
        return 0.0

    def gaussian(self, noise_multiplier: float, relation: NeighboringRelation) -> Pair:
        """The client displaces one member of the cohort, or leaves a place empty (docs/privacy.md §3)."""
        if self._silenced(relation):
            if self.exposure == 1:
                return NoSampling().gaussian(noise_multiplier, relation)
            return SilencePair(VacancyPair(self.exposure, noise_multiplier))
        # A shift by two clip norms is one by one clip norm at half the noise (docs/privacy.md §3.2).
        mixture = MixturePair(self.exposure, noise_multiplier / 2)
        if relation is NeighboringRelation.REPLACE_ONE and self.exposure < 1:
            return ExchangePair(mixture)
        return mixture

    def mixture(self, relation: NeighboringRelation) -> tuple[float, float]:
        """The client displaces one member; otherwise known only if all clients take part."""
        if self.exposure == 1:
            return 1.0, 1.0 if self._silenced(relation) else 2.0
        if self.enrolled or relation is NeighboringRelation.REPLACE_ONE:
            raise _no_theorem(self, relation)
        return self.exposure, 2.0

    def renyi(self, divergence: Divergence, relation: NeighboringRelation) -> NDArray[np.float64]:
        """Known only if all clients take part."""
        if self.size == self.dataset_size:
            if relation is NeighboringRelation.REPLACE_ONE:
                return divergence(2.0, ORDERS)
            if self.enrolled:
                return divergence(1.0, ORDERS)
        raise _no_theorem(self, relation)

    def _silenced(self, relation: NeighboringRelation) -> bool:
        """Whether the neighbours differ in an answer of a client that is drawn in both."""
        return self.enrolled and relation is NeighboringRelation.ADD_REMOVE


def _amplified(
    sampling: PoissonSampling | TruncatedPoissonSampling,
    divergence: Divergence,
    relation: NeighboringRelation,
) -> NDArray[np.float64]:
    if sampling.exposure == 1:
        return NoSampling().renyi(divergence, relation)
    if relation is NeighboringRelation.REPLACE_ONE:
        raise _no_theorem(sampling, relation)
    return amplified_curve(lambda orders: divergence(1.0, orders), sampling.exposure)


def _distance(relation: NeighboringRelation) -> float:
    """Distance between the sums of two neighbours, in clip norms, when the client takes part."""
    return 2.0 if relation is NeighboringRelation.REPLACE_ONE else 1.0


def _no_theorem(sampling: object, relation: NeighboringRelation) -> UnsupportedEventError:
    return UnsupportedEventError(
        f"{type(sampling).__name__} under {relation.name}: no theorem here bounds this sampling of a "
        "release whose noise is not Gaussian; use PoissonSampling under ADD_REMOVE, or NoSampling"
    )
