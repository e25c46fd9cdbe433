"""A run's clients on a cluster, as its configuration says."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from fedavg.adapters.engines import Engine
from fedavg.adapters.ray import engine as engines
from fedavg.cli.app import app
from fedavg.config.build import load_config
from fedavg.errors import ConfigError, MissingExtraError
from tests.e2e.small import blobs_in
from tests.fedavg.adapters.ray.fake import FakeEngine

runner = CliRunner()


def config_in(folder, simulation='engine = "ray"\ndropout = 0.0'):
    path = folder / "run.toml"
    path.write_text(
        f"""rounds = 2
data = {{name = "{blobs_in(folder)}", clients = 12}}
cohort = {{rate = 1.0}}
privacy = {{noise = "none"}}
personalization = {{kind = "ditto"}}
[simulation]
{simulation}
"""
    )
    return path


def outcome(path, out, *options):
    done = runner.invoke(app, ["run", str(path), "--out", str(out), *options])
    assert done.exit_code == 0, done.output
    summary = json.loads((out / "summary.json").read_text())
    keys = ("accuracy", "loss", "baseline_accuracy", "unprotected", "personalization")
    return {key: summary.get(key) for key in keys}


@pytest.fixture
def clusters(monkeypatch):
    joined = []
    monkeypatch.setattr(Engine, "version", lambda _: "2.55.1")
    monkeypatch.setattr(engines, "join", lambda: joined.append(FakeEngine()) or joined[-1])
    return joined


def test_a_run_on_a_cluster_gives_the_figures_of_one_process(tmp_path, clusters):
    path = config_in(tmp_path)
    there = outcome(path, tmp_path / "there")
    assert [len(engine.actors) for engine in clusters] == [2, 2]  # the run, and its baseline
    here = outcome(path, tmp_path / "here", "--engine", "local", "--workers", "0")
    assert len(clusters) == 2
    assert there == here
    assert there["baseline_accuracy"] is not None
    left = {entry.name for entry in (tmp_path / "there").iterdir()}
    assert not [name for name in left if name.startswith(("clients-", "baseline-"))]
    assert not list((tmp_path / "there").glob("clients/keys-*"))


def test_the_number_of_workers_is_that_of_actors(tmp_path, clusters):
    outcome(config_in(tmp_path), tmp_path / "out", "--workers", "1", "--no-baseline")
    assert [len(engine.actors) for engine in clusters] == [1]


def test_a_missing_engine_is_named_before_the_data_is_read(tmp_path, monkeypatch):
    def missing(_):
        raise MissingExtraError("Ray is not installed: pip install 'secure-fedavg[ray]'")

    monkeypatch.setattr(Engine, "version", missing)
    path = config_in(tmp_path)
    (tmp_path / "blobs.npz").unlink()
    done = runner.invoke(app, ["run", str(path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "Ray is not installed" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("simulation", "told"),
    [
        ('engine = "ray"\nworkers = 0', "a cluster has processes of its own"),
        ('engine = "slurm"', "there are local, ray"),
    ],
)
def test_settings_that_mean_nothing_are_refused(simulation, told, tmp_path):
    with pytest.raises(ConfigError, match=told):
        load_config(config_in(tmp_path, simulation))
