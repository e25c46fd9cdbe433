"""Cells are compared by the headline that they share: an error is better when it is smaller."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from fedavg.cli.app import app
from fedavg.studies import executors
from fedavg.studies.results.comparison import ACCURACY, comparison_of
from tests.fedavg.support.studies import OneProcess

RMSE = {
    "headline": "rmse",
    "headline_greater": False,
    "headline_share": False,
    "baseline_rule": "mean",
}


def test_a_common_headline_compares_and_different_ones_do_not():
    found = comparison_of([RMSE, RMSE])
    assert (found.name, found.rule, found.text(1.23456)) == ("rmse", "mean", "1.235")
    assert found.worth(2.0) < found.worth(1.0)
    assert comparison_of([RMSE, {"headline": "r2"}]) == ACCURACY
    assert comparison_of([RMSE, {}]) == comparison_of([]) == ACCURACY


def test_a_study_of_numbers_has_its_error_beside_the_mean(tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "Workers", OneProcess())
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 4)).astype(np.float32)
    np.savez(tmp_path / "num.npz", x=x, y=(x @ np.array([1.0, -1, 0.5, 0])).astype(np.float32))
    (tmp_path / "study.toml").write_text(
        f"""title = "Numbers"
[base]
rounds = 2
data = {{name = "{tmp_path / "num.npz"}", clients = 8, task = "numbers"}}
cohort = {{rate = 1.0}}
secure_sum = {{kind = "insecure-plain"}}
privacy = {{noise = "none"}}
[grid]
"local.lr" = [0.2, 0.0001]
"""
    )
    out = tmp_path / "out"
    result = CliRunner().invoke(
        app, ["sweep", str(tmp_path / "study.toml"), "--out", str(out), "--jobs", "1"]
    )
    assert result.exit_code == 0, result.output
    assert "rmse" in result.output
    assert "mean" in result.output
    cells = json.loads((out / "cells.json").read_text())["cells"]
    good, idle = sorted(cells, key=lambda cell: cell["headline_value"])
    assert (good["local.lr"], idle["local.lr"]) == (0.2, 0.0001)
    assert good["headline_value"] < good["headline_baseline"]
    assert good["headline_baseline"] == pytest.approx(1.5, rel=0.3)
    page = (out / "study.html").read_text()
    assert f'Best rmse without noise</dt><dd class="value">{good["headline_value"]:.4g}' in page
