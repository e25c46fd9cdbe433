"""Runs with models of the clients' own: who gains, what stays at home, and the same under every transport."""

from __future__ import annotations

import functools
import json
import stat

import numpy as np
import pytest
from safetensors import safe_open
from typer.testing import CliRunner

from fedavg.algorithms.personal.ditto import Ditto
from fedavg.algorithms.personal.fedrep import FedRep
from fedavg.algorithms.personal.finetune import FineTune
from fedavg.algorithms.personal.scores import held_out
from fedavg.algorithms.state import FolderStore
from fedavg.cli.app import app
from fedavg.data.partitions import partition
from fedavg.data.tasks import load_task
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.federation.federation import Federation
from fedavg.models.spec import ModelSpec
from fedavg.optimizers.local import LocalTraining
from fedavg.privacy.noise import (
    DistributedDiscreteGaussian,
    DistributedGaussian,
    DistributedSkellam,
)
from fedavg.privacy.sampling import PoissonCohort
from fedavg.protocol.transcript import Transcript
from tests.e2e.commands.test_resume import killed_and_resumed
from tests.e2e.scanner import contains_vector
from tests.e2e.small import SUMS, blobs_in, examples, plan

runner = CliRunner()
MLP = ModelSpec("mlp", (12,), 3, seed=4, hidden=(8,))
HEAD = ("layers.1.*",)
TRAINING = LocalTraining(epochs=3, lr=0.3)
KINDS = {
    "finetune": FineTune(TRAINING),
    "ditto": Ditto(TRAINING, 0.1),
    "fedrep": FedRep(TRAINING, HEAD),
}


@pytest.fixture(scope="module")
def shards():
    """Digits on 40 clients, each with two shards: two or three classes of ten."""
    task = load_task("digits")
    pieces = partition.shards(task.train.labels, 40, shards_per_client=2, seed=0)
    return task, {client: task.train.subset(piece) for client, piece in enumerate(pieces)}


@pytest.mark.parametrize("kind", ["finetune", "ditto", "fedrep"])
def test_on_label_skewed_shards_the_own_model_beats_the_shared_one(shards, kind):
    """By 15 points in the mean, and for the worst client; no random number depends on a secret seed."""
    task, clients = shards
    spec = ModelSpec("mlp", (64,), 10, seed=0, hidden=(32,))
    changes = {"local_training": LocalTraining(epochs=2, batch_size=8, lr=0.1)}
    own = LocalTraining(epochs=4, batch_size=8, lr=0.1)
    personal = {
        "finetune": FineTune(own),
        "ditto": Ditto(own, 0.1),
        "fedrep": FedRep(own, HEAD),
    }[kind]
    whole = plan(SUMS["insecure-plain"], personalization=personal, **changes)
    run = Federation(spec, clients, whole, evaluate=task.test)
    list(run.run(6))
    if kind == "fedrep":  # no shared head, so its rival is averaging, on the same held-out examples
        whole = plan(SUMS["insecure-plain"], personalization=FineTune(own), **changes)
        rival = Federation(spec, clients, whole)
        list(rival.run(6))
        shared = [score.shared for score in rival.scores]
    else:
        shared = [score.shared for score in run.scores]
    ours = [score.personal for score in run.scores]
    assert len(ours) == 40
    assert np.mean(ours) > np.mean(shared) + 0.15
    assert min(ours) > min(shared) + 0.15


def scores_under(name, personal, **options):
    population = {i: examples(12, 300 + i) for i in range(20)}
    whole = plan(SUMS[name], personalization=personal)
    run = Federation(MLP, population, whole, evaluate=examples(50, 1), **options)
    results = list(run.run(2))
    assert all(result.skipped is None for result in results)
    return run, results


@functools.cache
def in_the_clear(kind):
    """A run of the plain sum that is over; tests compare with its model and scores."""
    return scores_under("insecure-plain", KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_every_sum_gives_the_same_models_and_scores(kind):
    expected, results = in_the_clear(kind)
    assert all((row.accuracy is None) == (kind == "fedrep") for row in results)
    for name in ("secagg", "bfv", "encrypted-secagg") if kind == "fedrep" else ("secagg",):
        run, _ = scores_under(name, KINDS[kind])
        assert (run.released == expected.released).all()
        assert run.scores == expected.scores


def test_workers_give_the_same_scores():
    for kind in ("ditto", "fedrep"):
        alone, _ = in_the_clear(kind)
        spread, _ = scores_under("insecure-plain", KINDS[kind], workers=2)
        assert spread.scores == alone.scores
        assert (spread.released == alone.released).all()


@pytest.mark.parametrize(
    "noise", [DistributedGaussian(1.0), DistributedSkellam(1.0), DistributedDiscreteGaussian(1.0)]
)
def test_under_noise_what_stays_at_home_costs_nothing(noise):
    population = {i: examples(6, 300 + i) for i in range(60)}
    changes = {
        "cohort": PoissonCohort(0.9),
        "encoding": FixedPoint(1.0, 16),
        "noise": noise,
    }
    spent = {}
    for kind, personal in (("none", None), *KINDS.items()):
        whole = plan(SUMS["insecure-plain"], personalization=personal, **changes)
        run = Federation(MLP, population, whole, evaluate=examples(50, 1))
        result = list(run.run(2))[-1]
        spent[kind] = result.epsilon_release
        assert (len(run.scores) == 60) == (personal is not None)
        assert run.layout.size == (12 * 8 + 8 if kind == "fedrep" else 12 * 8 + 8 + 27)
    assert spent["ditto"] == spent["finetune"] == spent["none"]
    assert spent["fedrep"] == pytest.approx(spent["none"], rel=1e-3)


def head_needles(population, store):
    """What of a client's head could stand in a message: itself, its change, and either as integers."""
    encoding = plan(SUMS["insecure-plain"]).encoding
    model = MLP.build()
    begun = np.concatenate(
        [part.detach().numpy().ravel() for n, part in model.named_parameters() if "layers.1" in n]
    )
    for client, data in population.items():
        head = store.load(client, 1)["personal.head"].astype(np.float64)
        examples_used = len(held_out(len(data), 0.2, (0, client))[0])
        for vector in (head, head - begun):
            encoded = encoding.encode(vector)
            yield from (vector, encoded, encoded * examples_used)


def recorded(folder):
    population = {i: examples(12, 300 + i) for i in range(20)}
    whole = plan(SUMS["insecure-plain"], personalization=KINDS["fedrep"])
    run = Federation(MLP, population, whole, transcript=Transcript(), client_store=folder)
    results = list(run.run(1))
    assert results[0].skipped is None
    return list(run.transcript.received()), list(head_needles(population, FolderStore(folder)))


def test_no_head_is_in_any_byte_that_a_server_got(tmp_path):
    """In the clear sum, where every number that is sent can be read."""
    received, needles = recorded(tmp_path)
    assert sum(map(len, received)) > 20 * (12 * 8 + 8)
    assert not any(contains_vector(received, needle) for needle in needles)


@pytest.mark.parametrize("what", ["head", "change"])
def test_a_client_that_sends_its_head_would_be_found(tmp_path, monkeypatch, what):
    """The mutant puts its head, or the head's change, in the place of the first coordinates of the body."""
    from fedavg.client import update
    from fedavg.training.loop import local_update

    def sending(job):
        moved = local_update(job)
        parameters = {
            name: part for name, part in job.model.named_parameters() if "layers.1" in name
        }
        head = np.concatenate([part.detach().numpy().ravel() for part in parameters.values()])
        begun = np.concatenate(
            [MLP.build().get_parameter(name).detach().numpy().ravel() for name in parameters]
        )
        moved[: head.size] = head if what == "head" else head.astype(np.float64) - begun
        return moved

    monkeypatch.setattr(update, "local_update", sending)
    monkeypatch.setattr(update, "stackable", lambda *_: False)
    received, needles = recorded(tmp_path)
    assert any(contains_vector(received, needle) for needle in needles)


CONFIG = """
rounds = {rounds}
baseline = {baseline}
[data]
name = "{data}"
clients = 20
[model]
name = "mlp"
hidden = [8]
[cohort]
rate = 1.0
[secure_sum]
kind = "insecure-plain"
[local]
lr = 0.2
[simulation]
workers = 0
dropout = 0.05
[personalization]
kind = "{kind}"
{extra}
"""
EXACT = '[privacy]\nnoise = "none"\n'


def config_in(folder, kind, extra=EXACT, *, rounds=4, baseline="false"):
    head = 'head = ["layers.1.*"]\n' if kind == "fedrep" else ""
    path = folder / f"{kind}.toml"
    filled = {"data": blobs_in(folder), "kind": kind, "extra": head + extra}
    path.write_text(CONFIG.format(rounds=rounds, baseline=baseline, **filled))
    return path


def test_a_run_reports_the_clients_figures_where_they_belong(tmp_path):
    private = '[privacy]\nnoise = "central-gaussian"\nnoise_multiplier = 4.0\n'
    out = tmp_path / "run"
    config = config_in(tmp_path, "ditto", private, baseline="true")
    result = runner.invoke(app, ["run", str(config), "--out", str(out)])
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "ditto: accuracy of 20 clients" in said
    assert "private to each client, and no epsilon covers them" in said
    path = out / "personal.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["client"] for row in rows] == list(range(20))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    summary = json.loads((out / "summary.json").read_text())["personalization"]
    assert summary["clients"] == 20
    assert summary["personal"]["mean"] == pytest.approx(np.mean([r["personal"] for r in rows]))
    metrics = (out / "metrics.jsonl").read_text()
    assert "personal" not in metrics
    assert "shared" not in metrics
    page = (out / "report.html").read_text()
    assert "Each client's own model" in page
    assert "It does not cover these figures" in page
    assert runner.invoke(app, ["report", str(out), "--public"]).exit_code == 0
    public = (out / "report-public.html").read_text()
    assert "Each client's own model" not in public
    assert "personal.jsonl" not in public
    assert "own model" not in public


def test_a_run_that_broke_off_ends_with_the_same_personal_models(tmp_path, monkeypatch):
    from fedavg.runs.files.directory import RunDirectory

    config = config_in(tmp_path, "ditto")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    result = runner.invoke(app, ["run", str(config), "--out", str(whole)])
    assert result.exit_code == 0, result.output
    append = RunDirectory.append

    def interrupting(self, result):
        append(self, result)
        if result.round == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "append", interrupting)
        result = runner.invoke(app, ["run", str(config), "--out", str(broken)])
    assert result.exit_code == 130, result.output
    assert not (broken / "personal.jsonl").exists()
    result = runner.invoke(app, ["resume", str(broken)])
    assert result.exit_code == 0, result.output
    one, two = ((out / "personal.jsonl").read_bytes() for out in (whole, broken))
    assert one == two
    with safe_open(str(broken / "model.safetensors"), "numpy") as file:
        assert len(list(file.keys())) == 4
        assert "kept_by_clients" not in dict(file.metadata() or {})


def test_a_run_that_was_killed_ends_with_the_same_heads(tmp_path):
    """SIGKILL at random moments: what a client keeps is on disk when its update leaves."""
    config = config_in(tmp_path, "fedrep", rounds=24)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    result = runner.invoke(app, ["run", str(config), "--out", str(whole)])
    assert result.exit_code == 0, result.output
    killed_and_resumed(config, broken, np.random.default_rng())
    for name in ("personal.jsonl", "metrics.jsonl"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    with safe_open(str(broken / "model.safetensors"), "numpy") as file:
        assert set(file.keys()) == {"layers.0.weight", "layers.0.bias"}
        note = dict(file.metadata() or {})["kept_by_clients"]
    assert set(note.split()) == {"layers.1.weight", "layers.1.bias"}


def test_a_body_is_the_start_of_a_run_with_a_fresh_head(tmp_path):
    config, out = config_in(tmp_path, "fedrep", rounds=1), tmp_path / "run"
    assert runner.invoke(app, ["run", str(config), "--out", str(out)]).exit_code == 0
    start = f'file = "{out}/model.safetensors"'
    text = config.read_text().replace("hidden = [8]", f"hidden = [8]\n{start}")
    config.write_text(text)
    refused = runner.invoke(app, ["run", str(config), "--out", str(tmp_path / "no")])
    assert "it lacks layers.1.bias, layers.1.weight" in " ".join(refused.output.split())
    config.write_text(text.replace(start, f'{start}\nfresh = ["layers.1.*"]'))
    again = runner.invoke(app, ["run", str(config), "--out", str(tmp_path / "again")])
    assert again.exit_code == 0, again.output


REGRESSION = """
rounds = 3
baseline = false
[data]
name = "{data}"
target = "price"
client = "shop"
[model]
name = "softmax"
[cohort]
rate = 1.0
[secure_sum]
kind = "insecure-plain"
[privacy]
noise = "none"
[simulation]
workers = {workers}
dropout = 0.0
[personalization]
kind = "finetune"
"""


def test_errors_of_own_models_are_in_the_labels_own_unit(tmp_path):
    """Prices in the hundreds of thousands: trained at unit scale, scored and shown in their own unit."""
    rng = np.random.default_rng(0)
    lines = ["shop,size,price"]
    for row in range(240):
        size = rng.uniform(20, 200)
        shop = row % 6
        price = 100_000 + 2_000 * size + 30_000 * shop + 1_000 * rng.standard_normal()
        lines.append(f"s{shop},{size:.1f},{price:.0f}")
    table = tmp_path / "prices.csv"
    table.write_text("\n".join(lines) + "\n")
    found = {}
    for workers in (0, 2):
        config = tmp_path / f"run{workers}.toml"
        config.write_text(REGRESSION.format(data=table, workers=workers))
        out = tmp_path / f"out{workers}"
        result = runner.invoke(app, ["run", str(config), "--out", str(out)])
        assert result.exit_code == 0, result.output
        found[workers] = (out / "personal.jsonl").read_text()
        said = " ".join(result.output.split())
        assert "finetune: rmse of 6 clients" in said
        assert "%" not in said.partition("finetune: rmse")[2].partition("These are private")[
            0
        ].replace("10 %", "").replace("90 %", "")
    assert found[0] == found[2]
    rows = [json.loads(line) for line in found[0].splitlines()]
    assert {row["figure"] for row in rows} == {"rmse"}
    assert (
        min(row["shared"] for row in rows) > 1_000
    )  # in prices, whose noise is 1,000; not around 1
    summary = json.loads((tmp_path / "out0" / "summary.json").read_text())["personalization"]
    assert summary["better"] == sum(row["personal"] < row["shared"] for row in rows)
    assert summary["personal"]["worst"] == max(row["personal"] for row in rows)
    page = (tmp_path / "out0" / "report.html").read_text()
    assert "RMSE over clients" in page


RARE = """
baseline = false
rounds = 3
[data]
name = "{data}"
target = "left"
client = "shop"
[privacy]
noise = "none"
[cohort]
rate = 1.0
[evaluation]
headline = "roc_auc"
[secure_sum]
kind = "insecure-plain"
[simulation]
workers = {workers}
dropout = 0.0
[personalization]
kind = "finetune"
test_fraction = 0.5
"""


@pytest.mark.parametrize("everywhere", [True, False])
def test_clients_are_compared_by_the_headline_where_all_of_them_define_it(tmp_path, everywhere):
    """One in five customers leaves; in one shop of the second table nobody does."""
    rng = np.random.default_rng(1)
    lines = ["shop,visits,left"]
    for row in range(600):
        shop, visits = row % 6, rng.uniform(0, 10)
        left = rng.random() < 0.02 * visits * 2 and (everywhere or shop > 0)
        lines.append(f"s{shop},{visits:.2f},{'yes' if left else 'no'}")
    table = tmp_path / "shops.csv"
    table.write_text("\n".join(lines) + "\n")
    found = {}
    for workers in (0, 2):
        config = tmp_path / f"run{workers}.toml"
        config.write_text(RARE.format(data=table, workers=workers))
        out = tmp_path / f"out{workers}"
        result = runner.invoke(app, ["run", str(config), "--out", str(out)])
        assert result.exit_code == 0, result.output
        found[workers] = (out / "personal.jsonl").read_text()
    assert found[0] == found[2]
    rows = [json.loads(line) for line in found[0].splitlines()]
    assert len(rows) == 6
    figure = "roc_auc" if everywhere else "accuracy"
    assert {row["figure"] for row in rows} == {figure}
    if everywhere:
        assert {row["baseline"] for row in rows} == {0.5}
    said = " ".join(result.output.split())
    assert f"finetune: {figure} of 6 clients" in said
    assert "always the majority class" in said.replace("│", "").replace("  ", " ")
    other = (
        "the headline roc_auc is not defined, or says little, on the few examples that some of them"
    )
    page = " ".join((tmp_path / "out0" / "report.html").read_text().split())
    assert (other in said) == (other in page) == (not everywhere)
    assert "always the majority class" in page
    summary = json.loads((tmp_path / "out0" / "summary.json").read_text())["personalization"]
    assert summary["headline"] == "roc_auc"
    bars = [row["baseline"] for row in rows]
    assert summary["baseline"]["mean"] == pytest.approx(np.mean(bars))
