"""Events: one frozen class for each kind of release, with the sampling of its cohort.

An event has only what accounting needs: it states its cost, by the theorem that covers it.  Mechanisms emit
events and accountants compose them, and neither knows the other.  Noise multipliers are standard deviation ÷
L2 clip norm, under every relation; under REPLACE_ONE the two updates of a pair are at distance 2.
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
