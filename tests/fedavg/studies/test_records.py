"""A study of records, from its file to its page: cells run once, refusals have reasons, and words fit."""

from __future__ import annotations

import csv
import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from fedavg.cli.app import app
from fedavg.errors import ConfigError
from fedavg.studies import executors
from fedavg.studies.identity import identity
from fedavg.studies.runner import look_ahead, sweep
from fedavg.studies.study import read_study
from fedavg.studies.trials.records import RECORDS
from tests.fedavg.support.pages import Page
from tests.fedavg.support.studies import OneProcess, records_study_in

GRIDS = """
[[grid]]
"records.epsilon" = [1, 3]
seed = [0, 1]
[[grid]]
"robust.kind" = ["group-median"]
"robust.groups" = [4]
[[grid]]
"secure_sum.kind" = ["insecure-plain", "secagg"]
[[exclude]]
"records.epsilon" = 3
seed = 1
"""
CELLS = 3 + 1 + 2


def swept(path, out, workers):
    return sweep(read_study(path), path, out, workers, Console(file=io.StringIO()))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    path, workers = records_study_in(folder, GRIDS), OneProcess()
    left = swept(path, folder / "out", workers)
    return path, folder / "out", left, workers


def test_cells_are_runs_of_records_and_the_rest_is_refused_with_its_reason(done):
    _, _, left, workers = done
    assert len(workers.checked) == CELLS
    assert left.ran == left.table.count("done") == CELLS - 1
    (refused,) = [row for row in left.table.rows if row.state == "refused"]
    assert "smallest of 4 groups" in refused.reason
    assert refused.settings["robust.groups"] == 4
    assert left.table.excluded == 1
    for row in left.table.rows[:3]:
        assert row.values["unit"] == "record"
        assert 0.9 < row.values["epsilon_colluding"] / row.settings["records.epsilon"] <= 1.0
        assert row.values["epsilon_release"] < row.values["epsilon_colluding"]


def test_a_finished_cell_is_never_run_again(done, tmp_path):
    path, out, left, _ = done
    workers = OneProcess()
    again = swept(path, out, workers)
    assert (again.ran, again.found, workers.ran) == (0, CELLS - 1, [])
    assert [row.flat() for row in again.table.rows] == [row.flat() for row in left.table.rows]


def test_the_tables_have_units_three_epsilons_and_sums(done):
    _, out, _, _ = done
    rows = json.loads((out / "cells.json").read_text())["cells"]
    assert {row["sums"] for row in rows if row["state"] == "done"} == {2}
    with (out / "cells.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    counts = ("unit", "silos", "colluders", "sums", "voided", "bytes_up")
    for column in (*counts, "records.clip", "clip"):
        assert column in table[0]
    for column in ("epsilon_release", "epsilon_server", "epsilon_colluding"):
        assert float(table[0][column]) > 0
    assert "rounds" not in table[0]
    assert "expected_cohort" not in table[0]


def test_the_page_speaks_of_units_and_silos(done):
    _, out, _, _ = done
    text = (out / "study.html").read_text()
    Page(text).assert_offline()
    words = Page(text).words
    assert "Every epsilon is about one record of one silo" in words
    assert "with its colluding silos (1 of 4)" in words
    for heading in ("Epsilon, models", "Epsilon, server", "Epsilon, server with silos", "Steps"):
        assert heading in words
    assert "what a silo sends in a step" in words
    assert "a client sends" not in words
    assert "cohort" not in words
    assert "two silos" in words
    assert "smallest of 4 groups" in words
    assert "epsilon 1" in words


def test_a_sum_in_the_clear_has_no_bound_for_the_server(done):
    _, _, left, _ = done
    (clear,) = [r for r in left.table.rows if r.settings["secure_sum.kind"] == "insecure-plain"]
    assert clear.values["epsilon_server"] is clear.values["epsilon_colluding"] is None


def test_identities_hold_the_settings_the_data_and_the_files_of_features(tmp_path):
    weights = tmp_path / "public.safetensors"
    path = records_study_in(
        tmp_path,
        "[grid]\nseed = [0]\n",
        base=f'model = {{features = "frozen", feature_options = {{file = "{weights}"}}}}',
    )
    seen = set()
    for content in (b"1", b"2"):
        weights.write_bytes(content)
        (cell,) = read_study(path).cells
        seen.add(cell.id)
    assert len(seen) == 2
    one, two = (RECORDS.trial({"records.unit": unit}) for unit in ("person", "record"))
    assert identity(one) != identity(two)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ('[grid]\n"records.epsilom" = [1]\n', "Do you mean 'epsilon'"),
        ('[grid]\n"privacy.epsilon" = [1]\n', "privacy"),
        ('[grid]\n"records.unit" = ["row"]\n', "records.unit"),
        ('[grid]\n"records.ledgers" = ["a", "b"]\n', "changes no result of a cell"),
        (
            'noise_multiplier = 1.0\n[grid]\n"records.epsilon" = [1]\n',
            "records.noise_multiplier is set",
        ),
    ],
)
def test_mistakes_are_named_before_anything_runs(tmp_path, extra, said):
    with pytest.raises(ConfigError, match=r"records_study.toml") as caught:
        read_study(records_study_in(tmp_path, extra))
    assert said in str(caught.value)


def test_a_study_without_a_unit_is_refused(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text('[grid]\n"records.epsilon" = [1.0]\n')
    study = read_study(path)
    assert "records.unit must be given" in study.refused[0].reason
    with pytest.raises(ConfigError, match="no cell of this study adds up"):
        look_ahead(study, tmp_path / "out", OneProcess(), Console(file=io.StringIO()))


def test_the_command_lists_and_closes_with_the_three_epsilons(tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "Workers", OneProcess())
    path = records_study_in(tmp_path, '[grid]\n"records.clip" = [0.5, 1]\n')
    arguments = ["sweep", str(path), "--jobs", "1", "--out", str(tmp_path / "out")]
    listed = CliRunner().invoke(app, [*arguments, "--dry-run"], env={"COLUMNS": "200"})
    assert listed.exit_code == 0, listed.output
    assert "clip 0.5" in listed.output
    assert not (tmp_path / "out").exists()
    closed = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert closed.exit_code == 0, closed.output
    assert all(word in closed.output for word in ("epsilon,", "server", "silos"))
    assert "2 cells run now" in closed.output
    narrow = CliRunner().invoke(app, arguments, env={"COLUMNS": "80"}).output.splitlines()
    cells = [line.split() for line in narrow if line.startswith(" clip 0.5") or " clip 1" in line]
    assert [line[-1] for line in cells] == ["4.000", "4.000"], narrow


def test_a_level_is_explained_where_a_sum_hides_nothing(done):
    _, out, _, _ = done
    words = Page((out / "study.html").read_text()).words
    assert (
        "no bound for the server with its colluding silos, from whom its sum hides nothing" in words
    )
    assert "hides no silo's sum of gradients from the server" in words
    assert "training without noise" not in words
    assert "{{" not in words


def test_where_a_clip_that_follows_the_median_ended_is_a_column(tmp_path):
    start = '"records.clip" = [0.5]\n'
    grid = f'[[grid]]\n{start}[[grid]]\n"records.clip_quantile" = [0.5]\n{start}'
    left = swept(records_study_in(tmp_path, grid), tmp_path / "out", OneProcess())
    constant, moving = (row.values["clip"] for row in left.table.rows)
    assert constant == 0.5
    assert moving != 0.5
