"""Integer noise and uniform numbers from operating-system entropy; there is no seed.

Each call keys AES-256 in counter mode anew from the operating system.  No stream outlives its call, so forked
processes, threads and repeated rounds cannot share one.  Samples are table look-ups of 128-bit uniform
integers: every output is an integer, and no floating-point number affects a decision.

Limits: a look-up's time may depend on the value drawn (memory caches), so a party that can time single draws
may learn about them.  NumPy arrays cannot be erased from memory.
"""

from __future__ import annotations

import math
import os
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from dp.checks import positive, whole
from dp.errors import InvalidParameterError
from dp.tables import Table, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = [
    "SAMPLER_TV_ERROR",
    "random_uniform",
    "sample_discrete_gaussian",
    "sample_rounded_gaussian",
    "sample_skellam",
]

SAMPLER_TV_ERROR = 2.0**-100
"""Bound on the total variation between one sample and its ideal distribution, for a FailureEvent."""

MIN_STDDEV = 0.25
MAX_STDDEV = 2.0**24
_ONE_TABLE = 2048
_MOST_DRAWS = 2**40
_CHUNK = 1 << 16
_GUIDE_SHIFT = np.uint64(48)


def _entropy(size: int) -> bytes:
    """Bytes from the operating system."""
    return os.urandom(size)


def _words() -> Callable[[int], NDArray[np.uint64]]:
    """A new keystream, read as uint64."""
    seed = _entropy(48)  # a 256-bit key, and where the counter starts
    stream = Cipher(algorithms.AES256(seed[:32]), modes.CTR(seed[32:])).encryptor()
    return lambda count: np.frombuffer(stream.update(bytes(8 * count)), dtype=np.uint64)


def random_uniform(size: int) -> NDArray[np.float64]:
    """Independent uniform multiples of 2⁻⁵³ in [0, 1).

    Args:
        size: number of draws, 0 … 2⁴⁰.

    Returns:
        float64[size].

    Example:
        >>> coins = random_uniform(10_000)
        >>> bool((0 <= coins).all() and (coins < 1).all()), bool(0.22 < (coins < 0.25).mean() < 0.28)
        (True, True)
    """
    size = _draws(size)
    words, drawn = _words(), np.empty(size)
    for start in range(0, size, _CHUNK):  # in parts that stay in the cache
        part = drawn[start : start + _CHUNK]
        np.multiply(words(len(part)) >> np.uint64(11), 2.0**-53, out=part)  # both steps are exact
    return drawn


def sample_rounded_gaussian(stddev: float, size: int) -> NDArray[np.int64]:
    """Independent N(0, stddev²), each rounded to the nearest integer.  Run by clients, or by the server.

    Args:
        stddev: standard deviation before rounding, in [0.25, 2²⁴].
        size: number of draws, 0 … 2⁴⁰.

    Returns:
        int64[size].

    Raises:
        InvalidParameterError: a parameter is out of range; choose another scale of the grid.

    Example:
        >>> noise = sample_rounded_gaussian(20.0, 10_000)
        >>> noise.dtype, bool(19 < noise.std() < 21)
        (dtype('int64'), True)
    """
    return _gaussian("rounded-gaussian", stddev, size)


def sample_discrete_gaussian(stddev: float, size: int) -> NDArray[np.int64]:
    """Independent integers with probability ∝ e^(−k²/2·stddev²); parameters as sample_rounded_gaussian.

    Example:
        >>> noise = sample_discrete_gaussian(20.0, 10_000)
        >>> noise.dtype, bool(19 < noise.std() < 21)
        (dtype('int64'), True)
    """
    return _gaussian("discrete-gaussian", stddev, size)


def sample_skellam(variance: float, size: int) -> NDArray[np.int64]:
    """Independent differences of two Poisson variables of mean variance/2.

    Args:
        variance: variance, in [0.0625, 2²⁸]; above 2²², several draws of smaller variance are added.
        size: number of draws, 0 … 2⁴⁰.

    Returns:
        int64[size].

    Example:
        >>> noise = sample_skellam(400.0, 10_000)
        >>> noise.dtype, bool(19 < noise.std() < 21)
        (dtype('int64'), True)
    """
    variance, size = positive("variance", variance), _draws(size)
    exact = Fraction(variance)
    if not MIN_STDDEV**2 <= exact <= 2**28:
        raise InvalidParameterError(f"variance must lie in [1/16, 2^28], not {variance!r}")
    # Sums of Skellam variables are Skellam, so a large variance is drawn in parts that a table holds.
    copies = math.ceil(exact / _ONE_TABLE**2)
    ready = table("skellam", exact / copies)
    words = _words()
    total = _draw(ready, size, words)
    for _ in range(copies - 1):
        total += _draw(ready, size, words)
    return total


def _draws(size: int) -> int:
    known = whole("size", size, 0)
    if known > _MOST_DRAWS:
        raise InvalidParameterError(
            f"size must be at most 2^40 = {_MOST_DRAWS:,}, not {known:,}; draw in parts"
        )
    return known


def _gaussian(kind: str, stddev: float, size: int) -> NDArray[np.int64]:
    stddev, size = positive("stddev", stddev), _draws(size)
    exact = Fraction(stddev)
    if not MIN_STDDEV <= exact <= MAX_STDDEV:
        raise InvalidParameterError(f"stddev must lie in [1/4, 2^24] grid units, not {stddev!r}")
    words = _words()
    if exact <= _ONE_TABLE:
        return _draw(table(kind, exact**2), size, words)
    # M·X + Y with X a discrete Gaussian and Y of 4M: by Poisson summation the law differs from the wanted one
    # by a factor within 1 ± 4·e^(−2π²·15), far below 2^−100 (docs/privacy.md §6).
    # M of about √σ/2 makes the two tables about equally long: X and Y have deviations of about 2√σ.
    step = 2 ** (math.frexp(stddev)[1] // 2 - 1)
    fine = Fraction(16 * step**2)
    coarse = (exact**2 - fine) / step**2
    total = _draw(table("discrete-gaussian", coarse), size, words)
    total *= step
    total += _draw(table(kind, fine), size, words)
    return total


def _draw(
    source: Table, size: int, words: Callable[[int], NDArray[np.uint64]]
) -> NDArray[np.int64]:
    drawn = np.empty(size, dtype=np.int64)
    for start in range(0, size, _CHUNK):
        part = drawn[start : start + _CHUNK]
        uniform = words(len(part))
        # The top 16 bits decide most draws; −1 stands for those that must be searched.
        count = source.guide[uniform >> _GUIDE_SHIFT]
        rest = np.flatnonzero(count < 0)
        part[:] = count
        if len(rest) > 0:
            part[rest] = _search(source, uniform[rest], words)
        part += source.lowest
    return drawn


def _search(
    source: Table, uniform: NDArray[np.uint64], words: Callable[[int], NDArray[np.uint64]]
) -> NDArray[np.int64]:
    """Number of thresholds reached; where the upper words are equal, 64 more bits decide."""
    reached = np.searchsorted(source.high, uniform, side="right")
    tied = np.flatnonzero((reached > 0) & (source.high[reached - 1] == uniform))
    for place in tied:  # about one draw in 2^64 ÷ number of thresholds
        below = int(np.searchsorted(source.high, uniform[place], side="left"))
        lower = source.low[below : reached[place]]
        reached[place] = below + np.count_nonzero(lower <= words(1)[0])
    return reached
