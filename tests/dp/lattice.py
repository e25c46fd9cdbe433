"""Laws on the integers and on cosets by brute force, and the Gaussian mechanism's hockey sticks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr
from scipy.stats import norm

EPSILONS = (0.02, 0.1, 0.25, 1.0, 2.0)
VISIBLE = 1e-11
"""Hockey sticks below this are lost in float64 and are not compared."""


def eta(variance: float) -> float:
    """2·Σ e^(−2π²·v·m²), which bounds how far a lattice sum of Gaussians is from its integral."""
    return 2 * sum(math.exp(-2 * math.pi**2 * variance * m * m) for m in range(1, 60))


def tau(variances: list[float]) -> float:
    """Σ 2·atanh η over the successive convolutions of cosets with these variances."""
    total, slack = variances[0], 0.0
    for variance in variances[1:]:
        lost = eta(1 / (1 / total + 1 / variance))
        if lost >= 1:
            return math.inf
        slack += 2 * math.atanh(lost)
        total += variance
    return slack


def discrete(variance: float, offset: float = 0.0) -> np.ndarray:
    """Discrete Gaussian on ℤ + offset, |k| ≤ 14σ + 8, in the middle of the array."""
    reach = int(14 * math.sqrt(variance)) + 8
    weights = np.exp(-((np.arange(-reach, reach + 1) + offset) ** 2) / (2 * variance))
    return weights / weights.sum()


def rounded(variance: float) -> np.ndarray:
    """N(0, variance) rounded to integers, from tails so that both sides are exact."""
    stddev = math.sqrt(variance)
    k = np.abs(np.arange(-int(12 * stddev) - 6, int(12 * stddev) + 7))
    return np.where(
        k > 0,
        norm.sf((k - 0.5) / stddev) - norm.sf((k + 0.5) / stddev),
        1 - 2 * norm.sf(0.5 / stddev),
    )


def convolved(laws: list[np.ndarray]) -> np.ndarray:
    total = np.ones(1)
    for law in laws:
        total = np.convolve(total, law)
    return total


def placed(law: np.ndarray, shift: int, width: int) -> np.ndarray:
    """The law moved by an integer, in an array of odd width with 0 in the middle."""
    out = np.zeros(width)
    start = width // 2 - len(law) // 2 + shift
    out[start : start + len(law)] = law
    return out


def hockey_stick(p: np.ndarray, q: np.ndarray, epsilon: float) -> float:
    return float(np.maximum(p - math.exp(epsilon) * q, 0).sum())


def plain_delta(mu: float, epsilon: float) -> float:
    """H_ε(N(μ,1) ‖ N(0,1))."""
    inner = epsilon + float(log_ndtr(-mu / 2 - epsilon / mu))
    return float(norm.cdf(mu / 2 - epsilon / mu)) - math.exp(inner)


@dataclass(frozen=True)
class Mixture:
    """(1−q)·N(0,1) + q·N(μ,1) against N(0,1)."""

    rate: float
    mu: float

    def delta(self, epsilon: float, *, removing: bool) -> float:
        """H_ε of the pair, the mixture first when `removing`."""
        q, mu, a = self.rate, self.mu, math.exp(epsilon)
        if removing:
            inner = (a - 1 + q) / q
            return 1 - a if inner <= 0 else q * plain_delta(mu, math.log(inner))
        left = (1 - a * (1 - q)) / (a * q)
        if left <= 0:
            return 0.0
        x = math.log(left) / mu + mu / 2
        return float(norm.cdf(x) * (1 - a * (1 - q)) - a * q * norm.cdf(x - mu))


def worst_excess(
    joined: np.ndarray, absent: np.ndarray, gaussian: Mixture, slack: float
) -> tuple[float, float]:
    """Largest H_ε ÷ Gaussian's H_ε, and ÷ e^slack·(Gaussian's H_{ε−2·slack}), over ε and both orders.

    Args:
        joined: law of the output when the client takes part (any shape).
        absent: law when it does not.
        gaussian: the claimed pair; its rate mixes `joined` into `absent`.
        slack: d·τ.
    """
    mixture = (1 - gaussian.rate) * absent + gaussian.rate * joined
    raw, bounded = 0.0, 0.0
    for epsilon in EPSILONS:
        for removing in (True, False):
            pair = (mixture, absent) if removing else (absent, mixture)
            seen = hockey_stick(*pair, epsilon)
            claimed = gaussian.delta(epsilon, removing=removing)
            shifted = gaussian.delta(epsilon - 2 * slack, removing=removing)
            if claimed > VISIBLE:
                raw = max(raw, seen / claimed)
                bounded = max(bounded, seen / (math.exp(slack) * shifted))
    return raw, bounded
