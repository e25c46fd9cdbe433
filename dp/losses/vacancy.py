"""The curve of one release of a fixed-size cohort, with a client's answer or a vacancy, in closed form.

docs/privacy.md §3.4 states the two laws and why the best set is a half-line for ε ≥ 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

from dp.losses.gaussian import sampled_epsilon, scaled_gap
from dp.losses.outward import ARGUMENT, between, margin

__all__ = ["VacancyCurve", "half_root"]

_LARGE = 600.0
_RELATIVE = 1e-9
"""Relative error of δ, or of 1 − δ where that is smaller, for arguments without error."""
_HUGE = 1e6
"""A μ beyond which ε has too few digits to search for, and is bounded by plain Gaussians."""


def half_root(excess_log: float) -> float:
    """log((1 + √(1 + e^x))/2), without the digits that cancel where e^x is small."""
    if excess_log > _LARGE:
        return excess_log / 2 - math.log(2)
    excess = math.exp(excess_log)
    return math.log1p(excess / 2 / (1 + math.sqrt(1 + excess)))


@dataclass(frozen=True, slots=True)
class VacancyCurve:
    """δ(ε) of (1−q)·N(−μ) + q·N(μ) against (1−q)·N(−μ) + q·N(0) of unit variance, for ε ≥ 0.

    Args:
        mu: 1 ÷ noise multiplier.
        rate: q, below 1.
    """

    mu: float
    rate: float

    def log_delta(self, epsilon: float) -> float:
        """See ExactCurve."""
        return _log_delta(epsilon, self.mu, self.rate)

    def epsilon(self, log_delta: float) -> float:
        """See ExactCurve."""
        return _epsilon(log_delta, self.mu, self.rate)

    def log_delta_bounds(self, epsilon: float) -> tuple[float, float]:
        """See ExactCurve: δ falls with ε and rises with μ, so each is moved to either side."""
        found: list[float] = []
        for side in (-1, 1):
            moved = epsilon * (1 - side * ARGUMENT), self.mu * (1 + side * ARGUMENT)
            value = _log_delta(*moved, self.rate)
            found.append(value + side * margin(value, _RELATIVE) if value > -math.inf else value)
        return found[0], min(found[1], 0.0)

    def epsilon_bounds(self, log_delta: float) -> tuple[float, float]:
        """See ExactCurve."""
        if self.mu > _HUGE:  # at least as far apart as N(μ) and N(0), and at most as N(μ) and N(−μ)
            low, high = (sampled_epsilon(k * self.mu, self.rate, log_delta) for k in (1, 2))
            return low * (1 - _RELATIVE), high * (1 + _RELATIVE)
        slack = margin(log_delta, _RELATIVE)
        low, high = (
            _epsilon(log_delta - side * slack, self.mu * (1 + side * ARGUMENT), self.rate)
            for side in (-1, 1)
        )
        return between(low * (1 - ARGUMENT), high * (1 + ARGUMENT))


def _log_delta(epsilon: float, mu: float, rate: float) -> float:
    """The half-line's masses, with the condition of its end put in, which leaves two terms above 0.

    With q·φ₁ + (1−q)·φ₋₁ = α((1−q)·φ₋₁ + q·φ₀) at the end x and ψ = (1−Φ)/φ, δ is q·φ₁·(ψ₁ − ψ₀) +
    (1−q)(α−1)·φ₋₁·(ψ₀ − ψ₋₁), where an index m is for the argument x − mμ.
    """
    log_odds = math.log1p(-rate) - math.log(rate)
    # log(α − 1)
    log_more = epsilon + math.log(-math.expm1(-epsilon)) if epsilon > 0 else -math.inf
    root = epsilon + half_root(math.log(4) - mu * mu + log_odds - 2 * epsilon + log_more)
    x = root / mu + mu / 2
    if x < mu:
        # 1 − δ/q is a sum, which keeps its digits where δ is nearly q
        others = epsilon + float(log_ndtr(-x)), log_odds + log_more + float(log_ndtr(-x - mu))
        rest = float(ndtr(x - mu)) + sum(math.exp(min(log, 0.0)) for log in others)
        if rest < 0.5:
            return math.log(rate) + math.log1p(-rest)
    terms = [
        log - end * end / 2 + math.log(gap / 2)
        for log, end, gap in (
            (math.log(rate), x - mu, _gap(x - mu, mu)),
            (math.log1p(-rate) + log_more, x + mu, _gap(x, mu)),
        )
        if gap > 0 and log > -math.inf
    ]
    top = max(terms, default=-math.inf)
    return top + math.log(sum(math.exp(log - top) for log in terms)) if terms else -math.inf


def _gap(x: float, mu: float) -> float:
    return scaled_gap(x / math.sqrt(2), mu / math.sqrt(2))


def _epsilon(log_delta: float, mu: float, rate: float) -> float:
    if log_delta >= _log_delta(0.0, mu, rate):
        return 0.0
    # at least as far apart as N(μ) and N(0), and at most as N(μ) and N(−μ)
    low, high = (sampled_epsilon(step * mu, rate, log_delta) for step in (1, 2))

    def over(epsilon: float) -> float:
        return _log_delta(epsilon, mu, rate) - log_delta

    low, high = low * (1 - 1e-9), high * (1 + 1e-9)
    if over(low) <= 0 or over(high) >= 0:  # the answer is an end, up to rounding
        return low if over(low) <= 0 else high
    return float(brentq(over, low, high, xtol=1e-300, rtol=1e-14))
