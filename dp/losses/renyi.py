"""Rényi curves of every event, in the log domain, and their conversion to (ε, δ).

All curves have the same orders, so that composition is addition.  Curves that are proven for integer orders
only are infinite at the others.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from scipy.special import gammaln, log_ndtr, logsumexp

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_Entry = TypeVar("_Entry", bound=np.generic)

__all__ = [
    "ORDERS",
    "amplified_curve",
    "epsilon_bound",
    "frozen",
    "gaussian_curve",
    "log_delta_bound",
    "poisson_gaussian_curve",
]


def frozen(array: NDArray[_Entry]) -> NDArray[_Entry]:
    """The same array, which nobody can write to any more: what is kept for later questions must stay."""
    array.setflags(write=False)
    return array


_FRACTIONAL = np.array([1 + k / 10 for k in range(1, 100) if k % 10])
_INTEGER = np.concatenate(
    [np.arange(2, 65), np.arange(72, 129, 8), np.arange(160, 257, 32), np.array([384, 512, 1024])]
).astype(np.float64)
ORDERS: NDArray[np.float64] = frozen(np.concatenate([_FRACTIONAL, _INTEGER]))
"""Rényi orders α > 1 at which every curve is evaluated."""
_WHOLE = np.concatenate([np.zeros(len(_FRACTIONAL), bool), np.ones(len(_INTEGER), bool)])
_TERMS = 600
"""Number of terms of the two series at fractional orders; the remainder is added, not neglected."""
_EPS = float(np.finfo(np.float64).eps)


def epsilon_bound(curve: NDArray[np.float64], log_delta: float) -> float:
    """The smallest ε over all orders (Canonne, Kamath, Steinke 2020, proposition 12)."""
    bound = curve + np.log1p(-1 / ORDERS) - (log_delta + np.log(ORDERS)) / (ORDERS - 1)
    return max(0.0, float(bound.min()))


def log_delta_bound(curve: NDArray[np.float64], epsilon: float) -> float:
    """The smallest log δ over all orders at this ε, at most 0."""
    bound = (ORDERS - 1) * (curve - epsilon + np.log1p(-1 / ORDERS)) - np.log(ORDERS)
    return min(0.0, float(bound.min()))


def gaussian_curve(noise_multiplier: float) -> NDArray[np.float64]:
    """α/2z² (Mironov 2017, proposition 7)."""
    with np.errstate(over="ignore"):
        return ORDERS / 2 / noise_multiplier / noise_multiplier


@lru_cache(maxsize=256)
def poisson_gaussian_curve(rate: float, noise_multiplier: float) -> NDArray[np.float64]:
    """Poisson-subsampled Gaussian (Mironov, Talwar, Zhang 2019, §3.3).

    E_Q[(P/Q)^α] with P the mixture dominates the other direction (theorem 5), so both are covered.
    """
    if rate == 1:
        return frozen(gaussian_curve(noise_multiplier))
    whole = [_log_moment_integer(rate, noise_multiplier, int(a)) for a in _INTEGER]
    moments = np.append(_log_moments_fractional(rate, noise_multiplier), whole)
    # By quasi-convexity, sampling never increases the cost.
    plain = gaussian_curve(noise_multiplier)
    # Rounded up, for an upper bound; where the series gives nothing, the plain curve remains.
    curve = np.where(np.isfinite(moments), moments / (ORDERS - 1) * (1 + 1e-13) + 1e-15, np.inf)
    return frozen(np.minimum(curve, plain))


def _log_binomial(
    order: float | NDArray[np.float64], k: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.asarray(gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1))


_BINOMIALS = _log_binomial(_FRACTIONAL[:, None], np.arange(_TERMS, dtype=np.float64))


def _log_moment_integer(rate: float, z: float, order: int) -> float:
    k = np.arange(order + 1, dtype=np.float64)
    terms = (
        _log_binomial(order, k)
        + (order - k) * math.log1p(-rate)
        + k * math.log(rate)
        + (k * k - k) / (2 * z * z)
    )
    return float(logsumexp(terms)) + _terms_rounding(terms, order)


def _terms_rounding(terms: NDArray[np.float64], order: int) -> float:
    """Error of a log-sum-exp of binomial terms, which are known up to some ulps of their own parts."""
    return 8 * _EPS * float(np.abs(terms).max() + gammaln(order + 1))


def _log_moments_fractional(rate: float, z: float) -> NDArray[np.float64]:
    """Both half-line series of §3.3; they alternate past the order, so the last term bounds the rest."""
    k, order = np.arange(_TERMS, dtype=np.float64), _FRACTIONAL[:, None]
    j = order - k
    stay, join = math.log1p(-rate), math.log(rate)
    split = z * z * (stay - join) + 0.5
    below = k * join + j * stay + (k * k - k) / (2 * z * z) + log_ndtr((split - k) / z)
    above = k * stay + j * join + (j * j - j) / (2 * z * z) + log_ndtr((j - split) / z)
    # Γ(order − k + 1) alternates in sign once its argument is negative
    past = np.maximum(k - np.floor(order) - 1, 0)
    sign = np.where(past % 2 == 1, -1.0, 1.0)
    top = (_BINOMIALS + np.maximum(below, above)).max(axis=1)
    usable = np.isfinite(top)
    scale = np.where(usable, top, 0.0)[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        terms = np.exp(_BINOMIALS + below - scale) + np.exp(_BINOMIALS + above - scale)
        slack = 64 * _EPS * (1 + np.abs(scale[:, 0])) * terms.sum(axis=1)
        total = (sign * terms).sum(axis=1) + terms[:, -1] + slack
        return np.where(usable & (total > 0), top + np.log(np.maximum(total, 1e-300)), np.inf)


def amplified_curve(
    divergence: Callable[[NDArray[np.float64]], NDArray[np.float64]], rate: float
) -> NDArray[np.float64]:
    """Poisson amplification of any integer-order curve (Zhu and Wang 2019, theorem 5).

    Args:
        divergence: divergence of the release without sampling, at given orders.
        rate: rate of a client's coin.
    """
    plain = divergence(ORDERS)
    if rate == 1:
        return plain
    whole = np.arange(2, int(ORDERS.max()) + 1, dtype=np.float64)
    base = divergence(whole)
    stay, join = math.log1p(-rate), math.log(rate)
    curve = np.full(len(ORDERS), np.inf)
    for index in np.flatnonzero(_WHOLE):
        order = int(ORDERS[index])
        ell = whole[: order - 1]
        terms = _log_binomial(order, ell) + (order - ell) * stay + ell * join
        terms = terms + (ell - 1) * base[: order - 1]
        terms[1:] += math.log(3)  # the theorem's factor, from the term ℓ = 3 on
        # The terms ℓ = 0 and ℓ = 1 together.
        head = (order - 1) * stay + math.log1p((order - 1) * rate)
        # At small rates the terms' rounding is more than the divergence, which is never below 0.
        moment = max(float(np.logaddexp(head, logsumexp(terms))), 0.0)
        moment += _terms_rounding(terms, order)
        curve[index] = moment / (order - 1) * (1 + 1e-12)
    return np.minimum(curve, plain)
