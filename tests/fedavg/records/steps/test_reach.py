"""How far one silo moves a step: honest silos of any size, and silos that send anything."""

from __future__ import annotations

import numpy as np
import pytest

from fedavg.records.steps.mean import OpenedSum, mean_of
from fedavg.records.steps.reach import longest_mean, reach_of
from fedavg.robust.rules import MedianOfGroups
from tests.fedavg.records.small import federation, no_noise, records, resolved, silos


@pytest.mark.parametrize(("rate", "drawn"), [(0.25, 6), (1.0, 40)])
def test_a_silo_of_any_size_moves_the_mean_by_at_most_the_bound(monkeypatch, rate, drawn):
    """A silo of 100 times the records of another; its gradients all point one way, to their full length.

    Of 100 coins of rate ¼ fewer than six fall with a probability of 1.2e-7.
    """
    no_noise(monkeypatch)
    found = {}
    for size in (1, 100):
        same = records(1, 3).subset(np.zeros(size, int))
        given = {1: records(1, 1), 2: records(1, 2), 3: same}
        run = federation(given, rate=rate, clip=0.1, steps=1, most=40, max_units=100)
        without = federation(given | {3: records(1, 3)}, rate=1e-9, clip=0.1, steps=1, most=40)
        before = run.released
        list(run.run())
        list(without.run())
        others = 2 * 0.1 / 40.0  # of which each moves the mean by at most one clip
        found[size] = np.linalg.norm(run.released - before)
        assert found[size] <= run.reach.honest + others
    # The bound is about what is possible: both other silos together can take two gradients from it.
    assert found[100] > (drawn - 3) * 0.1 / 40.0


@pytest.mark.parametrize("changes", [{}, {"robust": MedianOfGroups(3)}, {"rounding": 0.5}])
def test_honest_noise_is_never_shortened_and_nearly_as_long(changes):
    """1,000 sums of the longest honest vectors and their noise; shortening has probability 2^−30 in each."""
    found, rng = resolved(9, length=400, noise_multiplier=5.0, **changes), np.random.default_rng(1)
    for roster in set(found.sizes):
        variance = roster * found.account.share_variance(roster)
        direction = np.ones(400) / 20.0
        longest = roster * found.most_units * found.unit_norm * direction
        noise = found.account.noise
        for _ in range(1000 if not changes else 100):
            total = np.rint(longest + rng.normal(0, variance**0.5, 400)).astype(np.int64)
            mean = mean_of(found, [OpenedSum(total, roster, None)] * len(found.sizes), 1.0)
            assert mean.shortened == 0
        assert np.linalg.norm(mean.delta) > 0.5 * longest_mean(found, roster, 1.0)
        assert noise.sample(1.0, 3).shape == (3,)


@pytest.mark.parametrize("local", [{}, {"noise": "own", "local_steps": 3, "local_lr": 0.1}])
def test_a_sum_of_any_integers_is_shortened_to_the_bound(local):
    """Anything that a silo adds, modulo the ring: the mean is no longer than honest silos make it."""
    found, rng = resolved(4, **local), np.random.default_rng(2)
    half = 2 ** (found.ring_bits - 1)
    for total in (
        np.full(found.vector_length, half - 1),
        rng.integers(-half, half, found.vector_length),
    ):
        mean = mean_of(found, [OpenedSum(total, 4, None)], 1.0)
        assert np.linalg.norm(mean.delta) <= reach_of(found).step * (1 + 1e-12)
    assert (
        mean_of(found, [OpenedSum(np.zeros(found.vector_length, np.int64), 4, None)], 1.0).shortened
        == 0
    )


def test_the_reach_is_made_of_public_constants():
    """Neither the silos' rows nor their number of rows enters; the cap on a draw does."""
    plain, small = federation(silos(4, 40)), federation(silos(4, 8))
    assert plain.reach == small.reach
    assert plain.reach.honest == pytest.approx(plain.resolution.most_units / 40.0, rel=1e-2)
    assert plain.reach.withstood == 0
    assert federation(silos(9, 20), robust=MedianOfGroups(3)).reach.withstood == 1
