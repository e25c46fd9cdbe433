"""The records suite on made-up images: few steps, all figures, and bars for real images alone."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from benchmarks import Bench, records
from benchmarks.kit.images import write_synthetic
from benchmarks.records import __main__ as own
from benchmarks.records import peers, rows, task
from benchmarks.records.settings import SETTINGS, TASKS, plan
from fedavg.models.zoo import count_parameters

CNN = next(setting for setting in SETTINGS if setting.task == "cnn")
SHORT = replace(CNN, steps=2, batch=120)


@pytest.fixture
def images(tmp_path) -> task.Images:
    path = tmp_path / "made_up.npz"
    write_synthetic(path, examples=400, tests=40)
    return task.Images.of(str(path), few=False)


@pytest.fixture
def bench() -> Bench:
    return Bench("records", "default", Console(file=io.StringIO()))


def test_the_models_are_those_of_the_bars() -> None:
    assert count_parameters(TASKS["cnn"].model(0)) == 26_010
    assert count_parameters(TASKS["scattering"].model(0)) == 39_700
    one, other = (task.network(seed)[0].weight.detach().numpy() for seed in (3, 3))
    np.testing.assert_array_equal(one, other)


def test_every_bar_has_a_setting() -> None:
    bars = {(s.task, s.epsilon, s.steps <= 40): s.bar for s in SETTINGS}
    assert bars == {
        ("cnn", 3.0, False): 0.97,
        ("cnn", 1.0, False): 0.95,
        ("cnn", 3.0, True): 0.95,
        ("scattering", 3.0, False): 0.983,
        ("scattering", 1.0, False): 0.978,
        ("scattering", 3.0, True): 0.97,
    }


def test_the_plan_protects_or_takes_the_same_integers_in_the_clear() -> None:
    images = task.Images({i: range(6000) for i in range(10)}, None, real=True)
    used = plan(images, CNN, protected=True)
    assert used.divisor == CNN.batch
    assert (used.privacy.rate, used.privacy.clip) == (CNN.batch / 60_000, 0.1)
    assert used.secure_sum.min_survivors(10) == 10
    assert used.privacy.padded
    clear = plan(images, CNN, protected=False)
    assert not clear.secure_sum.hides_updates
    assert clear.privacy.epsilon == used.privacy.epsilon


def test_pixels_are_centred_or_left(tmp_path) -> None:
    write_synthetic(tmp_path / "made_up.npz", examples=40, tests=10)
    raw = task.Images.of(str(tmp_path / "made_up.npz"), few=False, centred=False)
    assert raw.test.features.min() >= 0
    assert raw.test.features.max() <= 1


def test_accuracies_are_means_of_runs_with_bars(images: task.Images, bench: Bench) -> None:
    found = rows.accuracies(bench, images, SHORT, 2)
    (measure,) = bench.measures
    assert measure.ours == pytest.approx(np.mean(found))
    assert (len(found), measure.bar.value) == (2, 0.97)


def test_a_protected_step_has_its_share_and_its_epsilons(images: task.Images, bench: Bench) -> None:
    rows.steps(bench, images, SHORT, 2)
    (share,), (table,) = bench.measures, bench.tables
    assert 0 < share.ours < 1
    told = dict(table.rows)
    assert told["uploaded by a silo, B"] > 26_010
    assert told["ε towards an observer of the models"] < 3.0
    assert told["ε towards the server with one silo"] == pytest.approx(3.0, abs=0.05)


def test_without_the_peer_our_side_is_measured_alone(
    images: task.Images, bench: Bench, monkeypatch
) -> None:
    monkeypatch.setattr(bench, "peer", lambda *_args, **_named: None)
    peers.speed(bench, images, SHORT, 1)
    peers.accuracy(bench, images, SHORT, [0.5])
    assert [measure.peer for measure in bench.measures] == [None, None]


def test_the_peer_takes_the_same_records_noise_and_steps(
    images: task.Images, bench: Bench, monkeypatch
) -> None:
    made = []

    class Optimizer:
        def __init__(self, usual, **given) -> None:
            made.append(given)
            self.step, self.zero_grad = usual.step, usual.zero_grad

        def signal_skip_step(self, *, do_skip: bool) -> None:
            del do_skip

    fake = SimpleNamespace(
        GradSampleModule=lambda model, loss_reduction: model,
        optimizers=SimpleNamespace(DPOptimizer=Optimizer),
    )
    monkeypatch.setattr(bench, "peer", lambda *_args, **_named: fake)
    torch.manual_seed(0)
    peers.speed(bench, images, SHORT, 1)
    peers.accuracy(bench, images, SHORT, [0.5])
    multiplier = made[0]["noise_multiplier"]
    assert all(given["noise_multiplier"] == multiplier for given in made)
    assert made[0] | {"noise_multiplier": 0} == {
        "noise_multiplier": 0,
        "max_grad_norm": 0.1,
        "expected_batch_size": 120,
        "loss_reduction": "sum",
    }
    assert [measure.peer is not None for measure in bench.measures] == [True] * 3


def test_the_command_prints_one_object(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(task, "write_synthetic", lambda path: write_synthetic(path, 4000, 40))
    assert own.main(["--quick", "--task", "cnn", "--out", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["suite"] == "records"
    assert told["missed"] == []
    assert set(own._TASKS) == set(TASKS)
    assert own._PARTS == records.PARTS
