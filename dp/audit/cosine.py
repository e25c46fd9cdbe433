"""One shot (Andrew et al. 2023): an estimate of ε, and no bound, from canaries in a released update."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr
from scipy.stats import chi2

from dp.checks import plain_array, proper_fraction, real_array
from dp.errors import InvalidParameterError, NonFiniteError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["OneShot", "one_shot"]

_LARGEST_EPSILON = 700.0


@dataclass(frozen=True, slots=True)
class OneShot:
    """An estimate of ε; the true value may be on either side.

    Args:
        epsilon_estimate: ε between the cosines of included canaries and those of absent ones.
        delta: δ at which ε is stated.
        mean: mean of the included canaries' cosines; it is 0 for absent ones.
        stddev: standard deviation of the included canaries' cosines.
        null_stddev: standard deviation for absent canaries, 1/√d: known, not measured.
        canaries: number of canaries.
    """

    epsilon_estimate: float
    delta: float
    mean: float
    stddev: float
    null_stddev: float
    canaries: int

    @property
    def relative_error(self) -> float:
        """Standard error of the mean cosine ÷ the mean, which is about that of the estimate."""
        return self.null_stddev / math.sqrt(self.canaries) / max(abs(self.mean), 1e-300)


def one_shot(
    released: NDArray[np.floating],
    canaries: NDArray[np.floating],
    *,
    delta: float,
) -> OneShot:
    """Estimate ε from one released vector that contains every canary.

    Each canary's cosine is taken with the released vector minus the other canaries, because an attacker on
    one client is assumed to know the others.  A direction that is not included has a cosine of about
    N(0, 1/d) with any vector.  Where the included cosines' spread differs from 1/√d only by chance (a χ² test
    at 1 %), 1/√d is used, because an estimated spread would distort small δ.

    Args:
        released: float[d]: the sum of all released updates, or the last model minus the first.
        canaries: float[k, d]: rows of norm 1, k ≥ 2, each of which was one client's clipped update.
        delta: δ, in (0, 1).

    Raises:
        InvalidParameterError: the shapes do not fit, or the vector is zero.
        NonFiniteError: a value is NaN or infinite.

    Example:
        >>> import numpy as np
        >>> from dp import gaussian_epsilon, sample_rounded_gaussian
        >>> from dp.audit import unit_canaries
        >>> canaries = unit_canaries(200, 5000)
        >>> noise = sample_rounded_gaussian(1000.0, 5000) / 1000.0  # noise multiplier 1
        >>> found = one_shot(canaries.sum(0) + noise, canaries, delta=1e-5)
        >>> 0.5 < found.epsilon_estimate / gaussian_epsilon(1.0, 1e-5) < 2
        True
    """
    delta = proper_fraction("delta", delta)
    vector, rows = real_array("released", released), plain_array("canaries", canaries, "f")
    if vector.ndim != 1 or rows.ndim != 2 or rows.shape[1] != vector.size or rows.shape[0] < 2:
        raise InvalidParameterError(
            f"one shot takes a vector and 2 or more canaries of its length, not {vector.shape} "
            f"and {rows.shape}"
        )
    if not bool(np.isfinite(vector).all()):
        raise NonFiniteError("the released vector holds NaN or infinity")
    cosines = _cosines(vector, rows)
    count, null = rows.shape[0], 1 / math.sqrt(vector.size)
    mean, stddev = float(cosines.mean()), float(cosines.std(ddof=1))
    spread = (count - 1) * (stddev / null) ** 2
    odd = min(float(chi2.cdf(spread, count - 1)), float(chi2.sf(spread, count - 1)))
    fitted = stddev if odd < 0.005 else null  # a χ² test at 1 %, half on each side
    return OneShot(_epsilon(mean / null, fitted / null, delta), delta, mean, stddev, null, count)


def _cosines(vector: NDArray[np.float64], rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Cosine of each canary with the vector minus the other canaries."""
    # All canaries are taken out together. Each one's vector is then rest + amount·canary, and is not built.
    everyone = rows.sum(axis=0, dtype=np.float64)
    amount = float(vector @ everyone) / float(everyone @ everyone)
    rest = vector - amount * everyone
    along = (rows @ rest.astype(rows.dtype)).astype(np.float64)
    squared = float(rest @ rest) + 2 * amount * along + amount * amount
    if not bool((squared > 0).all()):
        raise InvalidParameterError(
            "the released vector is zero once the canaries are taken away: it holds no noise at all"
        )
    return (along + amount) / np.sqrt(squared)


def _epsilon(mean: float, stddev: float, delta: float) -> float:
    """ε between N(mean, stddev²) and N(0, 1), the worse of both orders."""
    pairs = ((mean, stddev, 0.0, 1.0), (0.0, 1.0, mean, stddev))
    return max(_one_way(*pair, delta) for pair in pairs)


def _one_way(m1: float, s1: float, m0: float, s0: float, delta: float) -> float:
    def excess(epsilon: float) -> float:
        return _hockey_stick(m1, s1, m0, s0, epsilon) - delta

    if excess(0.0) <= 0:
        return 0.0
    if excess(_LARGEST_EPSILON) > 0:
        return math.inf
    return float(brentq(excess, 0.0, _LARGEST_EPSILON, xtol=1e-9))


def _hockey_stick(m1: float, s1: float, m0: float, s0: float, epsilon: float) -> float:
    """δ(ε): mass of N(m1, s1²) minus e^ε times that of N(m0, s0²), where the log ratio exceeds ε.

    The log ratio is a parabola in x: it exceeds ε on a half line if the spreads are equal, else inside or
    outside the two points where it equals ε.
    """
    a = (1 / s0**2 - 1 / s1**2) / 2
    b = m1 / s1**2 - m0 / s0**2
    c = m0**2 / (2 * s0**2) - m1**2 / (2 * s1**2) + math.log(s0 / s1) - epsilon
    root = b * b - 4 * a * c
    if abs(a) < 1e-12:  # equal spreads: the parabola is a line
        if b == 0:
            return 0.0
        edge = -c / b
        pieces = ((edge, math.inf),) if b > 0 else ((-math.inf, edge),)
    elif root <= 0:
        return 0.0 if a < 0 else -math.expm1(epsilon)  # never above ε, or always
    else:
        low, high = sorted(((-b - math.sqrt(root)) / (2 * a), (-b + math.sqrt(root)) / (2 * a)))
        pieces = ((low, high),) if a < 0 else ((-math.inf, low), (high, math.inf))
    return sum(_mass(piece, m1, s1, 0.0) - _mass(piece, m0, s0, epsilon) for piece in pieces)


def _mass(piece: tuple[float, float], m: float, s: float, epsilon: float) -> float:
    """e^ε · P[N(m, s²) in an interval], computed from the nearer tail."""
    low, high = ((edge - m) / s for edge in piece)
    if low > 0:
        low, high = -high, -low
    far, near = (math.exp(epsilon + float(log_ndtr(edge))) for edge in (low, high))
    return near - far
