"""The page of records: three epsilons with their observers, figures beside baselines, and damaged folders."""

from __future__ import annotations

import json

import msgspec
import pytest
from typer.testing import CliRunner

from fedavg.cli import app
from fedavg.errors import ReportError
from fedavg.reports.records.data import (
    RecordsSummary,
    ScoredStep,
    holds_records,
    read_records_run,
)
from fedavg.reports.records.figures import outcome_figure, time_figure
from fedavg.reports.records.page import write_records_report
from tests.fedavg.support.pages import Page

FIGURE = {
    "name": "accuracy",
    "value": 0.75,
    "baseline": {"rule": "majority class", "value": 0.5},
    "greater_is_better": True,
    "covered_by_epsilon": False,
    "share": True,
}
SUMMARY = {
    "unit": "person",
    "silos": 10,
    "steps": 4,
    "steps_planned": 4,
    "stopped": "finished",
    "task": "visits of <b>ten</b> clinics",
    "parameters": 1234,
    "figures": [FIGURE],
    "epsilon": {"release": 2.5, "server": 2.5, "colluding": 3.0, "colluders": 1, "delta": 1e-5},
    "noise": "shared",
    "noise_multiplier": 1.25,
    "noise_overhead": 1.054,
    "missing": 0,
    "slots": 84,
    "secure_sum": "secagg",
    "hides_updates": True,
    "budget": 3.0,
    "ledgers": 3.5,
    "assumptions": ["The directory is pinned."],
    "voided": 0,
    "bytes_up": 400_000,
    "bytes_down": 900_000,
    "stages": {"gradients": 3.0, "masked_input": 0.75, "unmask": 0.25, "score": 9.0},
}
ROWS = [
    {
        "step": step,
        "loss": 0.5,
        "figures": [FIGURE],
        "epsilon_release": e,
        "epsilon_colluding": e + 0.5,
    }
    for step, e in ((2, 1.8), (4, 2.5))
]


def run_in(folder, rows=ROWS, **changes):
    (folder / "summary.json").write_text(json.dumps(SUMMARY | changes))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "config.toml").write_text('[records]\nunit = "person"\n')
    return folder


def page_of(folder, **changes):
    page = Page(write_records_report(run_in(folder, **changes)).read_text())
    page.assert_offline()
    return page


def test_the_page_says_who_loses_what_to_whom(tmp_path):
    page = page_of(tmp_path)
    assert "Of one person of one silo in this run, against the server with 1 silo." in page.words
    assert "9 of 10" in page.words
    assert "at most 3.50, earlier runs included" in page.words
    assert "Always predicting the majority class gives 50.0%." in page.words
    assert "1.05 times its noise; 3.16 times if each silo added its own" in page.words
    assert "10 kB" in page.words  # 400,000 bytes of ten silos in four steps
    assert "25% of a step" in page.words  # one second of four, scoring left out
    assert "The directory is pinned." in page.words
    assert "Epsilon covers the models. It does not cover figures on held-out rows" in page.words


def test_what_enters_a_step_is_in_the_page(tmp_path):
    run_in(tmp_path)
    summary = SUMMARY | {"rate": 0.05, "rows": 4, "divisor": 270.0, "clip": 0.5}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    words = Page(write_records_report(tmp_path).read_text()).words
    assert "Drawn in a step each person with probability 0.05" in words
    assert "Rows of one person at most 4; further ones are left out" in words
    assert "A step's sum is divided by 270" in words
    assert "Clip 0.5, constant" in words
    assert "Drawn in a step" not in page_of(tmp_path).words  # a run of an earlier version


def test_names_from_the_data_are_text(tmp_path):
    page_of(tmp_path)
    assert "<b>ten</b>" not in (tmp_path / "report.html").read_text()


def test_the_pictures_hold_the_rows(tmp_path):
    figures = page_of(tmp_path).figures()
    assert set(figures) == {"outcome", "times"}
    release, colluding = [
        trace for trace in figures["outcome"]["data"] if trace.get("yaxis") == "y2"
    ]
    assert release["y"] == [1.8, 2.5]
    assert colluding["y"] == [2.3, 3.0]
    assert colluding["x"] == [2, 4]
    assert figures["outcome"]["layout"]["xaxis"]["title"]["text"] == "Step"
    assert figures["times"]["data"][0]["x"] == [0.75, 0.1875, 0.0625, 2.25]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stopped": "budget", "steps": 3}, "Stopped after 3 of 4 steps: a silo's budget"),
        ({"stopped": "interrupted", "steps": 1}, "Interrupted: 1 of 4 steps are done."),
        (
            {"hides_updates": False, "secure_sum": "insecure-plain"},
            "the server saw every silo's vector",
        ),
        ({"voided": 2}, "2, each of them charged"),
        ({"unit": "record"}, "every row is another person"),
        ({"noise": "own"}, "the silo's own"),
        ({"missing": 2}, "7 of 10"),
        ({"figures": [FIGURE | {"value": 0.4}]}, "the model is no better."),
        (
            {"epsilon": SUMMARY["epsilon"] | {"server": None, "colluding": None}},
            "no bound",
        ),
    ],
)
def test_what_differs_is_said(tmp_path, changes, said):
    assert said in page_of(tmp_path, **changes).words


def test_public_held_out_rows_cost_nothing_beyond_epsilon(tmp_path):
    page = page_of(tmp_path, figures=[FIGURE | {"covered_by_epsilon": True}])
    assert "does not cover figures" not in page.words


def test_a_run_without_steps_has_a_page_without_pictures(tmp_path):
    page = page_of(tmp_path, rows=[], steps=0, stopped="budget", figures=[], stages={})
    assert page.figures() == {}
    assert "No step has been scored." in page.words


def test_epsilon_of_older_rows_is_drawn_alone(tmp_path):
    rows = [{key: row[key] for key in ("step", "figures", "epsilon_release")} for row in ROWS]
    outcome = page_of(tmp_path, rows=rows).figures()["outcome"]
    assert len([trace for trace in outcome["data"] if trace.get("yaxis") == "y2"]) == 1


def test_pictures_of_nothing_are_none():
    assert outcome_figure([ScoredStep(1)], msgspec.convert(SUMMARY, RecordsSummary)) is None
    assert time_figure({}, 3) is None
    assert time_figure({"gradients": 1.0}, 0) is None


@pytest.mark.parametrize("name", ["summary.json", "metrics.jsonl"])
@pytest.mark.parametrize(
    "text", ["{\n", "[" * 100_000 + "\n", "3\n"], ids=["open", "deep", "other"]
)
def test_a_damaged_file_is_named(tmp_path, name, text):
    run_in(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(ReportError, match=rf"{name}.* is damaged"):
        read_records_run(tmp_path)
    assert holds_records(tmp_path) == (name != "summary.json")


@pytest.mark.parametrize(
    "changes",
    [{"silos": 0}, {"silos": -3}, {"unit": "row"}, {"steps": -1}, {"bytes_up": -1}],
)
def test_numbers_that_no_run_has_are_refused(tmp_path, changes):
    with pytest.raises(ReportError, match="is damaged"):
        read_records_run(run_in(tmp_path, **changes))


def test_the_command_knows_which_page_a_directory_has(tmp_path):
    run_in(tmp_path)
    assert holds_records(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "summary.json").write_text('{"rounds": 3}')
    assert not holds_records(tmp_path / "other")
    assert not holds_records(tmp_path / "missing")
    result = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "Whom each epsilon is about" in (tmp_path / "report.html").read_text()
