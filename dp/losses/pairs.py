"""Pairs of distributions that represent one release, through their masses between given privacy losses.

Every pair here has a loss that rises with a real output x. So an interval of losses is an interval of
outputs, and a mass is a difference of normal distribution functions. docs/privacy.md §2 and §3 state which
pair dominates which release, and prove it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from dp.losses.gaussian import SampledGaussian
from dp.losses.masses import TRIFLE, gaussian_masses, just_below_zero, mixed_rounding
from dp.losses.renyi import poisson_gaussian_curve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dp.losses.outward import ExactCurve

    Masses = tuple[NDArray[np.float64], NDArray[np.float64]]

__all__ = ["ExchangePair", "MixturePair", "Pair", "SwapPair"]

_EPS = float(np.finfo(np.float64).eps)
_LARGE = 30.0


@runtime_checkable
class Pair(Protocol):
    """A dominating pair of distributions, given by the distribution of its privacy loss log P/Q.

    `removing` selects the order of the pair: with it, P is the distribution with the client's part, else the
    other one.  All methods except `attained` concern upper bounds.

    Example:
        >>> isinstance(MixturePair(1.0, 2.0), Pair)
        True
        >>> halves = np.array([-math.inf, 0.0, math.inf])
        >>> present, _ = MixturePair(1.0, 2.0).cells(halves, removing=True)
        >>> present.round(4).tolist()  # an adversary who guesses by the sign is right in 60 % of cases
        [0.4013, 0.5987]
    """

    @property
    def spread(self) -> float:
        """An approximate standard deviation of the loss; the first mesh depends on it, but no bound does."""
        ...

    @property
    def attained(self) -> Pair | None:
        """A pair that some data attain in every release: itself, or a lesser pair; None if unknown."""
        ...

    @property
    def exact(self) -> ExactCurve | None:
        """The curve of a single release, if a closed form is known."""
        ...

    @property
    def precision(self) -> float | None:
        """1/z² if the pair is N(1, z²) against N(0, z²), whose releases add up; else None."""
        ...

    @property
    def mirrored(self) -> bool:
        """Whether both orders of the pair, and of what is attained, have one curve, so that one will do."""
        ...

    def renyi(self) -> NDArray[np.float64] | None:
        """Upper bound on the Rényi divergence, in either order of the pair, at all ORDERS, if known."""
        ...

    def range(self, tail: float, *, removing: bool) -> tuple[float, float]:
        """Losses beyond which each side has at most `tail` of the first distribution's mass."""
        ...

    def cells(self, losses: NDArray[np.float64], *, removing: bool) -> Masses:
        """Masses of the first and of the second distribution between successive losses.

        Args:
            losses: float64[n + 1], increasing; may begin with −inf and end with inf.
            removing: the order of the pair.

        Returns:
            Two float64[n], each correct to a relative error of `rounding`.
        """
        ...

    def offset(self, step: float, *, removing: bool) -> float:
        """Position of the grid's points, modulo the step, so that the densest place is one of them."""
        ...

    def rounding(self, tail: float) -> float:
        """Relative error of the masses."""
        ...

    def loss_rounding(self, losses: NDArray[np.float64], tail: float) -> NDArray[np.float64]:
        """Error of the log of the masses' ratio, and of the losses that bound cells, up to ±`losses`.

        At most `rounding` for losses of either size; less where a mixture hides what it mixes in.

        Args:
            losses: float64[n], ≥ 0.
            tail: as for `range`.
        """
        ...


@dataclass(frozen=True, slots=True)
class MixturePair:
    """(1−rate)·N(0,z²) + rate·N(1,z²) against N(0,z²); rate 1 is a plain Gaussian.

    Example:
        >>> plain, sampled = MixturePair(1.0, 2.0), MixturePair(0.1, 2.0)
        >>> [round(pair.exact.epsilon(math.log(1e-5)), 2) for pair in (plain, sampled)]
        [1.99, 0.37]
    """

    rate: float
    stddev: float

    @property
    def attained(self) -> MixturePair:
        """One client sends a vector of clip norm, and the others nothing."""
        return self

    @property
    def exact(self) -> SampledGaussian:
        """See docs/privacy.md §2.2."""
        return SampledGaussian(1 / self.stddev, self.rate)

    @property
    def precision(self) -> float | None:
        """See Pair."""
        return 1 / self.stddev / self.stddev if self.rate == 1 else None

    @property
    def mirrored(self) -> bool:
        """True for a plain Gaussian."""
        return self.rate == 1

    @property
    def spread(self) -> float:
        """An approximate standard deviation of the loss."""
        inverse = 1 / self.stddev
        if self.rate == 1:
            return inverse
        return min(self.rate * math.sqrt(math.expm1(min(inverse**2, 30.0))), inverse)

    def renyi(self) -> NDArray[np.float64]:
        """See Mironov, Talwar and Zhang (2019, §3.3)."""
        return poisson_gaussian_curve(self.rate, self.stddev)

    def loss(self, x: float) -> float:
        """Log P/Q at this output."""
        stay = math.log1p(-self.rate) if self.rate < 1 else -math.inf
        return float(np.logaddexp(stay, math.log(self.rate) + (x - 0.5) / self.stddev**2))

    def outputs(self, losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """The outputs at which log P/Q takes these increasing values; −inf where none does."""
        if self.rate == 1:
            return self.stddev**2 * losses + 0.5
        small = np.minimum(losses, _LARGE)
        with np.errstate(divide="ignore", invalid="ignore"):
            grown = np.where(
                small < -0.5, np.exp(small) - (1 - self.rate), np.expm1(small) + self.rate
            )
            logs = np.where(
                losses > _LARGE,
                losses + np.log1p(-(1 - self.rate) * np.exp(-np.maximum(losses, _LARGE))),
                np.log(np.maximum(grown, 0.0)),
            )
        x = self.stddev**2 * (logs - math.log(self.rate)) + 0.5
        return np.maximum.accumulate(x)  # rounding must not reverse the order

    def range(self, tail: float, *, removing: bool) -> tuple[float, float]:
        """See Pair."""
        # N(0, z²) has a mass of `tail` below −reach, and N(1, z²) above 1 + reach.
        reach = -float(ndtri(tail)) * self.stddev
        low, high = self.loss(-reach), self.loss(1 + reach)
        return (low, high) if removing else (-high, -low)

    def cells(self, losses: NDArray[np.float64], *, removing: bool) -> Masses:
        """See Pair."""
        x = self.outputs(losses if removing else -losses[::-1])
        absent = gaussian_masses(x, 0.0, self.stddev)
        joined = gaussian_masses(x, 1.0, self.stddev)
        mixture = (1 - self.rate) * absent + self.rate * joined
        return (mixture, absent) if removing else (absent[::-1], mixture[::-1])

    def offset(self, step: float, *, removing: bool) -> float:
        """The lowest loss is log(1−rate), and for small rates most of the mass is just above it.

        The grid is placed so that this mass, merged over half a step above a point, is on the point.
        """
        if self.rate == 1:
            return 0.0
        edge = math.log1p(-self.rate)

        def excess(b: float) -> float:
            x = float(self.outputs(np.array([b]))[0])
            below = float(ndtr(x / self.stddev))
            if below < 1e-280:
                return step / 2 + edge - b
            joined = float(ndtr((x - 1) / self.stddev))
            return math.log1p(self.rate * (joined / below - 1)) + step / 2 - b

        near, far = edge + 1e-3 * step, edge + step
        if not excess(near) > 0 > excess(far):
            return 0.0
        point = float(brentq(excess, near, far, xtol=1e-9 * step)) - step / 2
        # slightly further out, so that a merged loss is never beyond its point
        point += 1e-7 * step
        if point > -TRIFLE * self.spread:  # all losses are about one point, and 0 on average
            return just_below_zero(self.spread) % step
        return (point if removing else -point) % step

    def rounding(self, tail: float) -> float:
        """See Pair."""
        reach = 1 / self.stddev - float(ndtri(tail))
        return 16 * _EPS * (8 + reach**2)  # docs/privacy.md §2.4, item 3

    def loss_rounding(self, losses: NDArray[np.float64], tail: float) -> NDArray[np.float64]:
        """See Pair."""
        return mixed_rounding(self.rate, losses, self.rounding(tail))


@dataclass(frozen=True, slots=True)
class SwapPair:
    """(1−rate)·N(0,z²) + rate·N(1,z²) against (1−rate)·N(0,z²) + rate·N(−1,z²), its own mirror image."""

    rate: float
    stddev: float

    @property
    def attained(self) -> SwapPair:
        """Two clients' opposite vectors of clip norm."""
        return self

    @property
    def exact(self) -> None:
        """None: no closed form is known."""

    @property
    def precision(self) -> None:
        """None: the pair is no plain Gaussian."""

    @property
    def mirrored(self) -> bool:
        """True: the two opposite vectors change places."""
        return True

    @property
    def spread(self) -> float:
        """An approximate standard deviation of the loss."""
        inverse = 1 / self.stddev
        return 2 * min(self.rate * math.sqrt(math.expm1(min(inverse**2, 30.0))), inverse)

    def renyi(self) -> None:
        """None: no closed form is known."""

    def loss(self, x: float) -> float:
        """Log P/Q at this output, an odd function."""
        stay, join = math.log1p(-self.rate), math.log(self.rate)
        up = np.logaddexp(stay, join + (x - 0.5) / self.stddev**2)
        down = np.logaddexp(stay, join - (x + 0.5) / self.stddev**2)
        return float(up - down)

    def outputs(self, losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """The outputs at which log P/Q takes these increasing values.

        With S = sinh(l/2)·(1−q)/q·e^(1/2z²), the quadratic for e^(x/z²) has the root e^(l/2 + asinh S).
        """
        half = np.abs(losses) / 2
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            log_sinh = np.where(
                half > _LARGE, half - math.log(2), np.log(np.sinh(np.minimum(half, _LARGE)))
            )
            log_s = log_sinh + math.log1p(-self.rate) - math.log(self.rate) + 0.5 / self.stddev**2
            root = np.where(
                log_s > _LARGE,
                log_s + math.log(2),
                np.arcsinh(np.exp(np.minimum(log_s, _LARGE))),
            )
        x = np.sign(losses) * self.stddev**2 * (half + root)
        return np.maximum.accumulate(x)

    def range(self, tail: float, *, removing: bool) -> tuple[float, float]:  # noqa: ARG002 - symmetric
        """See Pair."""
        high = self.loss(1 - float(ndtri(tail)) * self.stddev)
        return -high, high

    def cells(self, losses: NDArray[np.float64], *, removing: bool) -> Masses:  # noqa: ARG002 - symmetric
        """See Pair."""
        x = self.outputs(losses)
        still = (1 - self.rate) * gaussian_masses(x, 0.0, self.stddev)
        up = gaussian_masses(x, 1.0, self.stddev)
        down = gaussian_masses(x, -1.0, self.stddev)
        return still + self.rate * up, still + self.rate * down

    def offset(self, step: float, *, removing: bool) -> float:  # noqa: ARG002 - symmetric
        """Most of the mass lies about 0."""
        return just_below_zero(self.spread) % step

    def rounding(self, tail: float) -> float:
        """See Pair."""
        reach = 2 / self.stddev - float(ndtri(tail))
        return 16 * _EPS * (8 + reach**2)  # docs/privacy.md §2.4, item 3

    def loss_rounding(self, losses: NDArray[np.float64], tail: float) -> NDArray[np.float64]:
        """See Pair."""
        return mixed_rounding(self.rate, losses, self.rounding(tail))


@dataclass(frozen=True, slots=True)
class ExchangePair:
    """The worst of MixturePair in both orders at every ε: one order above 0, the other below.

    Args:
        attained: the mixture whose two orders are each attained by some data.
    """

    attained: MixturePair

    @property
    def stddev(self) -> float:
        """Standard deviation of the noise, for a shift of 1."""
        return self.attained.stddev

    @property
    def rate(self) -> float:
        """Probability of being in the cohort."""
        return self.attained.rate

    @property
    def exact(self) -> ExactCurve | None:
        """The curve of the mixture, which applies above ε = 0."""
        return self.attained.exact

    @property
    def precision(self) -> None:
        """None: the pair is no plain Gaussian."""

    @property
    def mirrored(self) -> bool:
        """False: the order of what is attained matters."""
        return False

    def renyi(self) -> None:
        """None: no closed form is known."""

    @property
    def spread(self) -> float:
        """An approximate standard deviation of the loss."""
        return self.attained.spread

    def range(self, tail: float, *, removing: bool) -> tuple[float, float]:  # noqa: ARG002 - symmetric
        """See Pair."""
        low = self.attained.range(tail, removing=False)[0]
        return low, self.attained.range(tail, removing=True)[1]

    def cells(self, losses: NDArray[np.float64], *, removing: bool) -> Masses:  # noqa: ARG002 - symmetric
        """See Pair; the cells of one order above 0 and of the other below; the atom starts a cell at 0."""
        parts = [
            self.attained.cells(kept(losses, 0.0), removing=order)
            for order, kept in ((True, np.maximum), (False, np.minimum))
        ]
        p, r = (above + below for above, below in zip(*parts, strict=True))
        begins = (losses[:-1] <= 0) & (losses[1:] > 0)
        return p + begins * self.atom(), r + begins * self.atom()

    def offset(self, step: float, *, removing: bool) -> float:  # noqa: ARG002 - symmetric
        """The curve has a corner at 0, which is a point of the grid."""
        return just_below_zero(self.spread) % step

    def rounding(self, tail: float) -> float:
        """See Pair."""
        return self.attained.rounding(tail)

    def loss_rounding(self, losses: NDArray[np.float64], tail: float) -> NDArray[np.float64]:
        """See Pair."""
        return self.attained.loss_rounding(losses, tail)

    def atom(self) -> float:
        """Mass at loss 0, where the curve changes from one order to the other; the same for P and Q."""
        # 1 − P(L > 0) − P(L < 0), the boundary between the orders being x = 1/2
        half = 0.5 / self.attained.stddev / math.sqrt(2)
        return (1 - self.attained.rate) * math.erf(half)
