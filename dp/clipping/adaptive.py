"""A clip norm that follows a quantile of the updates' norms, computed from noised counts alone.

See Andrew, Thakkar, McMahan and Ramaswamy (2021), algorithm 1.  Beside its update each client sends one
private number: ½ when its update's norm was within the clip norm, and −½ when it was not.  The number is one
more coordinate of the same sum under the same noise, so that one release covers both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dp.checks import assign, at_least, finite, positive, proper_fraction
from dp.clipping.clipping import l2_norm
from dp.errors import InvalidParameterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["AdaptiveClipper", "bit_weight", "update_noise_multiplier"]

_SMALLEST, _LARGEST = 1e-100, 1e100


def _share_of_noise(noise_multiplier: float, bit_stddev: float) -> float:
    """Z ÷ 2σ_b: the part of the noise's precision that the count uses."""
    part = noise_multiplier / (2 * positive("bit_stddev", bit_stddev))
    if part >= 1:
        raise InvalidParameterError(
            f"bit_stddev {bit_stddev:g} is not above half the noise multiplier {noise_multiplier:g}: the "
            "count alone would use up the budget; raise bit_stddev"
        )
    return part


def update_noise_multiplier(noise_multiplier: float, bit_stddev: float) -> float:
    """The noise multiplier for the updates: (z⁻² − (2σ_b)⁻²)^(−1/2) (Andrew et al. 2021, theorem 1).

    Args:
        noise_multiplier: z of the joint release, which the accountant is charged with.
        bit_stddev: standard deviation σ_b of the noise on the number of clients below the clip norm.

    Raises:
        InvalidParameterError: bit_stddev ≤ z/2.

    Example:
        >>> round(update_noise_multiplier(1.0, 10.0), 5)
        1.00125
    """
    z = at_least("noise_multiplier", noise_multiplier, 0)
    return z / math.sqrt(1 - _share_of_noise(z, bit_stddev) ** 2)


def bit_weight(noise_multiplier: float, bit_stddev: float) -> float:
    """The length of a client's ±½, in units of the updates' sensitivity, for noise σ_b on the count.

    With this weight a, the joint sensitivity is √(1+a²) and the noise on every coordinate is z·√(1+a²). The
    noise on the count is that divided by 2a, which is σ_b.

    Args:
        noise_multiplier: z of the joint release.
        bit_stddev: σ_b.

    Raises:
        InvalidParameterError: bit_stddev ≤ z/2.

    Example:
        >>> a = bit_weight(1.0, 10.0)
        >>> round((1 + a * a) ** 0.5 / (2 * a), 6)
        10.0
    """
    part = _share_of_noise(at_least("noise_multiplier", noise_multiplier, 0), bit_stddev)
    return part / math.sqrt(1 - part**2)


@dataclass(frozen=True, slots=True)
class AdaptiveClipper:
    """The state of an adaptive clip norm.  It is public, since it is computed from released values only.

    Args:
        clip_norm: C, > 0.
        quantile: γ in (0, 1), the fraction of the clients whose updates should not be shortened.
        learning_rate: η > 0; one round moves log C by at most η.

    Example:
        >>> import numpy as np
        >>> clipper = AdaptiveClipper(1.0)
        >>> clipper.bit(np.array([3.0, 4.0]))  # too long
        -0.5
        >>> round(clipper.update(-100.0, cohort=200).clip_norm, 3)  # so are all 200
        1.105
    """

    clip_norm: float
    quantile: float = 0.5
    learning_rate: float = 0.2

    def __post_init__(self) -> None:
        assign(
            self,
            clip_norm=positive("clip_norm", self.clip_norm),
            learning_rate=positive("learning_rate", self.learning_rate),
            quantile=proper_fraction("quantile", self.quantile),
        )

    def bit(self, vector: NDArray[np.float64]) -> float:
        """½ if the update is within the clip norm, else −½.  Run by a client; private until noised.

        An update with NaN or infinity counts as within, because zeros are sent in its place.
        """
        return 0.5 if l2_norm(vector) <= self.clip_norm else -0.5

    def update(self, noised_sum: float, cohort: float) -> AdaptiveClipper:
        """C ← C·exp(−η·(b̄ − γ)), with b̄ = ½ + noised_sum ÷ cohort clipped to [0, 1].

        If too many updates are above C, b̄ is small and C grows.  Run by the server, after a release.

        Args:
            noised_sum: the clients' ±½, summed and noised.
            cohort: the public, expected number of clients.

        Raises:
            NonFiniteError, InvalidParameterError: the sum is not finite, or the cohort not positive.
        """
        share = finite("noised_sum", noised_sum) / positive("cohort", cohort)
        # Noise may take the share of clients beyond 0 or 1.
        below = min(max(0.5 + share, 0.0), 1.0)
        moved = self.clip_norm * math.exp(-self.learning_rate * (below - self.quantile))
        # C stays positive and finite, however large the noise is.
        return replace(self, clip_norm=min(max(moved, _SMALLEST), _LARGEST))
