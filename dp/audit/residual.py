"""The noise itself, where a simulation can isolate it: is it as strong as stated, and fresh each round?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaincinv
from scipy.stats import chi2

from dp.checks import positive, proper_fraction, real_array
from dp.errors import InvalidParameterError, NonFiniteError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NoiseCheck", "check_noise"]


@dataclass(frozen=True, slots=True)
class NoiseCheck:
    """What was measured of noise that should be independent with a stated standard deviation.

    Args:
        stddev: stated.
        measured: root mean square of all entries.
        low, high: limits between which the true standard deviation lies, except with probability
            `false_alarm`.
        correlation: of the two most similar rounds, by magnitude; 0 with a single round.
        correlation_limit: exceeded by fresh noise with probability `false_alarm` at most.
        false_alarm: of each of the two checks.
    """

    stddev: float
    measured: float
    low: float
    high: float
    correlation: float
    correlation_limit: float
    false_alarm: float

    @property
    def too_weak(self) -> bool:
        """Less noise than stated."""
        return self.high < self.stddev

    @property
    def repeated(self) -> bool:
        """Rounds whose noise is not independent: their difference gives updates away."""
        return abs(self.correlation) > self.correlation_limit


def check_noise(
    residuals: NDArray[np.floating], stddev: float, *, false_alarm: float = 1e-6
) -> NoiseCheck:
    """Measure noise: what a round released, less the sum of the updates that went in.

    Args:
        residuals: float[T, d] in grid units: one row a round.
        stddev: stated standard deviation of an entry, in the same units.
        false_alarm: probability with which right noise fails a check.

    Raises:
        InvalidParameterError: no such array, or a parameter out of range.
        NonFiniteError: an entry that is NaN or infinite.

    Example:
        >>> import numpy as np
        >>> from dp import sample_rounded_gaussian
        >>> once = sample_rounded_gaussian(20.0, 4000).astype(float)
        >>> found = check_noise(np.stack([once, once]), 20.0)
        >>> found.too_weak, found.repeated
        (False, True)
    """
    stddev = positive("stddev", stddev)
    false_alarm = proper_fraction("false_alarm", false_alarm)
    rows = real_array("residuals", residuals)
    if rows.ndim != 2 or rows.shape[0] < 1 or rows.shape[1] < 16:
        raise InvalidParameterError(
            f"noise must come as [rounds, coordinates] with 16 coordinates or more, not {rows.shape}"
        )
    if not bool(np.isfinite(rows).all()):
        raise NonFiniteError("the noise holds NaN or infinity")
    norms = np.linalg.norm(rows, axis=1)
    total = float(norms @ norms)
    # integer noise of variance v has a kurtosis of up to 3 + 1/v, which widens the limits
    freedom = rows.size * 2 / (2 + 1 / stddev**2)
    scaled = total * freedom / rows.size
    limits = [scaled / float(chi2.ppf(p, freedom)) for p in (1 - false_alarm / 2, false_alarm / 2)]
    correlation, limit = _correlation(rows, norms, false_alarm)
    return NoiseCheck(
        stddev,
        math.sqrt(total / rows.size),
        math.sqrt(limits[0]),
        math.sqrt(limits[1]),
        correlation,
        limit,
        false_alarm,
    )


def _correlation(
    rows: NDArray[np.float64], norms: NDArray[np.float64], false_alarm: float
) -> tuple[float, float]:
    """Largest cosine between two rounds; of independent directions, (1 + cosine)/2 is a beta variable."""
    count, dimension = rows.shape
    if count < 2:
        return 0.0, 1.0
    unit = rows / np.maximum(norms, 1e-300)[:, None]
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, 0.0)
    place = int(np.argmax(np.abs(cosines)))
    tail = false_alarm / (count * (count - 1))
    shape = (dimension - 1) / 2
    limit = 1 - 2 * float(betaincinv(shape, shape, tail))
    return float(cosines.flat[place]), limit
