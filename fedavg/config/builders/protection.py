"""Values for the tables [cohort], [clipping] and [privacy]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.config.builders.parts import part_of
from fedavg.privacy.clipping import AdaptiveClipping

if TYPE_CHECKING:
    from fedavg.config.settings import ClippingConfig, CohortConfig, PrivacyConfig
    from fedavg.privacy.noise import Noise
    from fedavg.privacy.sampling import Cohort

__all__ = ["clipping_of", "cohort_of", "noise_of"]


def cohort_of(config: CohortConfig) -> Cohort:
    """The sampler of cohorts; its rate or size is the default where it is open."""
    settings = {
        "rate": 0.2 if config.rate is None else config.rate,
        "size": 100 if config.size is None else config.size,
    }
    return part_of("cohort", config.kind, settings, config.options)


def clipping_of(config: ClippingConfig) -> AdaptiveClipping | None:
    """The rule by which the clip norm adapts; None for a fixed one."""
    if not config.adapts:
        return None
    return AdaptiveClipping(
        quantile=config.quantile, learning_rate=config.learning_rate, bit_stddev=config.bit_stddev
    )


def noise_of(privacy: PrivacyConfig) -> Noise | None:
    """The noise; its multiplier is 1 until it is calibrated, where none is given."""
    if not privacy.private:
        return None
    # Any strength will do here: calibration replaces it before anything is drawn.
    multiplier = 1.0 if privacy.noise_multiplier is None else privacy.noise_multiplier
    return part_of("noise", privacy.noise, {"noise_multiplier": multiplier}, privacy.options)
