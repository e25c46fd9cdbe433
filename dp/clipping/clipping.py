"""L2 clipping, which bounds the sensitivity of an update."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dp.checks import plain_array, positive
from dp.errors import InvalidParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["l2_clip", "l2_norm"]

# Between these, squares are exact enough: each loses at most 2⁻¹⁰⁷⁴.
_TINY, _HUGE = 2.0**-300, 2.0**300


def l2_clip(vector: NDArray[np.float64], clip_norm: float) -> NDArray[np.float64]:
    """Shrink a vector to at most this L2 norm.  Run by a client, on its update.

    The true norm of the result is at most `clip_norm`, rounding included: a result is shortened by
    (d + 8)·2⁻⁵², which bounds the rounding error of a dot product of d terms.  A vector with NaN or infinity
    anywhere becomes zero, because a refusal would reveal that something in the data was unusual.

    Args:
        vector: float64[d], d ≥ 1; entries of other real types are rounded to the nearest float64.
        clip_norm: largest norm of the result, > 0.

    Returns:
        A new float64[d].

    Raises:
        InvalidParameterError: the vector is no plain array of real numbers (a masked array hides some of
            them), or the clip norm is not positive and finite.

    Example:
        >>> import numpy as np
        >>> np.round(l2_clip(np.array([3.0, 4.0]), 1.0), 6).tolist()
        [0.6, 0.8]
    """
    clip = positive("clip_norm", clip_norm)
    values = _sent(vector)
    scale = _scale(values)
    unit = values if scale == 1.0 else values / scale
    # More than a dot product of d terms can lose (docs/privacy.md §8).
    slack = (unit.size + 8) * 2.0**-52
    length = float(np.sqrt(unit @ unit)) * (1 + slack)
    if length <= clip / scale * (1 - slack):  # surely within the bound, rounding included
        return values
    np.multiply(unit, clip / length * (1 - slack), out=values)
    return values


def l2_norm(vector: NDArray[np.float64]) -> float:
    """L2 norm of the vector that `l2_clip` uses: 0 for a vector with NaN or infinity.

    Example:
        >>> l2_norm(np.array([3.0, 4.0])), l2_norm(np.array([3.0, np.nan]))
        (5.0, 0.0)
    """
    values = _sent(vector)
    scale = _scale(values)
    unit = values if scale == 1.0 else values / scale
    return float(np.sqrt(unit @ unit)) * scale


def _sent(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """A copy, or zeros in place of a vector that is not finite."""
    given = plain_array("vector", vector)
    if given.ndim != 1 or given.size == 0:
        raise InvalidParameterError(
            f"a vector to clip must be one-dimensional and not empty, not of shape {given.shape}"
        )
    real = given.astype(np.float64)
    return real if bool(np.isfinite(real).all()) else np.zeros(real.size)


def _scale(values: NDArray[np.float64]) -> float:
    """The divisor of the entries that keeps squares from overflowing or vanishing; 1 for most vectors."""
    largest = max(float(values.max()), -float(values.min()))
    return 1.0 if largest == 0 or _TINY <= largest <= _HUGE else largest
