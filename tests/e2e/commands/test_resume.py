"""Runs that are killed at random moments and resumed: the same end, and never less spent than released."""

from __future__ import annotations

import json
import shutil
import signal
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from dp import Ledger
from fedavg.cli.app import app
from tests.e2e.processes import forked_command, wait_until
from tests.e2e.small import blobs_in

runner = CliRunner()
ROUNDS = 24
KILLS = 2
EXACT = '[privacy]\nnoise = "none"\n'
SCAFFOLD = "[local]\nscaffold = true\nsteps = 4\nlr = 0.5\n"
PRIVATE = '[privacy]\nnoise = "central-gaussian"\nnoise_multiplier = 4.0\n'


def config_in(folder, extra, rounds=ROUNDS):
    data = blobs_in(folder)
    path = folder / "run.toml"
    path.write_text(
        f"""
rounds = {rounds}
baseline = false
[data]
name = "{data}"
clients = 40
[cohort]
rate = 1.0
[secure_sum]
kind = "insecure-plain"
[simulation]
workers = 0
dropout = 0.05
{extra}
"""
    )
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def kill_after(process, out, rows, pause):
    """SIGKILL once so many rounds are logged, and a moment later; False when it ended before."""
    wait_until(
        lambda: len(lines_or_none(out / "metrics.jsonl")) >= rows or process.poll() is not None
    )
    time.sleep(pause)
    running = process.poll() is None
    process.kill()
    process.wait()
    return running


def lines_or_none(path):
    """A log that may be growing right now."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def check_ledger(out):
    """What is on disk after a kill: every release that can be seen is charged."""
    history = Ledger.load(out / "ledger.json").history
    rows = [json.loads(line) for line in lines_or_none(out / "metrics.jsonl")]
    assert len(history) - 1 >= len(rows)
    assert Ledger.load(out / "ledger.json").spent().high >= rows[-1]["epsilon_release"]
    return len(history) - 1


def killed_and_resumed(config, out, rng, check=lambda out: 0):
    """Start, kill a few times in the course of it, resume to the end; returns the charges after kills."""
    charges, killed = [], 0
    while not killed:  # a machine that is busy elsewhere may let a run end before the first kill
        shutil.rmtree(out, ignore_errors=True)
        charges = []
        process = forked_command("run", config, "--out", out)
        for kill in range(KILLS):
            rows = int(rng.integers(1, 8)) + 8 * kill
            killed += kill_after(process, out, rows, float(rng.uniform(0, 0.12)))
            charges.append(check(out))
            process = forked_command("resume", out)
        assert process.wait() in (0, 2)  # 2: it had ended before the last kill
    return charges


def test_without_noise_a_killed_run_ends_as_an_uninterrupted_one(tmp_path):
    """With what clients keep: every update moves a control variate, some are lost on the way."""
    config = config_in(tmp_path, EXACT + SCAFFOLD)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    result = runner.invoke(app, ["run", str(config), "--out", str(whole)])
    assert result.exit_code == 0, result.output
    killed_and_resumed(config, broken, np.random.default_rng())
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    kept = ("round", "cohort", "survivors", "skipped", "bytes_up")
    logs = [
        [{key: row[key] for key in kept} for row in lines(out / "server.jsonl")]
        for out in (whole, broken)
    ]
    assert logs[0] == logs[1]
    summary = json.loads((broken / "summary.json").read_text())
    assert (summary["stopped"], summary["rounds"]) == ("finished", ROUNDS)
    assert (broken / "report.html").exists()


def test_under_dp_a_killed_run_keeps_its_plan_and_its_budget(tmp_path):
    config = config_in(tmp_path, PRIVATE)
    out = tmp_path / "run"
    charges = killed_and_resumed(config, out, np.random.default_rng(), check_ledger)
    assert charges == sorted(charges)
    assert check_ledger(out) == ROUNDS
    rows = lines(out / "metrics.jsonl")
    assert [row["round"] for row in rows] == list(range(1, ROUNDS + 1))
    spent = [row["epsilon_release"] for row in rows]
    assert spent == sorted(spent)
    assert spent[-1] == Ledger.load(out / "ledger.json").spent().high
    lost = [row for row in lines(out / "server.jsonl") if row["skipped"]]
    assert len(lost) <= KILLS
    assert all("stays charged" in row["reason"] for row in lost)


@pytest.fixture
def interrupted(tmp_path):
    """A short run that was stopped with Ctrl-C from within, between the two logs of its third round."""
    from fedavg.runs.files.directory import RunDirectory

    append = RunDirectory._append

    def interrupting(self, name, row):
        append(self, name, row)
        if row["round"] == 3 and name == "metrics.jsonl":
            signal.raise_signal(signal.SIGINT)

    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunDirectory, "_append", interrupting)
        args = ["run", str(config_in(tmp_path, PRIVATE, 5)), "--out", str(out)]
        result = runner.invoke(app, args)
    assert result.exit_code == 130, result.output
    assert "Continue with: fedavg resume" in " ".join(result.output.split())
    return out


def test_ctrl_c_then_resume(interrupted):
    """Mutant: without `postponed_interrupts` the operator's log lacks the third round."""
    assert len(lines(interrupted / "metrics.jsonl")) == 3
    assert len(lines(interrupted / "server.jsonl")) == 3
    assert json.loads((interrupted / "summary.json").read_text())["rounds"] == 3
    result = runner.invoke(app, ["resume", str(interrupted)])
    assert result.exit_code == 0, result.output
    assert "Going on after round 3 of 5" in result.output
    assert [row["skipped"] for row in lines(interrupted / "server.jsonl")] == [False] * 5
    again = runner.invoke(app, ["resume", str(interrupted)])
    assert again.exit_code == 2
    assert "nothing to resume" in " ".join(again.output.split())


def test_half_a_line_in_a_log_is_mended(interrupted):
    for name in ("metrics.jsonl", "server.jsonl"):
        text = (interrupted / name).read_text()
        (interrupted / name).write_text(text[:-20])
    result = runner.invoke(app, ["resume", str(interrupted)])
    assert result.exit_code == 0, result.output
    for name in ("metrics.jsonl", "server.jsonl"):
        assert [row["round"] for row in lines(interrupted / name)] == [1, 2, 3, 4, 5]


def test_an_edited_configuration_is_refused(interrupted):
    path = interrupted / "config.toml"
    path.write_text(path.read_text().replace("noise_multiplier = 4.0", "noise_multiplier = 2.0"))
    before = (interrupted / "ledger.json").read_bytes()
    result = runner.invoke(app, ["resume", str(interrupted)])
    assert result.exit_code == 2
    assert "another plan" in " ".join(result.output.split())
    assert (interrupted / "ledger.json").read_bytes() == before


def test_edited_data_are_refused_before_anything_is_charged(interrupted):
    path = interrupted.parent / "blobs.npz"
    with np.load(path) as held:
        parts = dict(held)
    parts["x_train"][5] += 1.0
    np.savez(path, **parts)
    before = {file.name: file.read_bytes() for file in interrupted.iterdir() if file.is_file()}
    result = runner.invoke(app, ["resume", str(interrupted)])
    assert result.exit_code == 2
    assert "the examples are no longer those that the run began with" in " ".join(
        result.output.split()
    )
    assert {
        file.name: file.read_bytes() for file in interrupted.iterdir() if file.is_file()
    } == before


def test_two_processes_cannot_run_one_directory(interrupted):
    from fedavg.runs.files.directory import RunDirectory

    with RunDirectory.reopen(interrupted).locked():
        result = runner.invoke(app, ["resume", str(interrupted)])
    assert result.exit_code == 2
    assert "another process" in " ".join(result.output.split())


def test_what_is_no_run_directory_is_refused(tmp_path):
    result = runner.invoke(app, ["resume", str(tmp_path)])
    assert result.exit_code == 2
    assert "no run directory" in " ".join(result.output.split())


def test_no_file_of_a_run_is_a_pickle(interrupted):
    """A pickle of protocol 2 or later begins with 0x80; torch's is a zip archive."""
    for path in interrupted.iterdir():
        assert not path.read_bytes().startswith((b"\x80", b"PK")), path.name
