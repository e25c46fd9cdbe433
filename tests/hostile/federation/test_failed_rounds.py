"""An observer of the released models must not learn whether a round had enough clients (D14)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedavg.encoding.fixed_point import FixedPoint
from fedavg.optimizers.local import LocalTraining
from fedavg.plan.plan import Budget, Limits
from fedavg.privacy.noise import CentralGaussian, DistributedGaussian, guaranteed_variance
from fedavg.server.model import GlobalModel
from fedavg.simulation.faults import Faults
from fedavg.sums.masked import SecAgg
from tests.e2e.small import LENGTH, federation
from tests.fedavg.support.block_plans import CUTS, MODEL

N, ROUNDS, FAILED = 24, 30, 7
STILL = {  # clients that train, and send next to nothing: what is released is noise
    "encoding": FixedPoint(0.5, 10),
    "local_training": LocalTraining(lr=1e-12),
    "budget": Budget(math.inf, 1e-5),
}
NOISES = {"central": CentralGaussian(1.0), "distributed": DistributedGaussian(1.0)}


def fails(monkeypatch, rounds):
    """All but one client fall silent in these rounds."""

    def silent_from(_, *, client_id, round_index, attempt=0):
        return 0 if round_index in rounds and client_id else None

    monkeypatch.setattr(Faults, "silent_from", silent_from)


def steps_of(run, rounds):
    """Float64[rounds, d], by how much each round moved the model; and which rounds had no sum."""
    steps, before, skipped = [], run.released.copy(), []
    for result in run.run(rounds):
        steps.append(run.released - before)
        before = run.released.copy()
        skipped.append(result.skipped is not None)
    return np.array(steps), skipped


@pytest.mark.parametrize("kind", sorted(NOISES))
def test_d14_a_round_without_a_sum_releases_noise_of_the_same_strength(kind, monkeypatch):
    """Every second of 30 rounds fails; both halves have the deviation that the plan states.

    The sample deviation of 15·39 = 585 normal numbers is within 15 % with probability 1 − 3e-7.
    """
    fails(monkeypatch, set(range(1, ROUNDS, 2)))
    run = federation(SecAgg(), n=N, changes=STILL | {"noise": NOISES[kind]})
    resolution = run.resolve(ROUNDS)
    steps, skipped = steps_of(run, ROUNDS)
    assert skipped == [False, True] * (ROUNDS // 2)
    added = guaranteed_variance(resolution.plan.noise, resolution.sensitivity)
    if kind == "distributed":
        added /= resolution.honest_fraction
    unit = resolution.plan.encoding.decode(np.array([1, 0]), 2)
    stated = math.sqrt(added) * abs(unit[0] - unit[1]) / resolution.expected_roster
    for part in (steps[::2], steps[1::2]):
        assert part.std() == pytest.approx(stated, rel=0.15)
    assert steps.shape == (ROUNDS, LENGTH)


def unmoved(run):
    """The attack: rounds after which the model is what it was before, to the bit."""
    steps, skipped = steps_of(run, FAILED + 2)
    return [bool((step == 0).all()) for step in steps], skipped


@pytest.mark.parametrize("kind", sorted(NOISES))
def test_d14_no_model_says_by_standing_still_that_its_round_failed(kind, monkeypatch):
    fails(monkeypatch, {FAILED})
    still, skipped = unmoved(federation(SecAgg(), n=N, changes=STILL | {"noise": NOISES[kind]}))
    assert skipped[FAILED]
    assert not any(still)


def test_d14_mutant_that_keeps_the_model_gives_the_round_away(monkeypatch):
    fails(monkeypatch, {FAILED})
    monkeypatch.setattr(GlobalModel, "release_noise", lambda *_: None)
    run = federation(SecAgg(), n=N, changes=STILL | {"noise": NOISES["central"]})
    still, skipped = unmoved(run)
    assert still == skipped


@pytest.mark.parametrize("blocks", ["layers", "rolling"])
def test_d14_a_block_without_a_sum_moves_by_noise_as_well(blocks, monkeypatch):
    fails(monkeypatch, {1})
    changes = STILL | {"noise": CentralGaussian(1.0), "blocks": CUTS[blocks]}
    run = federation(SecAgg(), n=100, model=MODEL, changes=changes)
    steps, skipped = steps_of(run, 3)
    assert skipped[1]
    assert (steps[1] == 0).mean() < 0.2  # a draw of zero on the grid
    ratio = steps[1].std() / steps[[0, 2]].std()
    assert 0.5 < ratio < 2


def test_without_noise_a_failed_round_leaves_the_model(monkeypatch):
    fails(monkeypatch, {1})
    run = federation(SecAgg(), n=N, changes={"limits": Limits(retries=0)})
    steps, skipped = steps_of(run, 3)
    assert skipped == [False, True, False]
    assert [(step == 0).all() for step in steps] == skipped


def test_a_failed_round_is_charged_like_any_other(monkeypatch):
    fails(monkeypatch, {0, 1})
    run = federation(SecAgg(), n=N, changes=STILL | {"noise": NOISES["central"]})
    spent = [result.epsilon_release for result in run.run(2)]
    undisturbed = federation(SecAgg(), n=N, changes=STILL | {"noise": NOISES["central"]})
    monkeypatch.undo()
    assert spent == [result.epsilon_release for result in undisturbed.run(2)]
