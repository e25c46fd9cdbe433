"""Two worlds: many runs with a client and many without, separated by a threshold; a lower bound on ε."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaincinv

from dp.checks import fraction_below_one, proper_fraction, real_array
from dp.errors import InvalidParameterError, NonFiniteError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TwoWorlds", "two_worlds"]


@dataclass(frozen=True, slots=True)
class TwoWorlds:
    """A lower bound on ε from independent runs.

    Args:
        epsilon_low: the true ε at `delta` is at least this, except with probability 1 − confidence.
        delta: δ at which ε is stated.
        confidence: confidence of the bound.
        threshold: threshold that was chosen on the first half of the runs and scored on the second.
    """

    epsilon_low: float
    delta: float
    confidence: float
    threshold: float


def two_worlds(
    without: NDArray[np.floating],
    with_client: NDArray[np.floating],
    *,
    delta: float,
    confidence: float = 0.95,
) -> TwoWorlds:
    """Bound ε from below by Clopper–Pearson intervals on one event's two probabilities.

    The event (a threshold, its side, and which world is the rarer one) is chosen on the first half of
    the runs and tested on the other half, so that the choice costs no confidence.

    Args:
        without: float[n], one score a run on the data set without the client; n ≥ 4.
        with_client: float[n'], on the data set with it.
        delta: δ, in [0, 1).
        confidence: confidence of the bound, in (0, 1).

    Raises:
        InvalidParameterError: there are too few runs, or a parameter is out of range.
        NonFiniteError: a score is NaN or infinite.

    Example:
        >>> import numpy as np
        >>> found = two_worlds(np.zeros(2000), np.ones(2000), delta=0.0)
        >>> 5 < found.epsilon_low < 6
        True
    """
    delta, confidence = (
        fraction_below_one("delta", delta),
        proper_fraction("confidence", confidence),
    )
    tail = (1 - confidence) / 2  # each of the two limits may fail with half
    worlds = [_checked("without", without), _checked("with_client", with_client)]
    first = [np.sort(world[: world.size // 2]) for world in worlds]
    second = [world[world.size // 2 :] for world in worlds]
    threshold, above, likely = _choose(first, delta, tail)
    hits = [
        int(np.count_nonzero(world >= threshold if above else world < threshold))
        for world in second
    ]
    low = _lower(hits[likely], second[likely].size, tail)
    high = _upper(hits[1 - likely], second[1 - likely].size, tail)
    # Privacy says p ≤ e^ε·p' + δ for every event, in either order of the worlds.
    epsilon = math.log((low - delta) / high) if low > delta else 0.0
    return TwoWorlds(max(0.0, epsilon), delta, confidence, threshold)


def _checked(name: str, scores: NDArray[np.floating]) -> NDArray[np.float64]:
    values = real_array(name, scores)
    if values.ndim != 1 or values.size < 4:
        raise InvalidParameterError(f"each world needs 4 runs at least, not {values.shape}")
    if not bool(np.isfinite(values).all()):
        raise NonFiniteError("a run's score is NaN or infinite")
    return values


def _choose(
    worlds: list[NDArray[np.float64]], delta: float, tail: float
) -> tuple[float, bool, int]:
    """Threshold, whether the event lies above it, and the world in which it is likely."""
    thresholds = np.unique(np.concatenate(worlds))
    best = (-math.inf, float(thresholds[0]), True, 1)
    sizes = [world.size for world in worlds]
    below = [np.searchsorted(world, thresholds, side="left") for world in worlds]
    for above in (True, False):
        hits = [size - count if above else count for size, count in zip(sizes, below, strict=True)]
        for likely in (0, 1):
            low = _lower(hits[likely], sizes[likely], tail)
            high = _upper(hits[1 - likely], sizes[1 - likely], tail)
            gain = np.where(low > delta, np.log(np.maximum(low - delta, 1e-300) / high), -np.inf)
            place = int(np.argmax(gain))
            if gain[place] > best[0]:
                best = (float(gain[place]), float(thresholds[place]), above, likely)
    return best[1], best[2], best[3]


def _lower(hits: NDArray[np.int64] | int, runs: int, tail: float) -> NDArray[np.float64]:
    """Clopper and Pearson's lower limit, exceeded by the truth except with probability `tail`."""
    count = np.asarray(hits)
    limit = betaincinv(np.maximum(count, 1), runs - count + 1, tail)
    return np.where(count > 0, limit, 0.0)


def _upper(hits: NDArray[np.int64] | int, runs: int, tail: float) -> NDArray[np.float64]:
    count = np.asarray(hits)
    limit = betaincinv(count + 1, np.maximum(runs - count, 1), 1 - tail)
    return np.where(count < runs, limit, 1.0)
