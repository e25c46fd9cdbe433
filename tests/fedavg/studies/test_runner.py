"""Sweeps: no cell is run twice, nothing torn is read, and a failure stays with its cell."""

from __future__ import annotations

import io
import json

import msgspec
import pytest
from rich.console import Console

from fedavg.errors import ConfigError
from fedavg.studies import runner as study_run
from fedavg.studies.directory import StudyDirectory
from fedavg.studies.study import Cell, read_study
from fedavg.studies.workers import Workers
from tests.fedavg.support.studies import GRID, OneProcess, study_in

CELLS = 4


@pytest.fixture
def swept(tmp_path):
    """Run a study in this process: gives what it left, and the stand-in that counted."""

    def run(path, **options):
        workers = OneProcess(**options)
        study = read_study(path)
        console = Console(file=io.StringIO())
        left = study_run.sweep(study, path, tmp_path / "out", workers, console)
        return left, workers, console.file.getvalue()

    return run


def figures(table):
    """Rows without their times."""
    return [
        {k: v for k, v in row.flat().items() if k not in ("seconds", "cpu_seconds")}
        for row in table.rows
    ]


def test_a_finished_cell_is_never_run_again(tmp_path, swept):
    path = study_in(tmp_path)
    first, workers, _ = swept(path)
    assert (first.ran, first.found, len(workers.ran)) == (CELLS, 0, CELLS)
    again, workers, _ = swept(path)
    assert (again.ran, again.found) == (0, CELLS)
    assert workers.ran == workers.checked == []
    assert [row.flat() for row in again.table.rows] == [row.flat() for row in first.table.rows]
    assert first.table.count("done") == CELLS
    assert all(row.values["accuracy"] > 0.5 for row in first.table.rows)


SUMS = ("insecure-plain", "secagg", "one-shot")


def test_secure_sums_are_compared_and_give_one_accuracy(tmp_path, swept):
    extra = f'simulation = {{dropout = 0.0}}\n[grid]\n"secure_sum.kind" = {list(SUMS)}\n'
    path = study_in(tmp_path, extra)
    left, workers, _ = swept(path)
    assert len(workers.ran) == left.table.count("done") == len(SUMS)
    assert len({row.values["accuracy"] for row in left.table.rows}) == 1
    sent = [row.values["bytes_up"] for row in left.table.rows]
    assert len(set(sent)) == len(SUMS)
    page = left.page.read_text()
    assert all(kind in page for kind in SUMS)


def test_an_interrupted_sweep_keeps_what_was_finished_and_goes_on(tmp_path, swept):
    path = study_in(tmp_path)
    broken_off, workers, printed = swept(path, stop_after=2)
    assert broken_off.interrupted
    assert broken_off.ran == 2
    assert broken_off.table.count("missing") == 2
    assert "every finished cell is kept" in printed
    assert "2 cells are not run yet" in broken_off.page.read_text()
    done = set(workers.ran)
    rest, workers, _ = swept(path)
    assert done.isdisjoint(workers.ran)
    assert (rest.ran, rest.found, rest.interrupted) == (2, 2, False)
    undisturbed = study_run.sweep(
        read_study(path), path, tmp_path / "other", OneProcess(), Console(file=io.StringIO())
    )
    assert figures(rest.table) == figures(undisturbed.table)


def test_an_interrupt_right_after_a_cell_was_kept_does_not_lose_it(tmp_path, swept, monkeypatch):
    def keep_and_stop(directory, record):
        original(directory, record)
        raise KeyboardInterrupt

    original = StudyDirectory.keep
    monkeypatch.setattr(StudyDirectory, "keep", keep_and_stop)
    left, _, _ = swept(study_in(tmp_path))
    assert left.interrupted
    assert (left.ran, left.table.count("done"), left.table.count("missing")) == (1, 1, 3)


def test_a_changed_study_runs_only_what_is_new(tmp_path, swept):
    swept(study_in(tmp_path))
    path = study_in(tmp_path, '[grid]\n"local.lr" = [0.2, 0.1]\nseed = [1, 0]\n')
    changed, workers, _ = swept(path)
    assert (changed.ran, changed.found, len(workers.ran)) == (2, 2, 2)
    assert changed.table.count("done") == len(changed.table.rows) == CELLS
    assert (tmp_path / "out" / "study.toml").read_bytes() == path.read_bytes()
    back, workers, _ = swept(study_in(tmp_path))
    assert (back.found, workers.ran) == (CELLS, [])


def test_a_failed_cell_is_reported_kept_and_tried_again(tmp_path, swept):
    path = study_in(tmp_path)
    failed, _, printed = swept(path, broken=(1,))
    assert (failed.ran, failed.table.count("failed"), failed.table.count("done")) == (2, 2, 2)
    assert "OSError: planted" in printed
    assert "OSError: planted" in failed.page.read_text()
    kept = [json.loads(p.read_text()) for p in (tmp_path / "out" / "cells").glob("*.json")]
    assert sorted(record["state"] for record in kept) == ["done", "done", "failed", "failed"]
    mended, workers, _ = swept(path)
    assert (mended.ran, mended.found, len(workers.ran)) == (2, 2, 2)
    assert mended.table.count("done") == CELLS


def test_cells_that_do_not_add_up_are_reported_and_the_others_run(tmp_path, swept):
    path = study_in(tmp_path, '[grid]\n"data.clients" = [40, 4000]\nseed = [0]\n')
    left, workers, _ = swept(path)
    assert len(workers.checked) == 2
    assert len(workers.ran) == 1
    (refused,) = [row for row in left.table.rows if row.state == "refused"]
    assert "4000" in refused.reason
    assert refused.settings["data.clients"] == 4000
    assert refused.reason.split("\n")[0][:30] in left.page.read_text()


def test_a_study_of_which_nothing_adds_up_is_an_error(tmp_path, swept):
    path = study_in(tmp_path, '[grid]\n"data.clients" = [4000]\n')
    with pytest.raises(ConfigError, match="no cell of this study adds up"):
        swept(path)
    assert not (tmp_path / "out" / "study.toml").exists()


def test_calibration_happens_in_the_check_and_only_there(tmp_path, swept, monkeypatch):
    from fedavg.config import build as building

    calls = []
    original = building.calibrated
    monkeypatch.setattr(
        building, "calibrated", lambda *a, **k: calls.append(1) or original(*a, **k)
    )
    extra = (
        '[grid]\n"privacy.noise" = ["central-gaussian"]\n"privacy.epsilon" = [2, 4]\nseed = [0]\n'
    )
    left, workers, _ = swept(study_in(tmp_path, extra))
    assert (len(calls), len(workers.ran)) == (2, 2)
    for row in left.table.rows:
        assert row.values["epsilon_budget"] == row.settings["privacy.epsilon"]
        assert 0.9 < row.values["epsilon_release"] / row.settings["privacy.epsilon"] <= 1.0
        assert row.values["noise_multiplier"] > 0
        assert row.values["stopped"] == "finished"


def test_two_sweeps_in_one_directory_refuse_each_other(tmp_path, swept):
    path = study_in(tmp_path)
    with StudyDirectory(tmp_path / "out").locked(), pytest.raises(ConfigError, match="another"):
        swept(path)
    assert not list((tmp_path / "out" / "cells").iterdir())


def test_a_directory_of_something_else_is_left_alone(tmp_path, swept):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")
    with pytest.raises(ConfigError, match="no study"):
        swept(study_in(tmp_path))
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["precious"]


def test_a_first_start_that_was_killed_leaves_a_usable_directory(tmp_path):
    (tmp_path / "out" / "cells").mkdir(parents=True)
    (tmp_path / "out" / "sweep.lock").touch()
    (tmp_path / "out" / "study.toml.part").write_text("[gr")
    StudyDirectory(tmp_path / "out")


def test_a_dry_run_writes_nothing(tmp_path):
    study = read_study(study_in(tmp_path))
    console = Console(file=io.StringIO())
    outlook = study_run.look_ahead(study, tmp_path / "out", OneProcess(), console)
    assert len(outlook.ready) == CELLS
    assert not (tmp_path / "out").exists()


def test_nothing_torn_or_foreign_is_read_as_a_result(tmp_path, swept):
    path = study_in(tmp_path, "[grid]\nseed = [0]\n")
    swept(path)
    directory = StudyDirectory(tmp_path / "out")
    (file,) = (tmp_path / "out" / "cells").iterdir()
    whole, cell_id = file.read_bytes(), file.stem
    assert directory.read(cell_id) is not None
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        assert directory.read(cell_id) is None, length
    for damaged in (
        bytes(len(whole)),
        b"\xff" + whole[1:],
        whole.replace(cell_id.encode(), b"0" * 64),
        whole.replace(b'"done"', b'"failed"'),
        whole.replace(b'"accuracy"', b'"accurate"'),
        whole.replace(b'"format": 2', b'"format": 3'),
    ):
        assert damaged != whole
        file.write_bytes(damaged)
        assert directory.read(cell_id) is None, damaged[:40]
    again, workers, _ = swept(path)
    assert (again.ran, workers.ran) == (1, [cell_id])


def test_a_part_file_left_by_a_kill_is_no_result(tmp_path, swept):
    path = study_in(tmp_path, "[grid]\nseed = [0]\n")
    swept(path)
    (file,) = (tmp_path / "out" / "cells").iterdir()
    file.rename(file.with_name(f"{file.name}.part"))
    again, _, _ = swept(path)
    assert again.ran == 1


def test_the_time_left_counts_each_kind_by_its_own_mean(tmp_path):
    study = read_study(study_in(tmp_path, f"{GRID}rounds = [1, 100]\n"))
    short = [cell for cell in study.cells if cell.trial.config.rounds == 1]
    long = [cell for cell in study.cells if cell.trial.config.rounds == 100]
    left = study_run._TimeLeft(2, {cell.id: cell.trial.kind for cell in study.cells})
    assert left.text([short[0].id]) == ""
    left.note(short[0].id, measured(2.0))
    left.note(long[0].id, measured(5400.0))
    assert left.text([cell.id for cell in (*short[1:3], *long[1:3])]) == "about 1:30:02 left"


def measured(seconds):
    from fedavg.studies.trials.clients import ClientsMeasured as Measured

    fields = {field.name: 0 for field in msgspec.structs.fields(Measured)}
    return Measured(**(fields | {"seconds": seconds, "stopped": "finished"}))


def test_a_study_needs_a_process():
    with pytest.raises(ConfigError, match="jobs must be at least 1"):
        Workers(0)


def test_cells_are_values(tmp_path):
    first, second = (read_study(study_in(tmp_path)).cells[0] for _ in range(2))
    assert first == second == Cell(first.trial, first.id)
