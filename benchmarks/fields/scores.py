"""Scores of predictions: over all held-out rows, and over each silo's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from sklearn.metrics import roc_auc_score

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Auc", "Held", "Metric", "Rmse"]


class Metric(Protocol):
    """What predictions are scored by."""

    @property
    def name(self) -> str:
        """Its name for people."""
        ...

    @property
    def better(self) -> int:
        """1 if larger values are better, -1 otherwise."""
        ...

    def predicted(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """One number for each row from a model's outputs, float[n, k]."""
        ...

    def score(self, labels: NDArray[np.generic], predicted: NDArray[np.float64]) -> float:
        """The score; NaN where it is not defined."""
        ...


@dataclass(frozen=True, slots=True)
class Auc:
    """Area under the ROC curve, of two classes.

    Example:
        >>> auc = Auc()
        >>> auc.score(np.array([0, 1, 1]), auc.predicted(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.5]])))
        1.0
        >>> auc.score(np.array([1, 1]), np.array([0.1, 0.2]))
        nan
    """

    name: str = "AUC"
    better: int = 1

    def predicted(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """The margin of the second class."""
        return (outputs[:, 1] - outputs[:, 0]).astype(np.float64)

    def score(self, labels: NDArray[np.generic], predicted: NDArray[np.float64]) -> float:
        """The area; NaN for rows of one class."""
        if len(np.unique(labels)) < 2:
            return float("nan")
        return float(roc_auc_score(labels, predicted))


@dataclass(frozen=True, slots=True)
class Rmse:
    """Root mean squared error of a number, in its own unit.

    Example:
        >>> Rmse().score(np.array([[0.0], [1.0]]), np.array([3.0, 5.0]))
        3.5355339059327378
    """

    name: str = "RMSE"
    better: int = -1

    def predicted(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """The one output."""
        return outputs[:, 0].astype(np.float64)

    def score(self, labels: NDArray[np.generic], predicted: NDArray[np.float64]) -> float:
        """The error."""
        wrong = labels.reshape(-1).astype(np.float64) - predicted
        return float(np.sqrt(np.mean(wrong**2)))


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Held-out rows.

    Args:
        labels: classes, or numbers in their own unit.
        silos: int64[n], the silo of each row.

    Example:
        >>> held = Held(np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1]))
        >>> held.scores(Auc(), np.array([0.0, 1.0, 9.0, 2.0]))
        (0.5, 0.5)
    """

    labels: NDArray[np.generic]
    silos: NDArray[np.int64]

    def scores(self, metric: Metric, predicted: NDArray[np.float64]) -> tuple[float, float]:
        """The score of all rows, and the mean of the silos' scores on their own rows."""
        own = [self.own(metric, predicted, silo) for silo in np.unique(self.silos)]
        return metric.score(self.labels, predicted), float(np.nanmean(own))

    def own(self, metric: Metric, predicted: NDArray[np.float64], silo: int) -> float:
        """The score of one silo's rows; NaN where it is not defined, as for a silo without held-out rows."""
        mine = self.silos == silo
        return metric.score(self.labels[mine], predicted[mine]) if mine.any() else float("nan")
