"""Figures of single clients before and after training: right, private, and refused under noise."""

from __future__ import annotations

import json
import stat

import numpy as np
import pytest
from rich.console import Console

from fedavg.config.build import build_job, load_config
from fedavg.errors import ConfigError
from fedavg.federation.federation import Federation
from fedavg.models.files import read_tensors
from fedavg.reports.runs.run import write_report
from fedavg.runs.records.settings import load_record_run
from fedavg.runs.run import execute, resume
from fedavg.training.evaluation import Scoring, evaluate
from tests.e2e.commands.test_resume import EXACT, PRIVATE, config_in

QUIET = Console(quiet=True)
BY_CLIENT = f"{EXACT}[evaluation]\nby_client = true\n"


def test_each_client_is_scored_with_the_first_and_the_last_model(tmp_path):
    config = config_in(tmp_path, BY_CLIENT, rounds=2)
    out = tmp_path / "run"
    outcome = execute(config, {}, out, QUIET)
    rows = [json.loads(line) for line in (out / "fairness.jsonl").read_text().splitlines()]
    job = build_job(load_config(config, {}))
    assert [row["client"] for row in rows] == sorted(job.clients)
    assert stat.S_IMODE((out / "fairness.jsonl").stat().st_mode) == 0o600
    data = job.clients[3]
    federation = Federation(job.model, job.clients, job.plan)
    for key, vector in (
        ("before", federation.released),
        ("after", federation.layout.flatten(read_tensors(out / "model.safetensors"))),
    ):
        found = evaluate(federation.model(), federation.layout, vector, data, Scoring())
        assert rows[3][key] == pytest.approx(found.accuracy)
    assert rows[3]["examples"] == len(data)
    told = outcome.summary["fairness"]
    assert told["clients"] == len(rows)
    assert told["after"]["mean"] == pytest.approx(np.mean([row["after"] for row in rows]))
    assert told["after"]["mean"] > told["before"]["mean"]
    assert told["better"] + told["worse"] <= len(rows)


def test_the_operators_page_has_them_and_the_public_one_has_not(tmp_path):
    out = tmp_path / "run"
    execute(config_in(tmp_path, BY_CLIENT, rounds=1), {}, out, QUIET)
    operator = (out / "report.html").read_text()
    assert "Each client before and after training" in operator
    assert "Every client, from the worst" in operator
    public = write_report(out, public=True).read_text()
    assert "before and after training" not in public
    assert "fairness" not in public.split("config.toml")[0].split("<script>")[0]


def test_nothing_is_scored_unless_it_is_asked_for(tmp_path):
    out = tmp_path / "run"
    outcome = execute(config_in(tmp_path, EXACT, rounds=1), {}, out, QUIET)
    assert outcome.summary["fairness"] is None
    assert not (out / "fairness.jsonl").exists()
    assert "before and after training" not in (out / "report.html").read_text()


def test_a_resumed_run_compares_with_the_first_model(tmp_path, monkeypatch):
    config = config_in(tmp_path, BY_CLIENT, rounds=2)
    execute(config, {}, tmp_path / "whole", QUIET)
    begun = Federation._round

    def interrupted(self, resolution, transport, side, index, cohort):
        if index == 1:
            raise KeyboardInterrupt
        return begun(self, resolution, transport, side, index, cohort)

    monkeypatch.setattr("fedavg.federation.federation.Federation._round", interrupted)
    execute(config, {}, tmp_path / "broken", QUIET)
    assert not (tmp_path / "broken" / "fairness.jsonl").exists()
    monkeypatch.undo()
    resume(tmp_path / "broken", QUIET)
    files = [tmp_path / name / "fairness.jsonl" for name in ("whole", "broken")]
    assert files[0].read_text() == files[1].read_text()


def test_under_noise_it_is_refused_before_anything_is_made(tmp_path):
    config = config_in(tmp_path, f"{PRIVATE}[evaluation]\nby_client = true\n")
    with pytest.raises(ConfigError, match="which no noise protects and no budget counts"):
        execute(config, {}, tmp_path / "run", QUIET)
    assert not (tmp_path / "run").exists()


def test_records_always_have_noise_and_refuse_it():
    with pytest.raises(ConfigError, match="scores each client or silo on its own rows"):
        load_record_run(None, {"evaluation.by_client": True})


def test_a_model_without_its_head_is_not_scored(tmp_path):
    head = '[personalization]\nkind = "fedrep"\nhead = ["1.*"]\n'
    with pytest.raises(ConfigError, match="the shared part of the model predicts nothing"):
        build_job(load_config(config_in(tmp_path, BY_CLIENT + head), {}))


def test_a_client_of_a_column_has_its_value_for_a_name(tmp_path, monkeypatch):
    rows = [f"{number % 7},{number % 2},{'ab'[number % 3 > 0]}" for number in range(90)]
    (tmp_path / "wards.csv").write_text("\n".join(["dose,ill,ward", *rows]))
    (tmp_path / "run.toml").write_text(
        'rounds = 1\nbaseline = false\n[data]\nname = "wards.csv"\ntarget = "ill"\nclient = "ward"\n'
        '[privacy]\nnoise = "none"\n[secure_sum]\nkind = "insecure-plain"\ndropout_rate = 0.0\n'
        "[cohort]\nrate = 1.0\n[simulation]\ndropout = 0.0\n[evaluation]\nby_client = true\n"
    )
    monkeypatch.chdir(tmp_path)
    execute(tmp_path / "run.toml", {}, tmp_path / "run", QUIET)
    lines = (tmp_path / "run" / "fairness.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["a", "b"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "at client a and" in page or "at client b and" in page


def test_clients_with_several_targets_are_compared_without_their_units(tmp_path, monkeypatch):
    """A price in cents and a share of one: the cents alone would decide who is worst off."""
    rng = np.random.default_rng(0)
    size = rng.uniform(1, 2, 120)
    told = (
        np.stack([size, 1e7 * size, 1 - size / 3, np.arange(120) % 2], axis=1).astype(str).tolist()
    )
    table = tmp_path / "flats.csv"
    table.write_text("\n".join(["size,cents,share,ward", *(",".join(row) for row in told)]))
    (tmp_path / "run.toml").write_text(
        'rounds = 3\nbaseline = false\n[data]\nname = "flats.csv"\ntarget = ["cents", "share"]\n'
        'client = "ward"\n[privacy]\nnoise = "none"\n[secure_sum]\nkind = "insecure-plain"\n'
        "dropout_rate = 0.0\n[cohort]\nrate = 1.0\n[simulation]\ndropout = 0.0\nworkers = 0\n"
        '[evaluation]\nby_client = true\n[personalization]\nkind = "finetune"\n'
    )
    monkeypatch.chdir(tmp_path)
    outcome = execute(tmp_path / "run.toml", {}, tmp_path / "run", QUIET)
    figures = outcome.summary["figures"]
    ends = [f"{name}/{target}" for name in ("r2", "rmse", "mae") for target in ("cents", "share")]
    assert [figure["name"] for figure in figures] == ["r2", *ends]
    assert figures[0]["value"] == pytest.approx(np.mean([row["value"] for row in figures[1:3]]))
    fairness = outcome.summary["fairness"]
    assert fairness["figure"] == "scaled_rmse"
    # Labels are scaled to a deviation of one, which is what a model of nothing misses them by.
    assert 0.5 < fairness["before"]["mean"] < 2
    assert fairness["after"]["mean"] < fairness["before"]["mean"]
    personal = outcome.summary["personalization"]
    # Mutant: by R², which divides by the variance of a client's few rows.
    assert (personal["figure"], personal["headline"]) == ("scaled_rmse", "r2")
    assert not personal["greater_is_better"]
    assert personal["shared"]["worst"] >= personal["shared"]["median"] > 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "rmse/share" in page
    assert "Clients are compared by scaled_rmse, since the headline r2" in page
