"""Metrics equal scikit-learn's up to rounding, and are compared with the constant prediction."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import sklearn.metrics as theirs
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.errors import ConfigError, DataError, MissingExtraError
from fedavg.metrics import (
    CLASS_FIGURES,
    LABEL_FIGURES,
    NUMBER_FIGURES,
    Figure,
    Predictions,
    figures,
    interface,
    metric_of,
    suite,
)
from fedavg.metrics.foreign import FunctionMetric, StatefulMetric
from fedavg.metrics.interface import Baseline
from fedavg.metrics.tables import confusion, reliability, roc_curve
from fedavg.protocol.result import figure_of_row, figure_row


def _classes(seed, count=40, k=3, *, weighted=False):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(count, k))
    predicted = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    labels = np.append(np.arange(k), rng.integers(0, k, count - k))
    weights = rng.uniform(0.1, 3, count).astype(np.float32) if weighted else None
    return Predictions(labels, predicted, weights)


def _numbers(seed, count=30, k=2, *, weighted=False):
    rng = np.random.default_rng(seed)
    labels = rng.normal(size=(count, k)).astype(np.float32)
    weights = rng.uniform(0.1, 3, count).astype(np.float32) if weighted else None
    return Predictions(labels, labels + rng.normal(size=(count, k)), weights)


def _labels(seed, count=40, k=3, *, weighted=False):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (count, k)).astype(np.int8)
    labels[0], labels[1] = 0, 1
    weights = rng.uniform(0.1, 3, count).astype(np.float32) if weighted else None
    return Predictions(labels, rng.uniform(size=(count, k)), weights)


def _values(found):
    """The figures of a metric: one, or several."""
    return [found] if isinstance(found, float) else list(found.values())


_OF_CLASSES = {
    "accuracy": lambda p: theirs.accuracy_score(
        p.labels, p.predicted.argmax(1), sample_weight=p.weights
    ),
    "balanced_accuracy": lambda p: theirs.balanced_accuracy_score(
        p.labels, p.predicted.argmax(1), sample_weight=p.weights
    ),
    "log_loss": lambda p: theirs.log_loss(p.labels, p.predicted, sample_weight=p.weights),
}


def test_figures_of_each_class_have_the_classes_names():
    predictions = _classes(3, k=3, weighted=False)
    recall = metric_of("recall")
    found = figures(CLASS_FIGURES, [recall], predictions, public_rows=False, names=("a", "b", "c"))
    assert [figure.name for figure in found] == ["recall/a", "recall/b", "recall/c"]
    assert [figure.value for figure in found] == list(recall.of(predictions).values())
    plain = figures(CLASS_FIGURES, [recall], predictions, public_rows=False)
    assert [figure.name for figure in plain] == ["recall/0", "recall/1", "recall/2"]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), k=st.integers(2, 5), weighted=st.booleans())
def test_metrics_of_classes_are_scikit_learns(seed, k, weighted):
    predictions = _classes(seed, k=k, weighted=weighted)
    for name, expected in _OF_CLASSES.items():
        found = metric_of(name).of(predictions)
        assert found == pytest.approx(expected(predictions), rel=1e-6), name
    recalls = metric_of("recall").of(predictions)
    expected = theirs.recall_score(
        predictions.labels,
        predictions.predicted.argmax(1),
        average=None,
        sample_weight=predictions.weights,
    )
    np.testing.assert_allclose(list(recalls.values()), expected)
    assert list(recalls) == [str(label) for label in range(k)]
    table = theirs.confusion_matrix(
        predictions.labels, predictions.predicted.argmax(1), sample_weight=predictions.weights
    )
    np.testing.assert_allclose(confusion(predictions), table)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), weighted=st.booleans())
def test_rankings_are_scikit_learns(seed, weighted):
    """Of two classes the second; without weights, more classes one against the rest."""
    two = _classes(seed, k=2, weighted=weighted)
    options = {"sample_weight": two.weights}
    auc = theirs.roc_auc_score(two.labels, two.predicted[:, 1], **options)
    precision = theirs.average_precision_score(two.labels, two.predicted[:, 1], **options)
    assert metric_of("roc_auc").of(two) == pytest.approx(auc)
    assert metric_of("average_precision").of(two) == pytest.approx(precision)
    many = _classes(seed, k=4)
    expected = theirs.roc_auc_score(many.labels, many.predicted, multi_class="ovr")
    assert metric_of("roc_auc").of(many) == pytest.approx(expected)
    labels = _labels(seed, weighted=weighted)
    options = {"sample_weight": labels.weights}
    expected = theirs.roc_auc_score(labels.labels, labels.predicted, **options)
    assert metric_of("roc_auc").of(labels) == pytest.approx(expected)
    expected = theirs.average_precision_score(labels.labels, labels.predicted, **options)
    assert metric_of("average_precision").of(labels) == pytest.approx(expected)
    false, true = roc_curve(two)
    assert theirs.auc(false, true) == pytest.approx(auc)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), k=st.integers(1, 3), weighted=st.booleans())
def test_metrics_of_numbers_are_scikit_learns(seed, k, weighted):
    predictions = _numbers(seed, k=k, weighted=weighted)
    given_ = predictions.labels, predictions.predicted
    options = {"sample_weight": predictions.weights}
    each = {"multioutput": "raw_values"} | options
    expected = {
        "rmse": theirs.root_mean_squared_error(*given_, **each),
        "mae": theirs.mean_absolute_error(*given_, **each),
        "r2": theirs.r2_score(*given_, **each),
    }
    for name, values in expected.items():
        found = metric_of(name).of(predictions)
        if k == 1:
            assert found == pytest.approx(values[0]), name
            continue
        whole = {"": theirs.r2_score(*given_, **options)} if name == "r2" else {}
        assert found == pytest.approx(whole | {str(i): v for i, v in enumerate(values)}), name


def test_several_targets_have_rows_by_name_and_r2_as_their_headline():
    """The errors of a price and of an area are not averaged; their R² are, and both stay as they are."""
    given_ = _numbers(3, k=2)
    names = [NUMBER_FIGURES.headline(given_.labels), *NUMBER_FIGURES.every_round(given_.labels)]
    assert names == ["r2", "rmse", "mae"]
    metrics = [metric_of(name) for name in names]
    found = figures(NUMBER_FIGURES, metrics, given_, public_rows=False, names=("price", "area"))
    named = {figure.name: figure for figure in found}
    ends = ("/price", "/area")
    assert list(named) == ["r2", *(f"{name}{end}" for name in names for end in ends)]
    assert named["r2"].value == pytest.approx(
        (named["r2/price"].value + named["r2/area"].value) / 2
    )
    assert [figure.greater_is_better for figure in found] == [True] * 3 + [False] * 4
    assert named["r2"].baseline.value == pytest.approx(0, abs=1e-12)
    assert named["rmse/area"].baseline.value == pytest.approx(given_.labels[:, 1].std(), rel=1e-5)
    # A price in cents changes its own errors, and no headline.
    cents = Predictions(given_.labels * [100, 1], given_.predicted * [100, 1])
    other = figures(NUMBER_FIGURES, metrics, cents, public_rows=False, names=("price", "area"))
    assert other[0].value == pytest.approx(named["r2"].value)
    assert other[3].value == pytest.approx(100 * named["rmse/price"].value)
    one = _numbers(3, k=1).labels
    assert (NUMBER_FIGURES.headline(one), NUMBER_FIGURES.every_round(one)) == ("rmse", ())


def test_a_target_that_does_not_vary_is_left_out_of_the_mean_and_named():
    """0.1 three times over has a mean other than 0.1 in floats, and so a variance above zero."""
    labels = np.stack([np.arange(3.0), np.full(3, 0.1)], axis=1)
    flat = Predictions(labels, labels + 0.5)
    r2 = metric_of("r2")
    mean, first, second = figures(NUMBER_FIGURES, [r2], flat, public_rows=True, names=("a", "rain"))
    assert (first.value, second.value) == (pytest.approx(1 - 0.25 / (2 / 3)), None)
    assert (mean.value, mean.left_out, first.left_out) == (first.value, ("rain",), ())
    assert ", without rain (" in mean.words
    assert "leaves out rain" in mean.without
    assert figure_of_row(json.loads(json.dumps(figure_row(mean)))) == mean
    weighted = Predictions(
        np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 9.0]]),
        labels,
        np.array([1, 1, 0], np.float32),
    )
    assert figures(NUMBER_FIGURES, [r2], weighted, public_rows=True)[0].left_out == ()
    none = Predictions(np.ones((3, 2)), labels)
    whole, *_ = figures(NUMBER_FIGURES, [r2], none, public_rows=True)
    assert (whole.value, whole.left_out, whole.without) == (None, (), "")


def test_a_target_whose_outputs_are_nan_is_not_left_out():
    """Mutant: a mean over what is defined would call a model good that has diverged on one target."""
    labels = np.stack([np.arange(4.0), np.arange(4.0)], axis=1)
    said = labels.copy()
    said[0, 1] = np.nan
    whole, first, second = figures(
        NUMBER_FIGURES, [metric_of("r2")], Predictions(labels, said), public_rows=True
    )
    assert (whole.value, first.value, second.value, whole.left_out) == (None, 1.0, None, ())


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), unit=st.floats(1e-3, 1e3))
def test_clients_are_compared_in_units_of_each_targets_scale(seed, unit):
    given_ = _numbers(seed, k=2)
    scale = (2.0, 0.5)
    metric = metric_of(NUMBER_FIGURES.by_client(given_.labels, scale))
    left = np.mean(np.square(given_.predicted - given_.labels), axis=0)
    assert metric.of(given_) == pytest.approx(np.sqrt(np.mean(left / np.square(scale))))
    both = [unit, 1.0]
    other = metric_of(NUMBER_FIGURES.by_client(given_.labels, tuple(np.multiply(scale, both))))
    changed = Predictions(given_.labels * both, given_.predicted * both)
    assert other.of(changed) == pytest.approx(metric.of(given_), rel=1e-5)
    assert not metric.greater_is_better
    one_row = Predictions(given_.labels[:1], given_.predicted[:1])
    assert math.isfinite(metric.of(one_row))
    assert NUMBER_FIGURES.by_client(given_.labels[:, :1], scale[:1]) == "rmse"


def test_several_labels_by_hand():
    predictions = Predictions(
        np.array([[1, 0], [1, 1]], np.int8), np.array([[0.9, 0.2], [0.4, 0.8]])
    )
    assert metric_of("accuracy").of(predictions) == 0.75
    expected = -np.mean(np.log([0.9, 0.8, 0.4, 0.8]))
    assert metric_of("log_loss").of(predictions) == pytest.approx(expected)
    assert metric_of("calibration_error").of(predictions) == pytest.approx(
        (0.1 + 0.2 + 0.6 + 0.2) / 4
    )


def test_calibration_by_hand_and_against_torchmetrics():
    """Guo et al. 2017, eq. 3: Σ |Bₘ|/n·|acc(Bₘ) − conf(Bₘ)|."""
    torch = pytest.importorskip("torch")
    theirs_ = pytest.importorskip("torchmetrics.functional.classification")
    predictions = _classes(3, count=500, k=4)
    expected = theirs_.multiclass_calibration_error(
        torch.from_numpy(predictions.predicted), torch.from_numpy(predictions.labels), 4, n_bins=15
    )
    found = metric_of("calibration_error").of(predictions)
    assert found == pytest.approx(float(expected), abs=1e-6)
    rows = reliability(predictions, 15)
    assert sum(row.weight for row in rows) == 500
    assert all(row.low < row.confidence <= row.high for row in rows)
    sure = Predictions(np.array([0, 0, 1, 1]), np.array([[0.75, 0.25]] * 4))
    assert metric_of({"kind": "calibration_error", "bins": 10}).of(sure) == pytest.approx(0.25)
    with pytest.raises(ConfigError, match="bins"):
        metric_of("calibration_error").__class__(0)


def test_what_is_not_defined_is_nan_and_a_figure_of_none():
    one = Predictions(np.zeros(4, int), np.array([[0.9, 0.1]] * 4))
    for name in ("roc_auc", "average_precision"):
        assert math.isnan(metric_of(name).of(one))
    flat = Predictions(np.ones((3, 1), np.float32), np.ones((3, 1)))
    assert math.isnan(metric_of("r2").of(flat))
    (figure,) = figures(CLASS_FIGURES, [metric_of("roc_auc")], one, public_rows=False)
    assert (figure.value, figure.baseline.value, figure.beats_baseline) == (None, None, None)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999))
def test_the_baseline_is_the_best_constant_in_its_own_metric(seed):
    """No other constant has a lower log loss, RMSE, or more accuracy on the same rows."""
    rng = np.random.default_rng(seed)
    for kind, names, make in (
        (CLASS_FIGURES, ("accuracy", "log_loss"), _classes),
        (NUMBER_FIGURES, ("rmse", "r2"), _numbers),
        (LABEL_FIGURES, ("accuracy", "log_loss"), _labels),
    ):
        predictions = make(seed)
        constant = kind.baseline(predictions)
        assert (constant.predicted == constant.predicted[0]).all()
        for name in names:
            metric = metric_of(name)
            best = metric.of(constant)
            for _ in range(5):
                other = constant.predicted[0] + rng.normal(size=constant.predicted.shape[1]) * 0.2
                if kind is not NUMBER_FIGURES:
                    other = np.clip(other, 1e-3, 1 - 1e-3)
                if kind is CLASS_FIGURES:
                    other /= other.sum()
                tried = Predictions(predictions.labels, np.tile(other, (len(predictions), 1)))
                worse = metric.of(tried)
                sign = 1 if metric.greater_is_better else -1
                pairs = zip(*(_values(found) for found in (worse, best)), strict=True)
                assert all(sign * one <= sign * other + 1e-9 for one, other in pairs), name


def test_a_majority_model_does_not_beat_the_baseline():
    """96.7 % accuracy of a model that always says the common class, and says nothing."""
    labels = (np.arange(300) % 30 == 0).astype(int)
    always = Predictions(labels, np.tile([0.99, 0.01], (300, 1)))
    found = {
        figure.name: figure
        for figure in figures(
            CLASS_FIGURES, [metric_of("accuracy"), metric_of("roc_auc")], always, public_rows=True
        )
    }
    accuracy, auc = found["accuracy"], found["roc_auc"]
    assert accuracy.value == pytest.approx(0.9667, abs=1e-4)
    assert accuracy.baseline == Baseline("majority class", accuracy.value)
    assert not accuracy.beats_baseline
    assert (auc.value, auc.beats_baseline) == (0.5, False)
    assert accuracy.covered_by_epsilon


def test_smaller_is_better_where_it_is():
    figure = Figure("rmse", 0.5, Baseline("mean", 1.0), False, False)
    assert figure.beats_baseline
    assert not Figure("rmse", 1.5, Baseline("mean", 1.0), False, False).beats_baseline


def test_headlines_fit_the_labels(monkeypatch):
    even, rare = np.arange(100) % 2, (np.arange(100) % 10 == 0).astype(int)
    assert CLASS_FIGURES.headline(even) == "accuracy"
    assert CLASS_FIGURES.headline(np.arange(100) % 5 > 0) == "accuracy"  # exactly 80 %
    assert CLASS_FIGURES.headline(rare) == "roc_auc"
    assert CLASS_FIGURES.headline(np.zeros(9, int)) == "accuracy"  # one class has no ranking
    assert (NUMBER_FIGURES.headline(even), LABEL_FIGURES.headline(even)) == (
        "rmse",
        "average_precision",
    )
    monkeypatch.setattr(suite, "_installed", lambda: False)
    assert CLASS_FIGURES.headline(rare) == "balanced_accuracy"
    assert LABEL_FIGURES.headline(even) == "log_loss"


def test_without_scikit_learn_the_rest_is_there(monkeypatch):
    there, missing = suite.metrics_at_end(CLASS_FIGURES)
    assert (len(there), missing) == (7, [])
    monkeypatch.setattr(suite, "_installed", lambda: False)
    there, missing = suite.metrics_at_end(CLASS_FIGURES)
    assert missing == ["roc_auc", "average_precision"]
    predictions = _classes(0)

    def nowhere(name):
        raise ImportError(name)

    monkeypatch.setattr(interface.importlib, "import_module", nowhere)
    for metric in there:
        assert metric.of(predictions)
    with pytest.raises(MissingExtraError, match=r"pip install 'secure-fedavg\[data\]'"):
        metric_of("roc_auc").of(predictions)
    with pytest.raises(ConfigError, match="ours are accuracy"):
        metric_of("f1_macro")


def test_any_scorer_of_scikit_learn_by_name():
    predictions = _classes(0, weighted=True)
    expected = theirs.f1_score(
        predictions.labels,
        predictions.predicted.argmax(1),
        average="macro",
        sample_weight=predictions.weights,
    )
    assert metric_of("f1-macro").of(predictions) == pytest.approx(expected)
    expected = theirs.log_loss(
        predictions.labels, predictions.predicted, sample_weight=predictions.weights
    )
    assert metric_of("neg_log_loss").of(predictions) == pytest.approx(-expected)
    numbers = _numbers(0, k=1)
    expected = theirs.mean_absolute_percentage_error(numbers.labels, numbers.predicted)
    found = metric_of("neg_mean_absolute_percentage_error").of(numbers)
    assert found == pytest.approx(-expected)
    two = _classes(0, k=2)
    expected = theirs.matthews_corrcoef(two.labels, two.predicted.argmax(1))
    assert metric_of("matthews_corrcoef").of(two) == pytest.approx(expected)
    with pytest.raises(DataError, match="'matthews_corrcoef' does not take these labels"):
        metric_of("matthews_corrcoef").of(numbers)


def test_metrics_of_torchmetrics():
    torchmetrics = pytest.importorskip("torchmetrics")
    predictions = _classes(0)
    made = torchmetrics.classification.MulticlassF1Score(num_classes=3, average="macro")
    expected = theirs.f1_score(predictions.labels, predictions.predicted.argmax(1), average="macro")
    wrapped = metric_of(made)
    assert isinstance(wrapped, StatefulMetric)
    assert (wrapped.name, wrapped.greater_is_better) == ("MulticlassF1Score", True)
    for _ in range(2):  # it forgets what it was fed
        assert wrapped.of(predictions) == pytest.approx(expected, abs=1e-6)
    table = {
        "kind": "torchmetrics",
        "path": "torchmetrics.regression:MeanAbsoluteError",
    }
    error = metric_of(table)
    assert (error.name, error.greater_is_better) == ("MeanAbsoluteError", False)
    numbers = _numbers(0, k=1)
    expected = theirs.mean_absolute_error(numbers.labels, numbers.predicted)
    assert error.of(numbers) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ConfigError, match="cannot be made"):
        metric_of({**table, "options": {"nonsense": 1}})
    with pytest.raises(DataError, match="does not support weights"):
        wrapped.of(_classes(0, weighted=True))


def halves(labels, predicted):
    return {"first": 0.25, "second": np.float32(0.5)}


def test_functions_of_ones_own():
    predictions = _classes(0)
    assert metric_of(halves).of(predictions) == {"first": 0.25, "second": 0.5}
    assert metric_of(f"{__name__}:halves").of(predictions) == {"first": 0.25, "second": 0.5}
    assert FunctionMetric(lambda labels, predicted: 2, greater_is_better=False).of(predictions) == 2
    with pytest.raises(DataError, match="'halves' gave a str"):
        FunctionMetric(type("halves", (), {"__name__": "halves", "__call__": lambda *_: "a"})()).of(
            predictions
        )
    named = figures(CLASS_FIGURES, [metric_of(halves)], predictions, public_rows=False)
    assert [figure.name for figure in named] == ["halves/first", "halves/second"]
    metric = metric_of("accuracy")
    assert metric_of(metric) is metric


@pytest.mark.parametrize("given_", ["acuracy", 3, {"kind": "nobody"}, {"kind": "accuracy", "x": 1}])
def test_what_is_no_metric_is_refused(given_):
    with pytest.raises(ConfigError):
        metric_of(given_)


def test_a_slip_in_a_scorers_name_is_asked_about():
    with pytest.raises(ConfigError, match="ours are accuracy.* Do you mean 'f1_macro'"):
        metric_of("f1_marco")
