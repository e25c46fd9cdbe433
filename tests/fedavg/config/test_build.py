"""Configurations: strict keys, plain errors, and the plan they turn into."""

from __future__ import annotations

import math

import pytest

from fedavg.config.build import Config, build_job, build_plan, load_config
from fedavg.errors import ConfigError, DataError, FedAvgError, PlanError
from fedavg.optimizers.local import LocalTraining
from fedavg.optimizers.schedule import Schedule
from fedavg.optimizers.server import FedAdagrad, FedAdam, FedAvg, FedYogi
from fedavg.optimizers.wrapped import Averaged, Scheduled
from fedavg.plan.codec import plan_from_bytes, plan_to_bytes
from fedavg.privacy.noise import CentralGaussian, DistributedSkellam
from fedavg.runs.files.directory import config_to_toml
from fedavg.sums.encrypted import Bfv


def write(tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_text(text)
    return path


def test_the_built_in_example_needs_no_file():
    assert load_config(None) == Config()


def test_a_file_and_options_lie_over_the_defaults(tmp_path):
    path = write(tmp_path, "rounds = 7\n[privacy]\nnoise = 'skellam'\n")
    config = load_config(path, {"rounds": 9, "secure_sum.kind": "bfv"})
    assert (config.rounds, config.privacy.noise, config.secure_sum.kind) == (9, "skellam", "bfv")
    plan = build_plan(config, 1970)
    assert isinstance(plan.noise, DistributedSkellam)
    assert isinstance(plan.secure_sum, Bfv)


def test_the_training_tables_reach_the_plan(tmp_path):
    text = """
[local]
steps = 6
optimizer = "adamw"
lr = 0.01
schedule = "step"
milestones = [0.4]
factor = 0.5
warmup = 2
step_decay = 0.9
weight_decay = 0.2
clip_gradient = 3
beta1 = 0.8
[server]
optimizer = "yogi"
lr = 0.1
schedule = "cosine"
warmup = 3
beta1 = 0.7
beta2 = 0.95
tau = 0.01
"""
    plan = build_plan(load_config(write(tmp_path, text)), 1970)
    assert plan.local_training == LocalTraining(
        epochs=4,
        steps=6,
        optimizer="adamw",
        lr=0.01,
        schedule=Schedule("step", (0.4,), 0.5, 2),
        step_decay=0.9,
        weight_decay=0.2,
        clip_gradient=3.0,
        beta1=0.8,
    )
    stepped = Scheduled(FedYogi(0.1, 0.7, 0.95, 0.01), Schedule("cosine", warmup=3))
    assert plan.server_optimizer == Averaged(stepped, 0.2)
    assert plan_from_bytes(plan_to_bytes(plan)) == plan
    assert repr(plan_from_bytes(plan_to_bytes(plan))) == repr(plan)
    momentum = build_plan(
        load_config(None, {"local.optimizer": "momentum", "local.nesterov": True}), 9
    )
    assert momentum.local_training.nesterov
    for name, rule in (
        ("adam", FedAdam(3.0)),
        ("adagrad", FedAdagrad(3.0)),
        ("fedavg", FedAvg(3.0)),
    ):
        plan = build_plan(
            load_config(None, {"server.optimizer": name, "server.average_tail": 0}), 9
        )
        assert plan.server_optimizer == rule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[local]\nmilestones = 3\n", "local.milestones: Expected"),
        ("[server]\nschedul = 'step'\n", "unknown key 'server.schedul'. Do you mean 'schedule'?"),
        ("round = 3\n", "unknown key 'round'. Do you mean 'rounds'?"),
        ("[privacy]\nepsilom = 3.0\n", "unknown key 'privacy.epsilom'. Do you mean 'epsilon'?"),
        ("[privat]\n", "unknown key 'privat'. Do you mean 'privacy'?"),
        ("[model]\nzzz = 1\n", "known keys: name"),
        ("rounds = 'many'\n", "rounds: Expected `int`"),
        ("rounds = 0\n", "rounds must be at least 1"),
        ("seed = -1\n", "seed must be at least 0"),
        ("[simulation]\nworkers = -2\n", "one a core, must be at least -1"),
        (
            "[cohort]\nsize = 50\n",
            "cohort.size means nothing for cohorts of kind 'poisson', which have rate",
        ),
        (
            "[cohort]\nkind = 'fixed'\nrate = 0.5\n",
            "cohort.rate means nothing .* 'fixed', which have size",
        ),
        ("[data]\nclients = 0\n", "data.clients must be at least 1"),
        (
            "[data]\npartition = 'none'\n",
            "data.partition: there is no 'none'; there are auto, noisy-sort, iid",
        ),
        (
            "[training]\nprecision = 'int8'\n",
            "training.precision: there is no 'int8'; there are float32, bfloat16, float16",
        ),
        ("[privacy]\nnoise = 'loud'\n", "privacy.noise: there is no 'loud'"),
        ("[privacy]\nepsilon = 0.0\n", "epsilon must be positive"),
        ("[privacy]\nepsilon = -1.0\n", "epsilon must be positive"),
        ("[privacy]\nepsilon = nan\n", "epsilon must be finite"),
        ("[privacy]\ndelta = 1.5\n", "delta must lie in"),
        ("[privacy]\nnoise = 'none'\nepsilon = 2.0\n", "needs noise"),
        ("rounds = = 3\n", "no valid TOML"),
    ],
)
def test_mistakes_are_named_with_a_remedy(tmp_path, text, message):
    with pytest.raises(
        ConfigError, match=message.replace("?", "\\?").replace("'", "['`]")
    ) as caught:
        load_config(write(tmp_path, text))
    assert "run.toml" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot read .*nowhere.toml"):
        load_config(tmp_path / "nowhere.toml")


def test_missing_data_is_named():
    with pytest.raises(DataError, match="nowhere.npz"):
        build_job(load_config(None, {"data.name": "nowhere.npz"}))
    with pytest.raises(DataError, match="mnist"):
        build_job(load_config(None, {"data.name": "mnist-14x15"}))


def test_an_unknown_model_is_named():
    with pytest.raises(FedAvgError, match="softmax"):
        build_job(load_config(None, {"model.name": "softmaxx", "data.name": "digits"}))


def test_configurations_survive_a_round_trip(tmp_path):
    config = load_config(None, {"privacy.epsilon": 3.0, "data.name": "digits"})
    path = tmp_path / "again.toml"
    path.write_bytes(config_to_toml(config))
    assert load_config(path) == config


def test_without_noise_there_is_no_budget():
    plan = build_plan(load_config(None, {"privacy.noise": "none"}), 100)
    assert plan.noise is None
    assert plan.weighted
    assert math.isinf(plan.budget.epsilon)


def test_a_given_multiplier_is_tracked_and_not_limited():
    config = load_config(
        None, {"privacy.noise": "central-gaussian", "privacy.noise_multiplier": 0.7}
    )
    plan = build_plan(config, 100)
    assert plan.noise == CentralGaussian(0.7)
    assert math.isinf(plan.budget.epsilon)


def test_retries_reach_the_plan_and_noise_refuses_them():
    exact = {"privacy.noise": "none"}
    assert build_plan(load_config(None, exact), 9).retry_limit == 2
    assert build_plan(load_config(None, exact | {"cohort.retries": 5}), 9).retry_limit == 5
    assert build_plan(load_config(None), 9).retry_limit == 0
    with pytest.raises(PlanError, match="not tried again"):
        build_plan(load_config(None, {"cohort.retries": 1}), 9)


def test_scaffold_widens_the_grid_where_control_variates_are_sent():
    sent = build_plan(load_config(None, {"local.scaffold": True}), 5000)
    computed = build_plan(load_config(None, {"local.scaffold": True, "local.steps": 4}), 5000)
    assert [stage.kind for stage in sent.stages] == ["scaffold"]
    assert computed.stages == sent.stages
    assert sent.encoding.bits == computed.encoding.bits + 1 == 10
    assert plan_from_bytes(plan_to_bytes(sent)) == sent
