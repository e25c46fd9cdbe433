"""The data of a report's pictures of predictions, in JSON form: curves, tables and scatters.

Curves are thinned, so that a page for a million held-out rows is as large as one for a thousand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fedavg.errors import MissingExtraError
from fedavg.metrics.tables import confusion, precision_recall_curve, reliability, roc_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedavg.metrics.interface import Predictions

__all__ = ["of_classes", "of_labels", "of_numbers"]

_POINTS = 200  # largest number of points in a curve
_DOTS = 1500  # largest number of dots in a scatter
_SHOWN = 12  # largest number of classes, labels or numbers with their own pictures
_BINS = 41


def of_classes(predictions: Predictions, names: Sequence[str]) -> dict[str, Any]:
    """Confusion, ROC, precision and recall, and calibration.

    Args:
        predictions: predictions of classes.
        names: names of the classes, in order; () for their numbers.

    Returns:
        `names`, `confusion` (weights, true class by row), `curves` of each class (with two classes, of the
        second one alone) with `roc` and `precision_recall`, and `reliability`.
    """
    classes = predictions.predicted.shape[1]
    called = _names(names, classes)
    # With two classes, the curve of one is the mirror image of the other's.
    columns = [1] if classes == 2 else range(classes)
    truths = {column: predictions.labels == column for column in columns}
    found = {"names": called, "curves": _curves(predictions, truths, called)}
    if classes <= _SHOWN:
        found["confusion"] = confusion(predictions).tolist()
    return found | {"reliability": _reliability(predictions)}


def of_labels(predictions: Predictions, names: Sequence[str]) -> dict[str, Any]:
    """ROC, precision and recall, counts of right and wrong predictions, and calibration, for each label.

    Args:
        predictions: predictions of several labels.
        names: names of the labels, in order; () for their numbers.

    Returns:
        As for `of_classes`, with `each` in place of `confusion`: true and false positives and negatives of
        each label, where probabilities of one half or more count as yes.
    """
    columns = predictions.predicted.shape[1]
    called = _names(names, columns)
    held = predictions.labels != 0
    truths = {column: held[:, column] for column in range(columns)}
    said = predictions.predicted >= 0.5
    each = [
        {
            "name": called[column],
            "true_positive": int((held & said)[:, column].sum()),
            "false_negative": int((held & ~said)[:, column].sum()),
            "false_positive": int((~held & said)[:, column].sum()),
            "true_negative": int((~held & ~said)[:, column].sum()),
        }
        for column in range(min(columns, _SHOWN))
    ]
    curves = _curves(predictions, truths, called)
    return {
        "names": called,
        "curves": curves,
        "each": each,
        "reliability": _reliability(predictions),
    }


def of_numbers(predictions: Predictions, names: Sequence[str]) -> dict[str, Any]:
    """Predicted against true values, and residuals, of each output.

    Args:
        predictions: predictions of numbers.
        names: names of the outputs, in order; () for their numbers.

    Returns:
        `names`, and `outputs`: for each output its `true` and `predicted` values (evenly thinned in the order
        of the true ones), the `mean` of the true values, and `residuals`, predicted minus true, as `edges`
        and `counts`.
    """
    labels = predictions.labels.astype(np.float64)
    called = _names(names, labels.shape[1])
    outputs: list[dict[str, Any]] = []
    for column in range(min(labels.shape[1], _SHOWN)):
        true, said = labels[:, column], predictions.predicted[:, column]
        # A diverged model predicts NaN, which no picture can show.
        finite = np.isfinite(said)
        order = _thin(np.flatnonzero(finite)[np.argsort(true[finite], kind="stable")], _DOTS)
        residuals = (said - true)[finite]
        counts, edges = np.histogram(residuals, bins=_BINS if len(residuals) else 1)
        outputs.append(
            {
                "name": called[column],
                "true": _rounded(true[order]),
                "predicted": _rounded(said[order]),
                "mean": float(np.average(true, weights=predictions.weights)),
                "residuals": {"edges": _rounded(edges), "counts": counts.tolist()},
            }
        )
    return {"names": called, "outputs": outputs}


def _names(names: Sequence[str], count: int) -> list[str]:
    return [str(name) for name in names] or [str(number) for number in range(count)]


def _curves(
    predictions: Predictions, truths: dict[int, NDArray[np.bool_]], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Curves of classes or labels with examples and counter-examples, the most frequent first."""
    there = {column: truth for column, truth in truths.items() if truth.any() and not truth.all()}
    # The most frequent classes have the most reliable curves.
    chosen = sorted(there, key=lambda column: -int(there[column].sum()))[:_SHOWN]
    found: list[dict[str, Any]] = []
    for column in chosen:
        try:
            roc, precise = (
                roc_curve(predictions, column),
                precision_recall_curve(predictions, column),
            )
        except MissingExtraError:  # the figures that need it say so
            return []
        found.append(
            {
                "name": names[column],
                "share": float(np.average(there[column], weights=predictions.weights)),
                "roc": [_rounded(_thin(part, _POINTS)) for part in roc],
                "precision_recall": [_rounded(_thin(part, _POINTS)) for part in precise],
            }
        )
    return found


def _reliability(predictions: Predictions) -> list[dict[str, float]]:
    return [
        {"confidence": row.confidence, "accuracy": row.accuracy, "weight": row.weight}
        for row in reliability(predictions)
    ]


def _thin(values: NDArray[Any], most: int) -> NDArray[Any]:
    """At most this number of values, evenly spread, including the first and the last."""
    if len(values) <= most:
        return values
    return values[np.linspace(0, len(values) - 1, most).round().astype(np.int64)]


def _rounded(values: NDArray[Any]) -> list[float]:
    return [float(f"{value:.5g}") for value in np.asarray(values, np.float64).tolist()]
