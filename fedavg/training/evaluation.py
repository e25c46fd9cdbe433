"""Scores of a model on held-out examples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from fedavg.errors import ConfigError, DataError
from fedavg.metrics.choice import metric_of
from fedavg.metrics.interface import Predictions
from fedavg.metrics.suite import figures
from fedavg.optimizers.custom import Batch
from fedavg.training.compute import CPU, in_mode
from fedavg.training.job import chosen_loss
from fedavg.training.local.autograd import outputs_of
from fedavg.training.local.blame import computing, taking

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from fedavg.data.dataset import Dataset
    from fedavg.losses.interface import Loss
    from fedavg.metrics.interface import Figure, Metric
    from fedavg.models.layout import Layout
    from fedavg.training.compute import Compute

__all__ = ["Evaluation", "Scoring", "Unit", "evaluate", "predict"]

Unit: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]
"""Centre and scale of numbers that were brought to unit scale, a column each; ((), ()) leaves them."""

_EVALUATION_BATCH = 2048
_FEW_OUTPUTS = 1024  # largest number of outputs for which predictions are computed in float64


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model's figures on held-out examples.

    Args:
        loss: weighted mean of the plan's loss, in float64; None when a user's own function scores.
        figures: figures of the chosen metrics; the headline comes first.
        examples: number of examples.
    """

    loss: float | None
    figures: tuple[Figure, ...]
    examples: int

    @property
    def headline(self) -> Figure:
        """The figure that says most about the task, with its baseline."""
        return self.figures[0]

    @property
    def accuracy(self) -> float | None:
        """The accuracy, if it was asked for."""
        found = self.figure("accuracy")
        return None if found is None else found.value

    def figure(self, name: str) -> Figure | None:
        """The figure of a metric; None where it was not asked for."""
        return next((figure for figure in self.figures if figure.name == name), None)


@dataclass(frozen=True, slots=True, eq=False)
class Scoring:
    """Metrics, headline, loss and device for scoring models.

    Args:
        metrics: metrics computed after every round, beside the headline: names ("roc_auc"), import paths,
            functions of labels and predictions, or metrics (`fedavg.metrics.metric_of`).
        headline: the first figure. None takes accuracy for classes, the AUC where one class has more than
            80 % of the evaluation rows, the RMSE for numbers, R² for several columns of numbers, and the
            average precision for several labels.
        public_rows: whether the evaluation rows are public.  If they are not, no figure on them is covered
            by the run's epsilon.
        label_centre, label_scale: for labels that were scaled for training, one number a column. Figures are
            then computed for prediction·scale + centre, in the labels' own unit.  () for unscaled labels.
        loss: the plan's loss; None takes the one that fits the labels.
        compute: device and precision.
        label_names: names of the classes or targets, for figures that are one for each; () numbers them.

    Raises:
        ConfigError: an entry is no metric.

    Example:
        >>> [metric.name for metric in Scoring(("roc_auc", "calibration-error")).metrics]
        ['roc_auc', 'calibration_error']
    """

    metrics: Sequence[object] = ()
    headline: object = None
    public_rows: bool = False
    label_centre: Sequence[float] = ()
    label_scale: Sequence[float] = ()
    loss: Loss | None = None
    compute: Compute = field(default=CPU)
    label_names: Sequence[str] = ()

    def __post_init__(self) -> None:
        if isinstance(self.metrics, str):
            raise ConfigError(f"metrics is a list of metrics: write [{self.metrics!r}]")
        object.__setattr__(self, "metrics", tuple(metric_of(given) for given in self.metrics))
        if self.headline is not None:
            object.__setattr__(self, "headline", metric_of(self.headline))

    def on(self, dataset: Dataset) -> list[Metric]:
        """The metrics for these examples, the headline first; for classes they include accuracy.

        Raises:
            ConfigError: a metric is not defined for labels of this kind, or the headline has several figures
                for them.
        """
        kind, labels = dataset.kind, dataset.labels
        usual = kind.suite.headline(labels)
        first = self.headline or usual
        # The headline comes first, and a metric that is named twice is computed once.
        chosen = [
            metric_of(given) for given in (first, *kind.suite.every_round(labels), *self.metrics)
        ]
        found: dict[str, Metric] = {}
        for metric in chosen:
            if kind.name not in metric.targets:
                raise ConfigError(
                    f"the metric {metric.name!r} needs labels of kind {' or '.join(sorted(metric.targets))}, "
                    f"but the evaluation set has {kind.name}"
                )
            found.setdefault(metric.name, metric)
        # A headline of several figures would be the one that happens to come first.
        one: Callable[[object], bool] | None = getattr(chosen[0], "is_one_figure", None)
        if one is not None and not one(labels):
            raise ConfigError(
                f"the headline is one figure, and {chosen[0].name!r} has one for each class or target: take "
                f"{usual!r} as the headline, and {chosen[0].name!r} among the metrics"
            )
        return list(found.values())

    def by_client(self, dataset: Dataset) -> object:
        """A metric that is defined on a single one of these rows, for comparing clients."""
        return dataset.kind.suite.by_client(dataset.labels, self.label_scale)

    @property
    def unit(self) -> Unit:
        """Centre and scale of the labels, for scoring outside of this object."""
        return tuple(self.label_centre), tuple(self.label_scale)

    def in_own_unit(self, predictions: Predictions) -> Predictions:
        """Predictions and labels in the unit that the labels had before they were scaled."""
        if not self.label_scale:
            return predictions
        scale, centre = np.asarray(self.label_scale), np.asarray(self.label_centre)
        labels = predictions.labels.astype(np.float64) * scale + centre
        return Predictions(labels, predictions.predicted * scale + centre, predictions.weights)


def evaluate(
    model: nn.Module,
    layout: Layout,
    vector: NDArray[np.floating],
    dataset: Dataset,
    scoring: Scoring | None = None,
) -> Evaluation:
    """Score the model with parameters `vector` on held-out examples.

    Args:
        model: a module to work with; its parameters are overwritten.
        layout: the `Layout` of `model`.
        vector: float64[d] or float32[d].
        dataset: the held-out examples.
        scoring: metrics, loss and device; None takes those that fit the labels, on the CPU.

    Raises:
        LocalProtocolError: the vector or the module does not fit the layout.
        DataError: the module, the loss or a metric does not accept the examples.
        MissingExtraError: a metric needs a package that is not installed.
    """
    chosen = scoring or Scoring()
    metrics = chosen.on(dataset)
    loss, predictions = predict(model, layout, vector, dataset, chosen)
    own_unit = chosen.in_own_unit(predictions)
    public, names = chosen.public_rows, chosen.label_names
    found = figures(dataset.kind.suite, metrics, own_unit, public_rows=public, names=names)
    return Evaluation(loss, found, len(dataset))


@torch.no_grad()
def predict(
    model: nn.Module,
    layout: Layout,
    vector: NDArray[np.floating],
    dataset: Dataset,
    scoring: Scoring,
) -> tuple[float, Predictions]:
    """The mean loss, and the predictions of the model with parameters `vector`.

    Args:
        model: a module to work with; its parameters are overwritten.
        layout: the `Layout` of `model`.
        vector: float64[d] or float32[d].
        dataset: the examples.
        scoring: loss and device.

    Raises:
        LocalProtocolError, DataError: as for `evaluate`.
    """
    compute, loss = scoring.compute, chosen_loss(scoring.loss, dataset.kind)
    compute.place(model)
    layout.load_vector(model, vector)
    by_label = loss.label_weights(dataset.labels)
    losses: list[NDArray[np.float64]] = []
    said: list[NDArray[np.float64]] = []
    # The parts have nearly one size, because a last part of one example would have no batch statistics.
    parts = np.array_split(np.arange(len(dataset)), -(-len(dataset) // _EVALUATION_BATCH))
    with in_mode(model, training=False):
        for part in parts:
            rows = slice(int(part[0]), int(part[-1]) + 1)
            # Copies: a module or loss may write to what it is given, as `ReLU(inplace=True)` does.
            features = torch.tensor(dataset.features[rows], device=compute.torch_device)
            labels = torch.tensor(dataset.labels[rows], device=compute.torch_device)
            batch = Batch(features, labels, None, loss)
            with taking(batch), compute.autocast():
                outputs = outputs_of(model, batch)
            with computing(loss, outputs, labels):
                if not losses:
                    loss.check(dataset.labels, outputs.shape[1])
                losses.append(loss.each(outputs, labels).cpu().double().numpy())
                outputs = outputs.cpu()
                # Double precision tells large outputs apart; for many outputs it would take too much memory.
                exact = outputs.double() if outputs.shape[1] <= _FEW_OUTPUTS else outputs
                said.append(loss.predictions(exact, dataset.kind.name).double().numpy())
    each = np.concatenate(losses)
    # The divisor stays the number of examples, as in training (`fedavg.losses.interface`).
    for weights in (dataset.weights, by_label):
        each = each if weights is None else each * weights
    return float(each.mean()), Predictions(dataset.labels, _both(said, dataset), dataset.weights)


def _both(said: Sequence[NDArray[np.float64]], dataset: Dataset) -> NDArray[np.float64]:
    """Predictions with a column for each class, even if the model has one output for two classes."""
    predicted = np.concatenate(said)
    if dataset.kind.columns and predicted.shape[1] != dataset.labels.shape[1]:
        raise DataError(
            f"the model has {predicted.shape[1]} outputs for each example, but there are "
            f"{dataset.labels.shape[1]} labels or numbers to predict, and figures need one output for each: "
            "in evaluation mode, let its forward return these alone"
        )
    if not dataset.kind.columns and predicted.shape[1] == 1:
        return np.hstack([1 - predicted, predicted])
    return predicted
