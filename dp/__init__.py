"""Calibrated differential privacy for sums on the integer grid: events, accountants, noise, clipping."""

from __future__ import annotations

from dp.accounting import Accountant, Bracket, PrivacyCurve, gaussian_delta, gaussian_epsilon
from dp.adaptive import AdaptiveClipper, bit_weight, update_noise_multiplier
from dp.calibration import calibrate_noise_multiplier
from dp.clipping import l2_clip, l2_norm
from dp.errors import (
    BudgetExhaustedError,
    DpError,
    InvalidParameterError,
    NonFiniteError,
    UnassignedCompositionError,
    UnsupportedEventError,
)
from dp.events import (
    DiscreteGaussianSumEvent,
    DiscreteLaplaceEvent,
    Event,
    FailureEvent,
    FixedSizeSampling,
    GaussianEvent,
    LaplaceEvent,
    NeighboringRelation,
    NoSampling,
    PoissonSampling,
    RenyiEvent,
    RoundedGaussianSumEvent,
    Sampling,
    SkellamEvent,
    TruncatedPoissonSampling,
)
from dp.ledgers import Charge, Ledger, SharedLedger, register_event
from dp.losses import ORDERS, Cost, MixturePair, Pair
from dp.noise import (
    SAMPLER_TV_ERROR,
    random_uniform,
    sample_discrete_gaussian,
    sample_rounded_gaussian,
    sample_skellam,
)

__all__ = [
    "ORDERS",
    "SAMPLER_TV_ERROR",
    "Accountant",
    "AdaptiveClipper",
    "Bracket",
    "BudgetExhaustedError",
    "Charge",
    "Cost",
    "DiscreteGaussianSumEvent",
    "DiscreteLaplaceEvent",
    "DpError",
    "Event",
    "FailureEvent",
    "FixedSizeSampling",
    "GaussianEvent",
    "InvalidParameterError",
    "LaplaceEvent",
    "Ledger",
    "MixturePair",
    "NeighboringRelation",
    "NoSampling",
    "NonFiniteError",
    "Pair",
    "PoissonSampling",
    "PrivacyCurve",
    "RenyiEvent",
    "RoundedGaussianSumEvent",
    "Sampling",
    "SharedLedger",
    "SkellamEvent",
    "TruncatedPoissonSampling",
    "UnassignedCompositionError",
    "UnsupportedEventError",
    "bit_weight",
    "calibrate_noise_multiplier",
    "gaussian_delta",
    "gaussian_epsilon",
    "l2_clip",
    "l2_norm",
    "random_uniform",
    "register_event",
    "sample_discrete_gaussian",
    "sample_rounded_gaussian",
    "sample_skellam",
    "update_noise_multiplier",
]
