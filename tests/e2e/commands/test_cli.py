"""The command line as a user meets it: a run, its directory, and plain errors."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from fedavg.cli.app import app
from fedavg.config.build import build_job, load_config
from tests.e2e.processes import interrupted
from tests.e2e.small import blobs_in

runner = CliRunner()


@pytest.fixture(scope="module")
def data_file(tmp_path_factory):
    return blobs_in(tmp_path_factory.mktemp("data"), train=600)


def config_for(tmp_path, data_file, extra=""):
    path = tmp_path / "run.toml"
    path.write_text(
        f"""
rounds = 3
[data]
name = "{data_file}"
clients = 100
[cohort]
rate = 0.9
[simulation]
workers = 0
{extra}
"""
    )
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_leaves_a_whole_run_directory(tmp_path, data_file):
    out = tmp_path / "run"
    result = runner.invoke(app, ["run", str(config_for(tmp_path, data_file)), "--out", str(out)])
    assert result.exit_code == 0, result.output
    metrics, server = lines(out / "metrics.jsonl"), lines(out / "server.jsonl")
    assert [row["round"] for row in metrics] == [1, 2, 3]
    assert set(metrics[0]) == {"round", "accuracy", "loss", "figures", "epsilon_release"}
    assert {
        "round",
        "cohort",
        "survivors",
        "epsilon_server",
        "bytes_up",
        "bytes_down",
        "seconds",
    } <= set(server[0])
    assert {"cohort", "survivors"}.isdisjoint(metrics[0])
    summary = json.loads((out / "summary.json").read_text())
    assert summary["stopped"] == "finished"
    assert summary["baseline_accuracy"] > 0.9
    assert 0 < summary["epsilon_release"] <= 5.0
    for name in (
        "config.toml",
        "ledger.json",
        "model.safetensors",
        "server_view.json",
        "report.html",
    ):
        assert (out / name).stat().st_size > 0
    assert "Result" in result.output
    resolved = load_config(out / "config.toml")
    assert resolved.privacy.epsilon == 5.0
    assert build_job(resolved).plan.noise.noise_multiplier == summary["noise_multiplier"]


@pytest.mark.parametrize(
    "kind", ["secagg", "ckks", "bfv", "encrypted-secagg", "one-shot", "insecure-plain"]
)
def test_every_secure_sum_runs_without_noise(tmp_path, data_file, kind):
    out = tmp_path / kind
    result = runner.invoke(
        app,
        [
            "run",
            str(config_for(tmp_path, data_file)),
            "--out",
            str(out),
            "--secure-sum",
            kind,
            "--noise",
            "none",
            "--rounds",
            "2",
            "--no-baseline",
        ],
    )
    assert result.exit_code == 0, result.output
    assert lines(out / "metrics.jsonl")[-1]["accuracy"] > 0.9
    assert lines(out / "metrics.jsonl")[-1]["epsilon_release"] is None


def test_all_secure_sums_give_the_same_metrics(tmp_path, data_file):
    rows = []
    for kind in ("secagg", "bfv"):
        out = tmp_path / kind
        extra = "dropout = 0.0\n[local]\nbatch_size = 2\n"
        config = (
            config_for(tmp_path, data_file, extra).read_text().replace("rate = 0.9", "rate = 1.0")
        )
        path = tmp_path / f"{kind}.toml"
        path.write_text(config)
        args = ["run", str(path), "--out", str(out), "--secure-sum", kind, "--noise", "none"]
        result = runner.invoke(app, [*args, "--no-baseline"])
        assert result.exit_code == 0, result.output
        rows.append((out / "metrics.jsonl").read_text())
    assert rows[0] == rows[1]


def test_the_budget_ends_a_run_cleanly(tmp_path, data_file):
    out = tmp_path / "run"
    config = config_for(tmp_path, data_file, "[privacy]\nepsilon = 4.0\nnoise_multiplier = 1.5\n")
    args = ["run", str(config), "--out", str(out), "--rounds", "60", "--no-baseline"]
    result = runner.invoke(app, [*args, "--secure-sum", "insecure-plain"])
    assert result.exit_code == 0, result.output
    assert "exceeded the privacy budget" in " ".join(result.output.split())
    rows = lines(out / "metrics.jsonl")
    assert 0 < len(rows) < 60
    assert rows[-1]["epsilon_release"] <= 4.0
    assert json.loads((out / "summary.json").read_text())["stopped"] == "budget"
    assert (out / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epsilon", "0"], "epsilon must be positive"),
        (["--epsilon", "-1"], "epsilon must be positive"),
        (["--delta", "2"], "delta must lie"),
        (["--noise", "loud"], "privacy.noise"),
        (["--secure-sum", "magic"], "secure_sum.kind"),
        (["--data", "nowhere.npz"], "nowhere.npz"),
        (["--data", "mnisst-14x14"], "mnist-14x14"),
        (["--noise", "none", "--epsilon", "3"], "needs noise"),
        (["--rounds", "0"], "rounds must be at least 1"),
        (["--clients", "10"], "too few"),
        (["--clients", "100000"], "client"),
    ],
)
def test_mistakes_get_one_plain_line_and_nothing_is_written(tmp_path, arguments, message):
    out = tmp_path / "run"
    result = runner.invoke(app, ["run", *arguments, "--out", str(out)])
    assert result.exit_code == 2
    text = " ".join(result.output.split())
    assert message in text
    assert "Traceback" not in text
    assert not out.exists()


def test_an_occupied_run_directory_is_left_alone(tmp_path, data_file):
    out = tmp_path / "run"
    out.mkdir()
    (out / "precious").write_text("x")
    result = runner.invoke(app, ["run", str(config_for(tmp_path, data_file)), "--out", str(out)])
    assert result.exit_code == 2
    assert "not empty" in result.output
    assert [p.name for p in out.iterdir()] == ["precious"]


def test_unknown_keys_name_the_nearest(tmp_path, data_file):
    path = config_for(tmp_path, data_file, "[privacy]\nepsilom = 2.0\n")
    result = runner.invoke(app, ["run", str(path), "--out", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert "Do you mean 'epsilon'" in " ".join(result.output.split())


def test_help_and_data_list():
    help_text = runner.invoke(app, ["run", "--help"]).output
    assert "--secure-sum" in help_text
    assert "fedavg run --epsilon 2" in help_text
    listing = runner.invoke(app, ["data", "list"])
    assert listing.exit_code == 0
    assert "mnist-14x14" in listing.output


def test_report_refuses_what_is_no_run_directory(tmp_path):
    result = runner.invoke(app, ["report", str(tmp_path)])
    assert result.exit_code == 2


def test_interrupting_leaves_a_readable_run_directory(tmp_path, data_file):
    """Ctrl-C (SIGINT to the process group) after the second round, with worker processes."""
    out = tmp_path / "run"
    config = config_for(tmp_path, data_file)
    options = ("--rounds", 500, "--workers", 2, "--noise", "none")
    metrics = out / "metrics.jsonl"
    interrupted(
        ["run", config, "--out", out, *options],
        lambda: metrics.exists() and len(metrics.read_text().splitlines()) >= 2,
    )
    summary = json.loads((out / "summary.json").read_text())
    assert summary["stopped"] == "interrupted"
    rows = lines(out / "metrics.jsonl")
    assert len(rows) == len(lines(out / "server.jsonl")) == summary["rounds"]
    assert (out / "report.html").exists()
    assert (out / "model.safetensors").exists()


def test_an_output_that_cannot_be_written_is_refused_before_any_work(tmp_path, monkeypatch):
    """Nothing is read and nothing is trained; each path is checked at the door."""
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "t.csv"
    table.write_text("a,b\n" + "\n".join(f"{n},{n % 2}" for n in range(40)) + "\n")
    (tmp_path / "file").write_text("x")

    def worked(*_: object, **__: object) -> None:
        pytest.fail("worked before it refused")

    for name in (
        "fedavg.runs.run.build_job",
        "fedavg.audits.run.build_job",
        "fedavg.data.loading.loading.load",
        "fedavg.data.loading.schema_choice.read_table",
        "fedavg.cli.init._write",
    ):
        monkeypatch.setattr(name, worked)
    for arguments, said in (
        (["run", "--out", "file"], "file is a file"),
        (["run", "--out", "file/run"], "file is a file"),
        (["audit", "--out", "no/a.json"], "there is no folder"),
        (["data", "show", "t.csv", "--out", "no/p.html"], "there is no folder"),
        (["data", "show", "t.csv", "--out", "."], "it is a folder"),
        (["data", "schema", "t.csv", "--target", "b", "--out", "no/s.toml"], "there is no folder"),
        (["data", "schema", "t.csv", "--target", "b", "--out", "file"], "file exists"),
        (["init", "t.csv", "--target", "b", "--out", "no/c.toml"], "there is no folder"),
    ):
        result = runner.invoke(app, arguments)
        assert result.exit_code == 2, (arguments, result.output)
        assert said in " ".join((result.output + result.stderr).split()), arguments
    assert {path.name for path in tmp_path.iterdir()} == {"t.csv", "file"}


def test_data_show_says_who_holds_what(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [
        f"{n % 37 / 4},{'yes' if n % 4 else 'no'},{'big' if n < 150 else 'small'}"
        for n in range(200)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,who", *rows]) + "\n")
    arguments = ["data", "show", "t.csv", "--target", "b", "--client", "who"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.replace("│", " ").split())
    assert "clients 2, natural" in said
    assert re.search(r"largest client big: 1[12]\d examples", said)
    assert re.search(r"smallest client small: [34]\d examples", said)
    assert re.search(r"labels no 2\d%, yes 7\d%", said)
    assert "200 rows" not in said  # nothing was left out
    assert said.endswith("partition.html")
    (tmp_path / "t.csv").write_text("\n".join(["a,b,who", *rows, "1.25,yes,", "1.5,,big"]) + "\n")
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "1 of 202 rows do not say whose they are, and are left out" in result.output
    assert "1 of 202 rows hold nothing to be predicted, and are left out" in result.output


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ("[cohort]\nrate = 0.5\nsize = 100\n", "cohort.size means nothing"),
        ('[cohort]\nkind = "fixed"\nrate = 0.2\nsize = 5\n', "cohort.rate means nothing"),
    ],
)
def test_keys_that_earlier_versions_wrote_for_nothing_are_named(tmp_path, tables, said):
    path = tmp_path / "old.toml"
    path.write_text(tables)
    result = runner.invoke(app, ["run", str(path), "--out", str(tmp_path / "run")])
    told = " ".join((result.output + result.stderr).split())
    assert result.exit_code == 2
    assert said in told
    assert "Earlier versions wrote both keys" in told
    assert "delete its line" in told


def test_no_patience_at_all_is_no_patience_of_zero(tmp_path):
    result = runner.invoke(app, ["run", "--noise", "none", "--patience", "0"])
    assert result.exit_code == 2
    assert "--patience" in result.output + result.stderr
