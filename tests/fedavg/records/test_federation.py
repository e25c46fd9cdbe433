"""Whole runs: the pooled gradient, exactness over secure sums, void steps, budgets, persons, own noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load

from dp import Ledger
from fedavg.contrib.masked_encrypted import EncryptedSecAgg
from fedavg.data.dataset import Dataset
from fedavg.errors import ConfigError, DataError, LocalProtocolError, RoundAbortedError
from fedavg.losses import CrossEntropy
from fedavg.models.spec import ModelSpec
from fedavg.optimizers.server import FedAdam, FedAvg, FedMomentum
from fedavg.privacy.noise import DistributedGaussian
from fedavg.protocol.transcript import Transcript
from fedavg.records import table
from fedavg.records.federation import RecordFederation
from fedavg.records.table import Silo
from fedavg.sums.encrypted import Bfv, Ckks
from fedavg.sums.masked import SecAgg
from fedavg.sums.one_shot import OneShot
from fedavg.sums.plain import InsecurePlain
from tests.fedavg.records.small import (
    federation,
    no_noise,
    one_by_one,
    plan,
    records,
    shortened,
    silos,
    softmax,
    units_of,
)

SECURE = SecAgg(dropout_rate=0.0)


def pooled(given: dict[int, Dataset], clip: float) -> np.ndarray:
    """The sum of all clipped gradients of all records of all silos, at the first model."""
    features = np.concatenate([data.features for data in given.values()])[:, None]
    labels = np.concatenate([data.labels for data in given.values()])[:, None]
    units = units_of(features, labels, np.ones(labels.shape))
    return shortened(one_by_one(softmax(), CrossEntropy(), units), clip).sum(0)


def test_without_noise_a_step_is_that_of_the_pooled_records(monkeypatch):
    no_noise(monkeypatch)
    given = silos()
    run = federation(given, rate=1.0, clip=0.7, steps=1)
    before = run.released
    list(run.run())
    wanted = before - pooled(given, 0.7) / 40.0
    grid = len(given) / 2 / run.resolution.scale / 40.0
    np.testing.assert_allclose(run.released, wanted, atol=grid + 1e-5)
    assert not np.allclose(run.released, before, atol=1e-2)


@pytest.mark.parametrize("rule", [FedMomentum(lr=0.5), FedAdam(lr=0.1)])
def test_server_optimisers_are_applied_to_the_mean_gradient(rule, monkeypatch):
    no_noise(monkeypatch)
    given = silos()
    run = federation(given, rate=1.0, steps=1, server_optimizer=rule)
    before = run.released
    list(run.run())
    delta = -pooled(given, 1.0) / 40.0
    from fedavg.optimizers.server import Progress

    wanted, _ = rule.step(before, delta, rule.init(before.size), Progress(0, 1))
    np.testing.assert_allclose(run.released, wanted, atol=1e-4)


SUMS = {
    "plain": InsecurePlain(dropout_rate=0.0),
    "secagg": SECURE,
    "ckks": Ckks(dropout_rate=0.0),
    "bfv, key at a holder": Bfv(dropout_rate=0.0, key_at="holder"),
    "encrypted and masked": EncryptedSecAgg(dropout_rate=0.0),
    "one-time keys that secagg adds": OneShot(keys="secagg", dropout_rate=0.0),
    "one-time keys that a committee adds": OneShot(dropout_rate=0.0),
}


def _fixed_chance(monkeypatch) -> None:
    """The same coins and noise in every run of this process; no production code takes a seed."""
    rng = np.random.default_rng(5)
    monkeypatch.setattr(table, "random_uniform", rng.random)
    monkeypatch.setattr(
        DistributedGaussian,
        "sample",
        lambda _self, stddev, size: np.rint(rng.normal(0, stddev, size)).astype(np.int64),
    )


def test_every_secure_sum_gives_the_same_model_to_the_bit(monkeypatch):
    found = {}
    for name, secure_sum in SUMS.items():
        with monkeypatch.context() as patched:
            _fixed_chance(patched)
            run = federation(secure_sum=secure_sum, steps=2)
            list(run.run())
        found[name] = run.released
    for name, model in found.items():
        np.testing.assert_array_equal(model, found["plain"], err_msg=name)


def test_results_say_nothing_of_single_silos():
    run = federation(secure_sum=SECURE, evaluate=records(50, 9), steps=3)
    results = list(run.run(score_every=2))
    assert [result.step for result in results] == [1, 2, 3]
    assert [result.evaluation is not None for result in results] == [False, True, True]
    assert {result.silos for result in results} == {4}
    assert not any(result.voided for result in results)
    fields = set(results[0].__dataclass_fields__)
    seen = {"step", "silos", "voided", "bytes_up", "bytes_down", "seconds", "evaluation"}
    assert fields == seen | {"groups", "shortened", "clip"}
    assert run.stopped == "finished"
    assert run.rosters == {4: 3}


def test_the_ledgers_and_the_federations_own_account_agree():
    run = federation(secure_sum=SECURE, steps=3)
    assert run.epsilons.colluding == 0.0
    list(run.run())
    assert run.spent == pytest.approx(dict.fromkeys(silos(), run.epsilons.colluding), rel=1e-3)
    assert run.epsilons == run.planned_epsilons()


def test_a_silo_that_leaves_makes_the_step_void_and_charged_and_drawn_again():
    def silent(step: int, stage: str) -> frozenset[int]:
        return frozenset({12}) if (step, stage) == (1, "masked_input") else frozenset()

    run = federation(silos(5), secure_sum=SECURE, silent=silent)
    results = list(run.run())
    assert [result.silos for result in results] == [5, 4, 5]
    assert [len(result.voided) for result in results] == [0, 1, 0]
    assert run.rosters == {5: 3, 4: 1}
    assert run.spent[10] > run.spent[12] > 0


def test_a_silo_that_is_not_ready_costs_nobody_anything():
    run = federation(
        silos(5),
        secure_sum=SECURE,
        silent=lambda step, stage: frozenset({12} if stage == "gradients" and not step else ()),
    )
    results = list(run.run())
    assert [result.silos for result in results] == [4, 5, 5]
    assert run.rosters == {4: 1, 5: 2}
    assert not results[0].voided


def test_with_too_few_silos_left_the_run_stops_with_the_reason():
    run = federation(
        secure_sum=SECURE,
        silent=lambda _step, stage: frozenset({11, 12} if stage == "masked_input" else ()),
    )
    with pytest.raises(RoundAbortedError, match="step 1 gave no sum: Aborted"):
        list(run.run())
    assert run.rosters == {4: 1}


def test_a_run_ends_where_a_ledger_ends():
    once = federation(steps=1)
    budget = once.resolution.account.budget_account(2).upper_epsilon(1e-5) * 1.01
    ledgers = {silo: Ledger(budget, 1e-5) for silo in silos()}
    run = federation(steps=5, ledgers=ledgers)
    assert len(list(run.run())) == 2
    assert run.stopped == "budget"
    assert all(spent <= budget for spent in run.spent.values())


def test_a_federation_runs_once():
    run = federation(steps=1)
    list(run.run())
    with pytest.raises(LocalProtocolError, match="runs once"):
        next(run.run())


def test_persons_and_own_noise_and_local_steps_run():
    people = {silo: Silo(data, np.arange(len(data)) // 3) for silo, data in silos(4, 60).items()}
    by_person = federation(people, unit="person", rows=3, secure_sum=SECURE)
    own = federation(
        noise="own",
        local_steps=3,
        local_lr=0.3,
        noise_multiplier=0.5,
        secure_sum=SECURE,
        evaluate=records(200, 9),
        steps=6,
        model=ModelSpec("softmax", (5,), 3),
    )
    assert len(list(by_person.run())) == 3
    *_, last = own.run()
    assert last.evaluation.accuracy > 0.7
    assert own.resolution.sends_updates


def test_it_learns_under_a_budget():
    run = federation(
        silos(5, 400),
        secure_sum=SECURE,
        rate=0.1,
        max_units=500,
        divisor=200.0,
        noise_multiplier=None,
        epsilon=3.0,
        steps=20,
        server_optimizer=FedMomentum(lr=0.5),
        evaluate=records(500, 9),
        model=ModelSpec("softmax", (5,), 3),
    )
    *_, last = run.run()
    assert last.evaluation.accuracy > 0.8
    assert 2.9 < run.epsilons.colluding <= 3.0
    tensors = load(run.model_file())
    assert sum(part.numel() for part in tensors.values()) == run.resolution.vector_length
    outputs = run.model()(torch.from_numpy(records(9, 1).features))
    assert outputs.shape == (9, 3)


def test_the_server_sees_messages_of_fixed_lengths_only():
    record = Transcript(frozenset({0}))
    run = RecordFederation(softmax(), silos(), plan(secure_sum=SECURE), transcript=record)
    list(run.run())
    by_stage: dict[str, set[int]] = {}
    for entry in record:
        if entry.direction == "up":
            by_stage.setdefault(entry.stage, set()).add(len(entry.message))
    assert by_stage.pop("gradients") == {len(b"\x93\xa5ready\x00\x00")}
    assert all(len(lengths) == 1 for lengths in by_stage.values())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "there are none"),
        (
            [records(5, 0), "rows", records(5, 1)],
            "a silo is a fedavg.Silo or a fedavg.Dataset, not str",
        ),
        ({-1: records(5, 0)}, "the id of a silo must be at least 0"),
        ({0.5: records(5, 0)}, "the id of a silo must be an int"),
        (
            [records(5, 0), records(5, 1), Dataset(np.zeros((4, 7)), np.zeros(4, int))],
            "silo 2 has records of another shape",
        ),
        (
            [records(5, 0), records(5, 1), Dataset(np.zeros((4, 5)), np.full(4, 8))],
            "there is a label 8",
        ),
    ],
)
def test_silos_that_do_not_fit_are_refused_before_anything_is_charged(given, said):
    with pytest.raises(DataError, match=said):
        RecordFederation(softmax(), given, plan(server_optimizer=FedAvg()))


def test_ledgers_name_every_silo():
    with pytest.raises(ConfigError, match="ledgers must name every silo"):
        federation(ledgers={10: Ledger(1.0, 1e-5)})


def test_a_step_whose_openers_fail_ends_the_run_and_asks_no_silo_twice():
    run = federation(secure_sum=OneShot(dropout_rate=0.0))
    for role in run._parties.others.values():
        role.handle = _no_answer
    with pytest.raises(RoundAbortedError, match="step 1 gave no sum"):
        list(run.run())
    assert {party.attempts for party in run._parties.silos.values()} == {1}


def _no_answer(_):
    return ()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("mlp", r"not str: a built-in model by its name is fedavg\.ModelSpec\('mlp'"),
        (None, "not NoneType"),
        (torch.nn.Linear, "not type"),
    ],
)
def test_a_model_that_is_none_is_refused_by_its_type(model, said):
    with pytest.raises(ConfigError, match=said):
        RecordFederation(model, silos(), plan())


def test_a_plan_of_clients_is_refused_by_its_type():
    with pytest.raises(ConfigError, match=r"a plan is a fedavg\.RecordPlan, not dict"):
        RecordFederation(softmax(), silos(), {})


def test_one_table_is_not_the_table_of_two_silos():
    shared = records(40, 0)
    with pytest.raises(DataError, match="silos 0 and 3 hold the same object of records"):
        RecordFederation(softmax(), [shared, records(40, 1), records(40, 2), Silo(shared)], plan())


def test_a_single_table_is_no_federation():
    with pytest.raises(DataError, match="needs several silos"):
        RecordFederation(softmax(), records(40, 0), plan())


def test_charges_say_whose_loss_they_are():
    people = {silo: Silo(data, np.arange(len(data)) // 3) for silo, data in silos(4, 60).items()}
    for given, changes, label in (
        (silos(), {}, "records, per record"),
        (people, {"unit": "person"}, "records, per person"),
    ):
        ledgers = {silo: Ledger(100.0, 1e-5) for silo in given}
        list(federation(given, ledgers=ledgers, steps=1, **changes).run())
        assert {c.label for ledger in ledgers.values() for c in ledger.history} == {label}
