"""The records suite on made-up images: few steps, all figures, and bars for real images alone."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from benchmarks import Bench
from benchmarks.kit.images import write_synthetic
from benchmarks.records import __main__ as own
from benchmarks.records import rows, task
from fedavg.models.zoo import count_parameters


@pytest.fixture
def images(tmp_path) -> task.Images:
    path = tmp_path / "made_up.npz"
    write_synthetic(path, examples=400, tests=40)
    return task.Images.of(str(path), few=False)


def test_the_network_is_that_of_the_bar() -> None:
    assert count_parameters(task.network(0)) == 26_010
    one, other = (task.network(seed)[0].weight.detach().numpy() for seed in (3, 3))
    np.testing.assert_array_equal(one, other)


def test_the_plan_has_the_settings_of_the_bar() -> None:
    images = task.Images({i: range(6000) for i in range(10)}, None, real=True)
    plan = rows.plan(images, 3.0, 400)
    assert plan.divisor == 2048
    assert (plan.privacy.rate, plan.privacy.clip) == (2048 / 60_000, 0.1)
    assert plan.secure_sum.min_survivors(10) == 10


def test_a_run_adds_all_figures(images: task.Images) -> None:
    bench = Bench("records", "default", Console(file=io.StringIO()))
    rows.add(bench, images, 3.0, steps=2)
    found = {measure.key: measure for measure in bench.measures}
    assert found["epsilon_budget"].ours == pytest.approx(3.0, abs=0.05)
    assert found["epsilon_release"].ours < found["epsilon_budget"].ours
    assert found["accuracy"].bar.value == 0.97
    assert 0 < found["sum_share"].ours < 1
    assert found["upload"].ours > 26_010


def test_the_command_prints_one_object(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(task, "write_synthetic", lambda path: write_synthetic(path, 4000, 40))
    assert own.main(["--quick", "--out", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["suite"] == "records"
    assert told["missed"] == []
