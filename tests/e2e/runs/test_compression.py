"""Fewer bytes in whole runs: the same model under every sum, in worker processes, and after a kill."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from fedavg.algorithms.error_feedback import ErrorFeedback
from fedavg.algorithms.random_k import RandomK
from fedavg.audits.audit import audit_plan
from fedavg.cli.app import app
from fedavg.config.build import build_job, load_config
from fedavg.contrib.selective.map import SensitivityMap
from fedavg.contrib.selective.sum import Selective
from fedavg.encoding.broadcast import ModelCodec
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.encoding.quantised import Quantised
from fedavg.errors import PlanError
from fedavg.plan.resolution import resolve
from fedavg.privacy.clipping import AdaptiveClipping
from fedavg.privacy.noise import CentralGaussian, DistributedGaussian
from fedavg.protocol.messages import RoundStart, encode
from fedavg.simulation.faults import Faults
from fedavg.sums.encrypted import Bfv
from fedavg.sums.masked import SecAgg
from fedavg.sums.plain import InsecurePlain
from tests.e2e.commands.test_resume import config_in, killed_and_resumed, lines
from tests.e2e.small import LENGTH, MODEL, SUMS, clients, federation, plan

runner = CliRunner()
FEW_BYTES = {
    "encoding": Quantised(4.0, 2, rotate=True, rotation_seed=5),
    "stages": (ErrorFeedback(), RandomK(0.5, 3)),
    "broadcast": "int8",
}
TABLES = """
[privacy]
noise = "none"
[encoding]
bits = 2
rotate = true
rounding = "stochastic"
range = 4.0
[compression]
kind = "random-k"
fraction = 0.5
error_feedback = true
[broadcast]
format = "int8"
"""


@pytest.fixture(scope="module")
def in_the_clear():
    run = federation(SUMS["insecure-plain"], changes=FEW_BYTES)
    results = list(run.run(4))
    return run, results


@pytest.mark.parametrize("name", ["secagg", "ckks", "bfv", "encrypted-secagg"])
def test_every_secure_sum_trains_the_same_model_to_the_bit(name, in_the_clear):
    run = federation(SUMS[name], changes=FEW_BYTES)
    results = list(run.run(4))
    assert np.array_equal(run.released, in_the_clear[0].released)
    assert [r.accuracy_as_sent for r in results] == [r.accuracy_as_sent for r in in_the_clear[1]]
    assert all(r.survivors == 20 and r.skipped is None for r in results)


@pytest.mark.parametrize("rest", [SecAgg(), InsecurePlain()])
def test_a_partly_encrypted_sum_trains_it_too(rest):
    """A map names parameters, so neither a rotation nor random places."""
    changes = FEW_BYTES | {"encoding": Quantised(0.5, 2), "stages": (ErrorFeedback(),)}
    runs = [
        federation(sums, changes=changes)
        for sums in (Selective(Bfv(), rest, SensitivityMap.random(LENGTH, 0.3, seed=1)), rest)
    ]
    for run in runs:
        list(run.run(3))
    assert np.array_equal(runs[0].released, runs[1].released)


def test_worker_processes_give_the_same_model(in_the_clear):
    run = federation(SUMS["insecure-plain"], changes=FEW_BYTES, workers=2)
    list(run.run(4))
    assert np.array_equal(run.released, in_the_clear[0].released)


def test_it_learns_and_the_seed_matters(in_the_clear):
    run = federation(SUMS["insecure-plain"], changes=FEW_BYTES)
    assert list(run.run(20))[-1].accuracy > 0.9
    other = federation(SUMS["insecure-plain"], changes=FEW_BYTES, seed=1)
    list(other.run(4))
    assert not np.array_equal(other.released, in_the_clear[0].released)


def test_a_killed_run_goes_on_with_what_the_clients_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.e2e.commands.test_resume.KILLS", 1)
    config = config_in(tmp_path, TABLES)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    result = runner.invoke(app, ["run", str(config), "--out", str(whole)])
    assert result.exit_code == 0, result.output
    assert "20 coordinates of 2 bits" in " ".join(result.output.split())
    killed_and_resumed(config, broken, np.random.default_rng())
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    row, summary = (
        lines(whole / "metrics.jsonl")[-1],
        json.loads((whole / "summary.json").read_text()),
    )
    assert row["accuracy_as_sent"] == summary["accuracy_as_sent"] > 0.8
    assert (summary["bits"], summary["broadcast"]) == (2, "int8")
    assert summary["sent_fraction"] == 20 / LENGTH


def test_without_the_kept_state_a_resumed_run_would_differ(in_the_clear, monkeypatch):
    monkeypatch.setattr("fedavg.algorithms.state.MemoryStore.load", lambda self, client, index: {})
    run = federation(SUMS["insecure-plain"], changes=FEW_BYTES)
    list(run.run(4))
    assert not np.array_equal(run.released, in_the_clear[0].released)


@pytest.mark.parametrize("noise", [DistributedGaussian(1.0), CentralGaussian(1.0)])
@pytest.mark.parametrize("clipping", [None, AdaptiveClipping(bit_stddev=2.0)])
@pytest.mark.parametrize("rotate", [False, True])
def test_random_k_under_noise_fills_the_chosen_places_only(noise, clipping, rotate):
    """A noisy place is zero with probability below 1/600; five of ten are with below 1e-11 a round."""
    changes = {
        "encoding": FixedPoint(0.5, 9, rotate=rotate),
        "noise": noise,
        "clipping": clipping,
        "stages": (RandomK(0.25, 3),),
        "broadcast": "float16",
    }
    run = federation(SecAgg(), changes=changes)
    for index, result in enumerate(run.run(3)):
        assert result.skipped is None
        places = RandomK(0.25, 3).places(LENGTH, index)
        filled = np.flatnonzero(run.last_update)
        assert set(filled) <= set(places)
        assert len(filled) > len(places) / 2
    assert run.ledger.spent().high == pytest.approx(run.resolve(3).epsilon_at_end(), rel=1e-9)


def test_drop_outs_leave_a_model():
    run = federation(SUMS["bfv"], changes=FEW_BYTES, faults=Faults(0.05, 1))
    results = list(run.run(4))
    assert any(r.survivors < 20 for r in results)
    assert any(r.skipped is None for r in results)


def test_updates_start_from_what_was_received_and_the_server_keeps_full_precision():
    """The second round by hand: w + mean of (trained from the received model − the received model)."""
    from fedavg.models.layout import Layout
    from fedavg.training.job import TrainingJob
    from fedavg.training.loop import local_update

    run = federation(InsecurePlain(), changes={"broadcast": "int4", "weighting": "equal"})
    rounds = run.run(2)
    next(rounds)
    kept = run.released.copy()
    next(rounds)
    model, population = MODEL.build(), clients(20)
    layout = Layout.of(model)
    codec = ModelCodec("int4", layout)
    received = codec.decode(codec.encode(kept))
    assert np.abs(received - kept).max() > 1e-3
    training = run.plan.local_training
    updates = [
        local_update(
            TrainingJob(
                model, layout, received, data, training, round_index=1, num_rounds=2, seed=client
            )
        )
        for client, data in population.items()
    ]
    assert np.abs(run.released - kept - np.mean(updates, axis=0)).max() < 1e-4


@pytest.mark.parametrize(("download", "ratio"), [("float16", 2), ("int8", 4), ("int4", 8)])
def test_the_model_takes_a_fraction_of_the_bytes(download, ratio):
    """39 parameters with four scales: 16 bytes on top, which the ratio leaves out."""

    def down(kind):
        run = federation(InsecurePlain(), changes={"broadcast": kind})
        return next(run.run(1)).bytes_down

    saved = down("float32") - down(download)
    scales = 16 if download.startswith("int") else 0
    expected = 4 * LENGTH - (-(-4 * LENGTH // ratio) + scales)
    assert saved == pytest.approx(
        20 * expected, abs=40
    )  # msgpack's length takes a byte more or less


@pytest.mark.parametrize("download", ["float32", "float16", "int8", "int4"])
def test_a_client_refuses_a_model_in_another_form(download):
    from fedavg.errors import LocalProtocolError
    from fedavg.models.layout import Layout
    from fedavg.simulation.population import Population

    sums = InsecurePlain()
    made = plan(sums, broadcast=download)
    model = MODEL.build()
    layout = Layout.of(model)
    resolution = resolve(
        made, num_clients=20, vector_length=layout.size, num_rounds=3, largest_client=8
    )
    population = Population(clients(20), Faults())
    spec = resolution.spec(20, resolution.digest)
    material = sums.provision(spec, population.publics()).clients
    population.equip(resolution, model, layout, material, 0)
    good = ModelCodec(download, layout).encode(layout.flatten(model))
    client = population._clients[0]
    with pytest.raises(LocalProtocolError, match="bytes"):
        client.handle(encode(RoundStart(0, good + b"\0")))
    if download != "float32":
        with pytest.raises(LocalProtocolError, match="canonical"):
            client.handle(encode(RoundStart(1, b"\xff" * len(good))))
    assert len(client.handle(encode(RoundStart(2, good)))) == 1


def test_an_audit_wants_whole_updates():
    changes = {
        "encoding": FixedPoint(0.5, 9),
        "noise": DistributedGaussian(1.0),
        "stages": (RandomK(0.5),),
    }
    with pytest.raises(PlanError, match="without random-k"):
        audit_plan(MODEL, clients(20), plan(InsecurePlain(), **changes), 2)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ('[compression]\nkind = "top-k"', "indices reveal which parameters"),
        ('[compression]\nkind = "random-k"\nfraction = 0.0', "fraction must lie in"),
        ("[compression]\nerror_feedback = true", "clipping cuts off"),
        ('[encoding]\nrounding = "nearest"', "leave it at 'auto'"),
        ('[privacy]\nnoise = "none"\n[encoding]\nrounding = "nearest"\nbits = 1', "'stochastic'"),
        ('[privacy]\nnoise = "none"\n[encoding]\nrounding = "stochastic"\nbits = 33', "1 … 32"),
        ('[broadcast]\nformat = "int2"', "broadcast.format"),
        ('[server]\nweighting = "examples"', "no bounded sensitivity"),
        ('[broadcast]\nformt = "int8"', "Do you mean 'format'?"),
    ],
)
def test_mistakes_get_one_plain_line(tmp_path, tables, message):
    config = config_in(tmp_path, tables)
    result = runner.invoke(app, ["run", str(config), "--out", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "run").exists()


PRIVATE_TABLES = """
[privacy]
noise_multiplier = 2.0
[clipping]
kind = "adaptive"
bit_stddev = 4.0
[compression]
kind = "random-k"
fraction = 0.5
[broadcast]
format = "int4"
"""
ONE_BIT_TABLES = """
[privacy]
noise = "none"
[encoding]
bits = 1
range = 0.5
[server]
weighting = "equal"
[compression]
error_feedback = true
[broadcast]
format = "float16"
"""


@pytest.mark.parametrize("tables", [PRIVATE_TABLES, ONE_BIT_TABLES])
@pytest.mark.parametrize("kind", ["secagg", "bfv"])
def test_configured_runs_end_with_a_model(tmp_path, tables, kind):
    config = config_in(tmp_path, tables, rounds=2)
    config.write_text(config.read_text().replace('"insecure-plain"', f'"{kind}"'))
    out = tmp_path / "run"
    result = runner.invoke(app, ["run", str(config), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert [row["skipped"] for row in lines(out / "server.jsonl")] == [False, False]
    assert (out / "model.safetensors").exists()
    assert not build_job(load_config(out / "config.toml")).plan.weighted


def test_weights_by_examples_are_the_default_without_noise(tmp_path):
    config = config_in(tmp_path, '[privacy]\nnoise = "none"')
    assert build_job(load_config(config)).plan.weighted


def test_sums_of_one_bit_values_are_as_narrow_as_the_cohort_allows():
    made = plan(Bfv(), encoding=Quantised(1.0, 1), weighting="equal")
    sizes = {"num_clients": 10, "vector_length": 1000, "num_rounds": 1, "largest_client": 99}
    assert resolve(made, **sizes).spec(10, b"").modulus_bits == 5  # 30 residues
    weighted = plan(Bfv(), encoding=Quantised(1.0, 1))
    assert resolve(weighted, **sizes).spec(10, b"").modulus_bits == 11  # 10·(2·99 + 1)
