"""[training] and [evaluation]: by name, with options, or by an import path; refused before data are read."""

from __future__ import annotations

import sys

import pytest

from fedavg.config.build import build_job, load_config
from fedavg.errors import ConfigError, PlanError
from fedavg.losses.classification import Focal
from fedavg.losses.imported import ImportedLoss
from fedavg.optimizers.custom import ImportedLoop, ImportedStep
from tests.e2e.small import blobs_in

OWN = "tests.fedavg.support.own_parts"


@pytest.fixture
def own_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


def built(tmp_path, **overrides):
    chosen = {"data.name": str(blobs_in(tmp_path)), "data.clients": 8, "privacy.noise": "none"}
    return build_job(load_config(None, chosen | overrides))


def test_names_options_and_paths_become_parts(tmp_path):
    job = built(
        tmp_path,
        **{
            "training.loss": {"kind": "focal", "gamma": 3.0},
            "training.step": f"{OWN}:step",
            "training.precision": "bfloat16",
            "evaluation.metrics": [
                "log-loss",
                "f1_macro",
                {"kind": "calibration_error", "bins": 5},
            ],
            "evaluation.headline": "balanced_accuracy",
            "evaluation.public": True,
        },
    )
    training = job.plan.local_training
    assert training.loss == Focal(gamma=3.0)
    assert training.step == ImportedStep(f"{OWN}:step")
    assert job.compute.precision == "bfloat16"
    names = [metric.name for metric in job.scoring.on(job.task.test)]
    assert names == ["balanced_accuracy", "accuracy", "log_loss", "f1_macro", "calibration_error"]
    assert job.scoring.public_rows


def test_a_loop_and_a_loss_by_path(tmp_path):
    chosen = {"training.loss": f"{OWN}:halved", "training.loop": f"{OWN}:loop"}
    training = built(tmp_path, **chosen).plan.local_training
    assert training.loss == ImportedLoss(f"{OWN}:halved")
    assert training.loop == ImportedLoop(f"{OWN}:loop")


def test_the_loss_reaches_personal_training_too(tmp_path):
    chosen = {"training.loss": "focal", "personalization.kind": "finetune"}
    assert built(tmp_path, **chosen).plan.personalization.training.loss == Focal()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            "training.loss",
            "focl",
            r"^\[training\]: loss: there is no 'focl'; there are cross-entropy",
        ),
        ("training.loss", {"kind": "focal", "gama": 1}, r"\[training\]: loss: .*gama"),
        (
            "training.loss",
            {"kind": "huber", "delta": -1.0},
            r"\[training\]: .*delta must be positive",
        ),
        (
            "training.loss",
            "no_such_file:f",
            r"\[training\]: the loss .* put no_such_file.py beside",
        ),
        ("training.step", "mixup", r"\[training\]: training step: there is no 'mixup'"),
        ("training.loop", f"{OWN}:nothing", r"\[training\]: the client loop .* has no 'nothing'"),
        (
            "training.device",
            "gpu",
            r"\[training\]: there is no device 'gpu'; there are cpu, cuda, mps, auto",
        ),
        ("training.precision", "half", r"training.precision: there is no 'half'"),
        ("evaluation.metrics", ["rocauc"], r"\[evaluation\]: .* Do you mean 'roc_auc'"),
        ("evaluation.headline", f"{OWN}:no", r"\[evaluation\]: the metric .* has no 'no'"),
        ("evaluation.patience", -2, r"evaluation.patience must be at least 0"),
        ("evaluation.min_delta", -0.5, r"evaluation.min_delta must lie"),
        ("training.los", "mse", r"unknown key 'training.los'. Do you mean 'loss'"),
    ],
)
def test_what_is_wrong_is_said_before_data_are_read(key, value, said):
    more = {"evaluation.best": True} if key == "evaluation.min_delta" else {}
    with pytest.raises(ConfigError, match=said):
        load_config(None, {"data.name": "no-such-data", "privacy.noise": "none", key: value} | more)


@pytest.mark.parametrize("key", ["evaluation.best", "evaluation.patience"])
def test_under_noise_no_round_is_chosen_by_held_out_rows(key):
    with pytest.raises(PlanError, match="under noise neither early stopping nor the best round"):
        load_config(None, {key: 3 if "patience" in key else True})


def test_modules_beside_the_file_are_found_and_their_folder_is_written_down(tmp_path, own_path):
    (tmp_path / "mine_d.py").write_text("def loss(outputs, labels):\n    return outputs.sum(1)\n")
    path = tmp_path / "run.toml"
    path.write_text('[training]\nloss = "mine_d:loss"\n')
    config = load_config(path)
    assert config.plugins.folders == (str(tmp_path.resolve()),)
    path.write_text('[training]\nloss = "focal"\n')
    assert load_config(path).plugins.folders == ()
