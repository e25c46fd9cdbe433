"""Metrics for numbers, in the units of the labels.

Several targets, such as a price and an area, have several units. Errors are then given target by target and
never averaged; what may be averaged is R², which has no unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fedavg.parts import Part, register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fedavg.metrics.interface import Predictions

__all__ = ["R2", "MeanAbsolute", "RootMeanSquare", "ScaledRmse"]


class _OfNumbers(Part, frozen=True):
    targets: ClassVar[frozenset[str]] = frozenset({"numbers"})
    by_class: ClassVar[bool] = True

    @property
    def greater_is_better(self) -> bool:
        """See `Metric.greater_is_better`: an error."""
        return False

    @property
    def name(self) -> str:
        """See `Metric.name`."""
        return str(type(self).__struct_config__.tag)


class _ByTarget(_OfNumbers, frozen=True):
    """An error in the unit of the target, so that several targets have no error in common."""

    def is_one_figure(self, labels: NDArray[np.generic]) -> bool:
        """Whether these labels have one figure, so that the metric can be the headline."""
        return labels[:1].size == 1


def _residuals(predictions: Predictions) -> NDArray[np.float64]:
    return predictions.predicted - predictions.labels.astype(np.float64)


def _mean_squares(predictions: Predictions) -> NDArray[np.float64]:
    """The mean squared residual of each target."""
    return np.average(np.square(_residuals(predictions)), axis=0, weights=predictions.weights)


def _each(values: NDArray[np.float64]) -> float | dict[str, float]:
    """The value of the only target, or those of several by number."""
    return float(values[0]) if len(values) == 1 else _by_number(values)


def _by_number(values: NDArray[np.float64]) -> dict[str, float]:
    return {str(number): float(value) for number, value in enumerate(values)}


@register("metric")
class RootMeanSquare(_ByTarget, frozen=True, tag="rmse"):
    """Square root of the mean squared residual; one for each of several targets."""

    def of(self, predictions: Predictions) -> float | Mapping[str, float]:
        """See `Metric.of`."""
        return _each(np.sqrt(_mean_squares(predictions)))


@register("metric")
class MeanAbsolute(_ByTarget, frozen=True, tag="mae"):
    """Mean absolute residual; one for each of several targets."""

    def of(self, predictions: Predictions) -> float | Mapping[str, float]:
        """See `Metric.of`."""
        sizes = np.abs(_residuals(predictions))
        return _each(np.average(sizes, axis=0, weights=predictions.weights))


@register("metric")
class R2(_OfNumbers, frozen=True, tag="r2"):
    """Share of the labels' variance that is explained: 1 is perfect, 0 is as good as their mean.

    Several targets have their mean, and one for each. A target whose labels are all equal has none, because
    it has no variance; the mean leaves it out, and `Figure.left_out` names it.
    """

    # It divides by the variance of the very rows: two rows that happen to be alike give −150,000.
    steady_on_few_rows: ClassVar[bool] = False

    @property
    def greater_is_better(self) -> bool:
        """See `Metric.greater_is_better`."""
        return True

    def of(self, predictions: Predictions) -> float | Mapping[str, float]:
        """See `Metric.of`; NaN where the labels of no target vary."""
        labels, weights = predictions.labels.astype(np.float64), predictions.weights
        counted = labels if weights is None else labels[weights > 0]
        # Exact, where a variance of equal labels may differ from 0 in its last digit.
        varies = counted.max(0) > counted.min(0)
        around = np.square(labels - np.average(labels, axis=0, weights=weights))
        whole = np.where(varies, np.average(around, axis=0, weights=weights), np.nan)
        values = 1 - _mean_squares(predictions) / whole
        # Outputs that are NaN leave the mean NaN: only what no model could explain is left out of it.
        mean = float(values[varies].mean()) if varies.any() else np.nan
        return mean if len(values) == 1 else {"": mean, **_by_number(values)}


@register("metric")
class ScaledRmse(_OfNumbers, frozen=True, tag="scaled_rmse"):
    """Root of the mean squared residual over all targets, each in units of its scale.

    It is defined on any rows, a single one included, and adds up no different units: R² would divide by the
    variance of the very rows, of which a client may have none.

    Args:
        scale: a unit for each target, such as its deviation over all clients; () leaves the labels as they
            are.
    """

    scale: tuple[float, ...]

    def of(self, predictions: Predictions) -> float:
        """See `Metric.of`."""
        scale = np.asarray(self.scale or 1.0)
        return float(np.sqrt((_mean_squares(predictions) / np.square(scale)).mean()))
