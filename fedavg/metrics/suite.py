"""The figures for each kind of labels, the headline among them, and the constant prediction."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fedavg.metrics import pictures
from fedavg.metrics.choice import metric_of
from fedavg.metrics.interface import Baseline, Figure, Predictions, defined
from fedavg.metrics.regression import ScaledRmse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from fedavg.metrics.interface import Metric

__all__ = ["CLASS_FIGURES", "LABEL_FIGURES", "NUMBER_FIGURES", "Suite", "figures", "metrics_at_end"]

_COMMON = 0.8  # if a class has a larger share, accuracy says little


@dataclass(frozen=True, slots=True)
class Suite:
    """The figures of one kind of labels.

    Args:
        rule: the constant prediction, in words.
        constant: that prediction for every example: labels, number of outputs and weights to float64[n, k].
        headline: name of the most informative figure, given the labels.
        every_round: names of the figures in every evaluation, beside the headline, given the labels.
        by_client: a figure that is defined on a single row, for comparing clients, given the labels and the
            scale that they had before training; () for none.
        at_end: names of all figures that a finished run shows.
        pictures: data of the report's pictures, see `fedavg.metrics.pictures`.
    """

    rule: str
    constant: Callable[[NDArray[np.generic], int, NDArray[np.float32] | None], NDArray[np.float64]]
    headline: Callable[[NDArray[np.generic]], str]
    every_round: Callable[[NDArray[np.generic]], tuple[str, ...]]
    by_client: Callable[[NDArray[np.generic], Sequence[float]], object]
    at_end: tuple[str, ...]
    pictures: Callable[[Predictions, Sequence[str]], dict[str, Any]]

    def baseline(self, predictions: Predictions) -> Predictions:
        """The constant prediction on the same rows.

        It is fitted to these rows themselves. So no constant prediction is better in its own metric, and no
        other rows are used.
        """
        labels, weights = predictions.labels, predictions.weights
        outputs = predictions.predicted.shape[1]
        return Predictions(labels, self.constant(labels, outputs, weights), weights)


def _class_shares(
    labels: NDArray[np.generic], outputs: int, weights: NDArray[np.float32] | None
) -> NDArray[np.float64]:
    # The shares are those of the evaluation rows, so that the baseline is as strong as a constant can be.
    counts = np.bincount(labels.astype(np.int64), weights, outputs)
    return np.tile(counts / counts.sum(), (len(labels), 1))


def _means(
    labels: NDArray[np.generic], outputs: int, weights: NDArray[np.float32] | None
) -> NDArray[np.float64]:
    del outputs  # the number of label columns already gives it
    mean = np.average(labels.astype(np.float64), axis=0, weights=weights)
    return np.tile(mean, (len(labels), 1))


def _installed() -> bool:
    return importlib.util.find_spec("sklearn") is not None


def _headline_of_classes(labels: NDArray[np.generic]) -> str:
    """The AUC when one class is common, since a model that always predicts that class looks accurate."""
    share = np.unique(labels, return_counts=True)[1].max() / len(
        labels
    )  # labels may be as large as 10^9
    # A single class, or classes of similar size, are well described by accuracy.
    if not _COMMON < share < 1:
        return "accuracy"
    return "roc_auc" if _installed() else "balanced_accuracy"


def _several(labels: NDArray[np.generic]) -> bool:
    return labels[:1].size > 1


def _headline_of_numbers(labels: NDArray[np.generic]) -> str:
    """The error of one target; for several, which have several units, the share that is explained."""
    return "r2" if _several(labels) else "rmse"


def _always(*names: str) -> Callable[[NDArray[np.generic]], tuple[str, ...]]:
    """The same figures for any labels."""

    def figures_of(labels: NDArray[np.generic]) -> tuple[str, ...]:
        del labels
        return names

    return figures_of


def _accuracy(labels: NDArray[np.generic], scale: Sequence[float]) -> str:
    del labels, scale  # it is defined on any row
    return "accuracy"


CLASS_FIGURES = Suite(
    "majority class",
    _class_shares,
    _headline_of_classes,
    _always("accuracy"),
    _accuracy,
    (
        "accuracy",
        "balanced_accuracy",
        "roc_auc",
        "average_precision",
        "log_loss",
        "calibration_error",
        "recall",
    ),
    pictures.of_classes,
)
NUMBER_FIGURES = Suite(
    "mean",
    _means,
    _headline_of_numbers,
    lambda labels: ("rmse", "mae") if _several(labels) else (),
    lambda labels, scale: ScaledRmse(tuple(map(float, scale))) if _several(labels) else "rmse",
    ("rmse", "mae", "r2"),
    pictures.of_numbers,
)
LABEL_FIGURES = Suite(
    "frequency of each label",
    _means,
    lambda _: "average_precision" if _installed() else "log_loss",
    _always(),
    _accuracy,
    ("average_precision", "roc_auc", "accuracy", "log_loss", "calibration_error"),
    pictures.of_labels,
)


def figures(
    suite: Suite,
    metrics: Sequence[Metric],
    predictions: Predictions,
    *,
    public_rows: bool,
    names: Sequence[str] = (),
) -> tuple[Figure, ...]:
    """Every metric of the predictions, beside that of the constant prediction.

    Args:
        suite: suite for the labels' kind.
        metrics: metrics to compute.
        predictions: predictions for the evaluation rows.
        public_rows: whether the rows are public, so that a figure on them costs no privacy.
        names: names of the classes or targets, for figures that are one for each; () numbers them.

    Raises:
        MissingExtraError: a metric needs a package that is not installed.
        DataError: a metric does not accept these labels.
    """
    constant = suite.baseline(predictions)
    found: list[Figure] = []
    # Both are computed by the same metric on the same rows, so that they can be compared.
    for metric in metrics:
        values, bars = (_named(metric, said, names) for said in (predictions, constant))
        found += [
            Figure(
                name,
                defined(value),
                Baseline(suite.rule, defined(bars[name])),
                metric.greater_is_better,
                covered_by_epsilon=public_rows,
                share=bool(getattr(metric, "share", False)),
                left_out=_left_out(metric.name, values) if name == metric.name else (),
            )
            for name, value in values.items()
        ]
    return tuple(found)


def _named(metric: Metric, predictions: Predictions, names: Sequence[str]) -> Mapping[str, float]:
    # A metric may be the user's own and write to its arrays, which other metrics and rounds read.
    found = metric.of(predictions.copy())
    if isinstance(found, float | int):
        return {metric.name: found}
    each = [key for key in found if key]
    called = names if getattr(metric, "by_class", False) and len(names) == len(each) else each
    named = {"": metric.name} | {
        key: f"{metric.name}/{name}" for key, name in zip(each, called, strict=True)
    }
    return {named[key]: value for key, value in found.items()}


def _left_out(name: str, values: Mapping[str, float]) -> tuple[str, ...]:
    """The parts that are not defined, although the mean over all parts is."""
    if defined(values[name]) is None:
        return ()
    return tuple(key.partition("/")[2] for key, value in values.items() if defined(value) is None)


def metrics_at_end(suite: Suite) -> tuple[list[Metric], list[str]]:
    """All metrics for a kind of labels that can be computed here, and the names of the others."""
    chosen = [metric_of(name) for name in suite.at_end]
    there = [
        metric
        for metric in chosen
        if not getattr(metric, "needs_scikit_learn", False) or _installed()
    ]
    return there, [metric.name for metric in chosen if metric not in there]
