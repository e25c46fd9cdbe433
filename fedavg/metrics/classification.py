"""Metrics for classes and for several labels.

Simple metrics are computed here, so that a run without the extra `data` has figures. Ranking metrics use
scikit-learn, which is loaded when they are computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fedavg.errors import ConfigError
from fedavg.metrics.interface import scikit_learn
from fedavg.metrics.tables import recalls, reliability
from fedavg.parts import Part, register

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fedavg.metrics.interface import Predictions

__all__ = [
    "Accuracy",
    "AveragePrecision",
    "BalancedAccuracy",
    "CalibrationError",
    "LogLoss",
    "Recall",
    "RocAuc",
]

_CLASSES = frozenset({"classes"})
_BOTH = frozenset({"classes", "multi-label"})
_LEAST = float(np.finfo(np.float64).eps)  # smallest probability in a logarithm, as in scikit-learn


class _Named(Part, frozen=True):
    """A metric whose name in results is its name in configurations."""

    targets: ClassVar[frozenset[str]] = _BOTH
    needs_scikit_learn: ClassVar[bool] = False

    @property
    def greater_is_better(self) -> bool:
        """See `Metric.greater_is_better`."""
        return True

    @property
    def name(self) -> str:
        """See `Metric.name`."""
        return str(type(self).__struct_config__.tag)


@register("metric")
class Accuracy(_Named, frozen=True, tag="accuracy"):
    """Share of examples whose most probable class is correct; for several labels, share of correct labels."""

    share: ClassVar[bool] = True

    def of(self, predictions: Predictions) -> float:
        """See `Metric.of`."""
        labels, predicted = predictions.labels, predictions.predicted
        if labels.ndim == 1:
            right = (predicted.argmax(1) == labels).astype(np.float64)
        else:
            right = ((predicted >= 0.5) == (labels != 0)).mean(1)
        return float(np.average(right, weights=predictions.weights))


@register("metric")
class BalancedAccuracy(_Named, frozen=True, tag="balanced_accuracy"):
    """Mean of the recalls of those classes that occur."""

    targets: ClassVar[frozenset[str]] = _CLASSES

    share: ClassVar[bool] = True

    def of(self, predictions: Predictions) -> float:
        """See `Metric.of`."""
        found = recalls(predictions)
        # A class without examples has no recall, and must not count as 0.
        return float(np.nanmean(found)) if bool(np.isfinite(found).any()) else np.nan


@register("metric")
class Recall(_Named, frozen=True, tag="recall"):
    """Share of each class's examples that are found, by class; NaN for a class that does not occur."""

    targets: ClassVar[frozenset[str]] = _CLASSES

    share: ClassVar[bool] = True
    by_class: ClassVar[bool] = True

    def is_one_figure(self, labels: NDArray[np.generic]) -> bool:
        """Whether these labels have one figure, so that the metric can be the headline: never."""
        del labels
        return False

    def of(self, predictions: Predictions) -> dict[str, float]:
        """See `Metric.of`."""
        return {str(label): float(value) for label, value in enumerate(recalls(predictions))}


@register("metric")
class RocAuc(_Named, frozen=True, tag="roc_auc"):
    """Probability that an example of a class ranks above one of another class (area under the ROC curve).

    For two classes, it is that of the second class. For more classes or several labels, it is the mean of one
    against the rest, over those that occur and are not the only ones.
    """

    needs_scikit_learn: ClassVar[bool] = True

    def of(self, predictions: Predictions) -> float:
        """See `Metric.of`."""
        score = scikit_learn("metrics", self.name).roc_auc_score
        weights = predictions.weights
        return _mean(
            float(score(truth, column, sample_weight=weights))
            for truth, column in _columns(predictions)
        )


@register("metric")
class AveragePrecision(_Named, frozen=True, tag="average_precision"):
    """Precision averaged over the recalls, which suits rare classes.

    For two classes, it is that of the second class. For more classes or several labels, it is the mean over
    those that occur and are not the only ones.  A constant prediction reaches the share of the class.
    """

    needs_scikit_learn: ClassVar[bool] = True

    def of(self, predictions: Predictions) -> float:
        """See `Metric.of`."""
        score = scikit_learn("metrics", self.name).average_precision_score
        weights = predictions.weights
        return _mean(
            float(score(truth, column, sample_weight=weights))
            for truth, column in _columns(predictions)
        )


@register("metric")
class LogLoss(_Named, frozen=True, tag="log_loss"):
    """Mean of −log of the probability of the true class or label, in nats."""

    @property
    def greater_is_better(self) -> bool:
        """See `Metric.greater_is_better`: an error."""
        return False

    def of(self, predictions: Predictions) -> float:
        """See `Metric.of`."""
        labels, predicted = predictions.labels, predictions.predicted
        if labels.ndim == 1:
            given = predicted[np.arange(len(labels)), labels.astype(np.int64)]
        else:
            given = np.where(labels != 0, predicted, 1 - predicted)
        # A probability of zero would make the whole mean infinite.
        logs = -np.log(np.clip(given, _LEAST, 1))
        each = logs if logs.ndim == 1 else logs.mean(1)
        return float(np.average(each, weights=predictions.weights))


@register("metric")
class CalibrationError(_Named, frozen=True, tag="calibration_error"):
    """Mean distance of confidence and accuracy: the expected calibration error (Guo et al. 2017, eq. 3).

    Confidence is the probability of the predicted class, or that of each label.

    Args:
        bins: number of bins of equal width.

    Raises:
        ConfigError: there is no bin.
    """

    bins: int = 15

    @property
    def greater_is_better(self) -> bool:
        """See `Metric.greater_is_better`: an error."""
        return False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bins < 1:
            raise ConfigError(f"bins must be 1 or more, not {self.bins!r}")

    def of(self, predictions: Predictions) -> float:
        """See `Metric.of`."""
        table = reliability(predictions, self.bins)
        total = sum(row.weight for row in table)
        return sum(row.weight * abs(row.confidence - row.accuracy) for row in table) / total


def _columns(predictions: Predictions) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.float64]]]:
    """For each class or label with examples and counter-examples: which rows have it, and its probability."""
    labels, predicted = predictions.labels, predictions.predicted
    classes = labels.ndim == 1
    # With two classes, both columns have the same curve.
    wanted = [1] if classes and predicted.shape[1] == 2 else range(predicted.shape[1])
    for column in wanted:
        truth = labels == column if classes else labels[:, column] != 0
        # Ranking needs examples of both kinds.
        if truth.any() and not truth.all():
            yield truth, predicted[:, column]


def _mean(values: Iterator[float]) -> float:
    found = list(values)
    return float(np.mean(found)) if found else np.nan
