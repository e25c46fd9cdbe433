"""Calibrated differential privacy for sums on the integer grid: events, accountants, noise, clipping.

Names are imported on first use (PEP 562), so ``import dp.checks`` does not load scipy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dp.accounting import Accountant, Bracket, PrivacyCurve, gaussian_delta, gaussian_epsilon
    from dp.accounting.calibration import calibrate_noise_multiplier
    from dp.clipping.adaptive import AdaptiveClipper, bit_weight, update_noise_multiplier
    from dp.clipping.clipping import l2_clip, l2_norm
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
    from dp.ledgers.ledger import Charge, Ledger
    from dp.ledgers.records import register_event
    from dp.ledgers.shared import SharedLedger
    from dp.losses import ORDERS, Cost, MixturePair, Pair
    from dp.noise import (
        SAMPLER_TV_ERROR,
        random_uniform,
        sample_discrete_gaussian,
        sample_rounded_gaussian,
        sample_skellam,
    )

_HOME = {
    "Accountant": "accounting",
    "AdaptiveClipper": "clipping.adaptive",
    "Bracket": "accounting",
    "BudgetExhaustedError": "errors",
    "Charge": "ledgers.ledger",
    "Cost": "losses",
    "DiscreteGaussianSumEvent": "events",
    "DiscreteLaplaceEvent": "events",
    "DpError": "errors",
    "Event": "events",
    "FailureEvent": "events",
    "FixedSizeSampling": "events",
    "GaussianEvent": "events",
    "InvalidParameterError": "errors",
    "LaplaceEvent": "events",
    "Ledger": "ledgers.ledger",
    "MixturePair": "losses",
    "NeighboringRelation": "events",
    "NoSampling": "events",
    "NonFiniteError": "errors",
    "ORDERS": "losses",
    "Pair": "losses",
    "PoissonSampling": "events",
    "PrivacyCurve": "accounting",
    "RenyiEvent": "events",
    "RoundedGaussianSumEvent": "events",
    "SAMPLER_TV_ERROR": "noise",
    "Sampling": "events",
    "SharedLedger": "ledgers.shared",
    "SkellamEvent": "events",
    "TruncatedPoissonSampling": "events",
    "UnassignedCompositionError": "errors",
    "UnsupportedEventError": "errors",
    "bit_weight": "clipping.adaptive",
    "calibrate_noise_multiplier": "accounting.calibration",
    "gaussian_delta": "accounting",
    "gaussian_epsilon": "accounting",
    "l2_clip": "clipping.clipping",
    "l2_norm": "clipping.clipping",
    "random_uniform": "noise",
    "register_event": "ledgers.records",
    "sample_discrete_gaussian": "noise",
    "sample_rounded_gaussian": "noise",
    "sample_skellam": "noise",
    "update_noise_multiplier": "clipping.adaptive",
}

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


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'dp' has no attribute {name!r}")
    return getattr(importlib.import_module(f"dp.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
