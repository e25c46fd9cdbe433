"""Rényi curves of pairs: in closed form where the pair has one, else from a gridded loss."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from dp.composition.discretise import on_grid
from dp.composition.tilting import log_moment
from dp.losses.renyi import ORDERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dp.losses import Pair

__all__ = ["TAIL", "pair_curve"]

TAIL = 1e-250
"""Mass of each release that a gridded curve leaves out; users of the curve must add it to δ."""
_CELLS = 1 << 13


@lru_cache(maxsize=256)
def pair_curve(pair: Pair) -> tuple[NDArray[np.float64], float]:
    """Upper bound on the Rényi divergence, in either order of the pair, at all ORDERS; and mass left out."""
    known = pair.renyi()
    if known is not None:
        return known, 0.0
    orders = (True,) if pair.mirrored else (True, False)
    curves = [_gridded_curve(pair, removing=removing) for removing in orders]
    return np.max(curves, axis=0), TAIL


def _gridded_curve(pair: Pair, *, removing: bool) -> NDArray[np.float64]:
    """Moments of the loss on a grid; they bound the true ones from above, except for the mass beyond."""
    low, high = pair.range(TAIL, removing=removing)
    step = max(0.1 * pair.spread, (high - low) / _CELLS)
    law = on_grid(pair, step, TAIL, removing=removing)[0]
    keep = law.mass > 0
    losses, mass = law.losses[keep] + law.offset, law.mass[keep]
    inside = np.array([log_moment(losses, mass, float(a) - 1) for a in ORDERS])
    return inside / (ORDERS - 1) * (1 + 1e-9) + 1e-15
