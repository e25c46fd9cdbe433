"""Exponential tilts of gridded losses, and the window that holds nearly all of their sum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dp.composition.discretise import GridLaw

__all__ = ["Tilted", "Window", "log_moment", "log_moments", "thinned", "tilted", "window"]

_EPS = float(np.finfo(np.float64).eps)
_COARSE = 1000
_HEAVY = 512
"""Masses that are never merged with others where masses are thinned out."""


def log_moment(values: NDArray[np.float64], mass: NDArray[np.float64], t: float) -> float:
    """Log Σ mass·e^(t·value), for masses above 0."""
    exponent = t * values
    top = float(exponent.max())
    return top + math.log(float(mass @ np.exp(exponent - top)))


def log_moments(
    values: NDArray[np.float64], mass: NDArray[np.float64], ts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log Σ mass·e^(t·value) at each t, for masses above 0."""
    exponents = np.outer(ts, values)
    top = exponents.max(axis=1)
    exponents -= top[:, np.newaxis]
    return top + np.log(np.exp(exponents, out=exponents) @ mass)


@dataclass(frozen=True, slots=True)
class Tilted:
    """One release's law times e^(tL − K(t)), with its number of compositions.

    Args:
        index: int64[n], grid indices.
        weight: float64[n], summing to 1.
        log_moment: K(t), of the losses with their offset.
        mean: mean of the tilted losses without the offset.
        variance: variance of the tilted losses.
        rounding: relative error of each weight, and error of K.
        count: number of releases.
    """

    index: NDArray[np.int64]
    weight: NDArray[np.float64]
    log_moment: float
    mean: float
    variance: float
    rounding: float
    count: int


def tilted(law: GridLaw, t: float, count: int) -> Tilted:
    """Tilt one law."""
    keep = law.mass > 0
    losses, logs = law.losses[keep], np.log(law.mass[keep])
    exponent = logs + t * losses
    top = float(exponent.max())
    weight = np.exp(exponent - top)
    total = float(weight.sum())
    weight /= total
    mean = float(weight @ losses)
    variance = float(weight @ (losses - mean) ** 2)
    # Errors of exponentials, docs/privacy.md §2.4, item 4; `law.rounding` is item 3.
    size = float(np.abs(logs).max()) + t * float(np.abs(losses).max()) + abs(top)
    return Tilted(
        law.index[keep],
        weight,
        top + math.log(total) + t * law.offset,
        mean,
        variance,
        8 * _EPS * (size + t * law.offset + 20) + law.rounding,
        count,
    )


@dataclass(frozen=True, slots=True)
class Window:
    """The largest distances of the tilted sum from its mean, except for a mass of `outside`."""

    below: float
    above: float
    outside: float

    @property
    def width(self) -> float:
        """The width of both sides together."""
        return self.below + self.above


def window(parts: list[Tilted], step: float, log_outside: float) -> Window:
    """Chernoff's bound on both sides, with moments that are only ever made larger.

    Args:
        parts: the tilted laws.
        step: their mesh.
        log_outside: log of the tilted mass that may lie outside the window, on each side.
    """
    spread = math.sqrt(sum(x.count * x.variance for x in parts)) + step
    # Chernoff's bound holds at every u, so the best of some is taken.
    us = 7.0 * 2.0 ** -np.append(np.arange(-2.0, 8.0, 0.5), np.arange(8.0, 32.0)) / spread
    reaches: list[float] = []
    for sign in (-1, 1):
        coarse = [
            (*thinned(sign * (step * x.index.astype(np.float64) - x.mean), x.weight), x.count)
            for x in parts
        ]
        moments = sum(n * log_moments(values, mass, us) for values, mass, n in coarse)
        reaches.append(float(np.min((moments - log_outside) / us)) + 4 * step)
    return Window(reaches[0], reaches[1], 2 * math.exp(log_outside))


def thinned(
    values: NDArray[np.float64], mass: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """About a thousand masses none of whose moments is smaller: the heaviest, and blocks of the others."""
    values, mass = values[mass > 0], mass[mass > 0]
    if len(mass) <= _HEAVY:
        return values, mass
    heavy = np.zeros(len(mass), dtype=np.bool_)
    heavy[np.argpartition(mass, -_HEAVY)[-_HEAVY:]] = True
    spread, moved = _spread_out(values[~heavy], mass[~heavy])
    return np.concatenate([values[heavy], spread]), np.concatenate([mass[heavy], moved])


def _spread_out(
    values: NDArray[np.float64], mass: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Move each block's mass to the block's two ends, with the same mean; by convexity no moment falls."""
    block = -(-len(values) // _COARSE)
    starts = np.arange(0, len(values), block)
    ends = np.minimum(starts + block, len(values)) - 1
    total = np.add.reduceat(mass, starts)
    left, right = values[starts], values[ends]
    moved = np.add.reduceat(mass * (values - np.repeat(left, ends - starts + 1)), starts)
    far = np.divide(moved, right - left, out=np.zeros_like(total), where=right != left)
    where, what = np.concatenate([left, right]), np.concatenate([total - far, far])
    return where[what > 0], what[what > 0]
