"""A whole run with an adaptive clip norm: configuration in, run directory out, twin without protection."""

from __future__ import annotations

import io
import json

from rich.console import Console

from fedavg.config.build import load_config
from fedavg.runs.run import execute
from tests.e2e.small import blobs_in


def test_a_run_learns_its_clip_norm_and_says_so(tmp_path):
    data = blobs_in(tmp_path, train=600)
    config = tmp_path / "run.toml"
    config.write_text(
        f"""
rounds = 4
[data]
name = "{data}"
clients = 100
[cohort]
rate = 0.9
[privacy]
clip = 1e-3
[clipping]
kind = "adaptive"
quantile = 0.7
[secure_sum]
kind = "insecure-plain"
[simulation]
workers = 0
"""
    )
    outcome = execute(config, {}, tmp_path / "run", Console(file=io.StringIO()))
    rows = [json.loads(line) for line in (outcome.directory / "metrics.jsonl").open()]
    clips = [row["clip"] for row in rows]
    assert clips[0] == 1e-3
    assert clips == sorted(clips)  # all updates are far longer: up it goes, a factor e^0.14 each
    assert 1.3e-3 < clips[-1] < 1.8e-3
    assert all(
        "clip" not in json.loads(line) for line in (outcome.directory / "server.jsonl").open()
    )
    assert outcome.summary["baseline_accuracy"] is not None
    again = load_config(outcome.directory / "config.toml")
    assert (again.clipping.kind, again.clipping.quantile) == ("adaptive", 0.7)
    assert outcome.report.stat().st_size > 0
