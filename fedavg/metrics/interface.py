"""The interface of a metric, and the values of an evaluation.  No torch and no scikit-learn is loaded."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from fedavg.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Baseline",
    "Figure",
    "Metric",
    "Predictions",
    "figure_text",
    "figure_worth",
    "scikit_learn",
]


_NOTHING = 1e-9
_MANY = 1e9


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """A model's predictions for labelled examples.

    Args:
        labels: int64[n] of classes, float32[n, k] of numbers, or int8[n, k] of several labels.
        predicted: float64[n, k]: probabilities of the k classes, numbers in the labels' units, or the
            probability of each label.
        weights: float32[n], weight of each example; None for equal weights.
    """

    labels: NDArray[np.generic]
    predicted: NDArray[np.float64]
    weights: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def copy(self) -> Predictions:
        """The same predictions in memory of their own."""
        weights = None if self.weights is None else self.weights.copy()
        return Predictions(self.labels.copy(), self.predicted.copy(), weights)


class Metric(Protocol):
    """A metric of predictions.

    A user's own metric derives from `fedavg.parts.Part` and registers in the family "metric"; or it is a
    function(labels, predicted) that returns a number (`fedavg.metrics.choice`).
    """

    @property
    def name(self) -> str:
        """Name of the metric in results."""
        ...

    @property
    def greater_is_better(self) -> bool:
        """Whether a larger value is better."""
        ...

    targets: ClassVar[frozenset[str]]
    """Kinds of labels for which the metric is defined: names of `fedavg.data.dataset.TargetKind`."""

    def of(self, predictions: Predictions) -> float | Mapping[str, float]:
        """The value, or several by name; NaN where it is not defined, such as the AUC of one class.

        Among several, "" names the value for the whole, such as the mean over all targets; it comes first.

        Raises:
            MissingExtraError: a package that the metric needs is not installed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Baseline:
    """The figure that the same prediction for every example would reach on the same rows, for comparison.

    Args:
        rule: the prediction, such as "majority class" or "mean".
        value: its metric; None where it is not defined.
    """

    rule: str
    value: float | None


def figure_text(value: float | None, *, share: bool) -> str:
    """A metric's value as text, wherever a figure is printed.

    Args:
        value: the value; None where the metric is not defined.
        share: whether it is a share, which is printed as a percentage.

    Example:
        >>> figure_text(0.5, share=True), figure_text(1.23456, share=False), figure_text(None, share=True)
        ('50.0%', '1.235', '–')
        >>> figure_text(59_403.7, share=False)
        '59,404'
    """
    if value is None:
        return "–"
    small = (
        0.0 if abs(value) < _NOTHING else value
    )  # rounding turns an exact zero into such a value
    if share:
        return f"{small:.1%}"
    # Readers know prices and counts by their digits, not by powers of ten.
    return f"{small:,.0f}" if 1000 <= abs(small) < _MANY else f"{small:.4g}"


def figure_worth(value: float | None, *, greater_is_better: bool) -> float:
    """A number that is larger for a better value; least of all for a value that is not defined.

    Example:
        >>> figure_worth(2.0, greater_is_better=False) > figure_worth(None, greater_is_better=False)
        True
    """
    if value is None:
        return -math.inf
    return value if greater_is_better else -value


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of an evaluation.

    Args:
        name: name of the metric.
        value: value of the metric; None where it is not defined on these rows.
        baseline: figure of a constant prediction on the same rows.
        greater_is_better: whether a larger value is better.
        covered_by_epsilon: whether publishing the figure costs nothing beyond the run's epsilon.  That holds
            for a figure on public rows, which follows from the released model.  A figure on held-out rows of
            people depends on these rows, which no noise protects.
        share: whether the value is a share, which is printed as a percentage.
        left_out: names of classes or targets for which the metric is not defined, and which its mean leaves
            out.

    Example:
        >>> Figure("accuracy", 0.967, Baseline("majority class", 0.967), True, False).beats_baseline
        False
    """

    name: str
    value: float | None
    baseline: Baseline
    greater_is_better: bool
    covered_by_epsilon: bool
    share: bool = False
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "left_out", tuple(self.left_out))  # JSON has lists

    def text(self, value: float | None) -> str:
        """A value of this figure as text.

        Example:
            >>> bar = Baseline("mean", 2.0)
            >>> Figure("rmse", 1.23456, bar, False, False).text(1.23456)
            '1.235'
        """
        return figure_text(value, share=self.share)

    @property
    def words(self) -> str:
        """The value beside the baseline's value, as text.

        Example:
            >>> Figure("accuracy", 0.967, Baseline("majority class", 0.967), True, False, True).words
            '96.7% (majority class 96.7%: no better)'
        """
        less = f", without {', '.join(self.left_out)}" if self.left_out else ""
        if self.baseline.value is None:
            return f"{self.text(self.value)}{less}"
        verdict = ": no better" if self.beats_baseline is False else ""
        bar = f"{self.baseline.rule} {self.text(self.baseline.value)}{verdict}"
        return f"{self.text(self.value)}{less} ({bar})"

    @property
    def without(self) -> str:
        """What the mean leaves out, as a sentence; "" for nothing.

        Example:
            >>> Figure("r2", 0.5, Baseline("mean", 0.0), True, False, left_out=("rain",)).without
            'The mean leaves out rain, whose held-out values do not vary.'
        """
        if not self.left_out:
            return ""
        return f"The mean leaves out {', '.join(self.left_out)}, whose held-out values do not vary."

    @property
    def beats_baseline(self) -> bool | None:
        """Whether the value is better than the baseline's; None if one of them is not defined."""
        if self.value is None or self.baseline.value is None:
            return None
        if self.greater_is_better:
            return self.value > self.baseline.value
        return self.value < self.baseline.value


def defined(value: float) -> float | None:
    """A value for a `Figure`: None for NaN and infinity, which no report can show.

    Example:
        >>> defined(0.5), defined(float("nan"))
        (0.5, None)
    """
    return float(value) if math.isfinite(value) else None


def scikit_learn(module: str, what: str) -> Any:  # noqa: ANN401 - a module
    """Import a module of scikit-learn when it is needed.

    Args:
        module: name of the module, such as "metrics".
        what: the metric that needs it, for the message.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError as error:
        raise MissingExtraError(
            f"the metric {what!r} needs scikit-learn, which is not installed: run "
            "pip install 'secure-fedavg[data]'"
        ) from error
