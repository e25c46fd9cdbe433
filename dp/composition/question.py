"""What is asked of a composition, and the tilt at which the answer can be read best."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dp.composition.tilting import log_moment, thinned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dp.composition.discretise import GridLaw

    Laws = tuple[tuple[GridLaw, int], ...]

__all__ = ["Question", "Tilt", "tilt_for"]

_LOG_OUTSIDE = math.log(1e-12)
"""Mass that a window may leave out on each side, where the moment bound is the answer."""
_UNKNOWN = 10.0
"""How much smaller the answer's log may be than the moment bound, while it is not known."""
_WORSE = 6.0
"""How much larger the log of the moment bound may be for a narrower window."""


@dataclass(frozen=True, slots=True)
class Question:
    """The question: ε at this log δ, or log δ at this ε."""

    log_delta: float
    epsilon: float | None = None

    def estimate(self, moment: float, t: float) -> float:
        """The answer of the moment bound at one t; its minimum over t is an upper bound on the truth."""
        inner = moment - t * math.log1p(1 / t) - math.log1p(t)
        if self.epsilon is None:
            return (inner - self.log_delta) / t
        return inner - t * self.epsilon

    def relative(self, gap: float, t: float, answer: float) -> float:
        """The relative width that results from a gap in log moments."""
        return gap / t / max(answer, 1e-300) if self.epsilon is None else gap


@dataclass(frozen=True, slots=True)
class Tilt:
    """A t, the moment bound's answer there, and the log of the mass that a window may leave out."""

    t: float
    answer: float
    log_outside: float


def tilt_for(laws: Laws, question: Question) -> Tilt:
    """A t at which the moment bound is small; any t is sound.

    Where a few large losses decide, moment bounds are far from the truth, and the t of the best one makes
    the losses so large that no window is wide enough.  A bound nearly as good may have a window of a tenth.
    """
    coarse = [(*thinned(law.losses, law.mass), n, law.offset) for law, n in laws]

    def moments(t: float) -> tuple[float, float]:
        total = spread = 0.0
        for values, mass, n, offset in coarse:
            total += n * (log_moment(values, mass, t) + t * offset)
            weight = np.exp(t * values + np.log(mass) - float((t * values + np.log(mass)).max()))
            weight /= weight.sum()
            away = np.abs(values - weight @ values)
            most = float(away.max()) or 1.0
            spread = math.hypot(spread, most * math.sqrt(n * float(weight @ (away / most) ** 2)))
        return total, spread

    def search(logs: NDArray[np.float64], best: float) -> tuple[int, list[tuple[float, float]]]:
        found: list[tuple[float, float]] = []
        for log_t in logs:
            t = math.exp(log_t)
            moment, spread = moments(t)
            bound = question.estimate(moment, t)
            cost = bound
            if question.epsilon is not None and math.isfinite(best):
                worse = bound - best
                cost = 0.1 * worse + math.log(spread + 1e-300)
                cost = cost if worse <= _WORSE else math.inf
            found.append((cost, bound))
        return int(np.argmin([cost for cost, _ in found])), found

    grid = np.linspace(math.log(1e-4), math.log(1e9), 31)
    best, found = search(grid, math.inf)
    for _ in range(2):
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        grid = np.linspace(low, high, 9)
        best, found = search(grid, math.inf)
    t, bound = math.exp(float(grid[best])), found[best][1]
    if question.epsilon is not None:
        grid = math.log(t) + np.linspace(-3.0, 0.0, 16)
        best, found = search(grid, bound)
        t, bound = math.exp(float(grid[best])), found[best][1]
        excess = max(0.0, bound - question.log_delta)
    else:
        excess = _UNKNOWN
    return Tilt(t, bound, _LOG_OUTSIDE - excess)
