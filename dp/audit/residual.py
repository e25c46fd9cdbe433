"""Checks of the noise itself, where a simulation can isolate it: its strength, independence and shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2

from dp.audit.energy import Weakness
from dp.audit.repeats import likest_rounds, permuted_rounds, shifted_magnitudes, shifted_signs
from dp.audit.shape import misfits
from dp.checks import positive, proper_fraction, real_array
from dp.errors import InvalidParameterError, NonFiniteError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dp.audit.shape import Misfit

__all__ = ["NoiseCheck", "NoiseFault", "NoiseFinding", "check_noise"]

_CHECKS = 8
"""Number of checks that share the false-alarm probability evenly (Bonferroni)."""
_NAMED = 5


class NoiseFault(Enum):
    """The kind of difference between noise and its stated properties."""

    WEAK = "weak"
    """There is less noise than stated, in total, in a round, or in a coordinate."""
    DEPENDENT = "dependent"
    """Entries follow from other entries, so that differences of releases reveal updates."""
    MISSHAPEN = "misshapen"
    """Values are more or less frequent than in any Gaussian-like noise."""


@dataclass(frozen=True, slots=True)
class NoiseFinding:
    """One check that correct noise would have passed.

    Args:
        fault: kind of fault.
        text: description, for people.
    """

    fault: NoiseFault
    text: str


@dataclass(frozen=True, slots=True)
class NoiseCheck:
    """What was measured of noise that should be independent with a stated standard deviation.

    Args:
        stddev: stated standard deviation.
        measured: root mean square of all entries.
        low, high: limits for the true standard deviation, except with a probability of about `false_alarm`,
            if the noise is Gaussian-like.
        correlation: correlation of the two most similar rounds, by magnitude; 0 with a single round.
        correlation_limit: value that correct noise exceeds with at most an eighth of `false_alarm`.
        false_alarm: largest probability with which correct noise has any finding.
        findings: checks that correct noise would have passed; empty when nothing is wrong.
    """

    stddev: float
    measured: float
    low: float
    high: float
    correlation: float
    correlation_limit: float
    false_alarm: float
    findings: tuple[NoiseFinding, ...] = ()

    @property
    def too_weak(self) -> bool:
        """Less noise than stated: in all, in some round, or in some coordinate."""
        return self._has(NoiseFault.WEAK)

    @property
    def repeated(self) -> bool:
        """Entries that are not independent of others, in the same round or in another."""
        return self._has(NoiseFault.DEPENDENT)

    @property
    def misshapen(self) -> bool:
        """Entries whose signs or sizes are not those of Gaussian-like noise."""
        return self._has(NoiseFault.MISSHAPEN)

    def _has(self, fault: NoiseFault) -> bool:
        return any(finding.fault is fault for finding in self.findings)


def check_noise(
    residuals: NDArray[np.floating], stddev: float, *, false_alarm: float = 1e-6
) -> NoiseCheck:
    """Examine noise: what a round released, minus the sum of the updates in it.

    The checks cover strength (in total, by round, by coordinate), dependence (between rounds, signs and sizes
    at any shift, the same sizes in another order) and shape (signs, body and tails).  Correct noise has
    independent entries that are Gaussian, rounded or discrete Gaussian, Skellam, or sums of such (of at least
    half a grid unit each), and is at least as strong as stated.  Every p-value is a bound, and together they
    stay within `false_alarm` (docs/privacy.md §11).

    Args:
        residuals: float[T, d] in grid units: one row a round.
        stddev: stated standard deviation of an entry, in the same units.
        false_alarm: largest probability with which correct noise has any finding, in (0, 1).

    Raises:
        InvalidParameterError: the array has another form, or a parameter is out of range.
        NonFiniteError: an entry is NaN or infinite.

    Example:
        >>> import numpy as np
        >>> from dp import sample_rounded_gaussian
        >>> once = sample_rounded_gaussian(20.0, 4000).astype(float)
        >>> found = check_noise(np.stack([once, once]), 20.0)
        >>> found.too_weak, found.repeated, found.misshapen
        (False, True, False)
    """
    stddev = positive("stddev", stddev)
    false_alarm = proper_fraction("false_alarm", false_alarm)
    rows = real_array("residuals", residuals)
    if rows.ndim != 2 or rows.shape[0] < 1 or rows.shape[1] < 16:
        raise InvalidParameterError(
            f"noise must come as [rounds, coordinates] with 16 coordinates or more, not {rows.shape}"
        )
    if not bool(np.isfinite(rows).all()):
        raise NonFiniteError("the noise holds NaN or infinity")
    alarm = false_alarm / _CHECKS
    low, high = _limits(rows, stddev, false_alarm)
    correlation, limit = likest_rounds(rows, alarm)
    reused = _reused(rows, alarm, correlation, limit)
    return NoiseCheck(
        stddev,
        math.sqrt(float(np.mean(rows**2))),
        low,
        high,
        correlation,
        limit,
        false_alarm,
        (
            # In rounds that copy each other, one small entry would be counted in each of them.
            *_weak(rows, stddev, alarm, by_place=not reused),
            *reused,
            *_patterned(rows, stddev, alarm),
            *_misshapen(rows, stddev, alarm),
        ),
    )


def _limits(rows: NDArray[np.float64], stddev: float, false_alarm: float) -> tuple[float, float]:
    # integer noise of variance v has a kurtosis of up to 3 + 1/v, which widens the limits
    freedom = rows.size * 2 / (2 + 1 / stddev**2)
    scaled = float(np.mean(rows**2)) * freedom
    tails = (1 - false_alarm / 2, false_alarm / 2)
    low, high = (math.sqrt(scaled / float(chi2.ppf(tail, freedom))) for tail in tails)
    return low, high


def _weak(
    rows: NDArray[np.float64], stddev: float, alarm: float, *, by_place: bool
) -> list[NoiseFinding]:
    """Three checks: all entries, each round, and, unless rounds are alike, each coordinate."""
    weakness, squares = Weakness(stddev), rows**2
    rounds, dimension = rows.shape
    texts: list[str] = []
    if float(squares.sum()) <= weakness.limit(rows.size, alarm):
        texts.append(
            f"the noise's standard deviation is {math.sqrt(float(squares.mean())):.4g} grid units where "
            f"{stddev:.4g} are stated"
        )
    by_round = np.flatnonzero(squares.sum(axis=1) <= weakness.limit(dimension, alarm / rounds))
    if by_round.size > 0:
        texts.append(f"too little noise in {_places('round', by_round, rounds)}")
    places = np.flatnonzero(squares.sum(axis=0) <= weakness.limit(rounds, alarm / dimension))
    if by_place and places.size > 0:
        texts.append(f"too little noise in {_places('coordinate', places, dimension)}")
    return [NoiseFinding(NoiseFault.WEAK, text) for text in texts]


def _places(what: str, places: NDArray[np.int64], total: int) -> str:
    """A text such as "round 2" or "4 of 10 coordinates (1, 2, 3, …)", which counts from 1."""
    numbers = [str(place + 1) for place in places[:_NAMED]]
    if places.size == 1:
        return f"{what} {numbers[0]} of {total}"
    more = ", …" if places.size > _NAMED else ""
    return f"{places.size} of {total} {what}s ({', '.join(numbers)}{more})"


def _reused(
    rows: NDArray[np.float64], alarm: float, correlation: float, limit: float
) -> list[NoiseFinding]:
    """Three checks: rounds entry by entry, signs at any shift, and sizes in another order."""
    texts: list[str] = []
    if abs(correlation) > limit:
        texts.append(
            f"two rounds' noise has a correlation of {correlation:.3g}: it was not drawn afresh"
        )
    signs, permuted = shifted_signs(rows, alarm), permuted_rounds(rows, alarm)
    if signs.dependent:
        texts.append(f"the noise's {signs.what}")
    if permuted is not None:
        texts.append(
            f"the noise of round {permuted[1]} has the sizes of round {permuted[0]}, in some order"
        )
    return [NoiseFinding(NoiseFault.DEPENDENT, text) for text in texts]


def _patterned(rows: NDArray[np.float64], stddev: float, alarm: float) -> list[NoiseFinding]:
    """One check: large and small entries fall on the same places, or on shifted ones."""
    sizes = shifted_magnitudes(rows, stddev, alarm)
    if not sizes.dependent:
        return []
    return [NoiseFinding(NoiseFault.DEPENDENT, f"the noise's {sizes.what}")]


def _misshapen(rows: NDArray[np.float64], stddev: float, alarm: float) -> list[NoiseFinding]:
    """One check, of all entries and of each round; the worst level is told of each."""
    whole, apart = misfits(rows, stddev, alarm)
    texts: list[str] = []
    if whole is not None:
        texts.append(f"{_share(whole)} of the noise {_expected(whole)}")
    if apart:
        places, worst = np.array(sorted(apart)), apart[min(apart)]
        texts.append(
            f"the shape is wrong in {_places('round', places, len(rows))}: in the first of them, "
            f"{_share(worst)} {_expected(worst)}"
        )
    return [NoiseFinding(NoiseFault.MISSHAPEN, text) for text in texts]


def _share(misfit: Misfit) -> str:
    return f"{misfit.share:.2%}"


def _expected(misfit: Misfit) -> str:
    return (
        f"lies at or below {misfit.level:.4g} grid units, where right noise has {misfit.low:.2%} to "
        f"{misfit.high:.2%}"
    )
