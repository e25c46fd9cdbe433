"""Tables and curves behind the figures, for reports: confusion, recall by class, reliability, ROC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedavg.metrics.interface import scikit_learn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedavg.metrics.interface import Predictions

__all__ = [
    "ReliabilityRow",
    "confusion",
    "precision_recall_curve",
    "recalls",
    "reliability",
    "roc_curve",
]


def _weights(predictions: Predictions) -> NDArray[np.float64]:
    if predictions.weights is None:
        return np.ones(len(predictions))
    return predictions.weights.astype(np.float64)


def confusion(predictions: Predictions) -> NDArray[np.float64]:
    """Weight of the examples by true class (row) and predicted class (column).

    Args:
        predictions: predictions of classes.

    Returns:
        float64[K, K], K classes of the model.

    Example:
        >>> from fedavg.metrics.interface import Predictions
        >>> confusion(Predictions(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])))
        array([[1., 0.],
               [1., 1.]])
    """
    classes = predictions.predicted.shape[1]
    # Each pair of true and predicted class has a number, and one count serves the whole table.
    cells = predictions.labels.astype(np.int64) * classes + predictions.predicted.argmax(1)
    counts = np.bincount(cells, _weights(predictions), classes * classes)
    return counts.astype(np.float64).reshape(classes, classes)


def recalls(predictions: Predictions) -> NDArray[np.float64]:
    """Recall of each class: float64[K], NaN for a class that does not occur."""
    table = confusion(predictions)
    held = table.sum(1)
    # NaN marks a class that does not occur; 0 would mean that none of it was found.
    return np.divide(table.diagonal(), held, out=np.full(len(table), np.nan), where=held > 0)


@dataclass(frozen=True, slots=True)
class ReliabilityRow:
    """Predictions of similar confidence.

    Args:
        low, high: bounds of the confidence; the upper one is included.
        weight: total weight of the predictions in between, in examples.
        confidence: mean of the predicted probabilities.
        accuracy: share of the predictions that are correct.
    """

    low: float
    high: float
    weight: float
    confidence: float
    accuracy: float


def reliability(predictions: Predictions, bins: int = 15) -> list[ReliabilityRow]:
    """How often predictions of each confidence are correct; bins without predictions are left out.

    Args:
        predictions: predictions of classes, by the probability of the predicted class; or of several labels,
            by the probability of each.
        bins: number of bins of equal width.

    Example:
        >>> from fedavg.metrics.interface import Predictions
        >>> sure = Predictions(np.array([0, 1]), np.array([[0.8, 0.2], [0.8, 0.2]]))
        >>> [(row.weight, round(row.confidence, 2), row.accuracy) for row in reliability(sure, 10)]
        [(2.0, 0.8, 0.5)]
    """
    labels, predicted, weights = predictions.labels, predictions.predicted, _weights(predictions)
    if labels.ndim == 1:
        chosen = predicted.argmax(1)
        given = predicted[np.arange(len(labels)), chosen]
        right = (chosen == labels).astype(np.float64)
    else:
        given, right = predicted.ravel(), (labels != 0).astype(np.float64).ravel()
        # Each example counts once, spread over its labels.
        weights = np.repeat(weights / predicted.shape[1], predicted.shape[1])
    # Bins are open below and closed above, so that a confidence of 1 falls into the last one.
    place = np.clip(np.ceil(given * bins).astype(np.int64) - 1, 0, bins - 1)
    held = np.bincount(place, weights, bins)
    sure, true = (
        np.bincount(place, weights * given, bins),
        np.bincount(place, weights * right, bins),
    )
    return [
        ReliabilityRow(
            b / bins,
            (b + 1) / bins,
            float(held[b]),
            float(sure[b] / held[b]),
            float(true[b] / held[b]),
        )
        for b in np.flatnonzero(held).tolist()
    ]


def precision_recall_curve(
    predictions: Predictions, column: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall and precision of one class or label against the rest, over all thresholds.

    Args:
        predictions: predictions of classes or of several labels.
        column: the class or label.

    Returns:
        float64[m] each, recall from 0 to 1.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    labels = predictions.labels
    truth = labels == column if labels.ndim == 1 else labels[:, column] != 0
    curve = scikit_learn("metrics", "precision_recall_curve").precision_recall_curve
    precision, recall, _ = curve(
        truth, predictions.predicted[:, column], sample_weight=predictions.weights
    )
    # Curves run from left to right in pictures, and scikit-learn returns the recalls falling.
    return np.asarray(recall)[::-1], np.asarray(precision)[::-1]


def roc_curve(
    predictions: Predictions, column: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False and true positive rates of one class or label against the rest, over all thresholds.

    Args:
        predictions: predictions of classes or of several labels.
        column: the class or label.

    Returns:
        float64[m] each, from 0 to 1.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    labels = predictions.labels
    truth = labels == column if labels.ndim == 1 else labels[:, column] != 0
    curve = scikit_learn("metrics", "roc_curve").roc_curve
    false, true, _ = curve(
        truth, predictions.predicted[:, column], sample_weight=predictions.weights
    )
    return np.asarray(false), np.asarray(true)
