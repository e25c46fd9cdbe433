"""Plans: inconsistent settings are refused, and every derived number follows from the parts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from dp import (
    Accountant,
    FixedSizeSampling,
    GaussianEvent,
    PoissonSampling,
    UnsupportedEventError,
)
from fedavg.algorithms.personal.fedrep import FedRep
from fedavg.algorithms.scaffold import Scaffold
from fedavg.config.build import build_job, load_config
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.errors import CapacityError, PlanError
from fedavg.optimizers.local import LocalTraining
from fedavg.optimizers.server import FedAvg
from fedavg.plan.calibration import calibrated
from fedavg.plan.feasibility import noise_to_signal
from fedavg.plan.plan import Budget, Limits, Plan
from fedavg.plan.resolution import ResolvedPlan, resolve
from fedavg.privacy.noise import (
    CentralGaussian,
    DistributedDiscreteGaussian,
    DistributedGaussian,
    DistributedSkellam,
)
from fedavg.privacy.sampling import FixedCohort, PoissonCohort
from fedavg.sums.encrypted import Bfv
from fedavg.sums.masked import SecAgg
from fedavg.sums.plain import InsecurePlain
from secagg import SecAggError

POPULATION = {"num_clients": 1000, "vector_length": 1970, "num_rounds": 40, "largest_client": 4}


def plan_with(**changes) -> Plan:
    parts = {
        "cohort": PoissonCohort(0.15),
        "encoding": FixedPoint(0.5, 9),
        "noise": DistributedGaussian(1.3),
        "secure_sum": SecAgg(),
        "local_training": LocalTraining(),
        "server_optimizer": FedAvg(),
    }
    return Plan(**(parts | changes))


def test_weights_by_examples_are_refused_under_privacy():
    with pytest.raises(PlanError, match="no bounded sensitivity"):
        plan_with(weighting="examples")


def test_a_budget_without_noise_is_refused():
    with pytest.raises(PlanError, match="needs noise"):
        plan_with(
            noise=None, encoding=FixedPoint(1.0, 20, rounding="nearest"), budget=Budget(epsilon=3.0)
        )


def test_the_encoding_has_to_fit_the_noise():
    with pytest.raises(PlanError, match="stochastic"):
        plan_with(encoding=FixedPoint(0.5, 9, rounding="nearest"))
    with pytest.raises(PlanError, match="nearest"):
        plan_with(noise=None)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan])
def test_a_budget_that_is_none_is_refused(epsilon):
    with pytest.raises(PlanError, match="epsilon must be"):
        Budget(epsilon=epsilon)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
def test_a_delta_that_is_none_is_refused(delta):
    with pytest.raises(PlanError, match="delta"):
        Budget(delta=delta)


@pytest.mark.parametrize("name", ["max_examples", "max_participations"])
def test_caps_below_one_are_refused(name):
    with pytest.raises(PlanError, match=name):
        plan_with(limits=Limits(**{name: 0}))


def test_a_cohort_too_small_for_the_threat_model_is_refused_with_the_remedy():
    with pytest.raises(PlanError, match="too few.*it takes a rate of"):
        resolve(plan_with(cohort=PoissonCohort(0.002)), **POPULATION)
    with pytest.raises((PlanError, SecAggError)):
        resolve(plan_with(cohort=FixedCohort(2), noise=CentralGaussian(1.0)), **POPULATION)


def test_cohorts_that_often_fall_below_the_floor_are_refused_under_privacy():
    with pytest.raises(PlanError, match="is outside"):
        resolve(plan_with(cohort=PoissonCohort(0.1)), **(POPULATION | {"num_clients": 60}))


def test_a_sum_that_no_backend_can_hold_is_refused():
    huge = plan_with(
        noise=None,
        secure_sum=InsecurePlain(),
        encoding=FixedPoint(1.0, 40, rounding="nearest"),
        limits=Limits(max_examples=2**30),
    )
    with pytest.raises(CapacityError, match="bits"):
        resolve(huge, **POPULATION)


def test_a_client_heavier_than_the_public_bound_is_refused():
    plan = plan_with(
        noise=None, encoding=FixedPoint(1.0, 20, rounding="nearest"), limits=Limits(max_examples=3)
    )
    with pytest.raises(PlanError, match="max_examples"):
        resolve(plan, **POPULATION)


def test_the_weight_is_one_more_coordinate_without_privacy_only():
    weighted = plan_with(noise=None, encoding=FixedPoint(1.0, 20, rounding="nearest"))
    assert resolve(weighted, **POPULATION).encoded_length == 1971
    assert resolve(plan_with(), **POPULATION).encoded_length == 1970


def test_the_total_noise_does_not_depend_on_the_cohort_size():
    resolution = resolve(plan_with(), **POPULATION)
    totals = [
        n * resolution.share_stddev(n) ** 2
        for n in range(resolution.bounds.floor, resolution.bounds.cap + 1)
    ]
    assert max(totals) / min(totals) - 1 < 1e-12


@pytest.mark.parametrize(
    "noise", [DistributedGaussian(1.3), DistributedSkellam(1.3), DistributedDiscreteGaussian(1.3)]
)
def test_a_release_carries_the_same_noise_whoever_joined_and_whoever_left(noise):
    """Shares of the survivors and the server's own: their variances add up to one constant."""
    resolution = resolve(plan_with(noise=noise), **POPULATION)
    bounds, sums = resolution.bounds, resolution.plan.secure_sum
    totals = [
        left * resolution.share_stddev(n) ** 2 + resolution.server_stddev(n, left) ** 2
        for n in range(bounds.floor, bounds.cap + 1, 7)
        for left in range(sums.min_survivors(n), n + 1)
    ]
    added = resolution.noise_multiplier_added * resolution.sensitivity.l2
    assert totals == pytest.approx([added**2] * len(totals), rel=1e-12)


def test_the_server_makes_up_for_no_one_when_all_stay():
    assert resolve(plan_with(), **POPULATION).server_stddev(150, 150) == 0.0


def test_the_guaranteed_honest_survivors_carry_the_claimed_noise():
    resolution = resolve(plan_with(), **POPULATION)
    sums = resolution.plan.secure_sum
    claimed = (1.3 * resolution.sensitivity.l2) ** 2
    for n in range(resolution.bounds.floor, resolution.bounds.cap + 1):
        honest = sums.min_survivors(n) - sums.colluders(n)
        assert honest * resolution.share_stddev(n) ** 2 >= claimed * (1 - 1e-12)


def test_a_share_sized_for_the_whole_roster_would_fall_short():
    """The mutant without the honest-survivor factor: a third leave and the claim is gone."""
    resolution = resolve(plan_with(), **POPULATION)
    claimed = (1.3 * resolution.sensitivity.l2) ** 2
    mutant = replace(resolution, honest_fraction=1.0)
    n = 150
    sums = resolution.plan.secure_sum
    honest = sums.min_survivors(n) - sums.colluders(n)
    assert honest * mutant.share_stddev(n) ** 2 < claimed


def test_accounting_matches_the_plain_gaussian():
    """Discrete Gaussian shares cost what one Gaussian costs, to the width of the bracket."""
    resolution = resolve(plan_with(), **POPULATION)
    event_epsilon = resolution.epsilon_at_end()
    plain = Accountant().compose(GaussianEvent(1.3, sampling=PoissonSampling(0.15)), 40)
    assert event_epsilon == pytest.approx(plain.epsilon(1e-5).high, rel=2e-3)
    assert event_epsilon < 5


def test_noise_is_ranked_as_the_theorems_rank_it():
    gaussian = resolve(plan_with(), **POPULATION).epsilon_at_end()
    skellam = resolve(plan_with(noise=DistributedSkellam(1.3)), **POPULATION).epsilon_at_end()
    discrete = resolve(plan_with(noise=DistributedDiscreteGaussian(1.3)), **POPULATION)
    assert gaussian < skellam < 20
    assert gaussian < discrete.epsilon_at_end() < 20


def test_the_server_sees_more_than_the_public():
    resolution = resolve(plan_with(), **POPULATION)
    one, many = resolution.server_epsilon(1), resolution.server_epsilon(12)
    assert resolution.server_epsilon(0) == 0.0
    assert 0 < one < many
    assert many > resolution.epsilon_at_end()


@pytest.mark.parametrize(
    "changes", [{"noise": CentralGaussian(1.3)}, {"secure_sum": InsecurePlain()}]
)
def test_no_bound_is_claimed_where_the_server_sees_more_than_noisy_sums(changes):
    assert resolve(plan_with(**changes), **POPULATION).server_epsilon(3) is None


def test_a_wrap_is_as_unlikely_as_stated():
    """With the smallest modulus that the plan allows, half of it holds signal and 2^−30 of noise."""
    resolution = resolve(plan_with(), **POPULATION)
    half = 2 ** (resolution.ring_bits - 1)
    signal = resolution.bounds.cap * resolution.plan.encoding.max_abs(1970)
    sigma = resolution.noise_multiplier_added * resolution.sensitivity.l2
    margin = (half - signal) / sigma
    assert 1970 * math.erfc(margin / math.sqrt(2)) <= 2**-30
    assert half < 2 * (signal + 9 * sigma + 1)


def test_calibration_spends_the_budget_and_no_more():
    plan = plan_with(noise=DistributedGaussian(1.0), budget=Budget(epsilon=5.0))
    tuned = calibrated(plan, **POPULATION)
    spent = resolve(tuned, **POPULATION).epsilon_at_end()
    assert 5.0 * (1 - 2e-3) <= spent <= 5.0
    assert 1.0 < tuned.noise.noise_multiplier < 1.4


def test_calibration_needs_a_budget():
    with pytest.raises(PlanError, match="finite epsilon"):
        calibrated(plan_with(), **POPULATION)


def test_calibration_spends_a_large_budget_too():
    """It needs little noise, far below that of usual runs."""
    plan = plan_with(noise=CentralGaussian(1.0), budget=Budget(epsilon=30.0))
    few = {**POPULATION, "num_rounds": 1}
    tuned = calibrated(plan, **few)
    spent = resolve(tuned, **few).epsilon_at_end()
    assert tuned.noise.noise_multiplier < 0.29
    assert 0.995 * 30 <= spent <= 30


def test_a_fixed_cohort_is_never_accounted_as_poisson():
    """Its own bound costs twice what the Poisson formula says, and less than an undrawn client's."""
    plan = plan_with(cohort=FixedCohort(150), noise=CentralGaussian(1.3))
    fixed = resolve(plan, **POPULATION).epsilon_at_end()
    poisson = resolve(plan_with(noise=CentralGaussian(1.3)), **POPULATION).epsilon_at_end()
    assert fixed > 2 * poisson
    undrawn = GaussianEvent(1.3, FixedSizeSampling(150, POPULATION["num_clients"]))
    assert fixed < Accountant().compose(undrawn, POPULATION["num_rounds"]).epsilon(1e-5).low / 1.5


def test_with_cohorts_of_fixed_size_nothing_may_depend_on_earlier_draws():
    """Others' states tell who was drawn before: the bound of one round does not compose (privacy.md §7)."""
    fixed = {"cohort": FixedCohort(150), "noise": CentralGaussian(1.3)}
    rounds, exact = POPULATION["num_rounds"], FixedPoint(1.0, 20, rounding="nearest")
    assert resolve(plan_with(**fixed), **POPULATION).max_participations == rounds
    resolve(plan_with(limits=Limits(max_participations=rounds), **fixed), **POPULATION)
    with pytest.raises(PlanError, match="max_participations=3 keep a state"):
        resolve(plan_with(limits=Limits(max_participations=3), **fixed), **POPULATION)
    resolve(
        plan_with(limits=Limits(max_participations=3), noise=CentralGaussian(1.3)), **POPULATION
    )
    for memory in (
        {"stages": (Scaffold(),)},
        {"personalization": FedRep(LocalTraining(), ("weight",))},
    ):
        with pytest.raises(PlanError, match="state that clients keep"):
            plan_with(**fixed, **memory)
        plan_with(noise=CentralGaussian(1.3), **memory)
        plan_with(cohort=FixedCohort(150), noise=None, encoding=exact, **memory)


def test_a_large_model_over_few_clients_warns():
    small = resolve(plan_with(), **POPULATION)
    assert small.warnings == ()
    assert noise_to_signal(small) < 0.6
    large = resolve(
        plan_with(encoding=FixedPoint(0.5, 12)), **(POPULATION | {"vector_length": 199_210})
    )
    assert "hardly learn" in large.warnings[0]
    loose = resolve(plan_with(budget=Budget(delta=0.1)), **POPULATION)
    assert "delta = 0.1 is not below 1 ÷ " in loose.warnings[0]


def test_the_digest_follows_every_part():
    base = plan_with()
    digests = {
        resolve(base, **POPULATION).digest,
        resolve(plan_with(secure_sum=Bfv()), **POPULATION).digest,
        resolve(plan_with(noise=DistributedGaussian(1.31)), **POPULATION).digest,
        resolve(base, **(POPULATION | {"num_rounds": 41})).digest,
    }
    assert len(digests) == 4


def test_shares_have_the_stated_deviation():
    """20,000 draws of one share: variance within 6 standard errors; false-alarm rate 2e-9."""
    resolution = resolve(plan_with(), **POPULATION)
    stddev = resolution.share_stddev(150)
    draws = resolution.plan.noise.sample(stddev, 20_000)
    expected = stddev**2
    assert abs(np.var(draws) - expected) < 6 * expected * math.sqrt(2 / 20_000)


def test_what_publishing_cohort_sizes_costs():
    """The figure that README, limits and report quote: 5.0 becomes 15.6 in the built-in example."""
    job = build_job(load_config(None))
    multiplier, rounds = job.plan.noise.noise_multiplier, job.config.rounds
    known = GaussianEvent(multiplier, sampling=FixedSizeSampling(200, 1000))
    assert Accountant().compose(known, rounds).epsilon(1e-5).high == pytest.approx(15.6, abs=0.05)


def test_a_sampling_that_no_theorem_covers_is_refused_before_any_round():
    with pytest.raises(UnsupportedEventError, match="no theorem"):
        resolve(plan_with(cohort=FixedCohort(150), noise=DistributedSkellam(1.3)), **POPULATION)


def test_calibration_asks_the_accountant_a_few_times_only(monkeypatch):
    """A bisection to one part in 10,000 takes some fifteen questions; log epsilon is nearly linear."""
    asked = []
    epsilon = ResolvedPlan.epsilon_at_end
    monkeypatch.setattr(
        ResolvedPlan, "epsilon_at_end", lambda self: asked.append(self) or epsilon(self)
    )
    for budget in (0.5, 2.0, 8.0):
        asked.clear()
        plan = plan_with(noise=CentralGaussian(1.0), budget=Budget(epsilon=budget))
        tuned = calibrated(plan, **POPULATION)
        assert len(asked) <= 12
        least = replace(plan, noise=tuned.noise.at(tuned.noise.noise_multiplier * (1 - 1.1e-4)))
        assert resolve(tuned, **POPULATION).epsilon_at_end() <= budget
        assert resolve(least, **POPULATION).epsilon_at_end() > budget * (1 - 3e-4)
