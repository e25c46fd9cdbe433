"""Executors: cells in processes or as tasks of a cluster, with the same answers."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from fedavg.adapters.ray import RayTasks
from fedavg.errors import ConfigError, MissingExtraError
from fedavg.studies import executors
from fedavg.studies import runner as study_run
from fedavg.studies.executors import OnTasks, answer_bytes, executor_for
from fedavg.studies.study import read_study
from fedavg.studies.workers import CellAnswer, Request, Workers
from tests.fedavg.adapters.ray.fake import FakeEngine
from tests.fedavg.studies.test_runner import figures
from tests.fedavg.support.studies import OneProcess, study_in


def sweep(path, out, executor):
    return study_run.sweep(read_study(path), path, out, executor, Console(file=io.StringIO()))


def on_tasks(**losses):
    return OnTasks(RayTasks(answer_bytes, joined=FakeEngine(**losses)))


def test_cells_as_tasks_give_the_figures_of_processes(tmp_path):
    path = study_in(tmp_path)
    there = sweep(path, tmp_path / "there", on_tasks())
    here = sweep(path, tmp_path / "here", OneProcess())
    assert there.table.count("done") == 4
    assert figures(there.table) == figures(here.table)


def test_a_cell_whose_nodes_are_lost_fails_and_is_run_by_the_next_sweep(tmp_path):
    path = study_in(tmp_path)
    first = sweep(path, tmp_path / "out", on_tasks(losses={5: 9}))  # four checks come first
    assert (first.ran, first.table.count("failed"), first.interrupted) == (3, 1, False)
    (failed,) = [row for row in first.table.rows if row.state == "failed"]
    assert "its node was lost" in failed.reason
    again = sweep(path, tmp_path / "out", on_tasks())
    assert (again.ran, again.found, again.table.count("failed")) == (1, 3, 0)


def test_a_record_says_where_its_cell_ran(tmp_path, monkeypatch):
    path = study_in(tmp_path, "[grid]\nseed = [0]\n")
    monkeypatch.setattr(executors, "environment", lambda: {"machine": "another"})
    sweep(path, tmp_path / "out", on_tasks())
    (file,) = (tmp_path / "out" / "cells").iterdir()
    assert msgspec.json.decode(file.read_bytes())["environment"] == {"machine": "another"}


def test_a_node_with_other_data_gives_no_result(tmp_path):
    """Mutant: without the comparison, figures of the other data are stored under this cell's id."""
    path = study_in(tmp_path, "[grid]\nseed = [0]\n")
    (cell,) = read_study(path).cells
    request = msgspec.msgpack.encode(Request(id=cell.id, trial=cell.trial))
    assert msgspec.msgpack.decode(answer_bytes(request), type=CellAnswer).outcome == "done"
    data = tmp_path / "blobs.npz"
    data.write_bytes(data.read_bytes() + b"x")
    told = msgspec.msgpack.decode(answer_bytes(request), type=CellAnswer)
    assert (told.outcome, told.derived) == ("failed", None)
    assert "other data" in told.reason


def test_engines_are_chosen_by_name():
    executor = executor_for("local", 3)
    assert isinstance(executor, Workers)
    assert executor.width == 3
    with pytest.raises(ConfigError, match="there is no engine 'slurm'; there are local, ray"):
        executor_for("slurm", None)
    with pytest.raises(ConfigError, match="jobs must be at least 1"):
        executor_for("ray", 0)


def test_a_missing_engine_is_named_before_anything_is_written(tmp_path, monkeypatch):
    from fedavg.adapters.engines import Engine

    def missing(_):
        raise MissingExtraError("Ray is not installed: pip install 'secure-fedavg[ray]'")

    monkeypatch.setattr(Engine, "version", missing)
    path = study_in(tmp_path)
    with pytest.raises(MissingExtraError, match="Ray is not installed"):
        sweep(path, tmp_path / "out", executor_for("ray", None))
    assert not list((tmp_path / "out" / "cells").iterdir())
