"""A run of clients as a trial: it is stopped and judged as a run of the same configuration is."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from rich.console import Console

from fedavg.config.build import load_config
from fedavg.runs.run import execute
from fedavg.studies.trials.clients import ClientsTrial
from tests.e2e.commands.test_resume import config_in
from tests.fedavg.runs.test_run import CONFIDENCE, DISTANCE, rows


def test_a_cell_stops_early_and_has_the_best_rounds_figures(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", list(sys.path))
    (tmp_path / "distance_e.py").write_text(DISTANCE)
    path = config_in(
        tmp_path, CONFIDENCE.replace("best = true", "patience = 2\nbest = true"), rounds=20
    )
    trial = ClientsTrial(load_config(path))
    found = trial.measure(trial.check())
    run = execute(path, {}, tmp_path / "run", Console(quiet=True)).summary
    assert (found.stopped, found.rounds) == ("early", run["rounds"])
    values = [row["figures"][0]["value"] for row in rows(tmp_path / "run" / "metrics.jsonl")]
    assert found.headline_value == pytest.approx(min(values))
    assert int(np.argmin(values)) == len(values) - 3
