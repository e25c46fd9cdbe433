"""D1 and D7: noise for the wrong sensitivity, and rounding that makes an update longer than it may be."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta

from dp import Accountant, l2_clip
from fedavg.encoding.fixed_point import FixedPoint, bits_for
from fedavg.optimizers.local import LocalTraining
from fedavg.plan.plan import Budget
from fedavg.plan.resolution import ResolvedPlan, resolve
from fedavg.privacy.clipping import AdaptiveClipping
from fedavg.privacy.noise import CentralGaussian, DistributedGaussian, DistributedSkellam
from fedavg.privacy.sampling import PoissonCohort
from fedavg.sums.plain import InsecurePlain
from tests.e2e.small import federation, plan

LENGTH, ROSTER, TRIALS = 64, 20, 20_000
CONFIDENCE = 1e-6
DELTA = 1e-5
CLIP = 0.5


def resolved(noise, clipping=None) -> ResolvedPlan:
    private = plan(
        InsecurePlain(dropout_rate=0.0),
        noise=noise,
        cohort=PoissonCohort(1.0),
        encoding=FixedPoint(CLIP, 9),
        clipping=clipping,
        budget=Budget(delta=DELTA),
    )
    return resolve(
        private, num_clients=ROSTER, vector_length=LENGTH, num_rounds=1, largest_client=8
    )


def lower_bound(resolution: ResolvedPlan) -> float:
    """A lower bound on the ε (at DELTA) of one round towards somebody who knows all other updates.

    The release is the sum along the one client's update, with it or with zero in its place, under
    the noise that the plan draws.  Threshold at three quarters of the way; Clopper–Pearson bounds
    on both rates, each at CONFIDENCE ÷ 2.
    """
    update = np.zeros(LENGTH)
    update[0] = 10 * CLIP
    encoded = resolution.plan.encoding.encode(l2_clip(update, CLIP))
    stddev = resolution.share_stddev(ROSTER)
    noise = resolution.plan.noise

    def draws() -> np.ndarray:
        return sum(noise.sample(stddev, TRIALS) for _ in range(ROSTER))

    edge = 0.75 * encoded[0]
    caught = int((encoded[0] + draws() > edge).sum())
    alarms = int((draws() > edge).sum())
    least = float(beta.ppf(CONFIDENCE / 2, caught, TRIALS - caught + 1)) if caught else 0.0
    most = float(beta.isf(CONFIDENCE / 2, alarms + 1, TRIALS - alarms))
    return math.log(max(least - DELTA, 1e-300) / most)


def claimed(resolution: ResolvedPlan) -> float:
    return Accountant().compose(resolution.release_event(), 1).epsilon(DELTA).high


@pytest.mark.parametrize("noise", [DistributedGaussian(1.0), DistributedSkellam(1.0)])
def test_no_attack_does_better_than_the_claim(noise):
    """20,000 trials a side; a false alarm has probability 1e-6."""
    resolution = resolved(noise)
    assert lower_bound(resolution) <= claimed(resolution)


@pytest.mark.parametrize("bug", [1 / ROSTER, 1 / math.sqrt(ROSTER)])
def test_the_attack_finds_a_sensitivity_of_the_mean_in_place_of_the_sum(bug, monkeypatch):
    """Tramèr et al. 2022: noise scaled to what one client does to the mean, added to the sum."""
    resolution = resolved(DistributedGaussian(1.0))
    whole = claimed(resolution)
    honest = resolution.share_stddev(ROSTER)
    monkeypatch.setattr(ResolvedPlan, "share_stddev", lambda *_: honest * bug)
    assert lower_bound(resolution) > whole


@pytest.mark.parametrize("noise", [CentralGaussian(1.0), DistributedGaussian(1.0)])
def test_noise_is_added_before_the_division(noise):
    """Updates of zero: 39·40 released coordinates, times the public cohort, have deviation ≥ z·clip.

    One-sided, six standard errors: a false alarm in 10⁹.
    """
    run = federation(
        InsecurePlain(dropout_rate=0.0),
        n=ROSTER,
        changes={
            "encoding": FixedPoint(CLIP, 9),
            "noise": noise,
            "local_training": LocalTraining(lr=1e-12),
            "budget": Budget(delta=DELTA),
        },
    )
    released = np.concatenate([run.last_update for _ in run.run(40)]) * ROSTER
    assert released.std() >= CLIP * (1 - 6 / math.sqrt(2 * released.size))


def test_the_bound_is_on_the_whole_update_not_on_each_layer():
    """Five layers at the bound each: √5 times too long together; the client clips the whole."""
    layers = [l2_clip(np.full(20, 1.0), CLIP) for _ in range(5)]
    together = np.concatenate(layers)
    assert np.linalg.norm(together) > 2 * CLIP
    with pytest.raises(Exception, match="clip it first"):
        FixedPoint(CLIP, 9).encode(together)
    assert np.linalg.norm(l2_clip(together, CLIP)) <= CLIP


def test_the_count_of_adaptive_clipping_is_in_the_sensitivity():
    """The mutant that adds a coordinate and forgets its length claims less noise than it needs."""
    with_bit = resolved(DistributedGaussian(1.0), AdaptiveClipping())
    without = resolved(DistributedGaussian(1.0))
    longest = math.hypot(without.sensitivity.l2, with_bit.bit_units)
    assert with_bit.sensitivity.l2 >= longest * (1 - 1e-12)
    assert without.sensitivity.l2 < longest


D = 100_000


@pytest.mark.parametrize("kind", ["spread", "one coordinate", "random"])
@pytest.mark.parametrize("rotate", [False, True])
def test_rounding_never_passes_the_bound(kind, rotate):
    """D7: 10⁵ coordinates, 20 roundings of the longest update that there is."""
    update = {
        "spread": np.full(D, 1.0),
        "one coordinate": np.eye(1, D)[0],
        "random": np.random.default_rng(1).standard_normal(D),
    }[kind]
    encoding = FixedPoint(1.0, bits_for(D), rotate=rotate)
    bound = encoding.l2_sensitivity(D)
    longest = l2_clip(update * 1e3, 1.0)
    for _ in range(20):
        rounded = encoding.encode(longest)
        assert int(rounded @ rounded) <= bound**2


def test_mutant_without_the_condition_passes_the_bound(monkeypatch):
    """A coarse grid, and one try that is always taken: about half of the roundings are too long.

    With the norm at its expected value as the bound, 40 tries all pass it with probability 1e-12.
    """
    encoding = FixedPoint(1.0, 4)
    spread = l2_clip(np.full(D, 1.0), 1.0) * 0.999
    grid = encoding.steps * 0.999 / math.sqrt(D)
    expected = math.sqrt(D * grid)  # of squares: each coordinate is one with probability `grid`
    monkeypatch.setattr(FixedPoint, "l2_sensitivity", lambda *_: expected)
    lengths = [np.linalg.norm(encoding.encode(spread)) for _ in range(40)]
    assert max(lengths) <= expected

    def unconditional(self: FixedPoint, real: np.ndarray, _length: int) -> np.ndarray:
        return np.floor(real * self.scale + np.random.default_rng().random(real.size)).astype(
            np.int64
        )

    monkeypatch.setattr(FixedPoint, "_round_conditionally", unconditional)
    lengths = [np.linalg.norm(encoding.encode(spread)) for _ in range(40)]
    assert max(lengths) > expected


def test_sensitivity_in_the_event_is_the_one_after_rounding():
    resolution = resolved(DistributedGaussian(1.0))
    assert resolution.sensitivity.l2 > resolution.plan.encoding.steps
    finer = replace(resolution.plan, encoding=FixedPoint(CLIP, 14))
    fine = replace(resolution, plan=finer)
    coarse_growth = resolution.sensitivity.l2 / resolution.plan.encoding.steps
    assert 1 < fine.sensitivity.l2 / finer.encoding.steps < coarse_growth
