"""From a table's numbers to a model's inputs, by statistics that the clients sum securely.

Two sums, over clients alone: (1) rows, rows of each category, and how many clients have their largest
magnitude at each power of two, which gives the fixed-point scale of (2) sums and sums of squares.  The server
learns these totals and nothing of one client; they carry no noise, so that under differential privacy they
are not asked for: there, public bounds and public categories take their place, and nothing is charged.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedavg.errors import DataError, PlanError
from fedavg.sums.once import sum_once

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fedavg.data.dataset import Dataset
    from fedavg.data.tables import Column
    from fedavg.sums.interface import SecureSum

__all__ = ["Preprocessor", "fit_preprocessor", "public_preprocessor"]

_MOST_CLIENTS = 100  # pairwise masks cost the square of the clients, and statistics need no more
_LOWEST, _HIGHEST = -64, 128  # powers of two of float32 magnitudes that are told apart
_SUM_BITS = 50  # every backend carries sums of a hundred such numbers in int64
_FRACTION_BITS = 36


@dataclass(frozen=True, slots=True, eq=False)
class Preprocessor:
    """One affine map or one category for each model input; the same at every client.

    Args:
        columns: how many columns a table has.
        source: int64[w], the column that each input comes from.
        category: float64[w], the category that it indicates, NaN where it is a measurement.
        low, high: float64[w], what a measurement is clipped to.
        centre, scale: float64[w], then (x − centre) ÷ scale.

    Raises:
        DataError: no inputs, arrays that do not pair up, or a scale that is not positive.
    """

    columns: int
    source: NDArray[np.int64]
    category: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]

    def __post_init__(self) -> None:
        parts = (self.category, self.low, self.high, self.centre, self.scale)
        if not self.source.size or any(part.shape != self.source.shape for part in parts):
            raise DataError("a preprocessor needs one entry of every kind for each model input")
        if not bool(np.all(self.scale > 0) and np.isfinite(self.scale).all()):
            raise DataError("a preprocessor's scales must be positive")

    @property
    def width(self) -> int:
        """w, the number of model inputs."""
        return len(self.source)

    def apply(self, rows: Dataset) -> Dataset:
        """Return the rows as model inputs float32[n, w]; run by each client on its own.

        Raises:
            DataError: rows of another table.
        """
        if rows.features.shape[1:] != (self.columns,):
            raise DataError(
                f"rows of shape {rows.features.shape[1:]} come from another table than this "
                f"preprocessor's {self.columns} columns"
            )
        values = rows.features[:, self.source].astype(np.float64)
        scaled = (np.clip(values, self.low, self.high) - self.centre) / self.scale
        inputs = np.where(np.isnan(self.category), scaled, values == self.category)
        return rows.with_features(inputs)


def public_preprocessor(columns: Sequence[Column]) -> Preprocessor:
    """Bring measurements from their public bounds to [−1, 1], and indicate every public category.

    No row is looked at, so that nothing is to be charged.

    Args:
        columns: every column of measurements with bounds.

    Raises:
        PlanError: measurements without bounds, by name.

    Example:
        >>> from fedavg.data.dataset import Dataset
        >>> from fedavg.data.tables import Column
        >>> public = public_preprocessor([Column("age", bounds=(0.0, 100.0)), Column("sex", 2)])
        >>> public.apply(Dataset(np.array([[75, 1]]), np.array([0]))).features
        array([[0.5, 0. , 1. ]], dtype=float32)
    """
    unbounded = [c.name for c in columns if not c.categories and c.bounds is None]
    if unbounded:
        raise PlanError(
            f"under differential privacy the scale of {', '.join(unbounded)} must be public: means and "
            "variances summed without noise would tell of single rows, and no ledger counts that; "
            "give [data.bounds], or privacy.noise = 'none'"
        )
    low, high = _bounds(columns)
    sizes = np.array([c.categories for c in columns])
    return _assemble(columns, (low + high) / 2, (high - low) / 2, np.ones(int(sizes.sum()), bool))


def fit_preprocessor(
    clients: Mapping[int, Dataset], columns: Sequence[Column], secure_sum: SecureSum, *, seed: int
) -> Preprocessor:
    """Standardise measurements by the clients' mean and variance, and indicate the categories that occur.

    At most a hundred clients are asked, drawn by the public seed.  A column that does not vary (to the
    precision of the sums) becomes zero.

    Args:
        clients: each client's own rows of the table.
        columns: what is publicly known of them; measurements are clipped to bounds where there are some.
        secure_sum: how the statistics are added.
        seed: public.

    Raises:
        PlanError: fewer clients than the secure sum needs.
        DataError: rows of another table.
        The secure sum's own errors.
    """
    rng = np.random.default_rng([seed, len(clients)])  # noqa: TID251 - public seed
    asked = sorted(clients)
    if len(asked) > _MOST_CLIENTS:
        asked = sorted(rng.choice(np.array(asked), _MOST_CLIENTS, replace=False).tolist())
    if len(asked) < secure_sum.smallest_cohort():
        raise PlanError(
            f"statistics of {len(asked)} clients cannot be summed by {secure_sum.kind}, which needs "
            f"{secure_sum.smallest_cohort()} or more; spread the table over more clients"
        )
    if any(clients[i].features.shape[1:] != (len(columns),) for i in asked):
        raise DataError(f"every client needs rows of the same {len(columns)} columns")
    rows = max(len(clients[i]) for i in asked)  # public, as a plan's max_examples is
    tag = hashlib.sha256(repr((seed, asked, list(columns))).encode()).digest()
    counts = sum_once(
        secure_sum,
        {i: _counts(clients[i], columns) for i in asked},
        max_abs=rows,
        context=b"table counts" + tag,
    ).total
    sizes = int(sum(c.categories for c in columns))
    occurs = counts[1 : 1 + sizes] > 0
    exponents = _largest(counts[1 + sizes :])
    if not exponents.size:
        return _assemble(columns, np.zeros(0), np.ones(0), occurs)
    bits = min(_FRACTION_BITS, _SUM_BITS - rows.bit_length())
    moments = sum_once(
        secure_sum,
        {i: _moments(clients[i], columns, exponents, bits) for i in asked},
        max_abs=rows << bits,
        context=b"table moments" + tag,
    ).total
    centre, scale = _mean_and_deviation(moments, int(counts[0]), exponents, bits, len(asked))
    return _assemble(columns, centre, scale, occurs)


def _bounds(columns: Sequence[Column]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pairs = [c.bounds or (-np.inf, np.inf) for c in columns if not c.categories]
    low, high = np.array(pairs, np.float64).reshape(-1, 2).T
    return low, high


def _measurements(rows: Dataset, columns: Sequence[Column]) -> NDArray[np.float64]:
    chosen = np.array([not c.categories for c in columns])
    return np.clip(rows.features[:, chosen].astype(np.float64), *_bounds(columns))


def _counts(rows: Dataset, columns: Sequence[Column]) -> NDArray[np.int64]:
    """One client's first vector: rows, rows of each category, the level of each largest magnitude."""
    source, category = _categories(columns)
    held = (rows.features[:, source] == category).sum(axis=0)
    largest = np.abs(_measurements(rows, columns)).max(axis=0, initial=0.0)
    exponent = np.clip(np.frexp(largest)[1], _LOWEST, _HIGHEST)  # |x| < 2^exponent
    exponent = np.where(largest > 0, exponent, _LOWEST)
    levels = exponent[:, None] == np.arange(_LOWEST, _HIGHEST + 1)
    return np.concatenate([[len(rows)], held, levels.ravel()]).astype(np.int64)


def _largest(levels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each measurement's smallest exponent that covers every client."""
    occupied = levels.reshape(-1, _HIGHEST + 1 - _LOWEST) > 0
    return _HIGHEST - np.argmax(occupied[:, ::-1], axis=1)


def _moments(
    rows: Dataset, columns: Sequence[Column], exponents: NDArray[np.int64], bits: int
) -> NDArray[np.int64]:
    """One client's second vector: Σx and Σx², each x in units of its column's power of two."""
    unit = np.ldexp(_measurements(rows, columns), -exponents)
    sums = np.concatenate([unit.sum(axis=0), (unit**2).sum(axis=0)])
    return np.rint(np.ldexp(sums, bits)).astype(np.int64)


def _mean_and_deviation(
    moments: NDArray[np.int64], rows: int, exponents: NDArray[np.int64], bits: int, clients: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = np.ldexp(moments.astype(np.float64) / rows, -bits).reshape(2, -1)
    variance = second - first**2
    # Each client rounds by half a unit at most, in both sums, and Σx enters twice.
    resolution = np.ldexp(2.0 * clients / rows, -bits) + 2.0**-50
    varies = variance > 4 * resolution
    deviation = np.sqrt(np.where(varies, variance, 1.0))
    return np.ldexp(first, exponents), np.where(varies, np.ldexp(deviation, exponents), np.nan)


def _categories(columns: Sequence[Column]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Column and number of every public category, in order."""
    sizes = np.array([c.categories for c in columns], np.int64)
    source = np.repeat(np.arange(len(columns)), sizes)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    return source, (np.arange(sizes.sum()) - starts).astype(np.float64)


def _assemble(
    columns: Sequence[Column],
    centre: NDArray[np.float64],
    scale: NDArray[np.float64],
    occurs: NDArray[np.bool_],
) -> Preprocessor:
    """Measurements first, then the categories that occur; NaN scales mark what does not vary."""
    source, category = (part[occurs] for part in _categories(columns))
    measured = np.flatnonzero([not c.categories for c in columns])
    low, high = _bounds(columns)
    flat = np.isnan(scale)
    low, high = np.where(flat, centre, low), np.where(flat, centre, high)  # clipped to one value
    zero, one = np.zeros(len(source)), np.ones(len(source))
    return Preprocessor(
        columns=len(columns),
        source=np.concatenate([measured, source]).astype(np.int64),
        category=np.concatenate([np.full(len(measured), np.nan), category]),
        low=np.concatenate([low, zero]),
        high=np.concatenate([high, one]),
        centre=np.concatenate([centre, zero]),
        scale=np.concatenate([np.where(flat, 1.0, scale), one]),
    )
