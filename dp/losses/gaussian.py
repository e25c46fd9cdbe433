"""The Gaussian mechanism in closed form (Balle and Wang 2018, theorem 8), accurate at any size of δ."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import erfcx, ndtr, ndtri_exp

from dp.checks import at_least, fraction
from dp.errors import InvalidParameterError
from dp.losses.outward import ARGUMENT, ULP, between, margin

__all__ = [
    "SampledGaussian",
    "epsilon_of_mu",
    "gaussian_delta",
    "gaussian_epsilon",
    "log_delta",
    "sampled_epsilon",
    "sampled_log_delta",
    "scaled_gap",
]

_LARGE = 600.0
_HUGE = 1e8
_ASYMPTOTIC = 30.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_RELATIVE = 1e-11
"""Relative error of δ, or of 1 − δ where that is smaller, for arguments without error."""


def log_delta(epsilon: float, mu: float) -> float:
    """Log δ(ε) between N(0,1) and N(μ,1); −inf where δ is 0.

    With x = ε/μ − μ/2 and y = x + μ the two Gaussian tails have the common factor e^(−x²/2), since
    y²/2 − x²/2 = ε.  Without it, a difference of scaled error functions remains, which has no e^ε.
    """
    if mu == 0:
        return -math.inf
    if math.isinf(mu):
        return 0.0
    x = epsilon / mu - mu / 2
    y = epsilon / mu + mu / 2
    if x < 0:
        # 1 − δ is a sum, which keeps its digits where δ is nearly 1, and erfcx(x) nearly infinite
        tail = float(erfcx(y / math.sqrt(2))) / 2  # e^(y²/2)·Φ(−y), and ε − y²/2 is −x²/2
        rest = float(ndtr(x)) + tail * math.exp(-x * x / 2)
        if rest < 0.5:
            return math.log1p(-rest)
    gap = scaled_gap(x / math.sqrt(2), mu / math.sqrt(2)) / 2
    return -x * x / 2 + math.log(gap) if gap > 0 else -math.inf  # 0 if x² is beyond a float


def scaled_gap(a: float, width: float) -> float:
    """Erfcx(a) − erfcx(a + width), without cancellation when they are close."""
    if width > 0.05 * max(1.0, a):  # so far apart, no digits cancel
        return float(erfcx(a) - erfcx(a + width))
    # −d/dx erfcx = 2/√π − 2x·erfcx is smooth on so short an interval; where it cancels, its series is used
    x = a + width / 2 * (1 + _NODES)
    if a > _ASYMPTOTIC:
        y = 0.5 / x / x
        slope = 2 / math.sqrt(math.pi) * y * (1 - y * (3 - y * (15 - y * (105 - y * 945))))
    else:
        slope = 2 / math.sqrt(math.pi) - 2 * x * erfcx(x)
    return float(width / 2 * (_WEIGHTS @ slope))


def gaussian_delta(noise_multiplier: float, epsilon: float) -> float:
    """Return the exact δ of one Gaussian release at this ε.

    Args:
        noise_multiplier: standard deviation ÷ L2 sensitivity, ≥ 0.
        epsilon: ε ≥ 0.

    Raises:
        InvalidParameterError: a parameter is out of range, NaN or infinite.

    Example:
        >>> f"{gaussian_delta(1.0, 1.0):.12f}"
        '0.126936737507'
    """
    noise_multiplier = at_least("noise_multiplier", noise_multiplier, 0)
    epsilon = at_least("epsilon", epsilon, 0)
    return math.exp(log_delta(epsilon, 1 / noise_multiplier)) if noise_multiplier > 0 else 1.0


def gaussian_epsilon(noise_multiplier: float, delta: float) -> float:
    """Return the smallest ε of one Gaussian release at this δ; 0 when δ alone suffices.

    Args:
        noise_multiplier: standard deviation ÷ L2 sensitivity, ≥ 0.
        delta: δ, in [0, 1].

    Raises:
        InvalidParameterError: a parameter is out of range, NaN or infinite.

    Example:
        >>> f"{gaussian_epsilon(1.0, 1e-5):.9f}"
        '4.377178096'
    """
    noise_multiplier = at_least("noise_multiplier", noise_multiplier, 0)
    delta = fraction("delta", delta)
    if delta == 1:
        return 0.0
    if delta == 0 or noise_multiplier == 0:
        return math.inf
    return epsilon_of_mu(1 / noise_multiplier, math.log(delta))


def epsilon_of_mu(mu: float, target: float) -> float:
    """Smallest ε with log δ(ε) ≤ target, between N(0,1) and N(μ,1)."""
    if not math.isfinite(target):
        raise InvalidParameterError(f"log delta must be finite, not {target!r}")
    if log_delta(0.0, mu) <= target:
        return 0.0
    if mu > _HUGE:
        # δ lies below Φ(μ/2 − ε/μ), by a factor 1 + O(1/μ): the result is above ε, by less than 1, which is
        # less than the resolution of floats there
        return mu * (mu / 2 - float(ndtri_exp(target)))
    # An upper end: with x = √(−2·log δ) + 1, Φ(−x) is below δ.
    top = mu * mu / 2 + mu * (math.sqrt(-2 * target) + 1)
    return float(brentq(lambda e: log_delta(e, mu) - target, 0.0, top, xtol=1e-300, rtol=1e-14))


def sampled_log_delta(epsilon: float, mu: float, rate: float) -> float:
    """Log δ(ε), ε ≥ 0, of one release in which a client takes part by a coin of this rate.

    With e^ε' = 1 + (e^ε − 1)/q the mixture's curve is q·δ(ε'), and for ε ≥ 0 no other order is worse
    (docs/privacy.md §2.2).
    """
    return math.log(rate) + log_delta(unsampled(epsilon, rate), mu)


def unsampled(epsilon: float, rate: float) -> float:
    """The ε' with e^ε' = 1 + (e^ε − 1)/rate, for ε ≥ 0, to a few units in the last place."""
    if rate == 1:
        return epsilon
    if epsilon > _LARGE:  # where e^ε could overflow
        return epsilon - math.log(rate) + math.log1p(-(1 - rate) * math.exp(-epsilon))
    return math.log1p(math.expm1(epsilon) / rate)


def sampled(inner: float, rate: float) -> float:
    """The ε with e^ε = 1 + rate·(e^ε' − 1), for ε' ≥ 0, to a few units in the last place."""
    if rate == 1:
        return inner
    if inner > _LARGE:
        return inner + math.log(rate) + math.log1p((1 - rate) / rate * math.exp(-inner))
    return math.log1p(rate * math.expm1(inner))


def sampled_epsilon(mu: float, rate: float, target: float) -> float:
    """Smallest ε ≥ 0 with sampled_log_delta(ε) ≤ target."""
    if target >= math.log(rate):  # δ never exceeds the rate
        return 0.0
    return sampled(epsilon_of_mu(mu, target - math.log(rate)), rate)


@dataclass(frozen=True, slots=True)
class SampledGaussian:
    """The curve of one release in which a client takes part by a coin of this rate."""

    mu: float
    rate: float

    def log_delta(self, epsilon: float) -> float:
        """Log δ at this ε ≥ 0."""
        return sampled_log_delta(epsilon, self.mu, self.rate)

    def epsilon(self, log_delta: float) -> float:
        """Smallest ε ≥ 0 at this log δ."""
        return sampled_epsilon(self.mu, self.rate, log_delta)

    def log_delta_bounds(self, epsilon: float) -> tuple[float, float]:
        """See ExactCurve: δ falls with ε and rises with μ, so each is moved to either side."""
        found: list[float] = []
        for side in (-1, 1):
            inner = unsampled(epsilon, self.rate) * (1 - side * ARGUMENT)
            value = log_delta(inner, self.mu * (1 + side * ARGUMENT))
            log_rate = math.log(self.rate)
            slack = margin(value, _RELATIVE) - ULP * log_rate
            found.append(log_rate + value + side * slack if value > -math.inf else value)
        return found[0], min(found[1], 0.0)

    def epsilon_bounds(self, log_delta: float) -> tuple[float, float]:
        """See ExactCurve."""
        target = log_delta - math.log(self.rate)
        slack = margin(target, _RELATIVE) - ULP * (log_delta + math.log(self.rate))
        found: list[float] = []
        for side in (-1, 1):
            aim = target - side * slack
            # δ never exceeds the rate
            inner = epsilon_of_mu(self.mu * (1 + side * ARGUMENT), aim) if aim < 0 else 0.0
            found.append(sampled(inner * (1 + side * ARGUMENT), self.rate))
        return between(found[0], found[1])
