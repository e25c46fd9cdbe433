"""Which theorem covers which event: events become mixture pairs, Rényi curves, slack and failure.

Everything that no branch below covers is refused, by the name of the part that is missing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy.special import betainc

from dp.accounting import rdp
from dp.accounting.pairs import ExchangePair, MixturePair, SwapPair
from dp.errors import UnsupportedEventError
from dp.events import (
    DiscreteGaussianSumEvent,
    Event,
    FailureEvent,
    FixedSizeSampling,
    GaussianEvent,
    NeighboringRelation,
    NoSampling,
    PoissonSampling,
    RoundedGaussianSumEvent,
    Sampling,
    SkellamEvent,
    TruncatedPoissonSampling,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dp.accounting.pairs import Pair

__all__ = ["Counted", "Terms", "resolve", "truncation_probability"]

Counted = tuple[tuple[Event, int], ...]

_COIN = 2.0**-53
"""random_uniform's resolution: a coin of rate q lands with at most q + 2^-53."""


@dataclass(frozen=True, slots=True)
class Terms:
    """A run's events, resolved.

    Args:
        pairs: releases with an exact dominating pair, with counts.
        curve: summed Rényi curve of releases known by their curve only; None if there is none.
        slack: A, where the true δ(ε) is at most e^A·δ(ε − 2A) of the rest.
        failure: total probability of what lies outside the theorems.
        exposed: largest sampling rate of a release without noise, 0 if there is none.
    """

    pairs: tuple[tuple[Pair, int], ...]
    curve: NDArray[np.float64] | None
    slack: float
    failure: float
    exposed: float


def truncation_probability(sampling: TruncatedPoissonSampling) -> float:
    """P[Bin(dataset_size, rate) > max_size], an upper bound up to the last digits."""
    if sampling.max_size >= sampling.dataset_size:
        return 0.0
    k, n = sampling.max_size, sampling.dataset_size
    tail = float(betainc(k + 1, n - k, sampling.rate))
    return min(1.0, tail * (1 + 1e-9) + 1e-290)


def resolve(counts: Counted, relation: NeighboringRelation) -> Terms:
    """Find the theorem for each event.

    Raises:
        UnsupportedEventError: there is none; names the event and the part.
    """
    pairs: dict[Pair, int] = {}
    curve: NDArray[np.float64] | None = None
    slack = failure = exposed = 0.0
    for event, count in counts:
        if isinstance(event, FailureEvent):
            failure += count * event.probability
            continue
        if isinstance(event.sampling, TruncatedPoissonSampling):
            failure += count * truncation_probability(event.sampling)
        rate, distance = _amplification(event, event.sampling, relation)
        if event.noise_multiplier == 0:
            exposed = max(exposed, rate)
        elif isinstance(event, (SkellamEvent, DiscreteGaussianSumEvent)):
            own = count * _curve(event, rate, distance)
            curve = own if curve is None else curve + own
        else:
            pair = _pair(event, rate, distance, relation)
            pairs[pair] = pairs.get(pair, 0) + count
        if isinstance(event, RoundedGaussianSumEvent):
            tau = rdp.rounded_gaussian_tau(event.local_stddev, event.shares)
            slack += count * event.dimension * tau
    return Terms(_merge_plain(pairs), curve, slack, failure, exposed)


def _merge_plain(pairs: dict[Pair, int]) -> tuple[tuple[Pair, int], ...]:
    """Unsampled Gaussians compose to one: precisions add (Dong, Roth, Su 2019, corollary 3.3)."""
    plain = {
        pair: n for pair, n in pairs.items() if isinstance(pair, MixturePair) and pair.rate == 1
    }
    merged = [(pair, n) for pair, n in pairs.items() if pair not in plain]
    if plain:
        precision = sum(n / pair.stddev / pair.stddev for pair, n in plain.items())
        merged.append((MixturePair(1.0, 1 / math.sqrt(precision)), 1))
    return tuple(merged)


def _amplification(
    event: Event, sampling: Sampling, relation: NeighboringRelation
) -> tuple[float, float]:
    """Mixing rate, and the distance in clip norms between the sum as it is and with the client's part."""
    replace = relation is NeighboringRelation.REPLACE_ONE
    gaussian = isinstance(event, (GaussianEvent, RoundedGaussianSumEvent))
    match sampling:
        case NoSampling():
            return 1.0, 2.0 if replace else 1.0
        case PoissonSampling(rate) | TruncatedPoissonSampling(rate) if rate == 1:
            return 1.0, 2.0 if replace else 1.0
        case PoissonSampling(rate) | TruncatedPoissonSampling(rate) if gaussian or not replace:
            return min(1.0, rate + _COIN), 1.0
        case FixedSizeSampling(size, dataset_size) if size == dataset_size and replace:
            return 1.0, 2.0
        case FixedSizeSampling(size, dataset_size) if gaussian:
            # the client displaces one of the cohort: a shift by two clip norms (docs/privacy.md §3)
            return size / dataset_size, 2.0
        case _:
            raise UnsupportedEventError(
                f"{type(event).__name__} with {type(sampling).__name__} under {relation.name}: no "
                "theorem here bounds this sampling; use PoissonSampling under ADD_REMOVE, or NoSampling"
            )


def _pair(
    event: GaussianEvent | RoundedGaussianSumEvent,
    rate: float,
    distance: float,
    relation: NeighboringRelation,
) -> Pair:
    """The dominating pair; distances are scaled to 1."""
    mixture = MixturePair(rate, event.noise_multiplier / distance)
    if rate == 1 or relation is NeighboringRelation.ADD_REMOVE:
        return mixture
    if isinstance(event.sampling, FixedSizeSampling):
        return ExchangePair(mixture)
    return SwapPair(rate, event.noise_multiplier / distance)


def _curve(
    event: SkellamEvent | DiscreteGaussianSumEvent, rate: float, distance: float
) -> NDArray[np.float64]:
    if rate < 1:
        return rdp.poisson_general_curve(event, rate)
    if isinstance(event, SkellamEvent):
        return rdp.skellam_curve(event, distance)
    return rdp.discrete_gaussian_curve(event, distance)
