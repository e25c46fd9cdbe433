"""What reports draw of predictions, against values worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fedavg.metrics.interface import Predictions
from fedavg.metrics.pictures import of_classes, of_labels, of_numbers

pytest.importorskip("sklearn")


def two(positive):
    positive = np.asarray(positive, np.float64)
    return np.column_stack([1 - positive, positive])


def test_two_classes_have_one_curve_by_hand():
    """Scores .9 .8 .7 .1 of labels 1 0 1 0: thresholds give (0, .5), (.5, .5), (.5, 1), (1, 1)."""
    found = of_classes(
        Predictions(np.array([1, 0, 1, 0]), two([0.9, 0.8, 0.7, 0.1])), ("no", "yes")
    )
    assert found["confusion"] == [[1.0, 1.0], [0.0, 2.0]]
    (curve,) = found["curves"]
    assert (curve["name"], curve["share"]) == ("yes", 0.5)
    assert curve["roc"] == [[0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0]]
    recall, precision = curve["precision_recall"]
    assert recall == sorted(recall)
    assert (precision[0], precision[-1]) == (1.0, 0.5)
    assert [row["accuracy"] for row in found["reliability"]] == [1.0, 0.0, 1.0]


def test_classes_without_counter_examples_have_no_curve():
    sure = np.eye(3)[[0, 1, 0, 1]]
    found = of_classes(Predictions(np.array([0, 1, 0, 1]), sure), ())
    assert [curve["name"] for curve in found["curves"]] == ["0", "1"]
    assert found["names"] == ["0", "1", "2"]


def test_labels_count_right_and_wrong_at_one_half():
    labels = np.array([[1, 0], [1, 1], [0, 0]], np.int8)
    said = np.array([[0.9, 0.6], [0.4, 0.7], [0.2, 0.1]])
    found = of_labels(Predictions(labels, said), ("warm", "wet"))
    assert [list(each.values()) for each in found["each"]] == [
        ["warm", 1, 1, 0, 1],
        ["wet", 1, 0, 1, 1],
    ]


def test_numbers_have_residuals_and_a_mean():
    labels = np.array([[1.0], [2.0], [6.0]], np.float32)
    said = np.array([[1.5], [2.0], [np.nan]])
    (output,) = of_numbers(Predictions(labels, said), ("price",))["outputs"]
    assert (output["true"], output["predicted"], output["mean"]) == ([1, 2], [1.5, 2], 3.0)
    assert sum(output["residuals"]["counts"]) == 2
    assert output["residuals"]["edges"][0] == 0.0
    assert output["residuals"]["edges"][-1] == 0.5


def test_a_million_rows_make_a_small_page():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 100_000)
    found = of_classes(Predictions(labels, two(rng.random(100_000))), ())
    assert len(json.dumps(found)) < 20_000
    numbers = rng.standard_normal((100_000, 1)).astype(np.float32)
    found = of_numbers(Predictions(numbers, numbers.astype(np.float64)), ())
    assert len(json.dumps(found)) < 60_000
    assert found["outputs"][0]["true"][0] == pytest.approx(float(numbers.min()), rel=1e-4)
    assert found["outputs"][0]["true"][-1] == pytest.approx(float(numbers.max()), rel=1e-4)
