"""Laplace noise: the pair of a continuous or discrete Laplace mechanism, whose privacy loss is bounded.

The loss rises with the output between the two centres and is constant beyond them, so its distribution has an
atom at either end.  docs/privacy.md §12 states which release the pair dominates, and proves it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln, logsumexp

from dp.losses.gaussian import sampled, unsampled
from dp.losses.masses import mixed_rounding
from dp.losses.outward import ARGUMENT, ULP, between
from dp.losses.renyi import ORDERS, frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dp.losses.pairs import Masses

__all__ = ["LaplaceCurve", "LaplacePair", "largest_loss"]

_EPS = float(np.finfo(np.float64).eps)
_LARGE = 700.0


def largest_loss(rate: float, reach: float) -> float:
    """log(1 − rate + rate·e^reach), the largest loss of a release that a client joins at this rate."""
    grown = rate * math.expm1(min(reach, _LARGE))
    if -0.5 < grown < math.exp(_LARGE / 2):
        return math.log1p(grown)
    if rate == 1:
        return reach
    return float(np.logaddexp(math.log1p(-rate), math.log(rate) + reach))


@dataclass(frozen=True, slots=True)
class LaplaceCurve:
    """δ(ε) of one release of continuous noise: δ = q·(1 − e^((ε' − r)/2)), with e^ε' = 1 + (e^ε − 1)/q.

    Args:
        rate: q, the sampling rate.
        reach: r, distance ÷ scale.
    """

    rate: float
    reach: float

    def log_delta(self, epsilon: float) -> float:
        """See ExactCurve."""
        return self._log_delta(unsampled(epsilon, self.rate), self.reach)

    def epsilon(self, log_delta: float) -> float:
        """See ExactCurve."""
        share = math.exp(log_delta - math.log(self.rate))
        inner = self.reach + 2 * math.log1p(-share) if share < 1 else 0.0
        return largest_loss(self.rate, inner) if inner > 0 else 0.0

    def log_delta_bounds(self, epsilon: float) -> tuple[float, float]:
        """See ExactCurve: δ falls with ε and rises with the reach, so each is moved to either side."""
        inner = unsampled(epsilon, self.rate)
        found = [
            self._log_delta(inner * (1 - side * ARGUMENT), self.reach * (1 + side * ARGUMENT))
            for side in (-1, 1)
        ]
        slack = ULP * (2 + abs(math.log(self.rate)))
        return found[0] - slack, found[1] + slack

    def epsilon_bounds(self, log_delta: float) -> tuple[float, float]:
        """See ExactCurve."""
        log_share = log_delta - math.log(self.rate)
        slack = ULP * (2 + abs(log_delta) + abs(math.log(self.rate)))
        found: list[float] = []
        for side in (-1, 1):
            share = math.exp(log_share - side * slack)
            fall = 2 * math.log1p(-share) * (1 - side * ULP) if share < 1 else -math.inf
            inner = max(self.reach * (1 + side * ARGUMENT) + fall, 0.0)
            found.append(sampled(inner, self.rate))
        return between(found[0], found[1])

    def _log_delta(self, inner: float, reach: float) -> float:
        # No loss exceeds the reach; far beyond it the exponential would overflow.
        if inner >= reach:
            return -math.inf
        return math.log(self.rate) + math.log(-math.expm1((inner - reach) / 2))


@dataclass(frozen=True, slots=True)
class LaplacePair:
    """(1−rate)·L(0) + rate·L(1) against L(0), with L(m) ∝ e^(−|x − m|·reach), on the line or on a grid.

    Args:
        rate: rate of the mixture; 1 is a plain Laplace mechanism.
        reach: distance of the two centres ÷ scale: the loss of a plain release is within ± this.
        steps: distance of the centres in grid steps; None for continuous noise.
    """

    rate: float
    reach: float
    steps: int | None = None

    @property
    def attained(self) -> LaplacePair:
        """One client moves one coordinate by the whole sensitivity, and the others contribute nothing."""
        return self

    @property
    def exact(self) -> LaplaceCurve | None:
        """See docs/privacy.md §12."""
        return LaplaceCurve(self.rate, self.reach) if self.steps is None else None

    @property
    def precision(self) -> None:
        """None: the pair is no plain Gaussian."""

    @property
    def mirrored(self) -> bool:
        """True without sampling."""
        return self.rate == 1

    @property
    def spread(self) -> float:
        """An approximate standard deviation of the loss."""
        plain = min(self.reach, 2.0)
        return min(self.rate * math.expm1(min(self.reach, 30.0)), plain)

    def renyi(self) -> NDArray[np.float64]:
        """See Pair."""
        return _curve(self)

    def range(self, tail: float, *, removing: bool) -> tuple[float, float]:  # noqa: ARG002 - bounded
        """See Pair."""
        low, high = self._ends()
        return (low, high) if removing else (-high, -low)

    def cells(self, losses: NDArray[np.float64], *, removing: bool) -> Masses:
        """See Pair; an atom belongs to the cell that starts at its loss, or contains it."""
        edges = losses if removing else -losses[::-1]
        absent, joined = self._masses(edges)
        mixture = (1 - self.rate) * absent + self.rate * joined
        return (mixture, absent) if removing else (absent[::-1], mixture[::-1])

    def offset(self, step: float, *, removing: bool) -> float:
        """The atom at the largest loss is a point of the grid, because it decides small δ."""
        low, high = self._ends()
        return (high if removing else -low) % step

    def rounding(self, tail: float) -> float:  # noqa: ARG002 - bounded
        """See Pair."""
        return 16 * _EPS * (8 + self.reach - math.log(self.rate))

    def loss_rounding(self, losses: NDArray[np.float64], tail: float) -> NDArray[np.float64]:
        """See Pair."""
        return mixed_rounding(self.rate, losses, self.rounding(tail))

    def _ends(self) -> tuple[float, float]:
        return largest_loss(self.rate, -self.reach), largest_loss(self.rate, self.reach)

    def _masses(self, edges: NDArray[np.float64]) -> Masses:
        """Masses of L(0) and L(1) between losses: atoms at both ends, exponentials in between."""
        low, high = self._ends()
        # the loss is where log L(1)/L(0) = u with q·e^u = e^loss − (1 − q)
        small = np.minimum(edges, _LARGE)
        with np.errstate(divide="ignore"):
            grown = np.where(
                small < -0.5, np.exp(small) - (1 - self.rate), np.expm1(small) + self.rate
            )
            logs = np.log(np.maximum(grown, 0.0)) + np.maximum(edges - _LARGE, 0.0)
        place = np.clip((logs - math.log(self.rate)) / self.reach, -1.0, 1.0)
        # Rounding must not make positions fall, which would make masses negative.
        place = np.maximum.accumulate((1 + place) / 2)  # from 0 at one centre to 1 at the other
        begins = [(edges[:-1] <= end) & (edges[1:] > end) for end in (low, high)]
        leads, (own, far), place = self._tails(place)
        width = -np.expm1(-self.reach * np.diff(place))
        absent = leads[0] * np.exp(-self.reach * place[:-1]) * width
        joined = leads[1] * np.exp(-self.reach * (1 - place[1:])) * width
        return (
            absent + begins[0] * own + begins[1] * far,
            joined + begins[0] * far + begins[1] * own,
        )

    def _tails(
        self, place: NDArray[np.float64]
    ) -> tuple[tuple[float, float], tuple[float, float], NDArray[np.float64]]:
        """Factors of the masses between the centres, the masses of the two atoms, and positions for counting.

        Outputs up to one centre form one atom, and those from the other centre on the other.  On a grid, the
        outputs 1 … steps − 1 are in between, and those less than an edge's position times steps are below it.
        """
        if self.steps is None:
            return (0.5, 0.5), (0.5, 0.5 * math.exp(-self.reach)), place
        fall = math.exp(-self.reach / self.steps)
        below = np.clip(np.ceil(place * self.steps), 1, self.steps)
        atoms = 1 / (1 + fall), math.exp(-self.reach) / (1 + fall)
        return (fall / (1 + fall), 1 / (1 + fall)), atoms, (below - 1) / self.steps


@lru_cache(maxsize=256)
def _curve(pair: LaplacePair) -> NDArray[np.float64]:
    """Rényi divergence of the mixture from L(0), which is at least the divergence in the other direction.

    That is theorem 5 of Mironov, Talwar and Zhang (2019), which needs a reflection that exchanges the two
    laws. Whole orders use the binomial sum over plain moments. Log moments are convex in the order, and 0 at
    order 1, so chords bound those in between.
    """
    plain = _log_moments(pair, ORDERS) / (ORDERS - 1)
    if pair.rate < 1:
        whole = np.unique(ORDERS[np.floor(ORDERS) == ORDERS])
        moments = np.array([_sampled_log_moment(pair, int(order)) for order in whole])
        knots, values = np.append(1.0, whole), np.append(0.0, moments)
        plain = np.minimum(plain, np.interp(ORDERS, knots, values) / (ORDERS - 1))
    # Rounded up, for an upper bound; no Rényi divergence exceeds the largest loss.
    curve = np.maximum(plain, 0.0) * (1 + 1e-13) + 1e-15
    return frozen(np.minimum(curve, largest_loss(pair.rate, pair.reach) * (1 + 1e-13)))


def _log_moments(pair: LaplacePair, orders: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log E[(L(1)/L(0))^α] under L(0), α > 1 (Mironov 2017, proposition 6, and its sum over a grid)."""
    up, down = (orders - 1) * pair.reach, -orders * pair.reach
    if pair.steps is None:
        return np.logaddexp(
            up + np.log(orders) - np.log(2 * orders - 1),
            down + np.log(orders - 1) - np.log(2 * orders - 1),
        )
    step = pair.reach / pair.steps
    both = -math.log1p(math.exp(-step))
    ends = np.logaddexp(up, down) + both
    if pair.steps == 1:
        return ends
    # Σ_j e^(j·g), 1 ≤ j < steps, with g = (2α − 1)·step
    growth = (2 * orders - 1) * step
    between = up - np.log(np.expm1(np.minimum(growth, 700.0))) - np.maximum(growth - 700.0, 0.0)
    between = between + np.log(-np.expm1((1 - pair.steps) * growth))
    return np.logaddexp(ends, between + both + math.log(-math.expm1(-step)))


def _sampled_log_moment(pair: LaplacePair, order: int) -> float:
    k = np.arange(order + 1, dtype=np.float64)
    plain = np.zeros(order + 1)  # the moments of orders 0 and 1 are 1
    plain[2:] = _log_moments(pair, k[2:])
    terms = (
        gammaln(order + 1)
        - gammaln(k + 1)
        - gammaln(order - k + 1)
        + (order - k) * math.log1p(-pair.rate)
        + k * math.log(pair.rate)
        + plain
    )
    # log-sum-exp of terms that are known up to some ulps of their own parts
    return float(logsumexp(terms)) + 8 * _EPS * float(np.abs(terms).max() + gammaln(order + 1))
