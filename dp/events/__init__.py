"""What happened to the data: one frozen event for each kind of release, with how its cohort was sampled.

An event carries what accounting needs and nothing else: it states its cost, by the theorem that covers it.
Mechanisms emit events, accountants compose them, neither knows the other.  Noise multipliers are standard
deviation ÷ L2 clip norm, under every relation: REPLACE_ONE takes a pair of updates at distance 2.
"""

from __future__ import annotations

from dp.events.failure import FailureEvent
from dp.events.gaussian import GaussianEvent, RoundedGaussianSumEvent
from dp.events.interface import Event, NeighboringRelation, Sampling
from dp.events.laplace import DiscreteLaplaceEvent, LaplaceEvent
from dp.events.lattice import DiscreteGaussianSumEvent, SkellamEvent
from dp.events.renyi import RenyiEvent
from dp.events.sampling import (
    FixedSizeSampling,
    NoSampling,
    PoissonSampling,
    TruncatedPoissonSampling,
)

__all__ = [
    "DiscreteGaussianSumEvent",
    "DiscreteLaplaceEvent",
    "Event",
    "FailureEvent",
    "FixedSizeSampling",
    "GaussianEvent",
    "LaplaceEvent",
    "NeighboringRelation",
    "NoSampling",
    "PoissonSampling",
    "RenyiEvent",
    "RoundedGaussianSumEvent",
    "Sampling",
    "SkellamEvent",
    "TruncatedPoissonSampling",
]
