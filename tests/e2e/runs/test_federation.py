"""Whole federations over bytes: the same model to the bit, weights that stay private, faults, budget."""

from __future__ import annotations

import numpy as np
import pytest

from fedavg.data.dataset import Dataset
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.errors import DataError, LocalProtocolError
from fedavg.federation.federation import Federation
from fedavg.plan.plan import Budget, Limits
from fedavg.privacy.noise import (
    CentralGaussian,
    DistributedDiscreteGaussian,
    DistributedGaussian,
    DistributedSkellam,
)
from fedavg.privacy.sampling import PoissonCohort
from fedavg.simulation.faults import Faults
from fedavg.sums.masked import SecAgg
from fedavg.sums.plain import InsecurePlain
from tests.e2e.small import MODEL, SUMS, clients, federation, plan

PRIVATE = {"encoding": FixedPoint(0.5, 9), "noise": DistributedGaussian(1.0)}


@pytest.fixture(scope="module")
def unprotected():
    run = federation(SUMS["insecure-plain"])
    results = list(run.run(3))
    return run, results


@pytest.mark.parametrize("name", ["secagg", "ckks", "bfv"])
def test_every_secure_sum_trains_the_same_model_to_the_bit(name, unprotected):
    run = federation(SUMS[name])
    results = list(run.run(3))
    assert np.array_equal(run.released, unprotected[0].released)
    assert [r.accuracy for r in results] == [r.accuracy for r in unprotected[1]]
    assert results[-1].accuracy > 0.9
    assert all(r.survivors == 20 and r.skipped is None for r in results)


def test_the_weighted_mean_is_federated_averaging(unprotected):
    """One round by hand: w + Σ n_k·Δ_k ÷ Σ n_k, to the encoding's grid."""
    from fedavg.models.layout import Layout
    from fedavg.training.job import TrainingJob
    from fedavg.training.loop import local_update

    run = federation(SUMS["insecure-plain"])
    list(run.run(1))
    model, population = MODEL.build(), clients(20)
    layout = Layout.of(model)
    start = layout.flatten(model)
    training = run.plan.local_training
    updates = {
        c: local_update(
            TrainingJob(model, layout, start, data, training, round_index=0, num_rounds=1, seed=c)
        )
        for c, data in population.items()
    }
    total = sum(len(population[c]) for c in population)
    mean = sum(len(population[c]) * updates[c] for c in population) / total
    assert np.abs(run.released - (start + mean)).max() < 1.0 / run.plan.encoding.scale


def test_worker_processes_give_the_same_model(unprotected):
    run = federation(SUMS["secagg"], workers=2)
    list(run.run(3))
    assert np.array_equal(run.released, unprotected[0].released)


def test_drop_outs_at_any_stage_leave_a_model():
    run = federation(
        SecAgg(dropout_rate=0.3, corrupt_rate=0.05), n=40, faults=Faults(rate=0.12, seed=4)
    )
    results = list(run.run(6))
    assert sum(r.skipped is None for r in results) >= 5
    assert any(r.survivors < r.cohort for r in results)
    assert results[-1].accuracy > 0.9


def test_too_many_drop_outs_skip_the_round_and_keep_the_model():
    run = federation(SUMS["secagg"], n=20, faults=Faults(rate=0.9, seed=1))
    before = run.released.copy()
    results = list(run.run(2))
    assert all(r.skipped for r in results)
    assert np.array_equal(run.released, before)
    assert run.stopped == "nothing-learnt"


@pytest.mark.parametrize(
    "noise",
    [
        DistributedGaussian(1.0),
        DistributedSkellam(1.0),
        DistributedDiscreteGaussian(1.0),
        CentralGaussian(1.0),
    ],
)
@pytest.mark.parametrize("name", ["secagg", "bfv"])
def test_noise_of_every_kind_runs_and_is_accounted(name, noise):
    run = federation(
        SUMS[name],
        n=60,
        changes={
            "encoding": FixedPoint(0.5, 9),
            "noise": noise,
            "cohort": PoissonCohort(0.95),
            "budget": Budget(delta=1e-5),
        },
    )
    results = list(run.run(2))
    assert all(r.skipped is None for r in results)
    assert 0 < results[0].epsilon_release < results[1].epsilon_release
    assert (results[1].epsilon_server is None) == (noise.kind == "central-gaussian")


def test_the_aggregate_carries_the_noise_that_was_claimed():
    """Updates of a zero learning rate are zero, so the sum is the noise: 39·40 draws.

    Its variance must be at least the claimed one and near the added one: within 6 standard
    errors (false-alarm rate 2e-9).
    """
    from fedavg.optimizers.local import LocalTraining

    run = federation(
        SUMS["insecure-plain"],
        n=60,
        changes=PRIVATE | {"local_training": LocalTraining(lr=1e-12)},
    )
    resolution = run.resolve(40)
    draws = []
    for result in run.run(40):
        assert result.skipped is None
        draws.append(run.last_sum.total)
    values = np.concatenate(draws).astype(float)
    added = 60 * resolution.share_stddev(60) ** 2
    claimed = (resolution.noise_multiplier * resolution.sensitivity.l2) ** 2
    error = added * np.sqrt(2 / values.size)
    assert (
        abs(values.var() - added) < 6 * error + 60 * 0.25
    )  # stochastic rounding of ≈ 0 adds ≤ ¼ each
    assert values.var() > claimed


def test_the_budget_stops_the_run_before_the_round_that_would_exceed_it():
    run = federation(
        SUMS["insecure-plain"],
        n=60,
        changes=PRIVATE | {"budget": Budget(epsilon=15.0)},
    )
    results = list(run.run(50))
    assert run.stopped == "budget"
    assert 0 < len(results) < 50
    assert results[-1].epsilon_release <= 15.0
    assert run.ledger.spent().high <= 15.0


def test_a_client_that_reaches_its_cap_stays_silent():
    run = federation(
        InsecurePlain(dropout_rate=0.5),
        n=60,
        changes=PRIVATE | {"limits": Limits(max_participations=2)},
    )
    results = list(run.run(4))
    assert [r.survivors for r in results] == [60, 60, 0, 0]
    assert results[2].skipped


def test_nan_from_a_client_drops_it_without_privacy_and_counts_as_zero_with_it():
    poisoned = clients(60)
    run = federation(SUMS["insecure-plain"], clients=poisoned)
    bad = Dataset(np.zeros((3, 12), dtype=np.float32), np.zeros(3, dtype=np.int64))
    object.__setattr__(bad, "features", np.full((3, 12), 3e38, dtype=np.float32))
    run._clients[7] = bad
    result = next(run.run(1))
    assert result.survivors == 59
    assert "NonFiniteError" in result.failures[7]
    private = federation(SUMS["secagg"], clients=poisoned, changes=PRIVATE)
    private._clients[7] = bad
    result = next(private.run(1))
    assert (result.survivors, result.contributors) == (60, 59)
    assert "zeros were sent" in result.failures[7]
    assert np.isfinite(private.released).all()


def test_interrupting_keeps_what_there_is():
    run = federation(SUMS["insecure-plain"])
    rounds = run.run(5)
    next(rounds)
    rounds.close()
    assert run.stopped == "interrupted"


def test_a_federation_runs_once_and_needs_clients():
    run = federation(SUMS["insecure-plain"])
    list(run.run(1))
    with pytest.raises(LocalProtocolError, match="runs once"):
        list(run.run(1))
    with pytest.raises(DataError):
        Federation(MODEL, {}, plan(SUMS["secagg"]))
    with pytest.raises(LocalProtocolError, match="ModelSpec"):
        federation(SUMS["secagg"], model=MODEL.build(), workers=2)


def test_results_name_their_stages_and_bytes():
    run = federation(SUMS["secagg"], clients=clients(20))
    result = next(run.run(1))
    assert {
        "train",
        "advertise_keys",
        "share_keys",
        "masked_input",
        "consistency",
        "unmask",
    } <= set(result.seconds)
    assert result.bytes_up > 0
    assert result.bytes_down > 0


def test_evaluation_is_optional():
    run = Federation(MODEL, clients(6), plan(SUMS["insecure-plain"]))
    result = next(run.run(1))
    assert result.accuracy is None
    assert result.skipped is None
