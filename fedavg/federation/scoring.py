"""Scores of released models: on one held-out set, on one for each client, or by a function."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
import torch
from torch import nn

from fedavg.data.dataset import Dataset
from fedavg.data.foreign import as_dataset
from fedavg.errors import ConfigError, DataError, MissingExtraError
from fedavg.federation.entry import check_evaluation, enrolled
from fedavg.metrics.choice import metric_of
from fedavg.metrics.foreign import says_greater
from fedavg.metrics.interface import Baseline, Figure, defined
from fedavg.metrics.suite import metrics_at_end
from fedavg.parts.imports import blamed
from fedavg.training.compute import in_mode
from fedavg.training.evaluation import Evaluation, evaluate, predict
from fedavg.training.threads import one_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedavg.encoding.broadcast import ModelCodec
    from fedavg.metrics.interface import Predictions
    from fedavg.models.layout import Layout
    from fedavg.training.evaluation import Scoring

__all__ = ["Held", "Marks", "Scorer", "with_parameters"]

_FEW = 256  # number of examples in a trial
_NO_RULE = Baseline("none: a function of your own has no constant prediction", None)

Held: TypeAlias = (
    Dataset | Mapping[int, Dataset] | Callable[[nn.Module], float | Mapping[str, float]]
)
"""The ways to score: examples, examples by client, or a function of the module."""


@dataclass(frozen=True, slots=True)
class Marks:
    """The figures of the released model in a round's result.

    Args:
        accuracy, loss, figures: figures of the model; None and () where nothing is scored.
        accuracy_as_sent: figure of the model as a client would receive it, if that differs.
    """

    accuracy: float | None = None
    loss: float | None = None
    figures: tuple[Figure, ...] = ()
    accuracy_as_sent: float | None = None


def with_parameters(model: nn.Module, layout: Layout, vector: NDArray[np.floating]) -> nn.Module:
    """A copy of a module with the parameters of a vector, in the modes of the original.

    Args:
        model: the module, which does not change.
        layout: the `Layout` of `model`.
        vector: float64[d] or float32[d].

    Example:
        >>> from fedavg.models.layout import Layout
        >>> module = nn.Linear(2, 1)
        >>> with_parameters(module, Layout.of(module), np.array([1.0, 2.0, 3.0])).bias.item()
        3.0
    """
    own = copy.deepcopy(model)
    layout.load_vector(own, vector)
    return own


class Scorer:
    """Scores models of one layout.

    Args:
        model: a module to work with; its parameters are overwritten.
        layout: the `Layout` of `model`.
        held: held-out examples; or held-out examples by client, which are pooled for the overall figures; or
            a function that gets a copy of the module in evaluation mode and returns a number, or several by
            name. A larger number is better, unless the function's attribute `greater_is_better` is False.
            None scores nothing.
        apart: whether a part of the model stays at the clients; the rest alone predicts nothing.
        scoring: metrics, loss and device.

    `scores` says whether there is anything to score.

    Raises:
        DataError: `held` is none of these.
        ConfigError: a metric is not defined for the labels.
    """

    def __init__(
        self, model: nn.Module, layout: Layout, held: Held | None, *, apart: bool, scoring: Scoring
    ) -> None:
        self._model, self._layout, self._scoring = model, layout, scoring
        self._clients: dict[int, Dataset] = {}
        self._function: Callable[[nn.Module], object] | None = None
        self._data: Dataset | None = None
        if isinstance(held, Dataset):
            self._data = held
        elif isinstance(held, Mapping):
            self._clients = enrolled(held)
            self._data = _pooled(list(self._clients.values()))
        elif callable(held):
            self._function = held
        elif held is not None:
            self._data = _read(held)
        if self._data is not None:
            scoring.on(self._data)  # refuses a metric that does not fit
        self.scores = held is not None and not apart

    @property
    def headline(self) -> str:
        """The name of the headline; "" without examples."""
        return "" if self._data is None else self._scoring.on(self._data)[0].name

    @property
    def named_headline(self) -> str:
        """The headline by a name that other processes know as well; "" if it has none."""
        if self._data is None:
            return ""
        headline = self._scoring.on(self._data)[0]
        try:
            return headline.name if metric_of(headline.name) == headline else ""
        except (ConfigError, MissingExtraError):
            return ""

    def check(self, clients: Mapping[int, Dataset]) -> None:
        """Refuse held-out labels of another kind than the clients'.

        Raises:
            DataError: the kind or the number of columns differs.
        """
        if self._data is not None:
            check_evaluation(self._data, clients)

    def try_out(self, vector: NDArray[np.floating]) -> None:
        """Score a model on a few examples, so that scoring errors are raised before any charge.

        Raises:
            DataError, MissingExtraError: see `fedavg.training.evaluation.evaluate`.
        """
        if not self.scores:
            return
        if self._data is None:
            self._by_function(vector)
            return
        # A few examples show errors of shapes and types as well as all of them would.
        few = self._data.subset(np.arange(min(len(self._data), _FEW)))
        evaluate(self._model, self._layout, vector, few, self._scoring)

    def marks(self, vector: NDArray[np.float64], codec: ModelCodec) -> Marks:
        """The figures in every round's result, of a model and of the model that a client receives.

        Args:
            vector: float64[d], the model.
            codec: codec of the broadcast.
        """
        found = self._of(vector)
        if found is None:
            return Marks()
        as_sent = None
        if codec.kind != "float32":
            received = self._of(codec.decode(codec.encode(vector)))
            as_sent = None if received is None else received.accuracy
        return Marks(found.accuracy, found.loss, found.figures, as_sent)

    def fully(self, vector: NDArray[np.floating]) -> Evaluation | None:
        """All figures that fit the labels, and those that were asked for; None where nothing is scored."""
        if not self.scores or self._data is None:
            return self._of(vector)
        there, _ = metrics_at_end(self._data.kind.suite)
        scoring = replace(self._scoring, metrics=(*self._scoring.metrics, *there))
        with one_thread():
            return evaluate(self._model, self._layout, vector, self._data, scoring)

    def predictions(self, vector: NDArray[np.floating]) -> Predictions | None:
        """Predictions for each held-out example; None without examples."""
        if not self.scores or self._data is None:
            return None
        with one_thread():
            said = predict(self._model, self._layout, vector, self._data, self._scoring)[1]
        return self._scoring.in_own_unit(said)

    def by_client(self, vector: NDArray[np.floating]) -> dict[int, Evaluation]:
        """Each client's figures on its own held-out examples; {} if these are not given by client."""
        found: dict[int, Evaluation] = {}
        with one_thread():
            for client, data in self._clients.items() if self.scores else ():
                # This figure is defined even for a client that holds out a single example.
                headline = self._scoring.headline or self._scoring.by_client(data)
                scoring = replace(self._scoring, headline=headline)
                found[client] = evaluate(self._model, self._layout, vector, data, scoring)
        return found

    def _of(self, vector: NDArray[np.floating]) -> Evaluation | None:
        if not self.scores:
            return None
        with one_thread():
            if self._data is None:
                return self._by_function(vector)
            return evaluate(self._model, self._layout, vector, self._data, self._scoring)

    @torch.no_grad()
    def _by_function(self, vector: NDArray[np.floating]) -> Evaluation:
        # The user's function gets a copy: if it trains or changes the module, the run is not affected.
        own = with_parameters(self._model, self._layout, vector)
        with in_mode(own, training=False), blamed(lambda: "the function that scores models"):
            said = cast("Callable[[nn.Module], object]", self._function)(own)
        return Evaluation(None, self._figures(said), 0)

    def _figures(self, said: object) -> tuple[Figure, ...]:
        """Convert a function's return value to figures.

        Raises:
            DataError: the function returned no numbers.
        """
        named = cast("Mapping[str, object]", said) if isinstance(said, Mapping) else {"score": said}
        if not named:
            raise DataError("the function that scores models returned no figure")
        found: list[Figure] = []
        for name, given in named.items():
            try:
                value = float(cast("float", given))
            except (TypeError, ValueError, RuntimeError) as error:
                raise DataError(
                    f"the function that scores models returned a {type(given).__name__} for {name!r}: it "
                    "has to return a number, or a mapping from names to numbers"
                ) from error
            # Epsilon does not cover what figures show of private rows.
            covered = self._scoring.public_rows
            found.append(
                Figure(
                    str(name),
                    defined(value),
                    _NO_RULE,
                    greater_is_better=says_greater(self._function),
                    covered_by_epsilon=covered,
                )
            )
        return tuple(found)


def _read(held: object) -> Dataset:
    try:
        return as_dataset(held)
    except DataError as error:
        raise DataError(
            f"models are scored on a data set, on a mapping of them by client, or by a function: {error}"
        ) from error


def _pooled(parts: list[Dataset]) -> Dataset:
    """All rows together, in the order of the clients."""
    if len({part.features.shape[1:] for part in parts}) > 1:
        raise DataError("held-out examples of different clients have different shapes")
    weights = None
    if any(part.weights is not None for part in parts):
        # An example without a weight counts once beside weighted ones.
        given = (
            np.ones(len(part), np.float32) if part.weights is None else part.weights
            for part in parts
        )
        weights = np.concatenate(list(given))
    features = np.concatenate([part.features for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    return Dataset(features, labels, parts[0].target, weights)
