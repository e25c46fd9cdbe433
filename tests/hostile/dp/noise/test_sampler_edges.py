"""D10: the samplers where they change their way: ends of tables, of chunks, and of the range of scales.

Statistical tests: 4·10⁵ draws a case, chi-squared with at least 20 expected a cell, threshold p = 1e-9.
There are 27 such tests, so a run of all has a false alarm with probability 2.7e-8.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from fractions import Fraction

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy import stats

import dp.noise
from dp import sample_discrete_gaussian, sample_rounded_gaussian, sample_skellam
from dp.tables import table

CHUNK = dp.noise._CHUNK
DRAWS = 400_000
ALARM = 1e-9
SAMPLERS = {
    "discrete-gaussian": sample_discrete_gaussian,
    "rounded-gaussian": sample_rounded_gaussian,
    "skellam": lambda stddev, size: sample_skellam(stddev**2, size),
}
KINDS = list(SAMPLERS)
ABOVE = math.nextafter(2048.0, 4096.0)


def thresholds(built):
    return [(int(h) << 64) + int(low) for h, low in zip(built.high, built.low, strict=True)]


def wrong_draws(built):
    """Draws at, and next to, thresholds and ends of the guide that differ from a search in 128 bits."""
    exact = thresholds(built)
    near = {t + d for t in exact for d in (-1, 0, 1, -(1 << 64), 1 << 64)}
    ends = {(k << 112) + d for k in range(0, 1 << 16, 31) for d in (-1, 0)}
    inside = sorted(u for u in near | ends | {0, (1 << 128) - 1} if 0 <= u < 1 << 128)
    upper = np.array([u >> 64 for u in inside], dtype=np.uint64)
    highs = {t >> 64 for t in exact}
    # Lower words are asked for only where the upper ones meet a threshold's.
    lower = iter([u % (1 << 64) for u in inside if u >> 64 in highs])

    def words(count):
        return upper if count == len(upper) else np.array([next(lower)], dtype=np.uint64)

    drawn = dp.noise._draw(built, len(inside), words)
    assert next(lower, None) is None
    wanted = [bisect_right(exact, u) + built.lowest for u in inside]
    return np.count_nonzero(drawn != np.array(wanted))


@pytest.mark.parametrize("variance", [Fraction(1, 16), Fraction(1), Fraction(400)])
@pytest.mark.parametrize("kind", KINDS)
def test_draws_at_the_ends_of_cells_are_exact(kind, variance):
    assert wrong_draws(table(kind, variance)) == 0


def test_mutant_that_compares_lower_words_strictly_is_wrong_at_thresholds(monkeypatch):
    class Strict:
        """NumPy, but for a count that takes ≤ for <."""

        def __getattr__(self, name):
            return getattr(np, name)

        @staticmethod
        def count_nonzero(at_most):
            return max(int(np.count_nonzero(at_most)) - 1, 0)

    monkeypatch.setattr(dp.noise, "np", Strict())
    assert wrong_draws(table("discrete-gaussian", Fraction(1))) > 10


def read_anew(seed, kind, stddev, size):
    """The same draws from the keystream, read as one array: tables are searched without guide or chunks."""
    stream = Cipher(algorithms.AES256(seed[:32]), modes.CTR(seed[32:])).encryptor()

    def one(kind, variance):
        built, words = table(kind, variance), stream.update(bytes(8 * size))
        return np.searchsorted(built.high, np.frombuffer(words, "<u8"), "right") + built.lowest

    exact = Fraction(stddev) ** 2
    if kind == "skellam":
        copies = math.ceil(Fraction(stddev**2) / 2**22)
        return sum(one(kind, Fraction(stddev**2) / copies) for _ in range(copies))
    if stddev <= 2048:
        return one(kind, exact)
    step = 2 ** (math.frexp(stddev)[1] // 2 - 1)
    return step * one("discrete-gaussian", exact / step**2 - 16) + one(kind, Fraction(16 * step**2))


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1])
@pytest.mark.parametrize("stddev", [0.25, 20.0, ABOVE])
@pytest.mark.parametrize("kind", KINDS)
def test_ends_of_chunks_show_nowhere(kind, stddev, size, monkeypatch):
    seed = bytes(range(7, 55))
    monkeypatch.setattr(dp.noise, "_entropy", lambda count: seed[:count])
    assert np.array_equal(SAMPLERS[kind](stddev, size), read_anew(seed, kind, stddev, size))


def repeated_blocks(sample):
    """Blocks of 32 draws that eight threads have in common; at σ = 2²⁰, chance gives one in 2⁻⁶⁰⁰."""
    found, begun = [], threading.Barrier(8)

    def draw():
        begun.wait()
        found.append(sample(2.0**20, CHUNK + 32))

    threads = [threading.Thread(target=draw) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    blocks = [block.tobytes() for drawn in found for block in drawn.reshape(-1, 32)]
    assert len(blocks) == 8 * (CHUNK // 32 + 1)
    return len(blocks) - len(set(blocks))


@pytest.mark.parametrize("kind", ["discrete-gaussian", "rounded-gaussian"])
def test_threads_share_no_draws(kind, monkeypatch):
    assert repeated_blocks(SAMPLERS[kind]) == 0
    monkeypatch.setattr(dp.noise, "_entropy", bytes)  # mutant: all threads have one key
    assert repeated_blocks(SAMPLERS[kind]) == 7 * (CHUNK // 32 + 1)


def small_law(kind, stddev):
    """Probabilities of −40 … 40, from the definitions."""
    k = np.arange(-40, 41)
    if kind == "skellam":
        return stats.skellam.pmf(k, stddev**2 / 2, stddev**2 / 2)
    if kind == "rounded-gaussian":
        outer, inner = (np.abs(k) - 0.5) / stddev, (np.abs(k) + 0.5) / stddev
        return stats.norm.sf(outer) - stats.norm.sf(inner)
    weights = np.exp(-(k**2) / (2 * stddev**2))
    return weights / weights.sum()


def large_law(stddev, edges):
    """Masses between edges of integers; lattice laws of σ ≥ 2048 differ from the normal by 1e-7 at most."""
    return np.diff(stats.norm.cdf((edges - 0.5) / stddev), prepend=0.0, append=1.0)


def p_value(counts, masses):
    wanted = masses * counts.sum()
    common = wanted >= 20
    seen = np.append(counts[common], counts[~common].sum())
    wanted = np.append(wanted[common], wanted[~common].sum())
    kept = wanted > 0
    if wanted[-1] < 20:  # too few to count: they join the smallest cell
        seen[-2], wanted[-2], kept[-1] = seen[-2] + seen[-1], wanted[-2] + wanted[-1], False
    difference = (seen - wanted)[kept]
    return float(stats.chi2.sf((difference**2 / wanted[kept]).sum(), np.count_nonzero(kept) - 1))


def at_small_scale(kind, drawn_at, stddev):
    counts = np.bincount(SAMPLERS[kind](drawn_at, DRAWS) + 40, minlength=81)
    return p_value(counts, small_law(kind, stddev))


@pytest.mark.parametrize("stddev", [0.25, 0.5, 1.7])
@pytest.mark.parametrize("kind", KINDS)
def test_small_scales_follow_the_exact_law(kind, stddev):
    assert at_small_scale(kind, stddev, stddev) > ALARM
    assert at_small_scale(kind, 1.05 * stddev, stddev) < ALARM


def at_large_scale(kind, drawn_at, stddev):
    """The shape, and the residues: sums M·X + Y with too little Y would favour some."""
    drawn = SAMPLERS[kind](drawn_at, DRAWS)
    edges = np.rint(np.linspace(-3.5, 3.5, 57) * stddev).astype(np.int64)
    counts = np.bincount(np.searchsorted(edges, drawn, side="right"), minlength=len(edges) + 1)
    rest = np.bincount(drawn % 64, minlength=64)
    return p_value(counts, large_law(stddev, edges)), p_value(rest, np.full(64, 1 / 64))


@pytest.mark.parametrize("stddev", [2048.0, ABOVE, 2.0**14])
@pytest.mark.parametrize("kind", KINDS)
def test_large_scales_follow_the_exact_law(kind, stddev):
    shape, rest = at_large_scale(kind, stddev, stddev)
    assert min(shape, rest) > ALARM
    if stddev == ABOVE:
        assert at_large_scale(kind, 1.05 * stddev, stddev)[0] < ALARM


@pytest.mark.parametrize("kind", ["discrete-gaussian", "rounded-gaussian"])
def test_mutant_with_a_narrow_second_table_favours_residues(kind, monkeypatch):
    narrow = Fraction(16 * 32**2), Fraction(4)
    monkeypatch.setattr(
        dp.noise,
        "table",
        lambda kind, variance: table(kind, dict([narrow]).get(variance, variance)),
    )
    assert at_large_scale(kind, ABOVE, ABOVE)[1] < ALARM
