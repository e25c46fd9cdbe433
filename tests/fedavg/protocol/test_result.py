"""Results survive JSON: a resumed run has the figures of the round before."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from fedavg.metrics.interface import Baseline, Figure
from fedavg.protocol.result import RoundResult, result_of_row

FIGURES = (
    Figure("roc_auc", 0.9, Baseline("majority class", 0.5), True, False),
    Figure("rmse", None, Baseline("mean", None), False, True),
)
RESULT = RoundResult(
    3, None, 0.25, 1.5, None, 9, 7, None, 100, 200, {"train": 0.5},
    failures={4: "NonFiniteError: NaN"}, convicted={5: "two masks"}, figures=FIGURES, contributors=6,
)  # fmt: skip


def test_a_result_comes_back_from_json():
    again = result_of_row(json.loads(json.dumps(asdict(RESULT))))
    assert again == RESULT
    assert again.headline == FIGURES[0]


def test_rows_of_before_there_were_figures_are_read():
    row = json.loads(json.dumps(asdict(RESULT)))
    for name in ("figures", "contributors", "convicted"):
        del row[name]
    assert result_of_row(row).headline is None


@pytest.mark.parametrize(
    "harm", [{"unknown": 1}, {"figures": [{"name": "x"}]}, {"failures": {"x": "y"}}]
)
def test_damaged_rows_are_refused(harm):
    with pytest.raises((KeyError, TypeError, ValueError)):
        result_of_row(asdict(RESULT) | harm)
