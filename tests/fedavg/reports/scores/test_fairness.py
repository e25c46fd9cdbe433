"""The report's part on fairness: sentences and tables of any figure, undefined ones included."""

from __future__ import annotations

from fedavg.reports.reading.data import BeforeAfter
from fedavg.reports.scores.fairness import fairness_part


def rows(*pairs, **like):
    return [BeforeAfter(i, 4, before, after, **like) for i, (before, after) in enumerate(pairs)]


def test_who_gains_who_loses_and_who_is_worst_off():
    part = fairness_part(rows((0.25, 0.75), (0.5, 0.25), (0.5, 0.5)))
    assert "1 are better off than with the first model, and 1 worse off" in part["says"]
    assert "25.0% at client 1 and 75.0% at client 0" in part["says"]
    assert part["rows"][1] == ("after training", ["50.0%", "25.0%", "30.0%", "50.0%", "70.0%"])
    assert [client for client, *_ in part["clients"]] == [1, 2, 0]


def test_a_client_is_called_by_its_name_where_it_has_one():
    part = fairness_part([BeforeAfter(0, 4, 0.5, 0.75, name="Aachen"), *rows((0.5, 0.25))])
    assert "25.0% at client 0 and 75.0% at client Aachen" in part["says"]
    assert [client for client, *_ in part["clients"]] == [0, "Aachen"]


def test_a_smaller_error_is_the_better_one_and_an_undefined_one_the_worst():
    like = {"figure": "rmse", "greater_is_better": False, "share": False}
    part = fairness_part(rows((5.0, 2.0), (5.0, None), **like))
    assert "1 are better off than with the first model, and 1 worse off" in part["says"]
    assert part["clients"][0] == (1, 4, "5", "–")
    assert part["rows"][1][1][:2] == ["–", "–"]


def test_many_clients_are_shown_by_their_distribution_alone():
    assert fairness_part(rows(*[(0.5, 0.5)] * 61))["clients"] == []
