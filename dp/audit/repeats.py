"""Noise that depends on other noise: equal, shifted, reversed, permuted, or of one pattern in several rounds.

All tests use only that correct entries are independent and symmetric, and nothing else about their law.

- Two rounds, entry by entry: given the magnitudes, the products' signs are fair coins, so that
  Σxy ÷ √Σx²y² exceeds u with probability at most 2·exp(−u²/2) (Hoeffding).
- Signs, at every shift: products of signs at one distance in a sequence are fair coins, independent of one
  another.  The sequence is all rounds one after the other, and every pair of rounds by itself, the second
  one also in reverse.
- Magnitudes, likewise: +1 for a large entry, −1 for a small one, less their mean; the products are
  bounded martingale differences.
- The same magnitudes in another order: given one round, the probability that a fresh one has exactly its
  histogram is at most the largest that any law gives that histogram.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import gammaln

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["Alike", "likest_rounds", "permuted_rounds", "shifted_magnitudes", "shifted_signs"]

_ALL_PAIRS = 1 << 22
"""Largest number of coordinates times pairs of rounds for which every pair is compared at every shift."""
_ROUNDING = 1e-6
"""Error of single-precision transforms, relative to the length; twenty times the observed error."""
_MEDIAN = 0.6744897501960817


@dataclass(frozen=True, slots=True)
class Alike:
    """Two stretches of noise, with a measure of their similarity.

    Args:
        what: description, for people.
        statistic: the absolute value of a sum of products.
        limit: value that fresh noise exceeds with at most the given probability, over all comparisons.
    """

    what: str
    statistic: float
    limit: float

    @property
    def dependent(self) -> bool:
        """Whether fresh noise is refuted."""
        return self.statistic > self.limit

    @property
    def ratio(self) -> float:
        """Statistic ÷ limit."""
        return self.statistic / max(self.limit, 1e-300)


def likest_rounds(rows: NDArray[np.float64], alarm: float) -> tuple[float, float]:
    """Cosine of the two most similar rounds, and the limit for it.

    Args:
        rows: float64[T, d].
        alarm: probability with which fresh noise exceeds the limit, over all pairs.

    Returns:
        (0, 1) for a single round.
    """
    count = len(rows)
    if count < 2:
        return 0.0, 1.0
    products, squares = rows @ rows.T, rows**2 @ (rows**2).T
    np.fill_diagonal(products, 0.0)
    norms = np.linalg.norm(rows, axis=1)
    scale = np.sqrt(np.maximum(squares, 1e-300))
    place = np.unravel_index(int(np.argmax(np.abs(products) / scale)), products.shape)
    lengths = max(float(norms[place[0]] * norms[place[1]]), 1e-300)
    bound = math.sqrt(2 * math.log(count * (count - 1) / alarm))  # Hoeffding, over all pairs
    return float(products[place]) / lengths, bound * float(scale[place]) / lengths


def shifted_signs(rows: NDArray[np.float64], alarm: float) -> Alike:
    """The most dependent signs at any shift.

    Args:
        rows: float64[T, d].
        alarm: probability with which fresh noise is found dependent.
    """
    return _likest(np.sign(rows).astype(np.float32), "signs", alarm)


def shifted_magnitudes(rows: NDArray[np.float64], stddev: float, alarm: float) -> Alike:
    """The most dependent magnitudes at any shift.

    Args:
        rows: float64[T, d].
        stddev: stated; entries count as large from about two thirds of it on.
        alarm: probability with which fresh noise is found dependent.
    """
    level = math.floor(_MEDIAN * stddev) + 0.5  # whole numbers never lie on it
    large = np.where(np.abs(rows) > level, 1.0, -1.0)
    mean = float(large.mean())
    # effect of the estimated mean: its error times sums of deviations, each within these bounds
    surplus = 6 * math.log(8 * rows.size / alarm)
    error = math.sqrt(2 * math.log(8 / alarm) / rows.size)
    widened = (1 + min(1.0, abs(mean) + error)) ** 2
    return _likest((large - mean).astype(np.float32), "sizes", alarm / 2, widened, surplus)


def _likest(
    rows: NDArray[np.float32], what: str, alarm: float, scale: float = 1.0, surplus: float = 0.0
) -> Alike:
    count, dimension = rows.shape
    every = count * (count + 1) // 2 * dimension <= _ALL_PAIRS
    pairs = count * (count + 1) // 2 if every else 2 * count - 1
    tests = rows.size + 4 * dimension * pairs
    unit = scale * math.sqrt(2 * math.log(2 * tests / alarm))
    best = Alike("", 0.0, 1.0)
    for products in itertools.chain([_along(rows)], _across(rows, reach=count if every else 2)):
        limits = unit * np.sqrt(products.overlap) + surplus + _ROUNDING * products.overlap.max()
        ratios = np.abs(products.values) / limits
        row, shift = np.unravel_index(int(np.argmax(ratios)), ratios.shape)
        if ratios[row, shift] > best.ratio:
            statistic, limit = abs(float(products.values[row, shift])), float(limits[shift])
            best = Alike(f"{what} {products.name(int(row), int(shift))}", statistic, limit)
    return best


@dataclass(frozen=True, slots=True)
class _Products:
    """Sums of products of entries that are one shift apart.

    Args:
        values: float32[n, m], for n compared stretches and m shifts.
        overlap: int64[m], largest number of products in each sum.
        first: index of the round that the others are compared with; None for the sequence of all rounds.
        reverse: whether the other stretch was read from its end.
    """

    values: NDArray[np.float32]
    overlap: NDArray[np.int64]
    first: int | None = None
    reverse: bool = False

    def name(self, row: int, shift: int) -> str:
        """Describe the similarity."""
        places = abs(shift - int(np.argmax(self.overlap)))
        where = ", in reverse" if self.reverse else f", {places} places on"
        if self.first is None:
            return f"repeat themselves over all rounds{where}"
        if row == 0:
            return f"of round {self.first + 1} repeat themselves{where}"
        return f"of round {self.first + row + 1} are those of round {self.first + 1}{where}"


def _along(rows: NDArray[np.float32]) -> _Products:
    """At every distance in the sequence of all rounds, except 0."""
    sequence = rows.ravel()
    length = next_fast_len(2 * sequence.size, real=True)
    spectrum = rfft(sequence, length)
    values = irfft(spectrum * spectrum.conj(), length)[: sequence.size].astype(np.float32)
    values[0] = 0.0
    return _Products(values[None], sequence.size - np.arange(sequence.size))


def _across(rows: NDArray[np.float32], reach: int) -> Iterator[_Products]:
    """Of each round with itself and the next ones, fewer than `reach` away, at every shift and order."""
    dimension = rows.shape[1]
    length = next_fast_len(2 * dimension, real=True)
    spectra = rfft(rows, length, axis=1)
    ramp = np.arange(1, dimension)
    overlap = np.concatenate([ramp, [dimension], ramp[::-1]])
    for first, left in enumerate(spectra):
        others = spectra[first : first + reach]
        values = irfft(left * others.conj(), length, axis=1)
        values = np.concatenate(
            [values[:, length - dimension + 1 :], values[:, :dimension]], axis=1
        )
        values[0, dimension - 1] = 0.0  # the round with itself, without a shift
        yield _Products(values.astype(np.float32), overlap, first)
        mirrored = irfft(left * others, length, axis=1)[:, : 2 * dimension - 1]
        # of a round with itself: each product of two places is there twice, a place's own square once
        mirrored[0, ::2] -= rows[first] ** 2
        mirrored[0] /= 2
        yield _Products(mirrored.astype(np.float32), overlap, first, reverse=True)


def permuted_rounds(rows: NDArray[np.float64], alarm: float) -> tuple[int, int] | None:
    """Two rounds whose magnitudes differ only in their order, if that cannot be chance.

    Args:
        rows: float64[T, d].
        alarm: probability with which fresh noise has such a pair.

    Returns:
        Their numbers, from 1, or None.
    """
    count, dimension = rows.shape
    groups: dict[bytes, list[int]] = defaultdict(list)
    ordered = np.sort(np.abs(rows), axis=1) + 0.0  # the addition removes negative zeros
    for place, row in enumerate(ordered):
        groups[row.tobytes()].append(place)
    for places in groups.values():
        if len(places) < 2:
            continue
        held = np.unique(ordered[places[0]], return_counts=True)[1].astype(np.float64)
        rarity = (
            gammaln(dimension + 1)
            - float(gammaln(held + 1).sum())
            + float(held @ np.log(held / dimension))
        )
        if rarity <= math.log(2 * alarm / (count * (count - 1))):
            return places[0] + 1, places[1] + 1
    return None
