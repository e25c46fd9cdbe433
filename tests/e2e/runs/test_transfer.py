"""One run's model as the next one's start: whole files, less traffic, no other file."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from fedavg.cli.app import app
from fedavg.errors import LocalProtocolError
from fedavg.federation.federation import Federation
from fedavg.models.files import model_bytes, rest_digest
from fedavg.models.layout import Layout
from fedavg.models.spec import ModelSpec
from fedavg.simulation.population import Population
from tests.e2e.small import SUMS, examples, federation, plan

runner = CliRunner()
TABLES = """
baseline = false
[data]
name = "{data}"
clients = 20
[cohort]
rate = 1.0
[privacy]
noise = "none"
[secure_sum]
kind = "{kind}"
[simulation]
workers = {workers}
dropout = 0.0
[local]
lr = 0.1
[model]
name = "mlp"
hidden = [16, 8]
"""


def blobs(path, classes, seed):
    """Blobs of which only the first so many classes occur."""
    rows = examples(900, seed)
    kept = rows.subset(np.flatnonzero(rows.labels < classes))
    np.savez(path, x=kept.features, y=kept.labels)
    return path


def launch(folder, name, data, extra="", *, rounds=2, kind="insecure-plain", workers=0):
    path = folder / f"{name}.toml"
    path.write_text(
        f"rounds = {rounds}\n" + TABLES.format(data=data, kind=kind, workers=workers) + extra
    )
    out = folder / name
    result = runner.invoke(app, ["run", str(path), "--out", str(out)])
    return out, result


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    out, result = launch(folder, "base", blobs(folder / "two.npz", 2, 5), rounds=6)
    assert result.exit_code == 0, result.output
    return out / "model.safetensors"


def transferred(base):
    return f'file = "{base}"\nfresh = ["layers.2.*"]\nfreeze = ["layers.0.*", "layers.1.*"]\n'


def test_transfer_freezes_sends_less_and_releases_the_whole(base, tmp_path):
    data = blobs(tmp_path / "three.npz", 3, 6)
    runs = {}
    for kind, workers in (("insecure-plain", 0), ("secagg", 2)):
        out, result = launch(tmp_path, kind, data, transferred(base), kind=kind, workers=workers)
        assert result.exit_code == 0, result.output
        runs[kind] = out
    one, two = (load_file(runs[kind] / "model.safetensors") for kind in runs)
    start = load_file(base)
    assert one.keys() == start.keys()
    for name in one:
        assert (one[name] == two[name]).all(), name
        assert name.startswith("layers.2") or (one[name] == start[name]).all()
    summary = json.loads((runs["secagg"] / "summary.json").read_text())
    assert summary["parameters"] == 8 * 3 + 3
    assert summary["unsent"] == 12 * 16 + 16 + 16 * 8 + 8
    assert f"{summary['unsent']} more are frozen" in (runs["secagg"] / "report.html").read_text()
    whole, _ = launch(tmp_path, "whole", data)
    sent = [
        sum(
            json.loads(line)["bytes_up"] for line in (out / "server.jsonl").read_text().splitlines()
        )
        for out in (runs["insecure-plain"], whole)
    ]
    assert sent[0] < sent[1] / 3
    again, result = launch(
        tmp_path, "again", data, f'file = "{runs["secagg"]}/model.safetensors"\n'
    )
    assert result.exit_code == 0, result.output
    config = (again / "config.toml").read_text()
    assert re.search(r'digest = "[0-9a-f]{64}"', config)


def test_what_does_not_fit_is_refused_before_anything_is_written(base, tmp_path):
    data = blobs(tmp_path / "three.npz", 3, 6)
    for extra, said in (
        (f'file = "{base}"\n', "layers.2.bias is real (2,) there and real (3,) here"),
        ('freeze = ["layer.0.*"]\n', "no tensor is called 'layer.0.*'; near are layers.0."),
        ('file = "nowhere.safetensors"\n', "cannot read the model file nowhere.safetensors"),
    ):
        out, result = launch(tmp_path, "refused", data, extra)
        assert result.exit_code == 2
        assert said in " ".join(result.output.split())
        assert not out.exists()


def test_a_run_is_not_resumed_from_another_base(base, tmp_path, monkeypatch):
    from fedavg.runs.files.directory import RunDirectory

    append = RunDirectory.append

    def interrupting(self, result):
        append(self, result)
        if result.round == 2:
            raise KeyboardInterrupt

    own = tmp_path / "start.safetensors"
    own.write_bytes(base.read_bytes())
    data = blobs(tmp_path / "three.npz", 3, 6)
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "append", interrupting)
        out, result = launch(tmp_path, "broken", data, transferred(own), rounds=4)
    assert result.exit_code == 130, result.output
    whole, _ = launch(tmp_path, "undisturbed", data, transferred(own), rounds=4)
    other = ModelSpec("mlp", (12,), 2, seed=3, hidden=(16, 8)).build()
    layout = Layout.of(other)
    own.write_bytes(model_bytes(other, layout, layout.flatten(other)))
    refused = runner.invoke(app, ["resume", str(out)])
    assert refused.exit_code == 2
    assert "has changed since the run was set up" in " ".join(refused.output.split())
    config = out / "config.toml"
    text = config.read_text()
    config.write_text(re.sub(r'digest = "\w+"', 'digest = ""', text))
    refused = runner.invoke(app, ["resume", str(out)])
    assert refused.exit_code == 2
    assert "another plan, model" in " ".join(refused.output.split())
    config.write_text(text)
    own.write_bytes(base.read_bytes())
    assert runner.invoke(app, ["resume", str(out)]).exit_code == 0
    ends = [(path / "model.safetensors").read_bytes() for path in (out, whole)]
    assert ends[0] == ends[1]


def test_workers_refuse_a_file_that_changed_after_set_up(base, tmp_path):
    own = tmp_path / "start.safetensors"
    own.write_bytes(base.read_bytes())
    spec = ModelSpec("mlp", (12,), 2, hidden=(16, 8), file=str(own), freeze=("layers.0.*",))
    run = Federation(spec, two_classes(20), plan(SUMS["insecure-plain"]), workers=1)
    own.write_bytes(own.read_bytes() + b" ")
    with pytest.raises(LocalProtocolError, match="has changed since the run was set up"):
        list(run.run(1))


def two_classes(n):
    rows = examples(3 * n, 8)
    rows = rows.subset(np.flatnonzero(rows.labels < 2))
    return {i: rows.subset(np.arange(i, len(rows), n)) for i in range(n)}


@pytest.mark.parametrize("bound", [True, False])
def test_a_client_with_other_frozen_weights_is_in_no_sum_with_the_others(monkeypatch, bound):
    """Layers that are not sent are bound by their digest; without it the client would be in the sum."""
    specs = [ModelSpec("mlp", (12,), 3, seed=seed, freeze=("layers.0.*",)) for seed in (0, 1)]
    other = specs[1].build()
    equip = Population.equip

    def equipping(self, resolution, *others):
        equip(self, resolution, *others)
        ours = self._clients[4]._ctx
        theirs = replace(resolution, rest=rest_digest(other)) if bound else resolution
        self._clients[4]._ctx = replace(ours, resolution=theirs, model=other)

    monkeypatch.setattr(Population, "equip", equipping)
    run = federation(SUMS["secagg"], model=specs[0])
    assert [result.skipped for result in run.run(1)] == [None]
    assert (4 in run.last_sum.survivors) == (not bound)
    assert len(run.last_sum.survivors) >= 19
