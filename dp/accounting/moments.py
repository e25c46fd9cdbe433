"""Rényi curves of pairs: in closed form for mixtures against one Gaussian, else from a gridded loss."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_ndtr, ndtri

from dp.accounting.compose import log_moment
from dp.accounting.discretise import on_grid
from dp.accounting.pairs import MixturePair, SwapPair
from dp.accounting.rdp import ORDERS, gaussian_curve, poisson_gaussian_curve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dp.accounting.pairs import ExchangePair, Pair

__all__ = ["pair_curve"]

_TAIL = 1e-250
_CELLS = 1 << 13


def pair_curve(pair: Pair) -> NDArray[np.float64]:
    """Upper bound on the Rényi divergence of the pair, in either order, at every order of ORDERS."""
    if isinstance(pair, MixturePair):
        return poisson_gaussian_curve(pair.rate, pair.stddev)
    return _gridded_curve(pair)


@lru_cache(maxsize=256)
def _gridded_curve(pair: SwapPair | ExchangePair) -> NDArray[np.float64]:
    """Moments of the loss connected to a grid, which are above the true ones, and of what lies beyond.

    Beyond the output X of the grid's end P is below N(1,z²) and Q above (1−q)·N(0,z²), so that
    ∫ P^α·Q^(1−α) there is at most (1−q)^(1−α)·e^(α(α−1)/2z²)·P[N(α,z²) > X].
    """
    low, high = pair.range(_TAIL, removing=True)
    step = max(0.1 * pair.spread, (high - low) / _CELLS)
    law = on_grid(pair, step, _TAIL, removing=True)[0]
    keep = law.mass > 0
    losses, mass = law.losses[keep] + law.offset, law.mass[keep]
    inside = np.array([log_moment(losses, mass, float(a) - 1) for a in ORDERS])
    z = pair.stddev
    end = 1 - z * float(ndtri(_TAIL))
    beyond = ORDERS * (ORDERS - 1) / 2 / z / z - (ORDERS - 1) * math.log1p(-pair.rate)
    beyond = beyond + log_ndtr((ORDERS - end) / z)
    total = np.logaddexp(inside, beyond) / (ORDERS - 1) * (1 + 1e-9) + 1e-15
    # sampling never costs: two Gaussians at distance 2, in these units, or at distance 1
    return np.minimum(total, gaussian_curve(z / 2 if isinstance(pair, SwapPair) else z))
