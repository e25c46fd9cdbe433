"""The page of a study: offline, its numbers those of the table, and honest about what a study costs."""

from __future__ import annotations

import json

import pytest

from fedavg.studies.directory import StudyDirectory
from fedavg.studies.results.figures import (
    accuracy_by_bytes,
    accuracy_by_epsilon,
    front_of,
    label_of,
)
from fedavg.studies.results.page import write_study_page
from fedavg.studies.results.table import Row, Table, groups_of
from tests.fedavg.support.pages import Page

SUMS = {"secagg": 6000.0, "insecure-plain": 5000.0}


def row(noise, epsilon, kind, seed, accuracy):
    settings = {"seed": seed, "privacy.noise": noise, "privacy.epsilon": epsilon}
    settings |= {"secure_sum.kind": kind, "local.lr": 0.5}
    values = {
        "accuracy": accuracy,
        "loss": 1.0,
        "accuracy_as_sent": None,
        "epsilon_release": epsilon,
        "epsilon_server": None,
        "delta": 1e-5,
        "noise_multiplier": None if epsilon is None else 1.0,
        "ring_bits": 16,
        "rounds": 3,
        "skipped_rounds": 1,
        "stopped": "finished",
        "bytes_up": SUMS[kind],
        "cpu_seconds": 1.5,
        "hides_updates": kind == "secagg",
        "warnings": ["the noise is long"] if epsilon == 1.0 else [],
    }
    return Row(f"{seed}{kind}{epsilon}".ljust(64, "0"), "done", "", settings, values)


def table():
    rows = [
        row("gaussian", epsilon, "secagg", seed, 0.5 + 0.1 * epsilon + 0.01 * seed)
        for epsilon in (1.0, 2.0, 4.0)
        for seed in (0, 1, 2)
    ]
    rows += [row("gaussian", 4.0, "insecure-plain", seed, 0.9 + 0.01 * seed) for seed in (0, 1, 2)]
    rows += [row("none", None, "insecure-plain", seed, 0.96) for seed in (0, 1, 2)]
    rows.append(Row("", "refused", "<b>why</b> & how", {"seed": 0, "privacy.epsilon": 3.0}, {}))
    varied = ("privacy.noise", "privacy.epsilon", "secure_sum.kind")
    return Table("A <study>", tuple(rows), 2, varied)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    directory = StudyDirectory(tmp_path_factory.mktemp("study") / "out")
    return write_study_page(directory, table()).read_text()


def test_the_page_is_offline_and_escapes_what_it_shows(page):
    Page(page).assert_offline()
    assert page.count("plotly.js v") == 1
    assert "<b>why</b>" not in page
    assert "A &lt;study&gt;" in page


def test_bars_and_points_are_those_of_the_seeds():
    figure = accuracy_by_epsilon(groups_of(table())).figure
    line = next(trace for trace in figure["data"] if trace["name"] == "gaussian noise, secagg")
    assert line["y"] == pytest.approx([0.61, 0.71, 0.91])
    assert line["error_y"]["array"] == pytest.approx([0.01] * 3)
    assert line["error_y"]["arrayminus"] == pytest.approx([0.01] * 3)
    assert line["x"] == pytest.approx([1.0, 2.0, 4.0], rel=0.05)
    level = next(trace for trace in figure["data"] if trace["name"].startswith("no noise"))
    assert set(level["y"]) == {0.96}
    rings = figure["data"][-1]
    assert rings["y"] == pytest.approx([0.61, 0.71, 0.91])
    json.dumps(figure, allow_nan=False)


def test_bytes_are_compared_where_all_else_is_equal():
    picture = accuracy_by_bytes(groups_of(table()))
    assert picture.fixed == "gaussian noise, epsilon 4"
    assert [key.label for key in picture.legend[:-1]] == ["insecure-plain", "secagg"]
    assert picture.figure["data"][-1]["y"] == pytest.approx([0.91])


def test_epsilons_that_print_alike_decide_nothing_between_settings(tmp_path):
    # Calibration ends a little below the budget, at another last digit for each setting.
    rows = tuple(
        row("gaussian", 3.0 - below, kind, 0, accuracy)
        for below, kind, accuracy in ((1e-9, "secagg", 0.7), (0.0, "insecure-plain", 0.9))
    )
    groups = groups_of(Table("t", rows, 0, ("secure_sum.kind",)))
    assert groups[0].epsilon < groups[1].epsilon
    assert front_of(groups) == {1}
    assert accuracy_by_epsilon(groups).figure["data"][-1]["y"] == [0.9]
    directory = StudyDirectory(tmp_path / "out")
    table = Table("t", rows, 0, ("secure_sum.kind",))
    words = Page(write_study_page(directory, table).read_text()).words
    assert "Best accuracy with noise 90.0%" in words
    assert "at the least epsilon" not in words


def test_bytes_that_print_alike_decide_nothing_between_sums():
    rows = [row("gaussian", 3.0, kind, 0, 0.5) for kind in SUMS]
    for index, changed in enumerate(rows):
        changed.values.update(bytes_up=6000.0 + index * 1e-9, accuracy=0.5 + 0.1 * index)
    picture = accuracy_by_bytes(groups_of(Table("t", tuple(rows), 0, ("secure_sum.kind",))))
    assert picture.figure["data"][-1]["y"] == [0.6]


def test_without_two_sums_there_is_no_picture_of_bytes():
    only = [group for group in groups_of(table()) if group.settings["privacy.epsilon"] == 1.0]
    assert accuracy_by_bytes(only) is None
    assert accuracy_by_bytes([]) is None
    assert accuracy_by_epsilon([]) is None


def test_the_text_says_what_the_bars_are_and_what_the_study_costs(page):
    text = Page(page).words
    assert "means over 3 seeds" in text
    assert "from the lowest to the highest seed" in text
    assert "the 12 cells with an epsilon come to at most 33, at a delta of 0.00012" in text
    assert "Cells without a bound: 3" in text
    assert "not covered by the epsilon of the one that is chosen" in text
    assert "2 combinations were excluded" in text
    assert "<b>why</b> & how" in text
    assert text.count("the noise is long") == 1  # of three cells
    assert "3 cells, with gaussian noise, epsilon 1, secagg: the noise is long." in text
    assert "They differ in seed (0, 1, 2)" in text
    assert "3 (1 skipped)" in text


def test_held_and_varied_settings_are_all_there(page):
    text = Page(page).words
    assert "privacy.epsilon 1, 2, 4" in text
    assert "local.lr 0.5" in text


def test_an_empty_study_still_has_a_page(tmp_path):
    missing = Row("a" * 64, "missing", "not run yet", {"seed": 0}, {})
    directory = StudyDirectory(tmp_path / "out")
    page = write_study_page(directory, Table("t", (missing,), 0, ())).read_text()
    assert "No finished cell has an epsilon" in page
    assert "Interrupted: 1 cells" in page


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({}, "all cells"),
        ({"privacy.noise": "none", "privacy.epsilon": None}, "no noise"),
        ({"encoding.bits": 0, "rounds": 5}, "bits chosen, 5 rounds"),
        ({"data.alpha": 0.1, "data.partition": "shards"}, "data.alpha 0.1, shards"),
    ],
)
def test_labels(settings, label):
    assert label_of(settings) == label
