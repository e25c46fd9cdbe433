"""Tables against exact probabilities; samples against their distributions."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from scipy import stats

import dp.noise
from dp import (
    SAMPLER_TV_ERROR,
    InvalidParameterError,
    NonFiniteError,
    random_uniform,
    sample_discrete_gaussian,
    sample_rounded_gaussian,
    sample_skellam,
)
from dp.tables import table


def exact_weights(kind: str, variance: Fraction, values: list[int]) -> list[mpmath.mpf]:
    """Probabilities up to one constant factor, from the definitions, in 120 digits."""
    v = mpmath.mpf(variance.numerator) / variance.denominator
    s = mpmath.sqrt(v)
    if kind == "skellam":
        return [mpmath.exp(-v) * mpmath.besseli(abs(k), v) for k in values]
    if kind == "discrete-gaussian":
        return [mpmath.exp(-(mpmath.mpf(k) ** 2) / (2 * v)) for k in values]
    root = s * mpmath.sqrt(2)
    # by symmetry on the right-hand side, where erfc is small and exact
    tails = [mpmath.erfc((abs(k) - mpmath.mpf(1) / 2) / root) / 2 for k in values]
    return [
        a - mpmath.erfc((abs(k) + mpmath.mpf(1) / 2) / root) / 2
        for k, a in zip(values, tails, strict=True)
    ]


@pytest.mark.parametrize("kind", ["rounded-gaussian", "discrete-gaussian", "skellam"])
@pytest.mark.parametrize("variance", [Fraction(1, 16), Fraction(1), Fraction(9, 2), Fraction(400)])
def test_table_is_within_its_stated_total_variation(kind, variance):
    built = table(kind, variance)
    thresholds = [(int(h) << 64) + int(low) for h, low in zip(built.high, built.low, strict=True)]
    assert thresholds == sorted(thresholds)
    masses = np.diff([0, *thresholds, 1 << 128])
    with mpmath.workdps(120):
        values = list(range(built.lowest, built.lowest + len(masses)))
        wanted = exact_weights(kind, variance, values)
        total = mpmath.fsum(wanted)
        if kind == "discrete-gaussian":  # the rest of the sum, beyond the table
            v = mpmath.mpf(variance.numerator) / variance.denominator
            total += 2 * mpmath.nsum(
                lambda j: mpmath.exp(-((j - built.lowest + 1) ** 2) / (2 * v)), [0, 60]
            )
            wanted = [w / total for w in wanted]
        cut = abs(1 - mpmath.fsum(wanted))
        distance = mpmath.fsum(
            abs(w - mpmath.mpf(int(m)) / 2**128) for w, m in zip(wanted, masses, strict=True)
        )
        assert (distance + cut) / 2 <= SAMPLER_TV_ERROR


def test_two_level_law_is_within_the_stated_total_variation():
    """σ = 2049 from M·X + Y: the weight of any y is constant but for Poisson-summation terms."""
    with mpmath.workdps(60):
        variance, step = mpmath.mpf(2049) ** 2, 2 ** (math.frexp(2049.0)[1] // 2 - 1)
        fine = 16 * step**2
        coarse = (variance - fine) / step**2
        ratios = []
        for y in (0, 7, 2049, 9000):
            middle = int(y * (variance - fine) / variance / step)
            total = mpmath.fsum(
                mpmath.exp(-(mpmath.mpf(x) ** 2) / (2 * coarse))
                * mpmath.exp(-(mpmath.mpf(y - step * x) ** 2) / (2 * fine))
                for x in range(middle - 90, middle + 91)
            )
            scaled = total / mpmath.exp(-(mpmath.mpf(y) ** 2) / (2 * variance))
            ratios.append(scaled)
        assert max(abs(ratio / ratios[0] - 1) for ratio in ratios) <= 2.0**-110


def chi_squared(sample: np.ndarray, kind: str, variance: Fraction) -> float:
    built = table(kind, variance)
    upper = [0.0, *(int(h) / 2**64 for h in built.high), 1.0]
    expected = np.diff(upper) * len(sample)
    counts = np.bincount(sample - built.lowest, minlength=len(expected))
    common = expected >= 20
    seen = np.append(counts[common], counts[~common].sum())
    wanted = np.append(expected[common], expected[~common].sum())
    return float(stats.chi2.sf(((seen - wanted) ** 2 / wanted).sum(), len(wanted) - 1))


SAMPLERS = [
    ("rounded-gaussian", sample_rounded_gaussian, lambda s: s),
    ("discrete-gaussian", sample_discrete_gaussian, lambda s: s),
    ("skellam", sample_skellam, lambda s: s * s),
]


@pytest.mark.parametrize(("kind", "sample", "argument"), SAMPLERS)
@pytest.mark.parametrize("stddev", [1.0, 20.0, 300.0])
def test_chi_squared_accepts_at_scale_and_rejects_at_five_percent(kind, sample, argument, stddev):
    """10⁶ draws, threshold p = 1e-8: nine false alarms in 10⁸ runs of all cases."""
    drawn = sample(argument(stddev), 1_000_000)
    assert drawn.dtype == np.int64
    assert chi_squared(drawn, kind, Fraction(stddev) ** 2) > 1e-8
    for factor in (0.95, 1.05):
        wrong = sample(argument(stddev * factor), 1_000_000)
        assert chi_squared(wrong, kind, Fraction(stddev) ** 2) < 1e-8


@pytest.mark.parametrize(("kind", "sample", "argument"), SAMPLERS)
@pytest.mark.parametrize("stddev", [2500.0, 12_000.0])
def test_large_scales_keep_mean_and_variance(kind, sample, argument, stddev):
    """10⁶ draws; mean within 6/1000 σ and variance within 1 %: six and seven standard errors."""
    drawn = sample(argument(stddev), 1_000_000).astype(np.float64)
    assert abs(drawn.mean()) < 6e-3 * stddev, kind
    assert abs(drawn.var() / stddev**2 - 1) < 0.01
    assert np.unique(drawn % 64).size == 64


def test_large_rounded_gaussian_passes_kolmogorov_smirnov():
    """4·10⁵ draws at σ = 10⁵ (grid negligible), threshold p = 1e-8; rejects a scale off by 5 %."""
    drawn = sample_rounded_gaussian(1e5, 400_000)
    assert stats.kstest(drawn / 1e5, "norm").pvalue > 1e-8
    assert stats.kstest(drawn / 1.05e5, "norm").pvalue < 1e-8


def test_uniform_numbers():
    """10⁶ draws, Kolmogorov–Smirnov threshold p = 1e-8; all multiples of 2⁻⁵³."""
    drawn = random_uniform(1_000_000)
    assert drawn.dtype == np.float64
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert stats.kstest(drawn, "uniform").pvalue > 1e-8
    assert np.all(np.ldexp(drawn, 53) % 1 == 0)
    assert stats.kstest(drawn**1.05, "uniform").pvalue < 1e-8


def test_ties_are_decided_by_the_low_words():
    """A threshold in the middle of a tie: low words below it stay below."""
    built = table("discrete-gaussian", Fraction(4))
    place = len(built.high) // 2
    uniform = np.array([built.high[place]] * 2, dtype=np.uint64)
    lows = iter([int(built.low[place]) - 1, int(built.low[place])])

    def words(count):
        assert count == 1
        return np.array([next(lows)], dtype=np.uint64)

    assert dp.noise._search(built, uniform, words).tolist() == [place, place + 1]


def test_guide_and_search_agree():
    built = table("rounded-gaussian", Fraction(400))
    uniform = np.frombuffer(np.random.default_rng(5).bytes(8 * 50_000), dtype=np.uint64)
    guided = built.guide[uniform >> np.uint64(48)]
    searched = np.searchsorted(built.high, uniform, side="right")
    decided = guided >= 0
    assert 0.9 < decided.mean() < 1
    assert np.array_equal(guided[decided], searched[decided])


@pytest.mark.parametrize("size", [2**40 + 1, 2**62, 2**63, 2**70])
def test_more_draws_than_any_memory_holds_are_refused(size):
    for draw in (
        lambda: sample_rounded_gaussian(3.0, size),
        lambda: sample_discrete_gaussian(3.0, size),
        lambda: sample_skellam(9.0, size),
        lambda: random_uniform(size),
    ):
        with pytest.raises(InvalidParameterError, match=r"size must be at most 2\^40"):
            draw()


def test_empty_draws():
    assert sample_rounded_gaussian(3.0, 0).shape == (0,)
    assert random_uniform(0).shape == (0,)


@pytest.mark.parametrize("sample", [f for _, f, _ in SAMPLERS])
def test_parameters_are_checked(sample):
    for bad in (math.nan, math.inf):
        with pytest.raises(NonFiniteError):
            sample(bad, 3)
    for bad in (0.0, -1.0, 1e-3, 1e12):
        with pytest.raises(InvalidParameterError):
            sample(bad, 3)
    with pytest.raises(InvalidParameterError, match="size"):
        sample(1.0, -1)
