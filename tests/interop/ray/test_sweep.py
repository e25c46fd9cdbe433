"""Cells on a cluster of two nodes, of which one is removed while it works."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import pytest
from rich.console import Console

from fedavg.adapters.ray import RayTasks
from fedavg.studies import runner as study_run
from fedavg.studies.executors import executor_for
from fedavg.studies.study import read_study
from tests.fedavg.studies.test_runner import figures
from tests.fedavg.support.studies import OneProcess, study_in

pytest.importorskip("ray", minversion="2.55")


def sweep(path, out, executor):
    return study_run.sweep(read_study(path), path, out, executor, Console(file=io.StringIO()))


def test_a_study_on_two_nodes_gives_the_figures_of_one_process(tmp_path, cluster):
    path = study_in(tmp_path)
    there = sweep(path, tmp_path / "there", executor_for("ray", None))
    here = sweep(path, tmp_path / "here", OneProcess())
    assert [row.state for row in there.table.rows] == ["done"] * 4
    assert figures(there.table) == figures(here.table)


def stalls_once(data: bytes) -> bytes:
    """Write down where it runs; wait for ever the first time, and for the other tasks to be there."""
    import ray

    folder = Path(data.decode())
    node = ray.get_runtime_context().get_node_id()
    (folder / f"{node}.{os.getpid()}.{time.time_ns()}").touch()
    if not (folder / "go").exists():
        time.sleep(600)
    return node.encode()


def nodes_in(folder):
    return {path.name.split(".")[0] for path in folder.glob("*.*.*")}


def test_the_tasks_of_a_removed_node_run_on_the_other(tmp_path, cluster):
    (node,) = cluster.worker_nodes
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    tasks = RayTasks(stalls_once)
    began = tasks.work({folder.name: str(folder).encode() for folder in folders})

    import threading

    def remove():
        for _ in range(600):
            lost = [folder for folder in folders if node.node_id in nodes_in(folder)]
            if lost and all(nodes_in(folder) for folder in folders):
                break
            time.sleep(0.1)
        for folder in folders:
            (folder / "go").touch()
        cluster.remove_node(node, allow_graceful=False)
        # The other node's processor is free only once its own task ends.
        (kept,) = [folder for folder in folders if folder not in lost]
        os.kill(int(next(kept.glob("*.*.*")).name.split(".")[1]), 9)

    thread = threading.Thread(target=remove)
    thread.start()
    told = {answer.key: answer for answer in began}
    thread.join()
    tasks.close()
    head = cluster.head_node.node_id.encode()
    assert {key: (answer.data, answer.failure) for key, answer in told.items()} == {
        "a": (head, ""),
        "b": (head, ""),
    }
