"""`fedavg sweep` as a user meets it: a page and tables, plain errors, and kills that lose nothing done."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedavg.cli.app import app
from fedavg.studies import executors
from fedavg.studies.study import read_study
from fedavg.studies.trials.settings import flatten
from tests.arch.tree import ROOT
from tests.e2e.processes import PATIENCE, command, interrupted, wait_until
from tests.fedavg.support.studies import OneProcess, study_in

runner = CliRunner()
EXAMPLES = sorted((ROOT / "examples" / "studies").glob("*.toml"))
TIMES = ("seconds", "cpu_seconds")


def cells(out):
    rows = json.loads((out / "cells.json").read_text())["cells"]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def records(out):
    found = []
    for path in (out / "cells").glob("*.json"):
        try:
            found.append(json.loads(path.read_text()))
        except FileNotFoundError:  # renamed meanwhile
            continue
    return found


def children(pid):
    """Worker processes of a sweep, not the tracker that multiprocessing starts as well."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        command = Path(f"/proc/{child}/cmdline")
        if command.exists() and b"spawn_main" in command.read_bytes():
            found.append(int(child))
    return found


def signal_all(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def outlived(pids):
    """Those that are still there when patience ends, or [] as soon as none is."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and any(alive(pid) for pid in pids):
        time.sleep(0.02)
    return [pid for pid in pids if alive(pid)]


GRID = '[[grid]]\n"local.lr" = [0.5, 0.2]\nseed = [0, 1, 2]\n'
ENDLESS = "[[grid]]\nrounds = [1_000_000]\nseed = [0, 1]\n"


@contextlib.contextmanager
def sweeping(path, out):
    """A sweep in a process of its own, with three workers; its remaining processes are killed at the end."""
    process = subprocess.Popen(
        command("sweep", path, "--out", out, "--jobs", 3),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def lose_a_worker(process, out):
    """Kill one worker at a cell, at most one of the endless ones; gives the processes that are left."""
    wait_until(lambda: records(out) if (out / "cells").exists() else None, process)
    failed = False
    while not failed:  # one that was just between two cells fails none
        workers = children(process.pid)
        signal_all(workers, signal.SIGSTOP)
        time.sleep(1.0)  # by then each has a cell, running or handed to it
        signal_all(workers[:1], signal.SIGKILL)
        deadline = time.monotonic() + 10
        while not failed and time.monotonic() < deadline:
            time.sleep(0.02)
            failed = any(record["state"] == "failed" for record in records(out))
        os.kill(process.pid, signal.SIGSTOP if failed else signal.SIGCONT)
        signal_all(workers[1:], signal.SIGCONT)
        assert process.poll() is None
    return children(process.pid)


def test_killed_workers_and_sweeps_lose_only_what_was_running(tmp_path, monkeypatch):
    """SIGKILL to a worker, then to the sweep; resumed, the table is that of an undisturbed sweep."""
    path = study_in(tmp_path, ENDLESS + GRID, rounds=20)
    out, other = tmp_path / "out", tmp_path / "undisturbed"
    with sweeping(path, out) as process:
        orphans = lose_a_worker(process, out)
        second = runner.invoke(app, ["sweep", str(path), "--out", str(out)])
    assert second.exit_code == 2
    assert "another process sweeps" in " ".join(second.output.split())
    left = outlived(orphans)
    signal_all(left, signal.SIGKILL)
    assert not left, "a worker at an endless cell outlives its sweep"
    failed = [record for record in records(out) if record["state"] == "failed"]
    assert "SIGKILL" in failed[0]["reason"]
    before = {p.name: p.read_bytes() for p in (out / "cells").glob("*.json")}
    done = {name for name, text in before.items() if json.loads(text)["state"] == "done"}
    assert 1 <= len(done) < 6

    path = study_in(tmp_path, GRID, rounds=20)
    ours = {f"{cell.id}.json" for cell in read_study(path).cells}
    resumed = runner.invoke(app, ["sweep", str(path), "--out", str(out), "--jobs", "1"])
    assert resumed.exit_code == 0, resumed.output
    after = {p.name: p.read_bytes() for p in (out / "cells").glob("*.json")}
    assert {name for name in ours if after[name] == before.get(name)} == done
    assert f"{6 - len(done)} cells run now, {len(done)} found finished" in resumed.output
    monkeypatch.setattr(executors, "Workers", OneProcess())
    whole = runner.invoke(app, ["sweep", str(path), "--out", str(other), "--jobs", "1"])
    assert whole.exit_code == 0, whole.output
    assert cells(out) == cells(other)
    assert {row["state"] for row in cells(out)} == {"done"}
    with (out / "cells.csv").open(newline="") as file:
        assert [line["id"] for line in csv.DictReader(file)] == [row["id"] for row in cells(out)]
    assert "<title>Tiny</title>" in (out / "study.html").read_text()


def test_ctrl_c_ends_with_a_table_of_what_is_done(tmp_path):
    path = study_in(tmp_path, "[grid]\nseed = [0, 1, 2]\n", rounds=20)
    out = tmp_path / "out"
    output = interrupted(
        ["sweep", path, "--out", out, "--jobs", 1],
        lambda: records(out) if (out / "cells").exists() else None,
    )
    assert "Continue with the same command" in output
    states = [row["state"] for row in cells(out)]
    assert set(states) == {"done", "missing"}
    assert states.count("done") == len(records(out))
    assert (out / "study.html").exists()


def test_a_dry_run_lists_the_cells_and_refusals_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "Workers", OneProcess())
    path = study_in(tmp_path, '[grid]\n"data.clients" = [40, 4000]\nseed = [0, 1]\n')
    out = tmp_path / "out"
    arguments = ["sweep", str(path), "--dry-run", "--jobs", "1", "--out", str(out)]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "2 cells: 0 done, 2 to run; 2 refused, 0 excluded." in text
    assert "refused, 2 times" in text
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[grid]\n"privacy.epsilom" = [1]\n', "Do you mean 'epsilon'"),
        ('[base]\nprivacy.noise = "none"\n[grid]\n"privacy.epsilon" = [1]\n', "needs noise"),
    ],
)
def test_mistakes_get_one_plain_line_and_nothing_is_run(tmp_path, text, message):
    path, out = tmp_path / "study.toml", tmp_path / "out"
    path.write_text(text)
    result = runner.invoke(app, ["sweep", str(path), "--out", str(out)])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert not (out / "study.toml").exists()


def test_help_has_examples():
    text = runner.invoke(app, ["sweep", "--help"]).output
    assert "--dry-run" in text
    assert "fedavg sweep STUDY.toml --dry-run" in text
    for shown in ("[base]", "[grid]", "[[exclude]]", '"privacy.epsilon" = [1, 2, 4, 8]'):
        assert f" {shown} " in text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_studies_are_sound(path):
    """Everything in them is a cell, and the first of each noise has a plan that adds up."""
    study = read_study(path)
    assert study.cells
    assert not study.refused
    kinds = {}
    for cell in study.cells:
        settings = flatten(cell.trial.config)
        kinds.setdefault((settings.get("privacy.noise"), settings["secure_sum.kind"]), cell)
    for cell in kinds.values():
        cell.trial.check()


def test_there_are_example_studies():
    assert len(EXAMPLES) >= 3
