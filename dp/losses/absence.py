"""Cohorts of fixed size in which a client answers, or is drawn and silent (docs/privacy.md §3.4).

Around the sum of all members but one, the last member is another client, or this one with its update, or this
one without. Where the other client sends the opposite of this one, the loss falls and rises along the line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, ndtr, ndtri

from dp.losses.masses import gaussian_masses, just_below_zero
from dp.losses.pairs import MixturePair
from dp.losses.vacancy import VacancyCurve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Masses = tuple[NDArray[np.float64], NDArray[np.float64]]

__all__ = ["SilencePair", "VacancyPair"]

_EPS = float(np.finfo(np.float64).eps)
_LARGE = 600.0
_POINTS, _REACH = 2001, 8.0
"""Outputs, and their distance from the outermost centres in deviations, that give a loss's spread."""


@dataclass(frozen=True, slots=True)
class VacancyPair:
    """(1−rate)·N(−1,z²) + rate·N(1,z²) against (1−rate)·N(−1,z²) + rate·N(0,z²), for a rate below 1.

    All others send −1. The client sends 1 when it is drawn, or leaves its place vacant. Along the outputs the
    loss falls from 0 to its least value and rises from there on; at x = 1/2 it is 0 again.

    Example:
        >>> pair = VacancyPair(0.1, 1.0)
        >>> present, absent = pair.cells(np.array([-math.inf, 0.0, math.inf]), removing=True)
        >>> present.round(4).tolist(), absent.round(4).tolist()
        ([0.8707, 0.1293], [0.909, 0.091])
    """

    rate: float
    stddev: float

    @property
    def attained(self) -> VacancyPair:
        """By the data of the class's description."""
        return self

    @property
    def exact(self) -> VacancyCurve:
        """In either order at most that with the answer first, for ε ≥ 0."""
        return VacancyCurve(1 / self.stddev, self.rate)

    @property
    def precision(self) -> None:
        """None: the pair is no plain Gaussian."""

    @property
    def mirrored(self) -> bool:
        """False: a vacancy is not the mirror image of an answer."""
        return False

    @property
    def spread(self) -> float:
        """An approximate standard deviation of the loss."""
        return _spread(self)

    def renyi(self) -> None:
        """None: no closed form is known."""

    def loss(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log P/Q at these outputs: log((1 + a)/(1 + b)) with the odds a of N(1) and b of N(0) to N(−1)."""
        log_a, log_b = self._log_odds(x)
        rise = (x - 0.5) / self.stddev / self.stddev  # log a − log b, in which no digits cancel
        near = np.log1p(expit(log_b) * np.expm1(np.clip(rise, -1.0, 1.0)))
        return np.where(np.abs(rise) < 1, near, np.logaddexp(0.0, log_a) - np.logaddexp(0.0, log_b))

    def outputs(
        self, losses: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The two outputs between which log P/Q is below each of these increasing values.

        With u = N(0)/N(−1), k = e^(−1/z²) and c = (1 − q)/q, the loss is l at the positive roots u of
        k·u² − e^l·u + c·(1 − e^l). For l ≥ 0 there is one, and the left output is −∞. Below the least loss
        there is none, and both outputs are where the loss is least.
        """
        least = self.least()
        at = np.maximum(losses, least)
        log_c = math.log1p(-self.rate) - math.log(self.rate)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            log_change = np.log(np.abs(np.expm1(at)))
            logs = math.log(4) - 1 / self.stddev / self.stddev + log_c - 2 * at + log_change
            # log of half of 1 + √(1 ± excess), without the digits that cancel where excess is small
            excess = np.exp(np.minimum(logs, _LARGE)) * np.where(at < 0, -1.0, 1.0)
            half = np.log1p(excess / 2 / (1 + np.sqrt(np.maximum(1 + excess, 0.0))))
            root = at + np.where(logs > _LARGE, logs / 2 - math.log(2), half)
            root = np.where(np.isposinf(at), np.inf, root)
            low = np.where(at < 0, log_c + log_change - root, -np.inf)
            right = self.stddev**2 * root + 0.5
            left = self.stddev**2 * low - 0.5
        # Near the least loss the roots have half as many digits. They must neither change places nor leave a
        # gap, in which the mass would be missing.
        turn = self.stddev**2 * (least - math.log(2)) + 0.5
        right = np.maximum.accumulate(np.where(losses > least, np.maximum(right, turn), turn))
        left = np.minimum.accumulate(np.where(losses > least, np.minimum(left, turn), turn))
        return left, right

    def least(self) -> float:
        """The smallest loss, where both roots are one: −log of half of 1 + √(1 + q/(1 − q)·e^(1/z²))."""
        grown = math.log(self.rate) - math.log1p(-self.rate) + 1 / self.stddev / self.stddev
        if grown > 0:
            return math.log(2) - float(np.logaddexp(0.0, np.logaddexp(0.0, grown) / 2))
        return -math.log1p(math.expm1(math.log1p(math.exp(grown)) / 2) / 2)

    def range(self, tail: float, *, removing: bool) -> tuple[float, float]:
        """See Pair."""
        high = float(self.loss(np.array([1 - float(ndtri(tail)) * self.stddev]))[0])
        return (self.least(), high) if removing else (-high, -self.least())

    def cells(self, losses: NDArray[np.float64], *, removing: bool) -> Masses:
        """See Pair: each cell is two intervals of outputs, of which the left one is empty above 0."""
        left, right = self.outputs(losses if removing else -losses[::-1])
        # what begins at −∞ has no left interval
        two = slice(0, int(np.searchsorted(-left, math.inf)))
        others, joined, vacant = (self._masses(left[two], right, mean) for mean in (-1.0, 1.0, 0.0))
        p = (1 - self.rate) * others + self.rate * joined
        r = (1 - self.rate) * others + self.rate * vacant
        return (p, r) if removing else (r[::-1], p[::-1])

    def _masses(
        self, left: NDArray[np.float64], right: NDArray[np.float64], mean: float
    ) -> NDArray[np.float64]:
        """Masses of one Gaussian in the cells: between outputs on the right, and on the left."""
        mass = gaussian_masses(right, mean, self.stddev)
        if left.size:
            ends = np.append(left, -np.inf)[: len(right)]
            mass[: len(ends) - 1] += gaussian_masses(ends[::-1], mean, self.stddev)[::-1]
        return mass

    def offset(self, step: float, *, removing: bool) -> float:  # noqa: ARG002 - symmetric
        """Most of the mass lies about 0."""
        return just_below_zero(self.spread) % step

    def rounding(self, tail: float) -> float:
        """See Pair."""
        reach = 2 / self.stddev - float(ndtri(tail))
        return 16 * _EPS * (8 + reach**2)  # docs/privacy.md §2.4, item 3

    def loss_rounding(self, losses: NDArray[np.float64], tail: float) -> NDArray[np.float64]:
        """See Pair; the shares of N(1) in P and of N(0) in Q, which rise with the output."""
        shares = sum(expit(log_odds) for log_odds in self._log_odds(self.outputs(losses)[1]))
        return self.rounding(tail) * shares + 2 * _EPS * (1 + losses)

    def _log_odds(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Log of the odds of N(1) to N(−1) in P, and of N(0) to N(−1) in Q, at these outputs."""
        rate = math.log(self.rate) - math.log1p(-self.rate)
        inverse = 1 / self.stddev / self.stddev
        return rate + 2 * x * inverse, rate + (x + 0.5) * inverse


@dataclass(frozen=True, slots=True)
class SilencePair:
    """The worst data at every ε. With `removing`, P is the round with an answer.

    Above 0 the curve is VacancyPair's. Below 0 the others send what the client sends, and it is that of
    MixturePair, whose N(0) is then the round with the answer. At 0 the curve has a corner.

    Args:
        attained: the pair that some data attain in every round.

    Example:
        >>> pair = SilencePair(VacancyPair(0.1, 1.0))
        >>> halves = np.array([-math.inf, 0.0, math.inf])
        >>> [part.round(4).tolist() for part in pair.cells(halves, removing=True)]
        [[0.3085, 0.6915], [0.3468, 0.6532]]
    """

    attained: VacancyPair

    @property
    def exact(self) -> VacancyCurve:
        """The curve of the pair that is the worst above ε = 0."""
        return self.attained.exact

    @property
    def precision(self) -> None:
        """None: the pair is no plain Gaussian."""

    @property
    def mirrored(self) -> bool:
        """False: an answer is not the mirror image of a silence."""
        return False

    @property
    def spread(self) -> float:
        """An approximate standard deviation of the loss."""
        return self.attained.spread

    def renyi(self) -> None:
        """None: no closed form is known."""

    def range(self, tail: float, *, removing: bool) -> tuple[float, float]:
        """See Pair."""
        above, below = self._orders(removing=removing)
        return below.range(tail, removing=False)[0], above.range(tail, removing=True)[1]

    def cells(self, losses: NDArray[np.float64], *, removing: bool) -> Masses:
        """See Pair; the atom starts a cell at 0."""
        above, below = self._orders(removing=removing)
        # cells below 0 have no mass of the first pair, and those above have none of the second
        start = max(int(np.searchsorted(losses, 0.0, side="right")) - 1, 0)
        end = int(np.searchsorted(losses, 0.0)) + 1
        first = above.cells(np.maximum(losses[start:], 0.0), removing=True)
        second = below.cells(np.minimum(losses[:end], 0.0), removing=False)
        both = np.zeros((2, len(losses) - 1))
        both[:, start:] += first
        both[:, : end - 1] += second
        both += self.atom() * ((losses[:-1] <= 0) & (losses[1:] > 0))
        p, r = both
        return p, r

    def offset(self, step: float, *, removing: bool) -> float:  # noqa: ARG002 - symmetric
        """The curve has a corner at 0, which is a point of the grid."""
        return just_below_zero(self.spread) % step

    def rounding(self, tail: float) -> float:
        """See Pair."""
        return max(part.rounding(tail) for part in self._orders(removing=True))

    def loss_rounding(self, losses: NDArray[np.float64], tail: float) -> NDArray[np.float64]:
        """See Pair."""
        above, below = (part.loss_rounding(losses, tail) for part in self._orders(removing=True))
        return np.maximum(above, below)

    def atom(self) -> float:
        """Mass at loss 0; the same for P and Q."""
        # 1 − P(L > 0) − P(L < 0); both pairs have loss 0 at x = 1/2.
        half = 0.5 / self.attained.stddev
        between = float(ndtr(half) - ndtr(-3 * half))
        return (1 - self.attained.rate) * between

    def _orders(self, *, removing: bool) -> tuple[VacancyPair | MixturePair, ...]:
        """The pair whose losses above 0 are taken, as removing, and that of the losses below, as adding."""
        alike = MixturePair(self.attained.rate, self.attained.stddev)
        return (self.attained, alike) if removing else (alike, self.attained)


@lru_cache(maxsize=256)
def _spread(pair: VacancyPair) -> float:
    reach = _REACH * pair.stddev
    x = np.linspace(-1 - reach, 1 + reach, _POINTS)
    weight = sum(
        part * np.exp(-(((x - mean) / pair.stddev) ** 2) / 2)
        for part, mean in ((1 - pair.rate, -1.0), (pair.rate, 1.0))
    )
    loss = pair.loss(x)
    largest = float(np.abs(loss).max())  # whose square may be beyond floats
    return largest * math.sqrt(float(np.average((loss / largest) ** 2, weights=weight)))
