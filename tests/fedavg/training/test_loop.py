"""Local training: the fast path equals the plain loop, the plain loop equals hand-made steps."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from fedavg.data.dataset import Dataset
from fedavg.errors import ConfigError, DataError, LocalProtocolError, PlanError
from fedavg.models.layout import Layout
from fedavg.models.zoo import FeedForward, build_model
from fedavg.optimizers.local import LocalTraining
from fedavg.optimizers.schedule import Schedule
from fedavg.training.evaluation import evaluate
from fedavg.training.fast.dense import DensePath
from fedavg.training.job import TrainingJob
from fedavg.training.loop import local_update, train_by_autograd
from tests.fedavg.support.float64 import assert_same_formula, doubled, in_float64


def _dataset(count=12, features=6, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return Dataset(rng.normal(size=(count, features)), rng.integers(0, classes, count))


def _update(model, training, dataset, *, start=None, round_index=0, num_rounds=10, seed=0):
    layout = Layout.of(model)
    return local_update(
        TrainingJob(
            model,
            layout,
            layout.flatten(model) if start is None else start,
            dataset,
            training,
            round_index=round_index,
            num_rounds=num_rounds,
            seed=seed,
        )
    )


@pytest.mark.parametrize("plain", [False, True])
def test_adam_on_both_paths(plain, monkeypatch):
    """Adam divides by gradients, so that paths part where those are tiny: on a softmax none is."""
    if plain:
        monkeypatch.setattr("fedavg.training.loop.FAST_PATHS", [])
    start, training = np.zeros(21), LocalTraining(epochs=5, optimizer="adam", lr=0.01)
    update = _update(build_model("softmax", (6,), 3, seed=0), training, _dataset(), start=start)
    weights = torch.zeros(3, 7, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weights], lr=0.01)
    for _ in range(5):
        gradient = _softmax_gradient(weights.detach().numpy(), _dataset())
        weights.grad = torch.from_numpy(gradient)
        optimizer.step()
    np.testing.assert_allclose(_as_matrix(update), weights.detach().numpy(), atol=1e-6)


def _softmax_gradient(weights, dataset):
    """Of the mean cross-entropy of W·x + b, in float64."""
    x = np.hstack([dataset.features, np.ones((len(dataset), 1))]).astype(float)
    logits = x @ weights.T
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    probabilities[np.arange(len(dataset)), dataset.labels] -= 1
    return probabilities.T @ x / len(dataset)


def _as_matrix(vector, classes=3, features=6):
    split = classes * features
    return np.hstack([vector[:split].reshape(classes, features), vector[split:, None]])


@pytest.mark.parametrize("plain", [False, True])
def test_steps_by_hand(plain, monkeypatch):
    """Two full-batch steps in float64 with all three penalties."""
    if plain:
        monkeypatch.setattr("fedavg.training.loop.FAST_PATHS", [])
    dataset, model = _dataset(), build_model("softmax", (6,), 3, seed=0)
    start = np.random.default_rng(1).normal(size=21).astype(np.float32).astype(float)
    training = LocalTraining(epochs=2, lr=0.3, l1=0.02, l2=0.1, proximal=0.7)
    w0 = w = _as_matrix(start)
    for _ in range(2):
        slope = _softmax_gradient(w, dataset) + 0.1 * w + 0.02 * np.sign(w) + 0.7 * (w - w0)
        w = w - 0.3 * slope
    update = _update(model, training, dataset, start=start)
    assert update.dtype == np.float64
    np.testing.assert_allclose(_as_matrix(update), w - w0, atol=1e-6)


def test_momentum_and_adam_by_hand():
    dataset, start = _dataset(), np.zeros(21)
    model = build_model("softmax", (6,), 3, seed=0)
    g0 = _softmax_gradient(np.zeros((3, 7)), dataset)
    g1 = _softmax_gradient(-0.1 * g0, dataset)
    training = LocalTraining(epochs=2, optimizer="momentum", momentum=0.5)
    update = _update(model, training, dataset, start=start)
    np.testing.assert_allclose(_as_matrix(update), -0.1 * (g0 + 0.5 * g0 + g1), atol=1e-6)
    one_step = _update(model, LocalTraining(optimizer="adam", lr=0.01), dataset, start=start)
    expected = -0.01 * g0 / (np.abs(g0) + 1e-8)  # bias-corrected first step
    np.testing.assert_allclose(_as_matrix(one_step), expected, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_an_update_is_a_function_of_its_arguments(optimizer):
    dataset = _dataset()
    model = build_model("mlp", (6,), 3, seed=0)
    start = Layout.of(model).flatten(model)
    training = LocalTraining(batch_size=4, optimizer=optimizer)
    first = _update(model, training, dataset, start=start, seed=3)
    assert (first == _update(model, training, dataset, start=start, seed=3)).all()
    assert (first != _update(model, training, dataset, start=start, seed=4)).any()
    assert (first != _update(model, training, dataset, start=start, seed=3, round_index=1)).any()
    assert first.any()


def test_dropout_masks_follow_the_seed_and_leave_torch_alone():
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    start = Layout.of(model).flatten(model)
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    one, same, other = (
        _update(model, LocalTraining(), _dataset(), start=start, seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.rand(1), expected)
    assert (one == same).all()
    assert (one != other).any()


def test_the_cnns_convolutions_are_laid_out_channels_last():
    """A single channel's strides too: they decide how all later layers compute."""
    convolutions = [
        build_model("cnn", (784,), 5, seed=0).conv1,
        build_model("cnn", (784,), 5, seed=0).conv2,
    ]
    assert [convolution.weight.stride()[1] for convolution in convolutions] == [1, 1]


def test_the_cnn_trains():
    rng = np.random.default_rng(0)
    dataset = Dataset(rng.random((4, 28, 28)), np.arange(4) % 2)
    model = build_model("cnn", (28, 28), 2, seed=0)
    layout = Layout.of(model)
    start = layout.flatten(model)
    before = evaluate(model, layout, start, dataset).loss
    update = _update(model, LocalTraining(epochs=3, batch_size=2, lr=0.05), dataset, start=start)
    assert evaluate(model, layout, start + update, dataset).loss < before


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("trained", [{0}, {1}, {2, 3}, {4, 5}, {5}, {0, 3, 4}, {1, 5}], ids=str)
def test_frozen_parameters_stay_and_the_fast_path_goes_round_them(trained, optimizer, batch):
    torch.manual_seed(0)
    model = FeedForward((6, 5, 4, 3))
    for index, part in enumerate(model.parameters()):
        part.requires_grad_(index in trained)
    before = [part.detach().clone() for part in model.parameters()]
    training = LocalTraining(epochs=3, batch_size=batch, optimizer=optimizer, lr=0.2)
    layout = Layout.of(model)
    job = TrainingJob(model, layout, layout.flatten(model), _dataset(), training)
    assert DensePath().takes(job)
    local_update(job)
    for index, part in enumerate(model.parameters()):
        assert index in trained or torch.equal(part, before[index])
    with in_float64():
        fast, plain = DensePath().run(doubled(job)), train_by_autograd(doubled(job))
    assert fast.size == sum(before[index].numel() for index in trained)
    assert_same_formula(fast, plain)


class Counting(nn.Module):
    """Keeps a count of its calls, as no layer that is averaged may."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 3)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, inputs):
        self.calls += 1
        return self.inner(inputs)


def test_a_buffer_that_training_changes_is_refused(monkeypatch):
    """Mutant: were buffers taken for unchanged, the client's state would stay behind unseen."""
    with pytest.raises(PlanError, match="'calls'"):
        _update(Counting(), LocalTraining(), _dataset())
    monkeypatch.setattr("fedavg.training.local.autograd._check_buffers", lambda *_: None)
    assert _update(Counting(), LocalTraining(), _dataset()).any()


@pytest.mark.parametrize("name", ["softmax", "mlp"])
def test_examples_that_the_model_does_not_take(name):
    model = build_model(name, (6,), 3, seed=0)
    layout = Layout.of(model)
    start = layout.flatten(model)
    for dataset, said in (
        (_dataset(features=5), "does not take a batch of 12 examples of shape 5.*RuntimeError"),
        (_dataset(classes=40), "a label 39, but the model has 3 outputs"),
    ):
        with pytest.raises(DataError, match=said):
            _update(model, LocalTraining(), dataset, start=start)
        with pytest.raises(DataError, match=said):
            evaluate(model, layout, start, dataset)
    with pytest.raises(LocalProtocolError, match="does not fill"):
        _update(model, LocalTraining(), _dataset(), start=start[1:])


@pytest.mark.parametrize(
    ("training", "steps"),
    [
        (LocalTraining(epochs=3), 3),
        (LocalTraining(epochs=2, batch_size=5), 6),
        (LocalTraining(epochs=2, batch_size=5, max_steps=4), 4),
        (LocalTraining(epochs=2, batch_size=12), 2),
        (LocalTraining(epochs=9, max_steps=1), 1),
        (LocalTraining(epochs=9, batch_size=5, steps=4), 4),
        (LocalTraining(steps=7), 7),
    ],
)
def test_steps_and_batches(training, steps):
    model = build_model("softmax", (6,), 3, seed=0)
    job = TrainingJob(model, Layout.of(model), np.zeros(21), _dataset(), training)
    batches = list(job.batches())
    assert len(batches) == steps
    if training.batch_size == 5:
        assert sorted(torch.cat(batches[:3]).tolist()) == list(range(12))
        assert {len(batch) for batch in batches[:3]} == {5, 2}
        assert batches[0].tolist() != batches[3].tolist()
    else:
        assert batches == [None] * steps


def test_the_schedule_reaches_the_steps():
    model = build_model("softmax", (6,), 3, seed=0)
    training, start = LocalTraining(schedule=Schedule("step")), np.zeros(21)
    early = _update(model, training, _dataset(), start=start, round_index=0)
    late = _update(model, training, _dataset(), start=start, round_index=9)
    np.testing.assert_allclose(late, early / 100, atol=1e-6)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("epochs", None),
        ("epochs", 1.5),
        ("batch_size", 0),
        ("max_steps", -1),
        ("lr", 0.0),
        ("lr", math.nan),
        ("l1", -1.0),
        ("l2", math.inf),
        ("proximal", -0.1),
        ("momentum", 1.0),
        ("momentum", math.nan),
        ("steps", 0),
        ("beta1", 1.0),
        ("beta2", -0.1),
        ("weight_decay", -1.0),
        ("weight_decay", math.nan),
        ("clip_gradient", 0.0),
        ("step_decay", 0.0),
        ("step_decay", 1.5),
        ("nesterov", True),
        ("optimizer", "sdg"),
        ("schedule", "step"),
    ],
)
def test_values_outside_their_range_are_named(field, value):
    with pytest.raises((ConfigError, PlanError), match=field):
        LocalTraining(**{field: value})


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"optimizer": "adam", "weight_decay": 0.1}, "adamw"),
        ({"steps": 3, "max_steps": 2}, "max_steps"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(fields, word):
    with pytest.raises(ConfigError, match=word):
        LocalTraining(**fields)


def test_one_full_batch_is_one_step_of_gradient_descent():
    """The equal-weight mean of one-step updates is a step on the mean of the clients' losses; by counts,
    a step on the union of their examples."""
    model = build_model("softmax", (6,), 3, seed=0)
    parts = [_dataset(count=n, seed=n) for n in (3, 8, 12)]
    start = np.random.default_rng(5).normal(size=21)
    training = LocalTraining(lr=0.4)
    updates = [_update(model, training, part, start=start) for part in parts]
    union = Dataset(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )
    mean = np.average(updates, axis=0, weights=[len(part) for part in parts])
    expected = -0.4 * _softmax_gradient(_as_matrix(start), union)
    np.testing.assert_allclose(_as_matrix(mean), expected, atol=1e-6)


def test_a_proximal_weight_of_zero_is_plain_training_and_a_great_one_stays():
    model, dataset = build_model("mlp", (6,), 3, seed=0), _dataset()
    start = Layout.of(model).flatten(model)
    several = {"epochs": 5, "batch_size": 4, "lr": 0.1}
    plain = _update(model, LocalTraining(**several), dataset, start=start)
    same = _update(model, LocalTraining(**several, proximal=0.0), dataset, start=start)
    near = _update(model, LocalTraining(**several, proximal=5.0), dataset, start=start)
    assert (plain == same).all()
    assert np.linalg.norm(near) < 0.7 * np.linalg.norm(plain)


def test_the_rate_falls_inside_a_round_and_starts_anew():
    """Three steps of a linear loss move by lr·(1 + ½ + ¼) in every round."""
    model, dataset = build_model("softmax", (6,), 3, seed=0), _dataset()
    training = LocalTraining(epochs=3, lr=1e-5, step_decay=0.5)
    start = np.zeros(21)
    update = _update(model, training, dataset, start=start)
    expected = -1e-5 * 1.75 * _softmax_gradient(np.zeros((3, 7)), dataset)
    np.testing.assert_allclose(_as_matrix(update), expected, rtol=2e-3, atol=1e-10)
    assert (update == _update(model, training, dataset, start=start, round_index=4)).all()


def test_evaluation_by_hand():
    """One input, two classes, logits (0, x): loss log(1+e^±x); the third example is wrong."""
    model = build_model("softmax", (1,), 2, seed=0)
    layout = Layout.of(model)
    dataset = Dataset(np.array([[2.0], [-1.0], [-3.0]]), np.array([1, 0, 1]))
    result = evaluate(model, layout, np.array([0.0, 1.0, 0.0, 0.0]), dataset)
    losses = [math.log1p(math.exp(-2)), math.log1p(math.exp(-1)), math.log1p(math.exp(3))]
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.loss == pytest.approx(np.mean(losses), rel=1e-5)


def test_evaluation_in_batches_is_the_whole(monkeypatch):
    model = build_model("mlp", (6,), 3, seed=0)
    layout = Layout.of(model)
    dataset, vector = _dataset(count=50), Layout.of(model).flatten(model)
    whole = evaluate(model, layout, vector, dataset)
    monkeypatch.setattr("fedavg.training.evaluation._EVALUATION_BATCH", 7)
    parts = evaluate(model, layout, vector, dataset)
    assert parts.accuracy == whole.accuracy
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)


def test_evaluation_switches_dropout_off():
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    layout = Layout.of(model)
    vector = layout.flatten(model)
    assert evaluate(model, layout, vector, _dataset()) == evaluate(
        model, layout, vector, _dataset()
    )


@pytest.mark.parametrize("fast", [True, False])
def test_a_pull_is_the_exact_step_of_its_proximal_term(fast, monkeypatch):
    """One step: argmin over v of strength/2·‖v − w‖² + ‖v − u‖²/(2·lr), u being plain SGD's step."""
    if not fast:
        monkeypatch.setattr("fedavg.training.loop.FAST_PATHS", [])
    model, dataset = build_model("mlp", (6,), 3, seed=0), _dataset()
    layout = Layout.of(model)
    start = layout.flatten(model)
    target = np.random.default_rng(5).normal(size=layout.size)
    training, common = LocalTraining(lr=0.3), {"round_index": 0, "num_rounds": 1, "seed": 0}
    alone = start + local_update(TrainingJob(model, layout, start, dataset, training, **common))
    drawn = start + local_update(
        TrainingJob(model, layout, start, dataset, training, **common, towards=(target, 2.0))
    )
    np.testing.assert_allclose(drawn, (alone + 0.6 * target) / 1.6, atol=1e-6)
