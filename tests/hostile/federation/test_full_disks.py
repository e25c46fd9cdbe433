"""D8, O: the disk is full at any moment of a command, or two commands meet in one directory.

Expected: status 2 and one line that names the file, nothing half-written beside it, no round that was
released without its charge, and a run that goes on once there is room.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dp import Ledger, SharedLedger
from fedavg.cli.app import app
from fedavg.cli.console import correctable
from fedavg.records.federation import RecordFederation
from fedavg.runs.files.directory import RunDirectory
from fedavg.studies import executors
from tests.e2e.commands.test_resume import PRIVATE, config_in
from tests.e2e.small import blobs_in
from tests.fedavg.support.studies import OneProcess
from tests.hostile.mutants import FOUND

SYNCS = 5
"""Every so many writes are tried; each takes two short runs."""


def invoked(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "400"})


def full_at(patch, number):
    """Refuse a write from the numbered one on, counted over all files; return the count."""
    sync, seen = os.fsync, []

    def refuse(handle):
        seen.append(handle)
        if len(seen) > number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    patch.setattr(os, "fsync", refuse)
    return seen


def refused(result, folder):
    """The one line of a command that met a full disk; it names a file of the folder."""
    assert result.exit_code == 2, (result.exit_code, result.output)
    assert isinstance(result.exception, SystemExit), result.exception
    said = " ".join((result.output + result.stderr).split()).partition("Error: ")[2]
    assert "No space left on device" in said
    assert str(folder) in said
    assert not [path for path in folder.rglob("*") if path.name.endswith(".part")]


def runs_on_full_disks(tmp_path, first=0):
    config = config_in(tmp_path, PRIVATE, rounds=2)
    for number in range(first, 1000, SYNCS):
        out, budget = tmp_path / f"run-{number}", tmp_path / f"budget-{number}.json"
        SharedLedger.create(budget, Ledger(50.0, 1e-5))
        with pytest.MonkeyPatch.context() as patch:
            seen = full_at(patch, number)
            result = invoked("run", config, "--out", out, "--ledger", budget)
        if len(seen) <= number:
            assert result.exit_code == 0, result.output
            return number
        refused(result, tmp_path)
        if not (out / "config.toml").exists():
            assert invoked("run", config, "--out", out).exit_code == 0  # nothing had begun
            continue
        own = out / "ledger.json"
        before = len(Ledger.load(own).history) if own.exists() else 0
        assert len(SharedLedger(budget).read().history) >= before
        assert invoked("resume", out).exit_code == 0, result.output
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        assert [row["round"] for row in rows] == [1, 2]
        assert len(SharedLedger(budget).read().history) >= len(Ledger.load(own).history) >= 3
    raise AssertionError("the run never ends")


def test_a_run_whose_disk_is_full_names_the_file_and_goes_on(tmp_path):
    assert runs_on_full_disks(tmp_path) > 20


def test_mutant_that_lets_the_systems_errors_through(tmp_path, monkeypatch):
    monkeypatch.setattr(RunDirectory, "told", lambda *_: nullcontext())
    ours = tuple(kind for kind in correctable() if kind is not OSError)
    monkeypatch.setattr(sys.modules["fedavg.cli.app"], "correctable", lambda: ours)
    with pytest.raises(FOUND):
        runs_on_full_disks(tmp_path, first=6)


RECORDS = """
steps = 3
score_every = 1
[records]
unit = "record"
silos = 3
rate = 0.2
max_units = 200
epsilon = 4.0
[data]
name = "{data}"
"""


@pytest.fixture
def records(tmp_path):
    path = tmp_path / "records.toml"
    path.write_text(RECORDS.format(data=blobs_in(tmp_path)))
    return path


def last_step(monkeypatch, act):
    """Do something in place of the last step."""
    step = RecordFederation._step

    def acting(self, number, *, scored):
        return act() if number == 2 else step(self, number, scored=scored)

    monkeypatch.setattr(RecordFederation, "_step", acting)


def killed_run_of_records(records, out, monkeypatch):
    """A run that ends without a word, as from a signal that nothing can catch."""

    def killed():
        raise SystemExit(143)

    last_step(monkeypatch, killed)
    assert invoked("records", records, "--out", out).exit_code == 143
    assert (out / "model.safetensors").stat().st_size > 0
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]


def test_a_killed_run_of_records_leaves_the_model_that_it_was_charged_for(
    records, tmp_path, monkeypatch
):
    killed_run_of_records(records, tmp_path / "run", monkeypatch)


def test_mutant_that_keeps_the_model_until_the_end(records, tmp_path, monkeypatch):
    monkeypatch.setattr(RunDirectory, "write_model", lambda *_: None)
    with pytest.raises((*FOUND, FileNotFoundError)):
        killed_run_of_records(records, tmp_path / "run", monkeypatch)


def test_an_interrupted_run_of_records_says_so_by_its_status(records, tmp_path, monkeypatch):
    """It was 0 after a step, and 3 before the first one, as if nothing had been learnt."""

    def interrupted():
        raise KeyboardInterrupt

    out = tmp_path / "run"
    last_step(monkeypatch, interrupted)
    assert invoked("records", records, "--out", out).exit_code == 130
    assert json.loads((out / "summary.json").read_text())["stopped"] == "interrupted"
    again = invoked("resume", out)
    assert again.exit_code == 2
    assert "is a run of records, which is not resumed" in " ".join(again.stderr.split())


def test_records_on_a_full_disk_keep_their_charges(records, tmp_path):
    ends = set()
    for number in range(0, 60, 9):
        out = tmp_path / f"run-{number}"
        with pytest.MonkeyPatch.context() as patch:
            full_at(patch, number)
            result = invoked("records", records, "--out", out)
        ends.add(result.exit_code)
        if result.exit_code:
            refused(result, out)
    assert 2 in ends


def two_in_one_directory(monkeypatch, command, config, out):
    """Another process begins in the directory just after this one has found it empty."""
    init, other = RunDirectory.__init__, []

    def overtaken(self, path):
        init(self, path)
        if not other:
            other.append(path)
            other.append(invoked(command, config, "--out", path).exit_code)

    monkeypatch.setattr(RunDirectory, "__init__", overtaken)
    mine = invoked(command, config, "--out", out)
    assert other == [out, 0]
    assert mine.exit_code == 2, mine.output
    assert "is not empty" in mine.stderr


@pytest.mark.parametrize("command", ["run", "records"])
def test_one_of_two_that_find_a_directory_empty_begins(command, records, tmp_path, monkeypatch):
    config = records if command == "records" else config_in(tmp_path, PRIVATE, rounds=1)
    two_in_one_directory(monkeypatch, command, config, tmp_path / "out")


def test_mutant_that_looks_only_before_the_lock(records, tmp_path, monkeypatch):
    monkeypatch.setattr(RunDirectory, "begun", lambda *_: nullcontext())
    with pytest.raises(FOUND):
        two_in_one_directory(monkeypatch, "records", records, tmp_path / "out")


def test_what_a_killed_start_leaves_is_no_run(tmp_path):
    """A lock without a run could be neither resumed nor begun."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("run.lock", "config.toml.part"):
        (out / name).touch()
    config = config_in(tmp_path, PRIVATE, rounds=1)
    assert invoked("run", config, "--out", out).exit_code == 0
    assert not (out / "config.toml.part").exists()


STUDY = """
[base]
rounds = 1
baseline = false
[base.data]
name = "{data}"
clients = 40
[base.cohort]
rate = 1.0
[base.secure_sum]
kind = "insecure-plain"
[base.simulation]
workers = 0
[grid]
"privacy.noise" = ["none"]
seed = [0]
"""


def test_a_study_on_a_full_disk_names_the_file_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "Workers", OneProcess())
    study, out = tmp_path / "s.toml", tmp_path / "out"
    study.write_text(STUDY.format(data=blobs_in(tmp_path)))
    arguments = ("sweep", study, "--out", out, "--jobs", "1")
    for number in (2, 4):  # a cell's record, and the table
        with pytest.MonkeyPatch.context() as patch:
            full_at(patch, number)
            refused(invoked(*arguments), out)
    result = invoked(*arguments)
    assert result.exit_code == 0, result.output
    assert "1 found finished" in result.output


def test_other_commands_on_a_full_disk_name_the_file(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    rows = (f"{n % 7},{'yes' if n % 3 else 'no'},{'xyz'[n % 3]}" for n in range(300))
    Path("t.csv").write_text("\n".join(["a,b,who", *rows]) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        full_at(patch, 0)
        for arguments in (
            ("data", "schema", "t.csv", "--target", "b", "--out", tmp_path / "s.toml"),
            ("data", "show", "t.csv", "--target", "b", "--out", tmp_path / "p.html"),
            ("init", "t.csv", "--target", "b", "--client", "who", "--out", tmp_path / "i.toml"),
            ("budget", "--epsilon", "5", "--page", tmp_path / "b.html"),
            ("ledger", "create", tmp_path / "l.json", "--epsilon", "5", "--delta", "1e-5"),
        ):
            refused(invoked(*arguments), tmp_path)
