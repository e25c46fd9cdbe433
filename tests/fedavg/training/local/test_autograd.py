"""The autograd loop: any module and precision, weights, loops of one's own, and what it says of failures."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fedavg.data.dataset import Dataset
from fedavg.errors import ConfigError, DataError, PlanError
from fedavg.losses import CrossEntropy
from fedavg.models.layout import Layout
from fedavg.models.zoo import FeedForward
from fedavg.optimizers.custom import ImportedLoop, ImportedStep
from fedavg.optimizers.local import LocalTraining
from fedavg.parts import Part, register
from fedavg.training.compute import Compute, in_mode
from fedavg.training.job import TrainingJob
from fedavg.training.local import autograd
from fedavg.training.local.autograd import train_by_autograd
from fedavg.training.loop import local_update


def _data(count=12, features=6, classes=3, seed=0, weights=None):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(count, features)), rng.integers(0, classes, count)
    return Dataset(x, y, weights=weights)


def _job(model, training=None, data=None, start=None, **options):
    layout = Layout.of(model)
    begun = (
        np.random.default_rng(99).normal(scale=0.3, size=layout.size) if start is None else start
    )
    return TrainingJob(
        model, layout, begun, data or _data(), training or LocalTraining(), **options
    )


# Weights.


@pytest.mark.parametrize("run", [local_update, train_by_autograd])
def test_a_weight_of_two_counts_an_example_twice_and_zero_not_at_all(run):
    """Δ of one full batch is −lr·Σ wᵢ·∇ℓᵢ ÷ n."""
    model, training = FeedForward((6, 3)), LocalTraining(lr=0.3)
    data = _data(6)
    alone = [run(_job(model, training, data.subset(np.array([i])))) for i in range(6)]
    weights = np.array([2.0, 0.0, 1.0, 0.5, 0.0, 3.0])
    weighted = Dataset(data.features, data.labels, weights=weights)
    found = run(_job(model, training, weighted))
    np.testing.assert_allclose(found, np.tensordot(weights, alone, 1) / 6, atol=1e-6)


@pytest.mark.parametrize("run", [local_update, train_by_autograd])
def test_weights_of_examples_and_of_classes_multiply(run):
    model, data = FeedForward((6, 3)), _data(6, weights=[1, 2, 1, 3, 1, 1])
    both = LocalTraining(loss=CrossEntropy(class_weights=(1.0, 4.0, 0.5)))
    joint = np.array([1, 2, 1, 3, 1, 1]) * np.array([1.0, 4.0, 0.5])[data.labels]
    found = run(_job(model, both, data))
    merged = run(_job(model, LocalTraining(), Dataset(data.features, data.labels, weights=joint)))
    np.testing.assert_allclose(found, merged, atol=1e-7)


def test_batches_keep_their_examples_weights():
    """In batches of 4, one step each: an example with weight 0 changes nothing, wherever it falls."""
    model, training = FeedForward((6, 3)), LocalTraining(batch_size=4, lr=0.1)
    data = _data(12)
    weights = np.ones(12)
    weights[5] = 0
    other = data.features.copy()
    other[5] += 10
    first = train_by_autograd(
        _job(model, training, Dataset(data.features, data.labels, weights=weights))
    )
    second = train_by_autograd(_job(model, training, Dataset(other, data.labels, weights=weights)))
    np.testing.assert_array_equal(first, second)


# Precisions and gradients.


class Cast(nn.Module):
    """A linear layer in a type of its own."""

    def __init__(self, dtype, inputs=6, outputs=3):
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Linear(inputs, outputs).to(dtype)

    def forward(self, inputs):
        return self.inner(inputs.to(self.inner.weight.dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_small_steps_of_half_precision_models_are_not_lost(dtype):
    """Mutant: stepped in its own type, a weight of 1 does not move by 1e-4 in bfloat16."""
    start, training = np.ones(21), LocalTraining(epochs=50, lr=1e-4)
    found = train_by_autograd(_job(Cast(dtype), training, start=start))
    exact = train_by_autograd(_job(Cast(torch.float32), training, start=start))
    assert np.abs(exact).max() > 1e-4
    assert np.linalg.norm(found - exact) < 0.05 * np.linalg.norm(exact)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_half_precision_parameters_have_finite_steps_of_every_rule(optimizer):
    """Adam's 1e-8 is zero in float16: divided by, it would be infinite."""
    training = LocalTraining(optimizer=optimizer, lr=1e-3)
    found = train_by_autograd(_job(Cast(torch.float16), training))
    assert np.isfinite(found).all()
    assert found.any()


class Words(nn.Module):
    """An embedding, with sparse gradients or dense ones."""

    def __init__(self, sparse):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(50, 4, sparse=sparse)
        self.head = nn.Linear(24, 3)

    def forward(self, inputs):
        return self.head(self.table((inputs.abs() * 10).long().clamp(0, 49)).flatten(1))


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
@pytest.mark.parametrize("extra", [{}, {"l2": 0.1, "clip_gradient": 0.5}])
def test_sparse_gradients_train_like_dense_ones(optimizer, extra):
    training = LocalTraining(epochs=3, batch_size=5, lr=0.01, optimizer=optimizer, **extra)
    sparse, dense = (train_by_autograd(_job(Words(kind), training)) for kind in (True, False))
    assert sparse.any()
    np.testing.assert_allclose(sparse, dense, atol=1e-7)


class Shared(nn.Module):
    """The gradients of both offsets are one tensor, and that of `spread` is one number, expanded."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Linear(6, 3)
        self.one, self.two = nn.Parameter(torch.ones(3)), nn.Parameter(torch.full((3,), 2.0))
        self.spread = nn.Parameter(torch.ones(4))

    def forward(self, inputs):
        return self.inner(inputs) + (self.one + self.two) * self.spread.sum()


@pytest.mark.parametrize("extra", [{"l2": 0.5}, {"clip_gradient": 0.01}, {"l1": 0.1, "l2": 0.1}])
def test_gradients_that_share_memory_are_changed_apart(extra):
    """Penalties work in place: on one tensor for two parameters, each would get the other's."""
    model, training = Shared(), LocalTraining(lr=0.1, **extra)
    job = _job(model, training)
    found = train_by_autograd(job)
    double, data = Shared().double(), _data()
    job.layout.load_vector(double, job.start)
    loss = nn.functional.cross_entropy(
        double(torch.from_numpy(data.features).double()), torch.from_numpy(data.labels)
    )
    parts = list(double.parameters())
    slopes = [slope.clone() for slope in torch.autograd.grad(loss, parts)]
    for part, slope in zip(parts, slopes, strict=True):
        slope.add_(part.detach(), alpha=extra.get("l2", 0))
        slope.add_(part.detach().sign(), alpha=extra.get("l1", 0))
    norm = torch.sqrt(sum(slope.square().sum() for slope in slopes))
    factor = min(1.0, float(extra.get("clip_gradient", np.inf) / norm))
    expected = torch.cat([-0.1 * factor * slope.flatten() for slope in slopes]).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scale", [1.0, 2.0**16])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 49, 600])
def test_gradients_of_a_batch_are_those_of_its_mean_loss_to_the_bit(count, scale, weighted):
    rng = np.random.default_rng(count)
    weights = rng.uniform(0.5, 2, count) if weighted else None
    job = _job(nn.Linear(6, 3), data=_data(count, weights=weights))
    (batch,) = autograd._batches(job)
    parameters = list(job.model.parameters())
    found = autograd._gradients(job, parameters, batch, scale, first=True)
    mean = batch.mean(batch.loss.each(job.model(batch.features), batch.labels))
    for one, other in zip(found, torch.autograd.grad(mean * scale, parameters), strict=True):
        assert torch.equal(one, other)


def test_a_loss_that_reduces_the_examples_itself_is_minimised(monkeypatch):
    """A stranger's part may return the mean where the interface asks for each example's loss."""
    expected = train_by_autograd(_job(FeedForward((6, 3))))
    each = CrossEntropy.each
    monkeypatch.setattr(CrossEntropy, "each", lambda *given: each(*given).mean())
    found = train_by_autograd(_job(FeedForward((6, 3))))
    np.testing.assert_array_equal(found, expected)


def test_parameters_that_a_batch_does_not_reach_stay():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(6, 3), nn.Linear(6, 3)

        def forward(self, inputs):
            return self.used(inputs)

    model = Half()
    found = Layout.of(model).unflatten(train_by_autograd(_job(model)))
    assert found["used.weight"].any()
    assert not found["unused.weight"].any()


# Outputs and what goes wrong.


class Shaped(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.inner, self.change = nn.Linear(6, 3), change

    def forward(self, inputs):
        return self.change(self.inner(inputs))


def test_one_output_may_be_a_vector_and_never_broadcasts():
    """[n] − [n, 1] would be [n, n]: the model would learn the mean without a word."""
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(9, 6)), rng.normal(size=9), "numbers")
    wide, flat = (Shaped(change) for change in (lambda o: o[:, :1], lambda o: o[:, 0]))
    flat.load_state_dict(wide.state_dict())
    np.testing.assert_array_equal(
        train_by_autograd(_job(wide, data=data)), train_by_autograd(_job(flat, data=data))
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda o: (o, o), "returns a tuple, not a tensor"),
        (lambda o: o[:, :, None], r"shape \[12, 3, 1\] for 12 examples"),
        (lambda o: o[:5], r"shape \[5, 3\] for 12 examples"),
        (lambda o: o.detach(), "does not depend on any parameter"),
        (lambda o: o.unknown, r"batch of 12 examples of shape 6: it raised AttributeError"),
        (lambda o: o @ o, r"it raised RuntimeError"),
        (lambda o: o.double() @ o.T, r"dtype.*model.float\(\)"),
    ],
)
def test_what_cannot_train_is_said_with_its_reason(change, said):
    with pytest.raises((DataError, PlanError), match=said):
        train_by_autograd(_job(Shaped(change)))


def test_a_loss_of_another_kind_of_labels_is_refused():
    with pytest.raises(DataError, match="'mse' needs labels of kind numbers.*'cross-entropy'"):
        train_by_autograd(_job(nn.Linear(6, 3), LocalTraining(loss="mse")))


# Modes and buffers.


class AlwaysFrozen(nn.BatchNorm1d):
    """Reads its statistics only: a common way to use a pretrained backbone."""

    def train(self, mode=True):  # noqa: FBT002 - torch's signature
        del mode
        return super().train(False)


class Normed(nn.Module):
    def __init__(self, norm):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.norm, self.b = nn.Linear(6, 8), norm, nn.Linear(8, 3)

    def forward(self, inputs):
        return self.b(torch.relu(self.norm(self.a(inputs))))


def _read_only():
    norm = nn.BatchNorm1d(8).requires_grad_(False)
    norm.running_mean.fill_(0.3)
    return norm.eval()


@pytest.mark.parametrize("norm", [AlwaysFrozen(8), _read_only()])
def test_batchnorm_whose_statistics_are_read_only_trains(norm):
    model = Normed(norm)
    before = [part.training for part in model.modules()]
    assert train_by_autograd(_job(model)).any()
    assert [part.training for part in model.modules()] == before


@pytest.mark.parametrize(
    ("norm", "owner"),
    [(nn.BatchNorm1d(8), "BatchNorm1d"), (nn.BatchNorm1d(8).requires_grad_(False), "BatchNorm1d")],
)
def test_batchnorm_whose_statistics_move_is_refused_by_name(norm, owner):
    with pytest.raises(PlanError, match=rf"'norm.running_mean' of {owner}.*GroupNorm.*\.eval\(\)"):
        train_by_autograd(_job(Normed(norm)))


def test_buffers_of_nan_or_of_flags_that_stay_are_no_hindrance():
    """NaN is not equal to itself, and yet it has not changed."""

    class Marked(nn.Linear):
        def __init__(self):
            super().__init__(6, 3)
            self.register_buffer("missing", torch.tensor(float("nan")))
            self.register_buffer("mask", torch.tensor([True, False]), persistent=False)
            self.register_buffer("empty", torch.zeros(0))

    assert train_by_autograd(_job(Marked())).any()


def test_modes_are_restored_when_training_fails():
    model = Normed(_read_only())
    model.a.eval()
    before = [part.training for part in model.modules()]
    with contextlib.suppress(ZeroDivisionError), in_mode(model, training=True):
        assert [part.training for part in model.modules()] == before
        raise ZeroDivisionError
    with in_mode(model, training=False):
        assert not any(part.training for part in model.modules())
    assert [part.training for part in model.modules()] == before


def test_a_module_in_evaluation_mode_is_trained_in_training_mode():
    """Dropout shows: in evaluation mode two seeds would give one update."""
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3)).eval()
    one, two = (train_by_autograd(_job(model, seed=seed)) for seed in (1, 2))
    assert (one != two).any()
    assert not model.training


# Mixed precision.


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_trains_like_float32_to_its_rounding(precision):
    class Seen(nn.Linear):
        kinds = ()

        def forward(self, inputs):
            outputs = super().forward(inputs)
            Seen.kinds += (outputs.dtype,)
            return outputs

    torch.manual_seed(0)
    model, training = Seen(6, 3), LocalTraining(epochs=4, batch_size=5, lr=0.1)
    exact = train_by_autograd(_job(model, training))
    mixed = train_by_autograd(_job(model, training, compute=Compute(precision=precision)))
    assert getattr(torch, precision) in Seen.kinds
    assert 0 < np.linalg.norm(mixed - exact) < 0.02 * np.linalg.norm(exact)
    assert all(part.dtype == torch.float32 for part in model.parameters())


def test_small_gradients_do_not_vanish_in_float16():
    """A loss of 1e-7 has no float16 gradient: scaled by 2^16 it has one."""
    torch.manual_seed(0)
    model, data = nn.Linear(6, 3), _data(weights=np.full(12, 1e-7))
    training = LocalTraining(lr=1e6)
    exact = train_by_autograd(_job(model, training, data))
    mixed = train_by_autograd(_job(model, training, data, compute=Compute(precision="float16")))
    assert np.linalg.norm(mixed - exact) < 0.02 * np.linalg.norm(exact)


# Steps and loops of one's own.


def mixed_up(model, batch):
    """A step that blends neighbours (mixup), and adds a penalty of its own."""
    order = torch.arange(len(batch.labels)).roll(1)
    outputs = model(0.7 * batch.features + 0.3 * batch.features[order])
    each = 0.7 * batch.loss.each(outputs, batch.labels)
    each = each + 0.3 * batch.loss.each(outputs, batch.labels[order])
    return batch.mean(each) + 0.01 * model.weight.square().sum()


def plain_step(model, batch):
    return batch.mean(batch.loss.each(model(batch.features), batch.labels))


def vector_step(model, batch):
    return batch.loss.each(model(batch.features), batch.labels)


def number_step(model, batch):
    return 1.5


def failing_step(model, batch):
    raise KeyError("no such key")


def own_loop(model, examples, context):
    """Two steps of torch's own Adam, on halves of the examples."""
    optimizer = torch.optim.SGD(model.parameters(), lr=context.lr, momentum=0.5)
    for rows in (slice(0, 6), slice(6, 12)):
        batch = examples.batch(rows)
        optimizer.zero_grad()
        batch.mean(batch.loss.each(model(batch.features), batch.labels)).backward()
        optimizer.step()


def grows(model, examples, context):
    model.extra = nn.Parameter(torch.ones(1))


def thaws(model, examples, context):
    with torch.no_grad():
        model.bias.add_(1)


def fails(model, examples, context):
    raise KeyError("no such column")


HERE = __name__


def test_a_step_of_ones_own_is_descended_by_our_optimiser():
    training = LocalTraining(epochs=2, batch_size=5, optimizer="adam", lr=0.01)
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    own = train_by_autograd(_job(model, LocalTraining(**_fields(training), step=plain_step)))
    np.testing.assert_array_equal(own, train_by_autograd(_job(model, training)))
    other = train_by_autograd(_job(model, LocalTraining(**_fields(training), step=mixed_up)))
    assert (other != own).any()


def _fields(training):
    names = ("epochs", "batch_size", "optimizer", "lr")
    return {name: getattr(training, name) for name in names}


def test_a_step_returns_one_number():
    with pytest.raises(PlanError, match=r"one number to minimise, not shape \[12\]"):
        train_by_autograd(_job(nn.Linear(6, 3), LocalTraining(step=vector_step)))
    with pytest.raises(PlanError, match="return a tensor, the one number to minimise, not a float"):
        train_by_autograd(_job(nn.Linear(6, 3), LocalTraining(step=number_step)))
    with pytest.raises(DataError, match="the training step raised KeyError: 'no such key'"):
        train_by_autograd(_job(nn.Linear(6, 3), LocalTraining(step=failing_step)))


def test_a_loop_of_ones_own_is_measured_by_us():
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    job = _job(model, LocalTraining(lr=0.2, loop=own_loop))
    found = train_by_autograd(job)
    again = nn.Linear(6, 3)
    job.layout.load_vector(again, job.start)
    data = job.dataset
    optimizer = torch.optim.SGD(again.parameters(), lr=0.2, momentum=0.5)
    for rows in (slice(0, 6), slice(6, 12)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(
            again(torch.from_numpy(data.features[rows])), torch.from_numpy(data.labels[rows])
        ).backward()
        optimizer.step()
    np.testing.assert_allclose(found, job.layout.flatten(again) - job.start, atol=1e-7)


@register("client_loop")
class Steps(Part, frozen=True, tag="steps-of-the-test"):
    """A loop with a field: it travels in plans like any other part."""

    count: int = 1

    def __call__(self, model, examples, context):
        for _ in range(self.count):
            own_loop(model, examples, context)


def test_a_loop_may_be_a_part_of_a_plan():
    job = _job(nn.Linear(6, 3), LocalTraining(loop=Steps(2)))
    once = replace(job, training=LocalTraining(loop={"kind": "steps-of-the-test"}))
    assert (train_by_autograd(job) != train_by_autograd(once)).any()
    assert LocalTraining(loop=own_loop).loop == ImportedLoop(f"{HERE}:own_loop")
    assert LocalTraining(step=f"{HERE}:plain_step").step == ImportedStep(f"{HERE}:plain_step")


def test_what_a_loop_may_not_do_is_refused():
    frozen = nn.Linear(6, 3)
    frozen.bias.requires_grad_(False)
    with pytest.raises(PlanError, match="frozen or stay at the client"):
        train_by_autograd(_job(frozen, LocalTraining(loop=thaws)))
    with pytest.raises(PlanError, match="added, removed or reshaped"):
        train_by_autograd(_job(nn.Linear(6, 3), LocalTraining(loop=grows)))
    with pytest.raises(DataError, match="the client loop raised KeyError: 'no such column'"):
        train_by_autograd(_job(nn.Linear(6, 3), LocalTraining(loop=fails)))
    normed = Normed(nn.BatchNorm1d(8))
    with pytest.raises(PlanError, match="running_mean"):
        train_by_autograd(_job(normed, LocalTraining(loop=own_loop)))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"l2": 0.1}, "l1, l2, proximal"),
        ({"clip_gradient": 1.0}, "clip_gradient"),
        ({"weight_decay": 0.1}, "weight_decay"),
        ({"step_decay": 0.5}, "step_decay"),
        ({"step": plain_step}, "step"),
    ],
)
def test_settings_that_a_loop_of_ones_own_would_leave_out_are_refused(fields, said):
    with pytest.raises(ConfigError, match=said):
        LocalTraining(loop=own_loop, **fields)


@pytest.mark.parametrize("given", [lambda m, b: None, 3, "no path", {"kind": "nobody"}])
def test_what_is_no_loop_or_step_is_refused(given):
    with pytest.raises(ConfigError):
        LocalTraining(loop=given)
    with pytest.raises(ConfigError):
        LocalTraining(step=given)
