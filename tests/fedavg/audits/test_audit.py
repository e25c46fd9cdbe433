"""Audits of plans on the federation's own mechanism: right plans pass, planted bugs do not."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from dp import l2_clip
from dp.audit.guessing import _epsilon_low
from fedavg import (
    Budget,
    CapacityError,
    CentralGaussian,
    ConfigError,
    DistributedGaussian,
    DistributedSkellam,
    Faults,
    FedAvg,
    FixedPoint,
    InsecurePlain,
    LocalTraining,
    ModelSpec,
    OneShot,
    Plan,
    PlanError,
    PoissonCohort,
    SecAgg,
)
from fedavg.algorithms.scaffold import Scaffold
from fedavg.audits.audit import audit_plan
from fedavg.audits.claim import epsilon_added, family_bound
from fedavg.audits.clients import InTheClear
from fedavg.audits.run import audit_configured
from fedavg.cli.app import app
from fedavg.client.client import Client
from fedavg.plan.resolution import ResolvedPlan, resolve
from tests.e2e import small

MODEL = ModelSpec("softmax", (12,), 100)  # 1,300 parameters, trained on small's three classes
LENGTH, ROUNDS = 1300, 8
QUIET = Console(quiet=True)


def _plan(noise, **changes):
    parts = {
        "cohort": PoissonCohort(1.0),
        "encoding": FixedPoint(0.5, 13),
        "noise": noise,
        "secure_sum": InsecurePlain(0.1),
        "local_training": LocalTraining(lr=0.5),
        "server_optimizer": FedAvg(1.0),
        "budget": Budget(1e9, 1e-5),
    }
    return Plan(**(parts | changes))


def _audit(noise, *, canaries=300, rounds=ROUNDS, changes=None, **options):
    plan = _plan(noise, **(changes or {}))
    return audit_plan(MODEL, small.clients(6), plan, rounds, canaries=canaries, **options)


@pytest.mark.parametrize(
    "noise", [CentralGaussian(5.6), DistributedGaussian(5.6), DistributedSkellam(5.6)]
)
def test_right_plans_pass(noise):
    """Four checks at 1e-6 each; μ = √8/5.6 claimed."""
    found = _audit(noise)
    assert found.refutations == ()
    assert found.epsilon_low <= found.epsilon_claimed
    assert found.rounds == ROUNDS
    assert found.longest <= 1
    assert found.verdict.startswith("Consistent with the claim")


def test_weak_noise_shows_as_a_large_bound():
    """μ = 4, ε = 24: the bound with 300 canaries at confidence .95 is above 1 in all but 1e-9 of runs
    (it needs 60 of 80 guesses right, each of which is right with probability .99)."""
    found = _audit(CentralGaussian(math.sqrt(ROUNDS) / 4))
    assert found.refutations == ()
    assert 1 < found.epsilon_low < found.epsilon_low_family < found.epsilon_claimed
    assert found.epsilon_estimate > found.epsilon_low


@pytest.mark.parametrize("secure_sum", [SecAgg(0.1, 0.1, "semi-honest"), OneShot(0.1, 0.1)])
def test_canaries_join_sampled_cohorts_drop_outs_and_the_protected_sum(secure_sum):
    found = _audit(
        DistributedGaussian(4.0),
        canaries=60,
        rounds=2,
        changes={"cohort": PoissonCohort(0.9), "secure_sum": secure_sum},
        in_the_clear=False,
        faults=Faults(0.02, 3),
    )
    assert found.refutations == ()


@pytest.mark.parametrize("secure_sum", [SecAgg(0.1, 0.1), OneShot(0.1, 0.1)])
def test_the_stand_in_adds_the_shares_of_the_sum_that_it_stands_for(secure_sum):
    plan = _plan(DistributedGaussian(2.0), secure_sum=secure_sum)
    stand_in = replace(plan, secure_sum=InTheClear(plan.secure_sum))
    sizes = {"num_clients": 60, "vector_length": 99, "num_rounds": 3, "largest_client": 4}
    original, other = resolve(plan, **sizes), resolve(stand_in, **sizes)
    assert other.share_stddev(60) == original.share_stddev(60)
    assert other.bounds == original.bounds
    assert other.epsilon_at_end() == original.epsilon_at_end()


def test_the_familys_bound_is_where_the_guesses_just_refute():
    resolution = resolve(
        _plan(CentralGaussian(2.0)),
        num_clients=100,
        vector_length=50,
        num_rounds=4,
        largest_client=1,
    )  # μ = 1
    low = family_bound(resolution, 1000, 300, 230, 0.05)
    direct = _epsilon_low(1000, 300, 230, 0.05, 1e-5, "gaussian")
    assert low == pytest.approx(direct, rel=0.06)  # a curve of ten points is a little wider
    assert low <= direct * 1.02
    assert family_bound(resolution, 1000, 300, 150, 0.05) == 0
    beyond = family_bound(resolution, 1000, 1000, 1000, 0.05)
    assert beyond > resolution.epsilon_at_end()


def test_epsilon_of_the_added_noise_is_less_than_claimed_for_shares():
    sizes = {"num_clients": 60, "vector_length": 99, "num_rounds": 3, "largest_client": 4}
    shares = resolve(_plan(DistributedGaussian(2.0), secure_sum=SecAgg(0.1, 0.1)), **sizes)
    central = resolve(_plan(CentralGaussian(2.0)), **sizes)
    assert epsilon_added(shares) < 0.95 * shares.epsilon_at_end()
    assert epsilon_added(central) == central.epsilon_at_end()


# --- planted bugs; each false alarm has a probability ≤ 1e-6


def test_noise_for_a_mean_instead_of_a_sum_is_caught(monkeypatch):
    right = ResolvedPlan.server_stddev
    monkeypatch.setattr(
        ResolvedPlan, "server_stddev", lambda self, *sizes: right(self, *sizes) / 150
    )
    found = _audit(CentralGaussian(5.6), canaries=600)
    assert found.noise.too_weak
    assert found.epsilon_low > found.epsilon_claimed
    assert found.verdict.startswith("REFUTED")


def test_a_share_of_noise_that_one_client_forgot_is_caught(monkeypatch):
    """One of 16 shares is 3.2 % of the deviation; 52,000 entries tell 1.5 %."""
    right = Client._with_noise

    def forgetful(self, encoded, roster_size):
        noised = right(self, encoded, roster_size)
        return encoded if self.client_id == 0 else noised

    monkeypatch.setattr("fedavg.audits.audit.fair_coins", lambda count: np.arange(count) < 10)
    assert _audit(DistributedGaussian(5.6), canaries=40, rounds=40).refutations == ()
    monkeypatch.setattr(Client, "_with_noise", forgetful)
    assert _audit(DistributedGaussian(5.6), canaries=40, rounds=40).noise.too_weak


def test_clipping_by_layer_is_caught(monkeypatch):
    def by_layer(update, clip):
        return np.concatenate([l2_clip(part, clip) for part in np.split(update, 4)])

    monkeypatch.setattr("fedavg.client.update.l2_clip", by_layer)
    with pytest.raises(
        CapacityError, match="exceeds clip"
    ):  # the trial step's encoding refuses already
        _audit(CentralGaussian(5.6))
    monkeypatch.setattr(
        FixedPoint, "encode", lambda self, update: np.rint(update * self.scale).astype(np.int64)
    )
    found = _audit(CentralGaussian(5.6))
    assert found.longest == pytest.approx(2, abs=0.05)
    assert "times as long as the sensitivity" in found.verdict


def test_noise_drawn_once_and_used_again_is_caught(monkeypatch):
    right, kept = CentralGaussian.sample, {}
    monkeypatch.setattr(
        CentralGaussian,
        "sample",
        lambda self, stddev, size: kept.setdefault(size, right(self, stddev, size)),
    )
    found = _audit(CentralGaussian(5.6), rounds=3)
    assert found.noise.repeated
    assert not found.noise.too_weak
    assert "not drawn afresh" in found.verdict


def test_what_cannot_be_audited_is_refused():
    with pytest.raises(PlanError, match="no epsilon to audit"):
        audit_plan(MODEL, small.clients(20), small.plan(InsecurePlain()), 2)
    with pytest.raises(PlanError, match=f"between 40 and {LENGTH}"):
        _audit(CentralGaussian(1.0), canaries=LENGTH + 1)
    with pytest.raises(PlanError, match="between 40"):
        _audit(CentralGaussian(1.0), canaries=39)
    with pytest.raises(PlanError, match="confidence"):
        _audit(CentralGaussian(1.0), confidence=95)


# --- the command

CONFIG = """
rounds = 2
[data]
name = "digits"
clients = 40
[cohort]
rate = 1.0
[privacy]
noise = "central-gaussian"
noise_multiplier = 2.0
[secure_sum]
kind = "insecure-plain"
[simulation]
workers = 0
"""


@pytest.fixture
def run_directory(tmp_path):
    pytest.importorskip("sklearn")
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "config.toml").write_text(CONFIG)
    return directory


def test_a_verdict_on_noise_that_is_too_weak_is_saved_as_well(run_directory, monkeypatch):
    """The noise of this run is 0.3 times as strong as the plan says."""
    drawn = CentralGaussian.sample
    monkeypatch.setattr(
        CentralGaussian, "sample", lambda self, stddev, size: drawn(self, 0.3 * stddev, size)
    )
    result = CliRunner().invoke(app, ["audit", str(run_directory), "--canaries", "100"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    saved = json.loads((run_directory / "audit.json").read_text())
    assert saved["refuted"] is True
    assert "weak" in json.dumps(saved)


def test_the_command_prints_a_verdict_and_saves_it_with_the_run(run_directory):
    result = CliRunner().invoke(app, ["audit", str(run_directory), "--canaries", "100"])
    assert result.exit_code == 0, result.output
    assert "Consistent with the claim" in result.output
    saved = json.loads((run_directory / "audit.json").read_text())
    assert saved["refuted"] is False
    assert saved["epsilon_low"] <= saved["epsilon_claimed"]
    assert saved["ratio"] == pytest.approx(saved["epsilon_low"] / saved["epsilon_claimed"])
    assert saved["rounds"] == 2
    assert sorted(path.name for path in run_directory.iterdir()) == ["audit.json", "config.toml"]


def test_the_clients_of_an_audit_train_as_the_run_does(run_directory, monkeypatch):
    """In its precision, on its device: what is audited is what runs."""
    seen = []
    forward = torch.autocast.__enter__

    def noticed(self):
        seen.append((self.device, self.fast_dtype))
        return forward(self)

    monkeypatch.setattr(torch.autocast, "__enter__", noticed)
    audit_configured(run_directory, QUIET, canaries=40, rounds=1)
    assert not seen
    config = run_directory / "config.toml"
    config.write_text(CONFIG + '[training]\ndevice = "cpu"\nprecision = "bfloat16"\n')
    audit_configured(run_directory, QUIET, canaries=40, rounds=1)
    assert len(seen) > 40  # each of 40 clients at least once, and the trial
    assert set(seen) == {("cpu", torch.bfloat16)}


def test_a_refusal_stands_alone_without_a_bar(run_directory):
    """Mutant: a bar that is entered around the whole audit stands above the refusal."""
    result = CliRunner().invoke(app, ["audit", str(run_directory), "--canaries", "100000"])
    assert result.exit_code == 2
    assert "canaries do not fit" in result.output
    assert "rounds with canaries" not in result.output


def test_the_command_says_what_is_wrong_in_one_line(tmp_path):
    result = CliRunner().invoke(app, ["audit", str(tmp_path)])
    assert result.exit_code == 2
    assert result.output.startswith("Error: ")
    assert "no config.toml" in result.output
    with pytest.raises(ConfigError, match="cannot read"):
        audit_configured(tmp_path / "nothing.toml", None)


def test_control_variates_are_audited_where_they_cost_nothing():
    with pytest.raises(PlanError, match="steps="):
        _audit(CentralGaussian(5.6), changes={"stages": (Scaffold(),)})
    steps = LocalTraining(lr=0.5, steps=2)
    found = _audit(CentralGaussian(5.6), changes={"stages": (Scaffold(),), "local_training": steps})
    assert found.refutations == ()
    assert found.rounds == ROUNDS


def test_models_of_batch_statistics_are_audited():
    """A canary's seat holds a real client's examples: one alone would fail the trial step."""
    from torch import nn

    model = nn.Sequential(
        nn.Linear(12, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.ReLU(), nn.Linear(8, 3)
    )
    audit = audit_plan(model, small.clients(6), _plan(CentralGaussian(5.6)), 2, canaries=60)
    assert audit.rounds == 2
