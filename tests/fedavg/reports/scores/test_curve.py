"""A privacy curve in files and pictures: the numbers that the accountant certified, and nothing else."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from dp import Accountant, GaussianEvent, gaussian_delta
from fedavg.cli.app import app
from fedavg.errors import ReportError
from fedavg.plan.budget.planner import Scenario, answer, curve, tradeoff
from fedavg.reports.budget import write_budget_page
from fedavg.reports.scores.curve import LEVELS, curve_figure, tradeoff_figure, write_curve
from tests.fedavg.support.pages import Page

SETTING = Scenario(sampling="none", rate=1.0, rounds=3, clients=1000)


@pytest.fixture(scope="module")
def whole():
    return Accountant().compose(GaussianEvent(2.0)).curve(points=65)


def test_a_csv_file_holds_both_functions(tmp_path, whole):
    path = tmp_path / "curve.csv"
    write_curve(path, whole, {})
    rows = list(csv.DictReader(path.open()))
    deltas = [row for row in rows if row["kind"] == "delta"]
    assert len(deltas) == 65
    for row in deltas:
        exact = gaussian_delta(2.0, float(row["x"]))
        assert float(row["low"]) <= exact <= float(row["high"])
    errors = [row for row in rows if row["kind"] == "type_2_error"]
    low, high = whole.tradeoff(LEVELS)
    np.testing.assert_array_equal([float(row["low"]) for row in errors], low)
    np.testing.assert_array_equal([float(row["high"]) for row in errors], high)


def test_a_json_file_holds_the_same_and_the_facts(tmp_path, whole):
    path = tmp_path / "curve.json"
    write_curve(path, whole, {"rounds": 3})
    found = json.loads(path.read_text())
    assert found["rounds"] == 3
    assert found["curve"] == whole.as_dict()
    assert found["tradeoff"]["type_2_low"] == whole.tradeoff(LEVELS)[0].tolist()


def test_other_endings_and_folders_are_refused(tmp_path, whole):
    for name in ("curve.txt", "no/curve.csv"):
        with pytest.raises(ReportError):
            write_curve(tmp_path / name, whole, {})
    assert not list(tmp_path.iterdir())


def test_pictures_show_the_upper_bounds(whole):
    figure = curve_figure(whole, 1.5, 1e-5)
    line, point = figure["data"]
    assert line["y"][0] == pytest.approx(whole.high[0], rel=1e-3)
    assert (point["x"], point["y"]) == ([1.5], [1e-5])
    assert len(curve_figure(whole, float("inf"), 1e-5)["data"]) == 1
    errors, guess = tradeoff_figure(whole)["data"]
    assert errors["y"][0] == 1.0
    assert guess["y"] == [1.0, 0.0]


def test_the_page_shows_the_curve_when_it_is_given(tmp_path):
    found, path = answer(SETTING, 2.0), tmp_path / "budget.html"
    shown = curve(SETTING, 2.0, group=2)
    write_budget_page(path, found, *tradeoff(SETTING, 2.0, points=3), shown, group=2)
    page = Page(path.read_text(encoding="utf-8"))
    assert len(page.figures()) == 4
    page.assert_offline()
    assert "for 2 clients together" in path.read_text()


def test_the_command_writes_the_curve_of_the_plan_it_answers_for(tmp_path):
    path = tmp_path / "curve.json"
    arguments = ["--sampling", "none", "--rounds", "3", "--noise", "2", "--curve", str(path)]
    result = CliRunner().invoke(app, ["budget", *arguments])
    assert result.exit_code == 0, result.output
    assert json.loads(path.read_text())["noise_multiplier"] == 2.0
    release = answer(SETTING, 2.0).release.high
    assert curve(SETTING, 2.0).epsilon(SETTING.delta_used).high == pytest.approx(release, rel=2e-3)
    pair = CliRunner().invoke(app, ["budget", *arguments, "--group", "2"])
    together = float(re.search(r"For 2 clients together, epsilon is (\d+\.\d+)", pair.output)[1])
    assert together > 1.9 * release
    refused = CliRunner().invoke(app, ["budget", *arguments[:-1], str(tmp_path / "curve.txt")])
    assert refused.exit_code == 2
    assert "Error: " in refused.output
