"""Canaries: random directions that an audit inserts, and the coins that decide which of them take part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dp.checks import plain_array, positive, real_array, whole
from dp.errors import InvalidParameterError
from dp.noise import random_uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["canary_scores", "fair_coins", "unit_canaries"]

_CHUNK = 1 << 18  # uniforms a step, which fit a cache

_ITERATIONS = 60  # of conjugate gradients; scores need not be exact


def fair_coins(count: int) -> NDArray[np.bool_]:
    """Independent fair coins from operating-system entropy, which decide the canaries that take part.

    Args:
        count: number of coins, ≥ 1.

    Returns:
        bool[count].

    Example:
        >>> fair_coins(3).shape
        (3,)
    """
    return random_uniform(whole("count", count)) < 0.5


def unit_canaries(count: int, dimension: int) -> NDArray[np.float32]:
    """Independent directions, uniform on the unit sphere, from operating-system entropy.

    Args:
        count: number of canaries, ≥ 1.
        dimension: number of coordinates, ≥ 2.

    Returns:
        float32[count, dimension], each row of Euclidean norm 1.

    Raises:
        InvalidParameterError: a size is out of range.

    Example:
        >>> import numpy as np
        >>> bool(np.allclose(np.linalg.norm(unit_canaries(4, 50), axis=1), 1, atol=1e-6))
        True
    """
    count, dimension = whole("count", count), whole("dimension", dimension, 2)
    size = count * dimension
    normal = np.empty(size + size % 2, dtype=np.float32)  # in pairs
    for start in range(0, normal.size, _CHUNK):
        part = normal[start : start + _CHUNK]
        _box_muller(random_uniform(part.size).astype(np.float32), part)
    rows = normal[:size].reshape(count, dimension)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _box_muller(uniform: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    half = uniform.size // 2
    # the upper half is used as 1 − u, in (0, 1]; values that float32 rounds to 1 are moved off zero
    radius = np.sqrt(-2 * np.log(np.maximum(1 - uniform[:half], np.float32(2.0**-30))))
    angle = uniform[half:] * np.float32(2 * np.pi)
    out[:half] = radius * np.cos(angle)
    out[half:] = radius * np.sin(angle)


def canary_scores(
    released: NDArray[np.floating], canaries: NDArray[np.floating], *, stddev: float
) -> NDArray[np.float64]:
    """Score each canary's coin from a released vector, by the best linear estimate for the given noise.

    Canaries are not quite orthogonal, so a plain dot product contains parts of the others. The estimate
    removes them: (G + 4s²)⁻¹·C·(released − ½·ΣC) with G = C·Cᵀ, by conjugate gradients.

    Args:
        released: float[d], in units of one canary's contribution.
        canaries: float[k, d], rows of norm 1.
        stddev: s, standard deviation of the noise in each coordinate, in the same units; it tunes the attack,
            and no bound depends on it.

    Returns:
        float64[k], near +½ for a canary that seems included and near −½ for one that does not.

    Raises:
        InvalidParameterError: the shapes do not fit, or the stddev is not positive.

    Example:
        >>> import numpy as np
        >>> canaries = unit_canaries(50, 400)
        >>> scores = canary_scores(canaries[:25].sum(axis=0), canaries, stddev=0.1)
        >>> bool((scores[:25] > 0).all() and (scores[25:] < 0).all())
        True
    """
    ridge = 4 * positive("stddev", stddev) ** 2
    vector, rows = real_array("released", released), plain_array("canaries", canaries, "f")
    if vector.ndim != 1 or rows.ndim != 2 or rows.shape[1] != vector.size:
        raise InvalidParameterError(
            f"a released vector of shape {vector.shape} does not fit canaries of shape {rows.shape}"
        )
    centred = vector - rows.sum(axis=0, dtype=np.float64) / 2
    residual = (rows @ centred.astype(rows.dtype)).astype(np.float64)
    found, direction, size = np.zeros(len(rows)), residual.copy(), float(residual @ residual)
    enough = 1e-12 * size
    for _ in range(_ITERATIONS):
        if size <= enough:
            break
        moved = rows @ (direction.astype(rows.dtype) @ rows) + ridge * direction
        step = size / float(direction @ moved)
        found += step * direction
        residual -= step * moved
        previous, size = size, float(residual @ residual)
        direction = residual + size / previous * direction
    return found
