"""Rényi curves of pairs: in closed form where the pair has one, else from a gridded loss."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from dp.composition.discretise import cells_of
from dp.composition.tilting import log_moment
from dp.losses.renyi import ORDERS, frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dp.composition.discretise import GridLaw
    from dp.losses import Pair

__all__ = ["TAIL", "pair_curve"]

TAIL = 1e-250
"""Mass of each release that a gridded curve leaves out; users of the curve must add it to δ."""
_CELLS = 1 << 13
_EPS = float(np.finfo(np.float64).eps)
_SMALL = 1.0
"""Exponents up to which e^x − 1 has digits that e^x has not."""


@lru_cache(maxsize=256)
def pair_curve(pair: Pair) -> tuple[NDArray[np.float64], float]:
    """Upper bound on the Rényi divergence, in either order of the pair, at all ORDERS; and mass left out."""
    known = pair.renyi()
    if known is not None:
        return known, 0.0
    orders = (True,) if pair.mirrored else (True, False)
    curves = [_gridded_curve(pair, removing=removing) for removing in orders]
    return frozen(np.max(curves, axis=0)), TAIL


def _gridded_curve(pair: Pair, *, removing: bool) -> NDArray[np.float64]:
    """Moments of the loss on a grid; they bound the true ones from above, except for the mass beyond."""
    low, high = pair.range(TAIL, removing=removing)
    step = max(0.1 * pair.spread, (high - low) / _CELLS)
    law = cells_of(pair, step, TAIL, removing=removing).above()
    if not law.mass.any():  # all of it counts as an infinite loss
        return np.full(len(ORDERS), np.inf)
    return np.array([log_moment_above(law, float(a) - 1) / (float(a) - 1) for a in ORDERS])


def log_moment_above(law: GridLaw, t: float) -> float:
    """An upper bound on log E[e^(tL)] of a law that lies above a pair's, rounding included.

    A mass errs by `rounding`, its exponential by 8·2⁻⁵² times the exponent's size, and the sum of n terms by
    n·2⁻⁵² (docs/privacy.md §2.4, items 3 and 4). Masses add up to at most 1, so that the moment less 1 is at
    most the sum of mass·(e^(tL) − 1). Where losses are small, that sum has digits which the moment has not.
    """
    keep = law.mass > 0
    mass, losses = law.mass[keep], law.losses[keep] + law.offset + law.shift
    exponent, few = t * losses, 8 * _EPS
    wrong = law.rounding + few * (20 + np.abs(exponent))
    last = (len(mass) + 20) * _EPS
    moment = log_moment(losses, mass * (1 + wrong), t)
    moment += last + few * abs(moment)
    if exponent.max() > _SMALL:
        return moment
    more = np.expm1(exponent)
    slack = (wrong + last) * (np.abs(more) + few) + few * np.abs(exponent) * np.exp(exponent)
    excess = float(mass @ more) + float(mass @ slack) * (1 + last) + law.beyond
    return min(moment, math.log1p(max(excess, 0.0)) * (1 + few))
