"""D10: samplers against exact rational probabilities, and draws against an independent reader."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy.stats import norm

import dp.noise
from dp import (
    SAMPLER_TV_ERROR,
    sample_discrete_gaussian,
    sample_rounded_gaussian,
    sample_skellam,
)
from dp.tables import Table, table

SMALL = [Fraction(1, 16), Fraction(1, 4), Fraction(1), Fraction(5, 2), Fraction(9)]


def exp_minus(x: Fraction, terms: int = 80) -> Fraction:
    """e^−x for x ≤ 1/2 to far below 2^−150, by its series in rational numbers."""
    return sum(((-x) ** k / math.factorial(k) for k in range(terms)), Fraction(0))


def rational_discrete_gaussian(variance: Fraction, reach: int) -> list[Fraction]:
    """P[X = −reach … reach] from e^(−1/2v) alone: weights are its powers k²."""
    halvings = max(0, math.ceil(math.log2(float(1 / variance))))
    base = exp_minus(1 / (2 * variance) / 2**halvings) ** (2**halvings)
    base = Fraction(round(base * 2**400), 2**400)  # keeps the powers' numerators short
    weights = [base ** (k * k) for k in range(reach + 1)]
    weights = [Fraction(round(w * 2**500), 2**500) for w in weights]
    both = weights[:0:-1] + weights
    total = sum(both)
    return [w / total for w in both]


def rational_skellam(variance: Fraction, reach: int) -> list[Fraction]:
    """P[A − B = k] for A, B ~ Poisson(v/2), by summing products of rational Poisson weights."""
    rate, many = variance / 2, reach + 60
    poisson = [rate**j / math.factorial(j) for j in range(many)]  # up to e^−rate
    weights = [sum(poisson[j] * poisson[j + k] for j in range(many - k)) for k in range(reach + 1)]
    both = weights[:0:-1] + weights
    total = sum(both)
    return [w / total for w in both]


def masses(built: Table) -> list[Fraction]:
    thresholds = [(int(h) << 64) + int(low) for h, low in zip(built.high, built.low, strict=True)]
    edges = [0, *thresholds, 1 << 128]
    return [Fraction(b - a, 1 << 128) for a, b in pairwise(edges)]


def distance(built: Table, wanted: list[Fraction]) -> Fraction:
    """Total variation between a table and probabilities around 0, exactly."""
    got, middle = masses(built), len(wanted) // 2
    table_at = {built.lowest + i: m for i, m in enumerate(got)}
    wanted_at = {i - middle: w for i, w in enumerate(wanted)}
    keys = table_at.keys() | wanted_at.keys()
    return (
        sum(
            (abs(table_at.get(k, Fraction(0)) - wanted_at.get(k, Fraction(0))) for k in keys),
            Fraction(0),
        )
        / 2
    )


@pytest.mark.parametrize("variance", SMALL)
def test_discrete_gaussian_by_rational_enumeration(variance):
    built = table("discrete-gaussian", variance)
    wanted = rational_discrete_gaussian(variance, -built.lowest + 4)
    assert distance(built, wanted) <= SAMPLER_TV_ERROR


@pytest.mark.parametrize("variance", SMALL)
def test_skellam_by_rational_enumeration(variance):
    built = table("skellam", variance)
    wanted = rational_skellam(variance, min(-built.lowest, 70))
    assert distance(built, wanted) <= SAMPLER_TV_ERROR


def test_mutant_with_float_weights_misses_the_stated_error():
    """A table from float64 probabilities is 2⁻⁵³ off, which shows."""
    variance = Fraction(5, 2)
    reach = -table("discrete-gaussian", variance).lowest
    weights = [int(math.exp(-k * k / (2 * float(variance))) * 2**200) for k in range(reach + 1)]
    wanted = rational_discrete_gaussian(variance, reach + 4)
    assert distance(Table.from_weights(weights), wanted) > 2.0**-70


def test_mutant_with_a_short_tail_misses_the_stated_error():
    """Cut at six standard deviations, as a double-precision sampler may."""
    wanted = rational_discrete_gaussian(Fraction(1), 20)
    cut = [int(w * 2**200) for w in wanted[len(wanted) // 2 :][:7]]
    assert distance(Table.from_weights(cut), wanted) > SAMPLER_TV_ERROR


def independent_reading(kind: str, variance: Fraction, seed: bytes, size: int) -> list[int]:
    """AES-256-CTR under the same seed, read eight bytes a draw; comparison in rational numbers."""
    stream = Cipher(algorithms.AES256(seed[:32]), modes.CTR(seed[32:])).encryptor()
    raw = stream.update(bytes(8 * size))
    reach = 40
    exact = {
        "discrete-gaussian": rational_discrete_gaussian,
        "skellam": rational_skellam,
    }[kind](variance, reach)
    cumulative, running = [], Fraction(0)
    for mass in exact:
        running += mass
        cumulative.append(running)
    draws = []
    for i in range(size):
        word = Fraction(int.from_bytes(raw[8 * i : 8 * i + 8], "little"), 2**64)
        draws.append(sum(1 for c in cumulative if c <= word) - reach)
    return draws


@pytest.mark.parametrize("variance", [Fraction(1), Fraction(9)])
def test_seeded_draws_are_the_inverse_of_the_exact_distribution(variance, monkeypatch):
    """200 draws under a fixed key; a word within 2⁻⁶⁴ of a threshold would need its lower half."""
    seed = bytes(range(48))
    monkeypatch.setattr(dp.noise, "_entropy", lambda size: seed[:size])
    stddev = math.isqrt(int(variance))
    drawn = sample_discrete_gaussian(float(stddev), 200).tolist()
    assert drawn == independent_reading("discrete-gaussian", variance, seed, 200)
    drawn = sample_skellam(float(variance), 200).tolist()
    assert drawn == independent_reading("skellam", variance, seed, 200)


def test_seeded_draws_of_the_rounded_gaussian(monkeypatch):
    """500 draws under key and counter 0, 1, …, 47 are scipy's normal quantiles of the same words, rounded."""
    seed = bytes(range(48))
    monkeypatch.setattr(dp.noise, "_entropy", lambda size: seed[:size])
    stream = Cipher(algorithms.AES256(seed[:32]), modes.CTR(seed[32:])).encryptor()
    words = np.frombuffer(stream.update(bytes(8 * 500)), dtype="<u8")
    wanted = np.rint(norm.ppf(words / 2.0**64) * 2).astype(np.int64)
    drawn = sample_rounded_gaussian(2.0, 500)
    assert np.array_equal(drawn, wanted)
    assert len(set(drawn.tolist())) > 8


def test_no_float_is_in_the_accept_step():
    built = table("rounded-gaussian", Fraction(4))
    assert built.high.dtype == built.low.dtype == np.uint64
    assert built.guide.dtype == np.int32
