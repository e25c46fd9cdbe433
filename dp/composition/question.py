"""What is asked of a composition, and the tilt at which the answer can be read best."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dp.composition.tilting import log_moments, thinned

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

    def bounds(ts: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.zeros(len(ts))
        for values, mass, n, offset in coarse:
            total += n * (log_moments(values, mass, ts) + ts * offset)
        return np.array(
            [question.estimate(float(m), float(t)) for m, t in zip(total, ts, strict=True)]
        )

    def spread(t: float) -> float:
        total = 0.0
        for values, mass, n, _ in coarse:
            logs = t * values + np.log(mass)
            weight = np.exp(logs - float(logs.max()))
            weight /= weight.sum()
            away = np.abs(values - weight @ values)
            most = float(away.max()) or 1.0
            total = math.hypot(total, most * math.sqrt(n * float(weight @ (away / most) ** 2)))
        return total

    logs = np.linspace(math.log(1e-4), math.log(1e9), 31)
    for _ in range(2):
        best = int(np.argmin(bounds(np.exp(logs))))
        low, high = logs[max(best - 1, 0)], logs[min(best + 1, len(logs) - 1)]
        logs = np.linspace(low, high, 9)
    ts = np.exp(logs)
    found = bounds(ts)
    best = int(np.argmin(found))
    t, bound = float(ts[best]), float(found[best])
    if question.epsilon is None:
        return Tilt(t, bound, _LOG_OUTSIDE - _UNKNOWN)
    ts = np.exp(math.log(t) + np.linspace(-3.0, 0.0, 16))
    worse = bounds(ts) - bound
    costs = [
        0.1 * more + math.log(spread(float(t)) + 1e-300) if more <= _WORSE else math.inf
        for t, more in zip(ts, worse.tolist(), strict=True)
    ]
    best = int(np.argmin(costs))
    t, bound = float(ts[best]), bound + float(worse[best])
    return Tilt(t, bound, _LOG_OUTSIDE - max(0.0, bound - question.log_delta))
