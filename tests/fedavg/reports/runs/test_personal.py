"""The report's part on clients' own models: sentences, lines and table say the same of any figure."""

from __future__ import annotations

import json

import pytest

from fedavg.reports.reading.data import Personal, Summary
from fedavg.reports.runs.personal import personal_lines, personal_part


class Holding:
    def __init__(self, rows, headline=""):
        self.personal = tuple(rows)
        self.summary = Summary(personalization={"headline": headline})


def rows(*pairs):
    return [
        Personal(client=i, examples=4, shared=shared, personal=own)
        for i, (shared, own) in enumerate(pairs)
    ]


def test_nothing_to_say_without_personal_models():
    assert personal_part(Holding([])) is None


def test_sentences_count_who_gains_and_who_loses():
    part = personal_part(Holding(rows((0.5, 0.75), (0.5, 0.25), (1.0, 1.0), (0.0, 1.0))))
    assert "2 are better off" in part["says"]
    assert "1 are worse off, and for 1 it makes no difference" in part["says"]
    assert part["rows"][0] == ("released model", ["50.0%", "0.0%", "15.0%", "50.0%", "85.0%"])
    assert part["rows"][1][1][:2] == ["75.0%", "25.0%"]


def errors(*pairs):
    like = {"figure": "rmse", "greater_is_better": False, "share": False}
    return [
        Personal(client=i, examples=4, shared=shared, personal=own, **like)
        for i, (shared, own) in enumerate(pairs)
    ]


def test_a_smaller_error_is_the_better_one():
    part = personal_part(Holding(errors((5.0, 2.0), (5.0, 7.5), (4.0, 3.0))))
    assert "2 are better off" in part["says"]
    assert "1 are worse off" in part["says"]
    assert part["name"] == "RMSE"
    assert part["rows"][1] == ("own model", ["4.167", "7.5", "6.6", "3", "2.2"])
    assert "%" not in json.dumps(part["rows"])
    figure = json.loads(part["figure"])
    assert figure["data"][1]["y"] == [7.5, 3.0, 2.0]  # from the worst off
    assert figure["layout"]["yaxis"]["title"]["text"] == "RMSE"
    assert "tickformat" not in figure["layout"]["yaxis"]
    assert "%" not in figure["data"][0]["hovertemplate"].replace("%{y", "")


@pytest.mark.parametrize("made", [rows, errors])
def test_a_figure_that_is_not_defined_is_the_worst(made):
    part = personal_part(Holding(made((0.5, 0.5), (0.5, None), (None, 0.5))))
    assert "1 are better off" in part["says"]
    assert "1 are worse off, and for 1 it makes" in part["says"]
    for _, values in part["rows"]:
        assert values[:2] == ["–", "–"]
        assert "nan" not in "".join(values)
    assert json.loads(part["figure"])["data"][1]["y"][0] is None


def test_clients_that_were_never_in_a_round_are_counted():
    never = Personal(client=1, examples=2, shared=0.5, personal=0.5, trained=False)
    assert "1 were never in a round" in personal_part(Holding([*rows((0.5, 1.0)), never]))["says"]


def test_without_a_shared_head_there_is_one_line():
    part = personal_part(Holding(rows((None, 0.5), (None, 1.0))))
    assert "no shared model to compare with" in part["says"]
    assert [name for name, _ in part["rows"]] == ["own model"]
    assert len(json.loads(part["figure"])["data"]) == 1


def test_each_line_is_ordered_by_itself():
    figure = personal_lines(rows((1.0, 0.25), (0.5, 0.75)))
    shared, own = figure["data"]
    assert shared["y"] == [0.5, 1.0]
    assert own["y"] == [0.25, 0.75]
    assert shared["x"] == own["x"] == [0.25, 0.75]
    assert shared["line"]["dash"] != own["line"]["dash"]  # told apart without colours


@pytest.mark.parametrize(("count", "mode"), [(60, "lines+markers"), (61, "lines")])
def test_many_clients_have_no_markers(count, mode):
    data = personal_lines(rows(*[(0.5, 0.5)] * count))["data"]
    assert {line["mode"] for line in data} == {mode}


def test_the_constant_prediction_stands_beside_the_models():
    made = [
        Personal(
            client=i, examples=4, shared=0.5, personal=0.9, rule="majority class", baseline=bar
        )
        for i, bar in enumerate((0.5, 0.75))
    ]
    part = personal_part(Holding(made, "roc_auc"))
    assert part["rows"][2][0] == "always the majority class"
    assert part["rows"][2][1][0] == "62.5%"
    assert "compared by accuracy, since the headline roc_auc is not defined" in part["says"]
    assert "compared by" not in personal_part(Holding(made, "accuracy"))["says"]
    assert len(personal_part(Holding(rows((0.5, 0.75))))["rows"]) == 2  # of an earlier version
