"""Masks that hide: every bit of the seed counts, every value of the ring is as likely."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from secagg import Params, masked_vector, simulate
from secagg.crypto.masks import add_masks

ALARM = 1e-6


def stream(seed, size=16, dtype=np.uint32):
    words = np.zeros(size, dtype=dtype)
    add_masks(words, [seed])
    return words


def folded_stream(seed, size=16):
    """The mutant: a seed folded to 32 bits by XOR, and a Mersenne Twister."""
    fold = np.bitwise_xor.reduce(np.frombuffer(seed, dtype=np.uint32))
    return np.random.RandomState(fold).randint(0, 2**32 - 1, size, dtype=np.uint32)


def seeds_with_equal_folds():
    one = bytes(range(16))
    return one, one[4:8] + one[:4] + one[8:]


def test_e1_seeds_that_fold_alike_give_unrelated_masks():
    one, two = seeds_with_equal_folds()
    assert not (stream(one) == stream(two)).any()


def test_e1_mutant_repeats_its_mask():
    one, two = seeds_with_equal_folds()
    assert np.array_equal(folded_stream(one), folded_stream(two))


def test_e1_each_bit_of_the_seed_changes_half_the_mask():
    """128 seeds at distance 1, 2^13 mask bits each: z ≤ 6 around one half, false alarms ≤ 128·2e-9."""
    base = stream(bytes(16), 256)
    for bit in range(128):
        seed = (1 << bit).to_bytes(16, "little")
        flips = int(np.bitwise_count(base ^ stream(seed, 256)).sum())
        assert abs(flips - 4096) <= 6 * np.sqrt(2048)


def uploads(value, *, bits, clients=20, length=5_000):
    """All masked vectors of a session in which every input is the same constant."""
    params = Params.for_cohort(clients, length, ring_bits=bits)
    transcript = []
    inputs = {i: np.full(length, value, dtype=np.int64) for i in range(clients)}
    simulate(inputs, params, transcript=transcript)
    sent = [masked_vector(m) for phase, _, m in transcript if phase == "masked_input"]
    return np.concatenate(sent)


def uniformity(values, shift):
    """Chi-squared p of the eight bits from `shift` on."""
    return stats.chisquare(np.bincount((values >> shift) & 255, minlength=256)).pvalue


@pytest.mark.parametrize("value", [0, -1, 2**17 - 1])
@pytest.mark.parametrize("bits", [8, 16, 18, 31, 40])
def test_e2_masked_values_are_uniform_in_low_and_high_bits(value, bits):
    """Chi-squared on 256 cells, 100,000 masked values, p > 1e-8: 27 looks, false alarms ≤ 2.7e-7."""
    values = uploads(value, bits=bits)
    for shift in {0, bits - 8}:
        assert uniformity(values, shift) > 1e-8


def test_e2_the_test_catches_a_missing_top_value():
    """The mutant whose bound is off by one: 255 never occurs in 8 bits, p is 0 to the last digit."""
    biased = np.random.RandomState(1).randint(0, 2**8 - 1, 100_000)
    assert uniformity(biased, 0) < 1e-8
    assert 2**8 - 1 in uploads(0, bits=8)


def test_e2_inputs_cannot_be_told_apart():
    """Two-sample Kolmogorov–Smirnov, 100,000 values each, all zero against all largest: p > 1e-6."""
    zero, top = uploads(0, bits=18), uploads(2**17 - 1, bits=18)
    assert stats.ks_2samp(zero, top).pvalue > ALARM
    leaking = (np.random.default_rng(0).integers(0, 2**18, zero.size) * 0.97).astype(np.int64)
    assert stats.ks_2samp(zero, leaking).pvalue < ALARM


def test_e2_two_sessions_share_no_mask():
    """The difference of two maskings of one input is uniform: 100,000 values, p > 1e-6."""
    difference = (uploads(5, bits=18) - uploads(5, bits=18)) & (2**18 - 1)
    assert uniformity(difference, 10) > ALARM


def test_e5_message_lengths_do_not_depend_on_the_input():
    params = Params.for_cohort(5, 9, max_abs=1000)

    def lengths(bound):
        transcript = []
        inputs = {i: np.full(9, bound * (-1) ** i, dtype=np.int64) for i in range(5)}
        simulate(inputs, params, transcript=transcript)
        return [(phase, client, len(message)) for phase, client, message in transcript]

    assert lengths(0) == lengths(1) == lengths(1000)


def test_e1_importing_secagg_loads_no_weak_generator_and_no_framework():
    code = (
        "import sys, secagg; "
        "loaded = {'torch', 'flwr', 'tenseal', 'asyncio'} & set(sys.modules); "
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
