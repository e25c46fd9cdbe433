"""Evaluation: loss and figures in full precision for any model, with the baseline of the same rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from fedavg.data.dataset import Dataset
from fedavg.errors import ConfigError, DataError
from fedavg.losses import BinaryCrossEntropy, CrossEntropy, Poisson, loss_of
from fedavg.models.layout import Layout
from fedavg.models.zoo import build_model
from fedavg.training.compute import Compute
from fedavg.training.evaluation import Scoring, evaluate, predict


def _score(model, data, scoring=None, vector=None):
    layout = Layout.of(model)
    return evaluate(
        model, layout, layout.flatten(model) if vector is None else vector, data, scoring
    )


def test_by_hand():
    """One input, two classes, logits (0, x): loss log(1+e^±x); the third example is wrong."""
    model = build_model("softmax", (1,), 2, seed=0)
    data = Dataset(np.array([[2.0], [-1.0], [-3.0]]), np.array([1, 0, 1]))
    result = _score(model, data, vector=np.array([0.0, 1.0, 0.0, 0.0]))
    losses = [math.log1p(math.exp(-2)), math.log1p(math.exp(-1)), math.log1p(math.exp(3))]
    assert result.loss == pytest.approx(np.mean(losses), rel=1e-6)
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.headline.name == "accuracy"
    assert result.headline.baseline.value == pytest.approx(2 / 3)
    assert result.headline.baseline.rule == "majority class"
    assert not result.headline.beats_baseline
    assert result.examples == 3


class Half(nn.Module):
    def __init__(self, dtype, scale):
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Linear(6, 10).to(dtype)
        with torch.no_grad():
            self.inner.weight.mul_(scale)

    def forward(self, inputs):
        return self.inner(inputs.to(self.inner.weight.dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_half_precision_models_are_scored_in_full_precision(dtype, scale):
    """Mutant: summed in float16, the losses of 2,048 examples overflow at 65,504: the mean is infinite."""
    rng = np.random.default_rng(0)
    data = Dataset(rng.standard_normal((2048, 6)), rng.integers(0, 10, 2048))
    model = Half(dtype, scale)
    logits = model(torch.from_numpy(data.features)).detach().double()
    true = float(functional.cross_entropy(logits, torch.from_numpy(data.labels)))
    assert _score(model, data).loss == pytest.approx(true, rel=1e-6)


def test_parts_of_a_set_are_the_whole(monkeypatch):
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(50, 6)), rng.integers(0, 3, 50))
    model = build_model("mlp", (6,), 3, seed=0)
    whole = _score(model, data)
    monkeypatch.setattr("fedavg.training.evaluation._EVALUATION_BATCH", 7)
    parts = _score(model, data)
    assert parts.accuracy == whole.accuracy
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6)


@pytest.mark.parametrize("count", [2048, 2049, 4097])
def test_no_part_of_a_set_is_one_example(count):
    """Without statistics of its own, BatchNorm needs two: a last part of one would raise."""
    model = nn.Sequential(
        nn.Linear(2, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2)
    )
    model.train()

    class Strict(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, inputs):
            assert len(inputs) > 1000
            return self.inner(inputs)

    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(count, 2)), rng.integers(0, 2, count))
    assert math.isfinite(_score(Strict(), data).loss)


def test_dropout_is_off_and_modes_are_restored():
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    model[0].eval()
    before = [part.training for part in model.modules()]
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(30, 6)), rng.integers(0, 3, 30))
    assert _score(model, data) == _score(model, data)
    assert [part.training for part in model.modules()] == before


def test_an_imbalanced_set_is_judged_by_the_auc():
    """Always the common class: accuracy 90 %, which is the baseline; the AUC says that nothing is known."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 3))
    data = Dataset(features, (np.arange(200) % 10 == 0).astype(int))
    model = build_model("softmax", (3,), 2, seed=0)
    result = _score(model, data)
    assert [figure.name for figure in result.figures] == ["roc_auc", "accuracy"]
    assert (result.headline.value, result.headline.baseline.value) == (0.5, 0.5)
    assert result.accuracy == result.figures[1].baseline.value == 0.9
    assert not any(figure.beats_baseline for figure in result.figures)


def test_numbers_are_judged_by_the_rmse_beside_the_means():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(100, 3)).astype(np.float32)
    labels = features @ np.array([1.0, -2.0, 0.5]) + 4
    data = Dataset(features, labels, "numbers")
    model = nn.Linear(3, 1)
    vector = np.array([1.0, -2.0, 0.5, 4.0])
    result = _score(model, data, vector=vector)
    assert result.headline.name == "rmse"
    assert result.headline.value == pytest.approx(0, abs=1e-5)
    assert result.headline.baseline.value == pytest.approx(float(np.std(labels)), rel=1e-5)
    assert result.headline.baseline.rule == "mean"
    assert result.headline.beats_baseline
    assert result.accuracy is None


def test_a_poisson_loss_predicts_counts():
    """Outputs are logarithms: at log 3 the prediction is 3, and the RMSE 0."""
    data = Dataset(np.zeros((4, 2)), np.full(4, 3.0), "numbers")
    model, vector = nn.Linear(2, 1), np.array([0.0, 0.0, math.log(3)])
    result = _score(model, data, Scoring(loss=Poisson()), vector)
    assert result.headline.value == pytest.approx(0, abs=1e-6)
    assert result.loss == pytest.approx(3 - 3 * math.log(3), rel=1e-6)


def test_one_output_stands_for_two_classes():
    data = Dataset(np.array([[2.0], [-1.0], [3.0]]), np.array([1, 0, 0]))
    scoring = Scoring(("log_loss",), loss=BinaryCrossEntropy())
    result = _score(nn.Linear(1, 1), data, scoring, np.array([1.0, 0.0]))
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.loss == pytest.approx(result.figures[-1].value, rel=1e-6)


def test_weights_count_in_loss_and_figures():
    model = build_model("softmax", (1,), 2, seed=0)
    data = Dataset(np.array([[2.0], [-1.0], [-3.0]]), np.array([1, 0, 1]), weights=[1.0, 1.0, 0.0])
    result = _score(model, data, vector=np.array([0.0, 1.0, 0.0, 0.0]))
    assert result.accuracy == 1.0
    expected = (math.log1p(math.exp(-2)) + math.log1p(math.exp(-1))) / 3
    assert result.loss == pytest.approx(expected, rel=1e-6)
    weighted = Scoring(loss=CrossEntropy(class_weights=(1.0, 3.0)))
    by_class = _score(model, data, weighted, np.array([0.0, 1.0, 0.0, 0.0]))
    expected = (3 * math.log1p(math.exp(-2)) + math.log1p(math.exp(-1))) / 3
    assert by_class.loss == pytest.approx(expected, rel=1e-6)


def test_what_epsilon_covers_is_marked():
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(30, 6)), rng.integers(0, 3, 30))
    model = build_model("softmax", (6,), 3, seed=0)
    for public in (False, True):
        result = _score(model, data, Scoring(("log_loss",), public_rows=public))
        assert {figure.covered_by_epsilon for figure in result.figures} == {public}


def spread(labels, predicted):
    return {"low": float(predicted.min()), "high": float(predicted.max())}


def test_metrics_of_ones_own_and_a_headline_of_ones_choice():
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(30, 6)), rng.integers(0, 3, 30))
    model = build_model("softmax", (6,), 3, seed=0)
    scoring = Scoring((spread, f"{__name__}:spread"), headline="log-loss")
    result = _score(model, data, scoring)
    names = [figure.name for figure in result.figures]
    assert names == ["log_loss", "accuracy", "spread/low", "spread/high"]
    assert result.headline.value == pytest.approx(math.log(3))
    assert not result.headline.greater_is_better


@pytest.mark.parametrize(
    ("scoring", "said"),
    [
        (lambda: Scoring("roc_auc"), r"write \['roc_auc'\]"),
        (lambda: Scoring(("rocauc",)), "Do you mean 'roc_auc'"),
        (lambda: Scoring((3,)), "a metric is a name"),
        (lambda: Scoring(("rmse",)).on(_classes()), "'rmse' needs labels of kind numbers"),
        (lambda: Scoring(headline="rmse").on(_classes()), "'rmse'"),
        (
            lambda: Scoring(headline="rmse").on(_two_targets()),
            "take 'r2' as the headline, and 'rmse'",
        ),
        (lambda: Scoring(headline="recall").on(_classes()), "take 'accuracy' as the headline"),
    ],
)
def test_what_is_no_metric_here_is_refused(scoring, said):
    with pytest.raises(ConfigError, match=said):
        scoring()


def _classes():
    return Dataset(np.zeros((3, 2)), np.array([0, 1, 1]))


def test_what_the_model_does_not_take_is_said():
    model = build_model("softmax", (3,), 2, seed=0)
    with pytest.raises(DataError, match="a batch of 3 examples of shape 2"):
        _score(model, _classes())
    beyond = Dataset(np.zeros((3, 3)), np.array([0, 1, 7]))
    with pytest.raises(DataError, match="label 7.*2 outputs"):
        _score(model, beyond)


def squared(outputs, labels):
    return (outputs[:, 0] - labels[:, 0]).square()


def test_predictions_of_another_width_than_the_labels_are_never_scored():
    """A loss of one's own may take mean and deviation; as predictions they would broadcast."""
    data = Dataset(np.zeros((4, 3)), np.arange(4.0), target="numbers")
    model = build_model("softmax", (3,), 2, seed=0)
    with pytest.raises(DataError, match=r"2 outputs for each example, but there are 1 labels"):
        _score(model, data, Scoring(loss=loss_of(f"{__name__}:squared")))


def logistic(outputs, labels):
    return (outputs[:, 0] * (1 - 2 * labels)).exp().log1p()


def test_two_classes_with_one_output_and_a_loss_of_ones_own_are_predicted_by_the_logistic_function():
    """A softmax of a single output is always 1, for any output of the model."""
    data = Dataset(np.array([[-2.0], [3.0]]), np.array([0, 1]))
    model = build_model("softmax", (1,), 1, seed=0)
    layout = Layout.of(model)
    loss = loss_of(f"{__name__}:logistic")
    _, found = predict(model, layout, np.array([1.0, 0.0]), data, Scoring(loss=loss))
    np.testing.assert_allclose(found.predicted[:, 1], 1 / (1 + np.exp([2.0, -3.0])))
    fixed = loss_of({"kind": "imported", "path": f"{__name__}:logistic", "link": "softmax"})
    with pytest.raises(DataError, match="link = 'sigmoid'"):
        predict(model, layout, np.array([1.0, 0.0]), data, Scoring(loss=fixed))


def test_predictions_are_those_of_the_mixed_precision_too():
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(30, 6)), rng.integers(0, 3, 30))
    model = build_model("mlp", (6,), 3, seed=0)
    layout = Layout.of(model)
    vector = layout.flatten(model)
    exact, mixed = (
        predict(model, layout, vector, data, Scoring(compute=Compute(precision=name)))[1]
        for name in ("float32", "bfloat16")
    )
    assert exact.predicted.dtype == np.float64
    np.testing.assert_allclose(exact.predicted.sum(1), 1, atol=1e-12)
    difference = np.abs(mixed.predicted - exact.predicted).max()
    assert 0 < difference < 0.02


def _two_targets():
    return Dataset(np.zeros((3, 2)), np.arange(6.0).reshape(3, 2), "numbers")


def test_several_columns_of_numbers_are_judged_by_r2():
    data = _two_targets()
    assert [metric.name for metric in Scoring().on(data)] == ["r2", "rmse", "mae"]
    scaled = Scoring(label_centre=(0.0, 0.0), label_scale=(2.0, 4.0)).by_client(data)
    assert (scaled.name, scaled.scale) == ("scaled_rmse", (2.0, 4.0))
    with pytest.raises(ConfigError, match="'rmse' has one for each"):
        Scoring(headline="rmse").on(data)
