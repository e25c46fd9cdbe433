"""The simulation suite at tiny sizes: turns, process trees, its commands; peers where they are installed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks import Bench
from benchmarks.kit.images import read_images, write_synthetic
from benchmarks.simulation import __main__ as own
from benchmarks.simulation import contest, processes, rows
from benchmarks.simulation.contest import Contestant, Result, cold_start, compete
from benchmarks.simulation.task import Task
from benchmarks.simulation.turns import MARK, Turns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    path = tmp_path_factory.mktemp("images") / "images.npz"
    write_synthetic(path, 300, 100)
    return Task(str(path), clients=10, each=30, cohort=4, workers=0)


def test_synthetic_images_have_mnists_shape_and_can_be_learned(task: Task) -> None:
    images, labels = read_images(task.data, "train")
    tests, truth = read_images(task.data, "test")
    assert images.shape == (300, 784)
    assert (images.dtype, labels.dtype) == (np.float32, np.int64)
    assert 0 <= images.min() <= images.max() <= 1
    means = np.stack([images[labels == label].mean(0) for label in range(10)])
    nearest = ((tests[:, None] - means) ** 2).sum(2).argmin(1)
    assert (nearest == truth).mean() > 0.9


def test_every_contestant_deals_the_same_shards(task: Task) -> None:
    first, second = task.shards(300), Task.from_json(task.to_json()).shards(300)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert sorted(np.concatenate(first).tolist()) == list(range(300))


def test_turns_are_told_and_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    orders: Iterator[str] = iter(["2\n", "3\n", ""])

    class Input:
        def readline(self) -> str:
            return next(orders)

    monkeypatch.setattr(sys, "stdin", Input())
    turns = Turns(waits=True)
    for _ in range(6):
        turns.tick()
    Turns.end(0.5)
    told = [json.loads(line[len(MARK) :]) for line in capsys.readouterr().out.splitlines()]
    assert [set(message) for message in told] == [{"wall"}] * 3 + [{"accuracy"}]
    free = Turns(waits=False)
    for _ in range(3):
        free.tick()
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_tree_is_its_descendants_with_their_time_and_memory() -> None:
    script = (
        "import subprocess, sys, time\n"
        "if len(sys.argv) == 1:\n"
        "    more = 'import time; x = bytearray(50 << 20); time.sleep(60)'\n"
        "    subprocess.Popen([sys.executable, '-c', more])\n"
        "end = time.process_time() + 0.3\n"
        "while time.process_time() < end: pass\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        tree = processes.descendants(process.pid)
        assert len(tree) == 2
        assert os.getpid() not in tree
        assert processes.cpu_seconds(process.pid) >= 0.25
        until = time.monotonic() + 30
        while processes.proportional(process.pid) < 50 and time.monotonic() < until:
            time.sleep(0.05)
        assert 50 < processes.proportional(process.pid) < 200
        assert processes.peak_resident(process.pid) > 50
    finally:
        for pid in processes.descendants(process.pid):
            contest._end(pid)
        process.wait()
        process.stdout.close()


def test_contestants_play_in_turns(task: Task) -> None:
    tasks = {"ours": ("ours", task), "plain": ("plain", replace(task, protection="central-dp"))}
    ticks: list[None] = []
    found = compete(tasks, turns=2, rounds={"ours": 3, "plain": 1}, tick=lambda: ticks.append(None))
    assert len(ticks) == 4
    for result in found.values():
        assert len(result.wall) == len(result.cpu) == 2
        assert all(seconds > 0 for seconds in result.wall)
        assert 30 < result.proportional_mib <= result.resident_mib * 1.01
    assert found["ours"].accuracy > 0.15


def test_a_contestant_that_fails_is_quoted(task: Task) -> None:
    broken = replace(task, data="/nowhere.npz")
    with Contestant("plain", broken) as contestant, pytest.raises(RuntimeError, match="nowhere"):
        contestant.hear()


@pytest.mark.parametrize("protection", ["central-dp", "secagg-skellam"])
def test_protected_rounds_start_cold(task: Task, protection: str) -> None:
    private = replace(task, protection=protection, rounds=2, cohort=10)
    assert 0 < cold_start("ours", private) < 300


def _fake(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Task]]:
    """Contests without processes: ours is three times as fast."""
    played: list[tuple[str, Task]] = []

    def fake(tasks, *, turns, rounds, tick=lambda: None):
        played.extend(tasks.values())
        assert set(rounds) == set(tasks)
        for _ in range(turns * len(tasks)):
            tick()
        return {
            title: Result(
                wall=[0.1 if name == "ours" else 0.3] * turns,
                cpu=[0.25 if name == "ours" else 0.75] * turns,
                proportional_mib=500.0 if name == "ours" else 1000.0,
                resident_mib=900.0 if name == "ours" else 2000.0,
                accuracy=0.9,
            )
            for title, (name, _) in tasks.items()
        }

    def fake_start(name: str, task: Task) -> float:
        played.append((name, task))
        return 2.0 if name == "ours" else 8.0

    monkeypatch.setattr(contest, "compete", fake)
    monkeypatch.setattr(rows, "compete", fake)
    monkeypatch.setattr(rows, "cold_start", fake_start)
    return played


def test_the_suite_with_both_peers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    played = _fake(monkeypatch)
    monkeypatch.setattr(Bench, "peer", lambda *_: os)
    data = tmp_path / "mnist.npz"
    asked = ["--data", str(data), "--workers", "2", "--check", "--out", str(tmp_path)]
    assert own.main(asked) == 1  # three times is not enough
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    for key in ("2nn_flower", "2nn_flower_cpu", "2nn_pfl", "dp_flower", "dp_pfl"):
        assert told["ratios"][key] == 3
        assert key in told["missed"]
    for key in (
        "2nn_pfl_cpu",
        "module_pfl_cpu",
        "module_flower",
        "cnn_flower",
        "start_flower",
        "start_pfl",
    ):
        assert told["ratios"][key] >= 3
        assert key not in told["missed"]
    assert told["ratios"]["memory"] == 0.5
    assert told["ratios"]["secagg_skellam"] == 1
    assert told["ours"]["large_memory"] == 500
    assert not told["unmeasured"]
    assert {task.data for _, task in played} == {str(data)}
    assert (10_000, 200, "secagg") in {(t.clients, t.cohort, t.protection) for _, t in played}
    assert (tmp_path / "simulation.html").is_file()


def test_the_suite_without_peers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _fake(monkeypatch)
    monkeypatch.setattr(Bench, "peer", lambda *_: None)
    monkeypatch.setattr("benchmarks.kit.images.write_synthetic", lambda *_: None)
    assert own.main(["--out", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(told["ratios"]) == {"2nn_plain", "2nn_plain_cpu", "secagg", "secagg_skellam"}
    assert set(told["unmeasured"]) == {"memory"}


def test_one_comparison_ends_with_its_ratio(
    task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--model", "2nn", "--baseline", "plain", "--rounds", "2", "--quick", "--workers", "0"]
    assert own.main([*asked, "--data", task.data, "--out", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["ratio"] == told["ratios"]["wall"] > 0
    (table,) = json.loads((tmp_path / "simulation.json").read_text(encoding="utf-8"))["tables"]
    assert [row[0] for row in table["rows"]] == ["ours", "plain"]


def test_a_baseline_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Bench, "peer", lambda *_: None)
    assert own.main(["--baseline", "flower", "--out", str(tmp_path)]) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("rounds", "turns"), [(1, (1, 1)), (8, (4, 2)), (20, (4, 5)), (40, (8, 5))]
)
def test_rounds_are_split_into_turns(rounds: int, turns: tuple[int, int]) -> None:
    assert own._split(rounds) == turns


@pytest.mark.parametrize("peer", ["pfl", "flower"])
def test_peers_play_the_same_task(task: Task, peer: str) -> None:
    if importlib.util.find_spec(rows.PEERS[peer][0]) is None:
        pytest.skip("in the peers' environment only")
    found = compete({peer: (peer, replace(task, workers=1))}, turns=1, rounds={peer: 1})
    assert found[peer].accuracy > 0.15
    assert found[peer].wall[0] > 0
