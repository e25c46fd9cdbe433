"""Metrics for numbers: averaged over a model's outputs, in the units of the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fedavg.parts import Part, register

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedavg.metrics.interface import Predictions

__all__ = ["R2", "MeanAbsolute", "RootMeanSquare"]


class _OfNumbers(Part, frozen=True):
    targets: ClassVar[frozenset[str]] = frozenset({"numbers"})

    @property
    def greater_is_better(self) -> bool:
        """See `Metric.greater_is_better`: an error."""
        return False

    @property
    def name(self) -> str:
        """See `Metric.name`."""
        return str(type(self).__struct_config__.tag)


def _residuals(predictions: Predictions) -> NDArray[np.float64]:
    return predictions.predicted - predictions.labels.astype(np.float64)


@register("metric")
class RootMeanSquare(_OfNumbers, frozen=True, tag="rmse"):
    """Square root of the mean squared residual."""

    def of(self, predictions: Predictions) -> float:
        """See `Metric.of`."""
        squares = np.square(_residuals(predictions))
        # The root is taken for each output first, so that outputs of different scales count alike.
        return float(np.sqrt(np.average(squares, axis=0, weights=predictions.weights)).mean())


@register("metric")
class MeanAbsolute(_OfNumbers, frozen=True, tag="mae"):
    """Mean absolute residual."""

    def of(self, predictions: Predictions) -> float:
        """See `Metric.of`."""
        sizes = np.abs(_residuals(predictions)).mean(1)
        return float(np.average(sizes, weights=predictions.weights))


@register("metric")
class R2(_OfNumbers, frozen=True, tag="r2"):
    """Share of the labels' variance that is explained: 1 is perfect, 0 is as good as their mean."""

    @property
    def greater_is_better(self) -> bool:
        """See `Metric.greater_is_better`."""
        return True

    def of(self, predictions: Predictions) -> float:
        """See `Metric.of`; NaN where all labels of an output are equal."""
        labels, weights = predictions.labels.astype(np.float64), predictions.weights
        around = np.square(labels - np.average(labels, axis=0, weights=weights))
        left = np.average(np.square(_residuals(predictions)), axis=0, weights=weights)
        whole = np.average(around, axis=0, weights=weights)
        # Without variance there is nothing to explain, and the share would divide by zero.
        if not bool((whole > 0).all()):
            return np.nan
        return float(np.mean(1 - left / whole))
