"""What the end of a run says of a model that is no better than a constant prediction."""

from __future__ import annotations

import pytest

from fedavg.metrics.interface import Baseline, Figure
from fedavg.reports.runs.ending import of_no_use


def headline(value, trivial, *, greater=False):
    name, rule = ("accuracy", "majority class") if greater else ("rmse", "mean")
    return Figure(name, value, Baseline(rule, trivial), greater, False, share=greater)


@pytest.mark.parametrize(
    ("figure", "says"),
    [
        (headline(2.5, 2.0), "predicting the mean (rmse 2.5 against 2)"),
        (headline(2.0, 2.0), "predicting the mean (rmse 2 against 2)"),
        (headline(0.6, 0.9, greater=True), "majority class (accuracy 60.0% against 90.0%)"),
    ],
)
def test_a_model_that_is_no_better_is_said_to_be_so(figure, says):
    assert says in of_no_use(figure, protected="")
    assert "learning rates" in of_no_use(figure, protected="")
    assert ("--headline roc_auc" in of_no_use(figure, protected="")) == figure.share
    noisy = of_no_use(figure, protected="persons")
    assert says in noisy
    assert "more persons, a larger epsilon" in noisy
    assert ("a tenth of the learning rate" in noisy) != figure.share


@pytest.mark.parametrize(
    "figure",
    [
        headline(1.9, 2.0),
        headline(None, 2.0),
        headline(1.0, None),
        headline(0.95, 0.9, greater=True),
    ],
)
def test_of_a_better_model_and_of_an_undefined_figure_nothing_is_said(figure):
    assert of_no_use(figure, protected="") == of_no_use(figure, protected="clients") == ""


def test_where_all_rows_have_one_label_no_advice_on_noise_is_given():
    figure = Figure("accuracy", 1.0, Baseline("majority class", 1.0), True, False, share=True)
    for protected in ("", "persons"):
        says = of_no_use(figure, protected=protected)
        assert "nothing can be: all held-out rows have one label" in says
        assert "noise" not in says
