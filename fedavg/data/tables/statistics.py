"""Statistics of fields over all clients.  Each one is a secure sum, so rows of clients are never pooled.

There are three kinds of sums: (1) the rows, the present cells, the rows of each category, and how many
clients have their largest magnitude at each power of two, which gives the fixed-point scale of (2); (2) sums
and sums of squares; and (3), if a median is needed, three histograms that find it digit by digit. The server
learns these totals and nothing else about a client. The sums carry no noise, so they are not used under
differential privacy.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedavg.data.tables.columns.policies import POLICIES
from fedavg.errors import DataError, PlanError
from fedavg.sums.once import sum_once

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fedavg.data.tables.columns.interface import Field
    from fedavg.sums.interface import SecureSum

__all__ = ["Statistics", "summed_statistics"]

_MOST_CLIENTS = (
    100  # the cost of pairwise masks is quadratic in the clients, and 100 suffice for statistics
)
_LOWEST, _HIGHEST = -64, 128  # range of the powers of two that are distinguished
_SUM_BITS = 50  # every backend can sum a hundred such numbers in int64
_FRACTION_BITS = 36
_DIGITS = (11, 11, 10)  # the 32 bits of a float, in the digits that successive histograms find


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """The summed statistics, with one entry for each field.

    Args:
        rows: number of rows of all queried clients.
        clients: number of queried clients.
        present: int64[f], number of cells that are not missing.
        counts: int64[k], rows of each category; empty for a measurement.
        mean, deviation: float64[f] of measurements; NaN for categories and if every cell is missing.  A
            deviation of NaN also means that the field is constant, within the precision of the sums.
        median: float64[f], the lower median, rounded to float32; NaN if it was not needed.
    """

    rows: int
    clients: int
    present: NDArray[np.int64]
    counts: tuple[NDArray[np.int64], ...]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    median: NDArray[np.float64]


def summed_statistics(
    clients: Mapping[int, NDArray[np.float64]],
    fields: Sequence[Field],
    secure_sum: SecureSum,
    *,
    seed: int,
) -> Statistics:
    """Sum the statistics of the fields over at most a hundred clients, drawn by the public seed.

    Args:
        clients: each client's own rows, float64[n, f]: measurements, codes of categories, NaN where missing.
        fields: descriptions of the columns.
        secure_sum: backend that adds the statistics.
        seed: public seed.

    Raises:
        PlanError: there are fewer clients than the secure sum needs.
        DataError: the rows do not have these fields.
        The secure sum's own errors.
    """
    # A public seed draws the clients, so that a second run takes the same statistics.
    rng = np.random.default_rng([seed, len(clients)])  # noqa: TID251 - public seed
    asked = sorted(clients)
    if len(asked) > _MOST_CLIENTS:
        asked = sorted(rng.choice(np.array(asked), _MOST_CLIENTS, replace=False).tolist())
    # With fewer clients the sum could show a single client's rows.
    if len(asked) < secure_sum.smallest_cohort():
        raise PlanError(
            f"statistics of {len(asked)} clients cannot be summed by {secure_sum.kind}, which needs "
            f"{secure_sum.smallest_cohort()} or more; spread the table over more clients"
        )
    if any(clients[i].shape[1:] != (len(fields),) for i in asked):
        raise DataError(f"every client needs rows of the same {len(fields)} fields")
    # The tag binds each sum to this question, so that answers to another one do not fit.
    tag = hashlib.sha256(repr((seed, asked, list(fields))).encode()).digest()
    return _Asking({i: clients[i] for i in asked}, tuple(fields), secure_sum, tag).statistics()


@dataclass(frozen=True, slots=True, eq=False)
class _Asking:
    """The sums over one choice of clients."""

    clients: Mapping[int, NDArray[np.float64]]
    fields: tuple[Field, ...]
    secure_sum: SecureSum
    tag: bytes

    def statistics(self) -> Statistics:
        measured = np.array([field.measured for field in self.fields])
        totals = self._sum(b"counts", {i: self._counts(v) for i, v in self.clients.items()})
        width = len(self.fields)
        rows, present = int(totals[0]), totals[1 : 1 + width]
        sizes = [len(field.categories) for field in self.fields]
        ends = 1 + width + np.cumsum(sizes)
        counts = tuple(totals[end - size : end] for end, size in zip(ends, sizes, strict=True))
        mean, deviation, median = (np.full(width, np.nan) for _ in range(3))
        # Without a measurement the second and third sum are not needed.
        if bool(measured.any()):
            exponents = _largest(totals[1 + width + sum(sizes) :])
            mean[measured], deviation[measured] = self._moments(
                measured, exponents, present[measured]
            )
        wanted = np.flatnonzero([self._wants_median(at, rows, present) for at in range(width)])
        if len(wanted):
            median[wanted] = self._medians(wanted, present[wanted])
        return Statistics(rows, len(self.clients), present, counts, mean, deviation, median)

    def _wants_median(self, at: int, rows: int, present: NDArray[np.int64]) -> bool:
        field = self.fields[at]
        # A median costs three more sums, so it is taken only where a cell is missing.
        missing = 0 < int(present[at]) < rows
        return field.measured and missing and POLICIES[field.missing].median

    @property
    def _most(self) -> int:
        """Number of rows of the largest client; it is public, like a plan's max_examples."""
        return max(len(values) for values in self.clients.values())

    def _sum(
        self, what: bytes, vectors: Mapping[int, NDArray[np.int64]], bits: int = 0
    ) -> NDArray[np.int64]:
        context = b"table " + what + self.tag
        return sum_once(self.secure_sum, vectors, max_abs=self._most << bits, context=context).total

    def _counts(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """One client's first vector: rows, cells, rows of each category, and the level of each magnitude."""
        there = np.count_nonzero(~np.isnan(values), axis=0)
        held = [
            (values[:, at, None] == np.arange(len(field.categories))).sum(axis=0)
            for at, field in enumerate(self.fields)
            if not field.measured
        ]
        measured = [at for at, field in enumerate(self.fields) if field.measured]
        magnitudes = np.abs(np.nan_to_num(values[:, measured], nan=0.0))
        largest = magnitudes.max(axis=0, initial=0.0)
        exponent = np.clip(np.frexp(largest)[1], _LOWEST, _HIGHEST)  # |x| < 2^exponent
        exponent = np.where(largest > 0, exponent, _LOWEST)
        levels = exponent[:, None] == np.arange(_LOWEST, _HIGHEST + 1)
        return np.concatenate([[len(values)], there, *held, levels.ravel()]).astype(np.int64)

    def _moments(
        self, measured: NDArray[np.bool_], exponents: NDArray[np.int64], present: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and deviation from Σx and Σx², with each x in units of its field's power of two."""
        # The number of bits shrinks with the rows, so that the sum of all still fits.
        bits = min(_FRACTION_BITS, _SUM_BITS - self._most.bit_length())

        def own(values: NDArray[np.float64]) -> NDArray[np.int64]:
            # In units of its largest power of two every value is below 1, so squares do not overflow.
            unit = np.ldexp(np.nan_to_num(values[:, measured], nan=0.0), -exponents)
            sums = np.concatenate([unit.sum(axis=0), (unit**2).sum(axis=0)])
            return np.rint(np.ldexp(sums, bits)).astype(np.int64)

        total = self._sum(b"moments", {i: own(v) for i, v in self.clients.items()}, bits)
        # An absent field has no cells, and the divisor must not be zero.
        rows = np.maximum(present, 1)
        first, second = np.ldexp(total.astype(np.float64).reshape(2, -1) / rows, -bits)
        variance = second - first**2
        # Each client's rounding error is at most half a unit in each sum, and Σx enters twice.
        resolution = np.ldexp(2.0 * len(self.clients) / rows, -bits) + 2.0**-50
        # A variance below the rounding error may be rounding alone.
        varies = (variance > 4 * resolution) & (present > 0)
        deviation = np.sqrt(np.where(varies, variance, 1.0))
        mean = np.where(present > 0, np.ldexp(first, exponents), np.nan)
        return mean, np.where(varies, np.ldexp(deviation, exponents), np.nan)

    def _medians(
        self, wanted: NDArray[np.int64], present: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The lower medians, exact in float32.

        The bits of a float, read as an integer, have the order of the floats.  So a first histogram finds the
        leading bits of a median, and each further histogram, over the cells that share these bits, finds the
        next ones.  Three sums suffice for any range, and no bounds are needed.
        """
        keys = {i: _ordered(values[:, wanted]) for i, values in self.clients.items()}
        rank = (present - 1) // 2  # number of counted cells that precede the median
        prefix = np.zeros(len(wanted), np.int64)
        left = sum(_DIGITS)
        for digit in _DIGITS:
            left -= digit
            size = 1 << digit

            what = b"median " + str(left).encode()
            total = self._sum(
                what, {i: _histogram(key, prefix, left, size) for i, key in keys.items()}
            )
            # The totals are cumulated, so that the digit of the median is the first whose count exceeds its
            # rank.
            below = np.cumsum(total.reshape(len(wanted), size), axis=1)
            found = (below <= rank[:, None]).sum(axis=1)
            before = np.where(found > 0, below[np.arange(len(wanted)), found - 1], 0)
            rank, prefix = rank - before, prefix * size + found
        return _floats(prefix)


def _largest(levels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The smallest exponent of each measurement that covers every client."""
    occupied = levels.reshape(-1, _HIGHEST + 1 - _LOWEST) > 0
    return _HIGHEST - np.argmax(occupied[:, ::-1], axis=1)


def _ordered(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """int64 of 32 bits in the order of the floats; −1 where a cell is missing."""
    limit = float(np.finfo(np.float32).max)
    bits = np.clip(values, -limit, limit).astype(np.float32).view(np.uint32).astype(np.int64)
    keys = np.where(bits >> 31, 0xFFFFFFFF - bits, bits + (1 << 31))
    # Missing cells get a key below all others, which no histogram counts.
    return np.where(np.isnan(values), -1, keys)


def _floats(keys: NDArray[np.int64]) -> NDArray[np.float64]:
    """The floats that have these positions in the order."""
    bits = np.where(keys >> 31, keys - (1 << 31), 0xFFFFFFFF - keys)
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


def _histogram(
    keys: NDArray[np.int64], prefix: NDArray[np.int64], left: int, size: int
) -> NDArray[np.int64]:
    """int64[m · size]: one client's cells whose leading bits equal `prefix`, counted by their next bits."""
    shifted, fields = keys >> left, keys.shape[1]
    alike = (shifted // size == prefix) & (keys >= 0)
    # Cells outside the prefix are counted in a spare place, which is cut off.
    place = np.where(alike, shifted % size, size) + np.arange(fields) * (size + 1)
    counted = np.bincount(place.ravel(), minlength=fields * (size + 1))
    return counted.reshape(fields, size + 1)[:, :size].ravel().astype(np.int64)
