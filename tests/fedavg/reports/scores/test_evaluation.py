"""The report's part on how good the model is, for each kind of labels."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fedavg.data.dataset import target_kind
from fedavg.metrics.interface import Predictions
from fedavg.metrics.suite import figures, metrics_at_end
from fedavg.protocol.result import figure_row
from fedavg.reports.runs.run import write_report
from tests.fedavg.support.pages import Page
from tests.fedavg.support.run_directories import write_run

pytest.importorskip("sklearn")
RNG = np.random.default_rng(5)


def predictions(kind):
    if kind == "numbers":
        true = RNG.normal(50, 20, (300, 1)).astype(np.float32)
        return Predictions(true, true + RNG.normal(0, 5, (300, 1)))
    if kind == "multi-label":
        said = RNG.random((300, 3))
        return Predictions((RNG.random((300, 3)) < said).astype(np.int8), said)
    said = RNG.dirichlet(np.ones(3), 300)
    return Predictions(np.array([RNG.choice(3, p=row) for row in said]), said)


def run_of(path, kind, *, public=False, **options):
    """A run directory whose figures are those of made-up predictions."""
    made, suite = predictions(kind), target_kind(kind).suite
    found = figures(suite, metrics_at_end(suite)[0], made, public_rows=public)
    rows = [figure_row(figure) for figure in found]
    write_run(path, figures=rows[:1], unprotected=rows[0]["value"], **options)
    log = path / "metrics.jsonl"
    lines = [json.loads(line) | {"figures": rows[:2]} for line in log.read_text().splitlines()]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    whole = {"kind": kind, "rule": suite.rule, "examples": 300, "public": public, "figures": rows}
    whole |= suite.pictures(made, ())
    (path / "evaluation.json").write_text(json.dumps(whole))
    return found


def page_of(path, *, public=False):
    return Page(write_report(path, public=public).read_text())


PICTURES = {
    "classes": {"scores-roc", "scores-precision-recall", "scores-confusion", "scores-calibration"},
    "multi-label": {"scores-roc", "scores-precision-recall", "scores-calibration"},
    "numbers": {"scores-predicted-0", "scores-residuals-0"},
}


@pytest.mark.parametrize("kind", PICTURES)
def test_each_kind_has_its_figures_beside_the_baseline_and_its_pictures(tmp_path, kind):
    found = run_of(tmp_path / "run", kind)
    page = page_of(tmp_path / "run")
    page.assert_offline()
    drawn = {name for name in page.figures() if name.startswith("scores-")}
    assert drawn == PICTURES[kind]
    for figure in found:
        row = f"{figure.name.replace('_', ' ')} {figure.text(figure.value)}"
        assert f"{row} {figure.text(figure.baseline.value)}" in page.words
    assert f"Always predicting the {found[0].baseline.rule} gives" in page.words
    levels = [shape["label"]["text"] for shape in page.figures()["outcome"]["layout"]["shapes"]]
    assert any(level.startswith(found[0].baseline.rule) for level in levels)
    if kind == "multi-label":
        assert "Missed" in page.words


def test_what_epsilon_does_not_cover_is_marked_and_no_single_row_is_published(tmp_path):
    run_of(tmp_path / "run", "numbers")
    for public in (False, True):
        page = page_of(tmp_path / "run", public=public)
        assert "* It does not cover figures on held-out examples" in page.words
        assert "rmse *" in page.words
        drawn = {name for name in page.figures() if name.startswith("scores-")}
        assert drawn == (set() if public else PICTURES["numbers"])


def test_figures_on_public_rows_cost_nothing_beyond_epsilon(tmp_path):
    run_of(tmp_path / "run", "numbers", public=True)
    page = page_of(tmp_path / "run", public=True)
    assert "they cost nothing beyond it" in page.words
    assert "*" not in page.words
    assert PICTURES["numbers"] <= page.figures().keys()


def test_a_model_that_is_no_better_than_a_constant_is_called_so(tmp_path):
    found = run_of(tmp_path / "run", "classes")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    row = figure_row(found[0]) | {"value": found[0].baseline.value}
    (tmp_path / "run" / "summary.json").write_text(json.dumps(summary | {"figures": [row]}))
    assert "the model is no better." in page_of(tmp_path / "run").words


def test_a_run_that_learnt_nothing_or_stopped_early_says_so(tmp_path):
    write_run(tmp_path / "idle", stopped="nothing-learnt", why="No client contributed: NaN.")
    assert "No client contributed: NaN." in page_of(tmp_path / "idle").words
    write_run(tmp_path / "early", stopped="early")
    assert "Stopped early after 40 of 40 rounds" in page_of(tmp_path / "early").words


def test_counts_are_readable_on_a_dark_page_and_no_dot_is_cut(tmp_path):
    """Plotly takes the page behind a see-through cell for white, so that the page must colour its text."""
    run_of(tmp_path / "run", "classes")
    page = page_of(tmp_path / "run")
    assert page.figures()["scores-confusion"]["data"][0]["meta"] == "see-through"
    assert 'trace.meta === "see-through"' in "".join(page.scripts)
    assert page.figures()["scores-calibration"]["data"][1]["cliponaxis"] is False
