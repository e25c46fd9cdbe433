"""Metrics of other libraries and of the user: scikit-learn's scorers, torchmetrics, and functions."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import msgspec
import numpy as np

from fedavg.errors import ConfigError, DataError, FedAvgError
from fedavg.metrics.interface import scikit_learn
from fedavg.parts import Part, register
from fedavg.parts.imports import called, check_path, said

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fedavg.metrics.interface import Predictions

__all__ = ["FunctionMetric", "ImportedMetric", "ScikitLearnMetric", "Stateful", "StatefulMetric"]

_ALL = frozenset({"classes", "numbers", "multi-label"})


def _value(found: object, name: str) -> float | Mapping[str, float]:
    """A metric's return value as numbers.

    Raises:
        DataError: the value is no number and no mapping from names to numbers.
    """
    try:
        if hasattr(found, "items"):
            named = cast("Mapping[str, Any]", found)
            return {str(key): float(value) for key, value in named.items()}
        return float(cast("Any", found))
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"the metric {name!r} gave a {type(found).__name__}, which is no number: {error}"
        ) from error


def _asked(
    function: Callable[..., object], predictions: Predictions, name: str
) -> float | Mapping[str, float]:
    """The value of a user's own function for labels and predictions.

    Raises:
        DataError: the function raised an error, or returned no numbers.
    """
    try:
        found = function(predictions.labels, predictions.predicted)
    except FedAvgError:
        raise
    except Exception as error:
        raise DataError(f"the metric {name!r} raised {said(error)}") from error
    return _value(found, name)


def says_greater(function: object) -> bool:
    """Whether a larger value of one's own function is better: its attribute `greater_is_better`, or yes."""
    return bool(getattr(function, "greater_is_better", True))


@dataclass(frozen=True, slots=True)
class FunctionMetric:
    """A user's own function: function(labels, predicted) returns a number, or several by name.

    Args:
        function: called with arrays, see `fedavg.metrics.interface.Predictions`.
        greater_is_better: whether a larger value is better.

    Example:
        >>> from fedavg.metrics.interface import Predictions
        >>> def hits(labels, predicted):
        ...     return (predicted.argmax(1) == labels).sum()
        >>> sure = np.array([[0.9, 0.1], [0.4, 0.6]])
        >>> FunctionMetric(hits).of(Predictions(np.array([0, 1]), sure)), FunctionMetric(hits).name
        (2.0, 'hits')
    """

    function: Callable[..., object]
    greater_is_better: bool = True
    targets: ClassVar[frozenset[str]] = _ALL

    @property
    def name(self) -> str:
        """See `Metric.name`: the function's own name."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def of(self, predictions: Predictions) -> float | Mapping[str, float]:
        """See `Metric.of`."""
        return _asked(self.function, predictions, self.name)


@register("metric")
class ImportedMetric(Part, frozen=True, tag="imported"):
    """A user's own function, named by its import path; see `FunctionMetric`.

    Args:
        path: "package.module:function"; importing it runs that module's code.
        higher_is_better: whether a larger value is better; None takes the function's own attribute
            `greater_is_better`, and True where it has none.

    Raises:
        ConfigError: the text is no such path; on use, the module or the name does not exist.
    """

    path: str
    higher_is_better: bool | None = None

    targets: ClassVar[frozenset[str]] = _ALL

    def __post_init__(self) -> None:
        super().__post_init__()
        check_path(self.path, "metric")

    @property
    def imports(self) -> tuple[str, ...]:
        """See `Part.imports`: the module of the function."""
        return (self.path.partition(":")[0],)

    def check_here(self) -> None:
        """See `Part.check_here`: the function must exist."""
        called(self.path, "the metric")

    @property
    def name(self) -> str:
        """See `Metric.name`: the function's own name."""
        return self.path.partition(":")[2]

    @property
    def greater_is_better(self) -> bool:
        """See `Metric.greater_is_better`."""
        if self.higher_is_better is None:
            return says_greater(called(self.path, "the metric"))
        return self.higher_is_better

    def of(self, predictions: Predictions) -> float | Mapping[str, float]:
        """See `Metric.of`."""
        return _asked(called(self.path, "the metric"), predictions, self.name)


@register("metric")
class ScikitLearnMetric(Part, frozen=True, tag="scikit-learn"):
    """Any scorer of scikit-learn, by the name that `sklearn.metrics.get_scorer_names` lists.

    Args:
        scorer: name of a scorer, such as "f1_macro" or "neg_mean_absolute_percentage_error".

    Raises:
        MissingExtraError: scikit-learn is not installed.
        ConfigError: there is no such scorer.

    Example:
        >>> from fedavg.metrics.interface import Predictions
        >>> sure = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
        >>> ScikitLearnMetric("f1_macro").of(Predictions(np.array([0, 1, 1]), sure))
        1.0
    """

    scorer: str

    targets: ClassVar[frozenset[str]] = _ALL

    @property
    def greater_is_better(self) -> bool:
        """See `Metric.greater_is_better`: always true, since a scorer of an error is its negative."""
        return True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scorer not in scikit_learn("metrics", self.scorer).get_scorer_names():
            raise ConfigError(f"there is no metric {self.scorer!r}, here or in scikit-learn")

    @property
    def name(self) -> str:
        """See `Metric.name`: the scorer's name."""
        return self.scorer

    def of(self, predictions: Predictions) -> float | Mapping[str, float]:
        """See `Metric.of`.

        Raises:
            DataError: the scorer is for another kind of labels.
        """
        scorer = scikit_learn("metrics", self.scorer).get_scorer(self.scorer)
        estimator = _estimator(predictions)
        labels = predictions.labels
        # Scorers take the labels of one output as a vector.
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        # The estimator looks predictions up by row, so the rows are passed as features.
        rows = np.arange(len(labels))[:, None]
        options = {} if predictions.weights is None else {"sample_weight": predictions.weights}
        try:
            return _value(scorer(estimator, rows, labels, **options), self.name)
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(
                f"the metric {self.name!r} does not take these labels: {error}"
            ) from error


def _estimator(predictions: Predictions) -> object:
    """An estimator with the given predictions, which is what scorers require."""
    base = scikit_learn("base", "scorers")
    labels, predicted = predictions.labels, predictions.predicted
    numbers = labels.dtype.kind == "f"
    kind = base.RegressorMixin if numbers else base.ClassifierMixin

    class Held(kind, base.BaseEstimator):
        """Predictions by row."""

        classes_ = np.arange(predicted.shape[1]) if labels.ndim == 1 else np.arange(2)

        # scikit-learn refuses estimators that do not say that they are fitted.
        def __sklearn_is_fitted__(self) -> bool:
            return True

        def predict(self, rows: Any) -> Any:  # noqa: ANN401 - scikit-learn's interface
            chosen = predicted[rows[:, 0]]
            if numbers:
                return chosen[:, 0] if chosen.shape[1] == 1 else chosen
            return chosen.argmax(1) if labels.ndim == 1 else (chosen >= 0.5).astype(np.int8)

        def predict_proba(self, rows: Any) -> Any:  # noqa: ANN401 - as above
            return predicted[rows[:, 0]]

    return Held()


class Stateful(Protocol):
    """A metric that collects predictions before it computes its value, like those of torchmetrics."""

    def reset(self) -> None:
        """Discard the collected predictions."""
        ...

    def update(self, preds: object, target: object) -> None:
        """Add predictions and labels, as tensors."""
        ...

    def compute(self) -> object:
        """Return the value."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class StatefulMetric:
    """A metric of torchmetrics, or one with the same methods.

    Args:
        metric: metric such as ``torchmetrics.classification.MulticlassF1Score(num_classes=3)``.
    """

    metric: Stateful
    targets: ClassVar[frozenset[str]] = _ALL

    @property
    def name(self) -> str:
        """See `Metric.name`: the name of the metric's class."""
        return type(self.metric).__name__

    @property
    def greater_is_better(self) -> bool:
        """See `Metric.greater_is_better`: as torchmetrics states it; true if it does not."""
        return getattr(self.metric, "higher_is_better", None) is not False

    def of(self, predictions: Predictions) -> float | Mapping[str, float]:
        """See `Metric.of`.

        Raises:
            DataError: the examples have weights, which such a metric does not support.
        """
        # torchmetrics has no weights of examples, and leaving them out silently would change the figure.
        if predictions.weights is not None:
            raise DataError(
                f"the metric {self.name!r} does not support weights of examples: choose one of scikit-learn, "
                "or leave the weights out of the evaluation set"
            )
        tensor = importlib.import_module("torch").from_numpy
        predicted, labels = predictions.predicted, predictions.labels
        if labels.dtype.kind == "f" and labels.shape[1] == 1:
            predicted, labels = predicted[:, 0], labels[:, 0]
        # The object may hold predictions of an earlier round.
        self.metric.reset()
        self.metric.update(
            tensor(np.ascontiguousarray(predicted, np.float32)),
            tensor(np.ascontiguousarray(labels)),
        )
        return _value(self.metric.compute(), self.name)


@register("metric")
class TorchMetric(Part, frozen=True, tag="torchmetrics"):
    """A class of torchmetrics by its import path, with its options.

    Args:
        path: import path such as "torchmetrics.classification:MulticlassF1Score".
        options: options such as {"num_classes": 3}.

    Raises:
        ConfigError: there is no such class, or it does not accept the options.
    """

    path: str
    options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])

    targets: ClassVar[frozenset[str]] = _ALL

    def __post_init__(self) -> None:
        super().__post_init__()
        check_path(self.path, "metric")
        # The metric is made once here, so that wrong options are refused before any round.
        self._made()

    def _made(self) -> StatefulMetric:
        made = called(self.path, "the metric")
        try:
            return StatefulMetric(cast("Stateful", made(**self.options)))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the metric {self.path!r} cannot be made: {error}") from error

    @property
    def name(self) -> str:
        """See `Metric.name`: the name of the class."""
        return self.path.partition(":")[2]

    @property
    def greater_is_better(self) -> bool:
        """See `StatefulMetric.greater_is_better`."""
        return self._made().greater_is_better

    def of(self, predictions: Predictions) -> float | Mapping[str, float]:
        """See `StatefulMetric.of`."""
        return self._made().of(predictions)
