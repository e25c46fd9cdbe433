"""D5 and D6: floating-point noise, and noise that comes twice."""

from __future__ import annotations

import inspect
import os

import numpy as np
import pytest

import dp.noise
from dp import (
    random_uniform,
    sample_discrete_gaussian,
    sample_rounded_gaussian,
    sample_skellam,
)

SAMPLERS = [sample_rounded_gaussian, sample_discrete_gaussian, sample_skellam]


def support_of(update: float, noise: np.ndarray) -> set[float]:
    """What a release of one coordinate can come out as."""
    return set((update + noise).tolist())


@pytest.mark.parametrize("sample", SAMPLERS)
def test_neighbours_have_the_same_support(sample):
    """D5: 10⁶ draws; on the grid both neighbours reach the same values around the centre.

    σ = 4, values within 3σ: each has probability > 1e-3 under both, so that one is missed with
    probability below e^−1000.
    """
    noise = sample(4.0 if sample is not sample_skellam else 16.0, 1_000_000)
    assert noise.dtype == np.int64
    near = set(range(-8, 9))
    assert near <= support_of(0, noise)
    assert near <= support_of(1, noise)
    assert all(float(value).is_integer() for value in support_of(1, noise))


def test_mutant_with_float_noise_gives_the_input_away():
    """Mironov 2012: with float noise almost no output is reachable from both neighbours."""
    noise = np.random.default_rng(0).normal(0, 4, 100_000)
    assert len(support_of(0.0, noise) & support_of(1 / 3, noise)) < 0.2 * len(noise)


@pytest.mark.parametrize("sample", [*SAMPLERS, random_uniform])
def test_there_is_no_seed(sample):
    names = set(inspect.signature(sample).parameters)
    assert not names & {"seed", "rng", "random_state", "generator", "key"}


@pytest.mark.parametrize("sample", SAMPLERS)
def test_two_rounds_differ(sample):
    """64 draws of σ = 50: equal by chance with probability below 2⁻⁴⁰⁰."""
    assert not np.array_equal(sample(50.0, 64), sample(50.0, 64))


def in_a_fork() -> tuple[bytes, bytes]:
    """The same draw in a forked child, and in the parent after the fork."""
    random_uniform(1)  # whatever state there is exists before the fork
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, sample_rounded_gaussian(50.0, 64).tobytes())
        os._exit(0)
    os.close(writer)
    drawn = sample_rounded_gaussian(50.0, 64).tobytes()
    with os.fdopen(reader, "rb") as pipe:
        other = pipe.read()
    os.waitpid(child, 0)
    return drawn, other


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forked_workers_differ():
    drawn, other = in_a_fork()
    assert len(drawn) == len(other)
    assert drawn != other


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mutant_with_one_keystream_for_all_repeats_itself(monkeypatch):
    """One stream made before the fork is continued by both sides."""
    shared = dp.noise._words()
    monkeypatch.setattr(dp.noise, "_words", lambda: shared)
    drawn, other = in_a_fork()
    assert drawn == other


def test_mutant_with_fixed_entropy_repeats_itself(monkeypatch):
    monkeypatch.setattr(dp.noise, "_entropy", bytes)
    assert np.array_equal(sample_skellam(50.0, 64), sample_skellam(50.0, 64))


def test_every_call_asks_the_operating_system_anew(monkeypatch):
    asked = []
    monkeypatch.setattr(dp.noise, "_entropy", lambda size: asked.append(size) or os.urandom(size))
    for sample in SAMPLERS:
        sample(50.0, 10)
    random_uniform(3)
    assert asked == [48] * 4


def test_numpy_seed_has_no_influence():
    np.random.seed(7)
    first = sample_rounded_gaussian(50.0, 64)
    np.random.seed(7)
    assert not np.array_equal(first, sample_rounded_gaussian(50.0, 64))
