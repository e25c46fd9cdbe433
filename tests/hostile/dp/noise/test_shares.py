"""D4 and D9: noise lost with those who leave, cohorts outside their bounds, an empty draw."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from dp import Accountant, Event, FailureEvent, Ledger
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.errors import PlanError, RoundAbortedError
from fedavg.optimizers.local import LocalTraining
from fedavg.plan.plan import Budget
from fedavg.plan.resolution import ResolvedPlan, resolve
from fedavg.privacy.noise import (
    CentralGaussian,
    DistributedDiscreteGaussian,
    DistributedGaussian,
    DistributedSkellam,
)
from fedavg.privacy.sampling import PoissonCohort
from fedavg.server.round import RoundServer
from fedavg.simulation.faults import Faults
from fedavg.sums.masked import SecAgg
from fedavg.sums.plain import InsecurePlain
from secagg import Identity
from tests.e2e.small import LENGTH, federation, plan
from tests.hostile.mutants import FOUND, without

DISTRIBUTED = [DistributedGaussian(1.3), DistributedSkellam(1.3), DistributedDiscreteGaussian(1.3)]
DRAWS = 40_000
TOLERANCE = 6 * math.sqrt(2.2 / DRAWS)
"""Six standard errors of a variance, relatively: a false alarm in 5·10⁸."""


def resolved(noise, *, rate=0.5, clients=200, rounds=5, sums=None, delta=1e-5) -> ResolvedPlan:
    private = plan(
        sums or SecAgg(),
        noise=noise,
        cohort=PoissonCohort(rate),
        encoding=FixedPoint(0.5, 9),
        budget=Budget(delta=delta),
    )
    return resolve(
        private, num_clients=clients, vector_length=LENGTH, num_rounds=rounds, largest_client=8
    )


def sum_of_shares(resolution: ResolvedPlan, roster: int, givers: int) -> np.ndarray:
    """What so many of a roster add together, in DRAWS coordinates."""
    noise, stddev = resolution.plan.noise, resolution.share_stddev(roster)
    total = np.zeros(DRAWS, dtype=np.int64)
    for _ in range(givers):
        total += noise.sample(stddev, DRAWS)
    return total


@pytest.mark.parametrize("noise", DISTRIBUTED)
def test_the_fewest_honest_survivors_still_carry_the_claimed_noise(noise):
    """D4: at the smallest and the largest roster a tolerated part leaves and the traitors add nothing."""
    resolution = resolved(noise)
    sums = resolution.plan.secure_sum
    claimed = (1.3 * resolution.sensitivity.l2) ** 2
    for roster in (resolution.bounds.floor, resolution.bounds.cap):
        honest = sums.min_survivors(roster) - sums.colluders(roster)
        drawn = sum_of_shares(resolution, roster, honest).var()
        assert drawn >= claimed * (1 - TOLERANCE)


def test_mutant_sized_for_the_whole_roster_falls_short(monkeypatch):
    resolution = resolved(DistributedGaussian(1.3))
    sums, roster = resolution.plan.secure_sum, resolution.bounds.floor
    claimed = (1.3 * resolution.sensitivity.l2) ** 2
    naive = 1.3 * resolution.sensitivity.l2 / math.sqrt(roster)
    monkeypatch.setattr(ResolvedPlan, "share_stddev", lambda *_: naive)
    honest = sums.min_survivors(roster) - sums.colluders(roster)
    assert sum_of_shares(resolution, roster, honest).var() < claimed * (1 - TOLERANCE)


@pytest.mark.parametrize("missing", [0, 1])
def test_fewer_survivors_than_guaranteed_give_no_sum_at_all(missing):
    """The smallest sum that the noise is sized for is opened, one client fewer is not."""
    resolution = resolved(DistributedGaussian(1.3), sums=InsecurePlain())
    sums, roster = resolution.plan.secure_sum, resolution.bounds.cap
    spec = resolution.spec(roster, b"context")
    material = sums.provision(spec, {})
    session = sums.server_side(material.server).session(spec, range(roster))
    openings = session.open()
    for client in range(sums.min_survivors(roster) - missing):
        side = sums.client_side(material.clients)
        part = side.session(spec, client, Identity.generate(), openings[client][0])
        part.set_input(np.ones(LENGTH, dtype=np.int64))
        for message in part.start():
            session.receive(client, message)
    if missing:
        with pytest.raises(RoundAbortedError, match="are needed"):
            session.advance()
    else:
        session.advance()
        assert session.result().total.tolist() == [sums.min_survivors(roster)] * LENGTH


def released_noise(monkeypatch, rate: float) -> list[float]:
    """One coordinate of each release ÷ the variance that was to be in it; noise stands for its variance.

    Every draw is replaced by its own variance, so that a release of zero updates shows what variance
    its shares, the clients' and the server's, add up to.  Everyone is asked, drop-outs are seeded: no
    chance is left.
    """
    run = federation(
        InsecurePlain(),
        n=60,
        faults=Faults(rate=rate, seed=3),
        changes={
            "encoding": FixedPoint(0.5, 9),
            "noise": DistributedGaussian(1.0),
            "budget": Budget(delta=1e-5),
            "local_training": LocalTraining(lr=1e-12),
        },
    )
    resolution = run.resolve(8)
    whole = (resolution.noise_multiplier_added * resolution.sensitivity.l2) ** 2
    monkeypatch.setattr(
        DistributedGaussian,
        "sample",
        lambda _, stddev, size: np.full(size, round(6000 * stddev**2 / whole)),
    )
    seen, rosters = [], set()
    for result in run.run(8):
        if result.skipped is None:
            rosters.add((result.cohort, result.survivors))
            scale = resolution.expected_cohort * run.plan.encoding.scale
            seen.append(float(run.last_update[0]) * scale / 6000)
    assert len(rosters) > 2
    return seen


def test_a_release_carries_one_noise_whoever_joined_and_left(monkeypatch):
    """Rounding each of 60 shares to a hundredth of itself moves the total by at most one half per cent."""
    seen = released_noise(monkeypatch, 0.25)
    assert len(seen) >= 4
    assert seen == pytest.approx([1.0] * len(seen), abs=6e-3)


def test_mutant_that_makes_up_for_no_one_shows_who_left(monkeypatch):
    monkeypatch.setattr(ResolvedPlan, "server_stddev", lambda *_: 0.0)
    seen = released_noise(monkeypatch, 0.25)
    assert max(seen) - min(seen) > 0.01
    assert min(seen) < 0.985


def delta_at(resolution, epsilon, *, failing=True):
    if failing:
        return resolution.release_account().delta(epsilon).high
    run = Accountant().compose(resolution.release_event(), resolution.num_rounds)
    return run.delta(epsilon).high


def test_cohorts_outside_their_bounds_are_charged(monkeypatch):
    """D9: a floor or cap that binds enters delta; the mutant leaves it out."""
    resolution = resolved(CentralGaussian(1.3), rate=0.1, clients=400, rounds=8, delta=1e-9)
    bounds, n = resolution.bounds, 400
    short = binom.cdf(bounds.floor - 1, n, 0.1 * 0.9)  # a tenth of those drawn may stay away
    outside = float(short + binom.sf(bounds.cap, n, 0.1))
    assert 0 < outside <= bounds.outside <= resolution.failure().shared
    assert delta_at(resolution, 3.0) >= delta_at(resolution, 3.0, failing=False) + 8 * outside
    monkeypatch.setattr(ResolvedPlan, "failure", lambda _: FailureEvent(0.0))
    assert delta_at(resolution, 3.0) == delta_at(resolution, 3.0, failing=False)


def test_the_ledger_pays_for_them_before_the_first_round(monkeypatch):
    charged = []
    run = federation(
        InsecurePlain(),
        n=60,
        changes={
            "encoding": FixedPoint(0.5, 9),
            "noise": CentralGaussian(1.3),
            "cohort": PoissonCohort(0.5),
            "budget": Budget(epsilon=30.0, delta=1e-5),
        },
    )
    charge = Ledger.charge

    def spy(self: Ledger, event: Event, count: int = 1) -> None:
        charged.append((event, count))
        charge(self, event, count)

    monkeypatch.setattr(Ledger, "charge", spy)
    next(run.run(2))
    assert charged[0] == (run.resolve(2).failure(), 2)
    assert charged[1] == (run.resolve(2).release_event(), 1)


def test_cohorts_that_fall_outside_too_often_are_refused():
    with pytest.raises(PlanError, match="is outside"):
        resolved(DistributedGaussian(1.3), rate=0.1, clients=60)


@pytest.mark.parametrize("rate", [0.02])
def test_an_empty_draw_is_a_round_like_any_other(rate):
    """D9: 20 clients at 2 %: two rounds in three draw no one; noise alone is released, and paid for.

    All 6 rounds nonempty has probability (1 − 0.98²⁰)⁶ = 1.3e-3, so rounds go on until one is empty:
    60 rounds without one have probability 1e-29.
    """
    run = federation(
        InsecurePlain(dropout_rate=0.0),
        n=20,
        changes={
            "encoding": FixedPoint(0.5, 9),
            "noise": CentralGaussian(1.0),
            "cohort": PoissonCohort(rate),
            "budget": Budget(delta=1e-3),
        },
    )
    before, epsilon = run.released.copy(), 0.0
    for result in run.run(60):
        assert result.skipped is None
        assert result.epsilon_release > epsilon
        assert not np.array_equal(run.released, before)
        if result.cohort == 0:
            assert run.last_update.shape == (LENGTH,)
            divisor = rate * 20
            step = 1 / run.plan.encoding.scale / divisor
            assert np.allclose(np.rint(run.last_update / step), run.last_update / step)
            return
        before, epsilon = run.released.copy(), result.epsilon_release
    pytest.fail("no empty draw in 60 rounds")


def test_mutant_that_skips_empty_draws_tells_of_them(monkeypatch):
    """D9: a round that ends without a release discloses that no client contributed."""
    check = "not bounds.floor <= len(roster) <= bounds.cap"
    without(monkeypatch, RoundServer, "_begin_sum", check, "not roster")
    with pytest.raises(FOUND):
        test_an_empty_draw_is_a_round_like_any_other(0.02)


def test_the_budget_is_asked_before_noise_is_drawn(monkeypatch):
    run = federation(
        InsecurePlain(),
        n=60,
        changes={
            "encoding": FixedPoint(0.5, 9),
            "noise": DistributedGaussian(1.0),
            "budget": Budget(epsilon=1e-3, delta=1e-5),
        },
    )
    drawn = []
    monkeypatch.setattr(
        DistributedGaussian,
        "sample",
        lambda *_: drawn.append(1) or np.zeros(LENGTH, dtype=np.int64),
    )
    resolution = run.resolve(1)  # which tries whether the noise can be drawn at all
    drawn.clear()
    monkeypatch.setattr(run, "resolve", lambda _: resolution)
    assert list(run.run(1)) == []
    assert run.stopped == "budget"
    assert drawn == []
