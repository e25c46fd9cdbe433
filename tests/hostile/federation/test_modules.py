"""Modules, losses and metrics of a user's own that write to what they are given, or remember it.

A module whose first layer was `ReLU(inplace=True)` overwrote the caller's own arrays, and a running mean in
an attribute carried one client's examples into the next client's update.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fedavg
import fedavg.client.trial
import fedavg.metrics.suite
import fedavg.training.evaluation
import fedavg.training.local.autograd
from fedavg.errors import PlanError
from fedavg.models.layout import Layout
from fedavg.training.job import TrainingJob
from fedavg.training.local.autograd import train_by_autograd
from fedavg.training.local.batches import served
from tests.hostile.mutants import FOUND, without


class Halving(nn.Linear):
    """Writes to its input, as in `x.sub_(mean).div_(deviation)`."""

    def forward(self, inputs):
        return super().forward(inputs.mul_(0.5))


class Careful(nn.Linear):
    """The same function of its input, which it leaves alone."""

    def forward(self, inputs):
        return super().forward(inputs * 0.5)


def greedy(labels, predicted):
    """A metric that writes to both of its arrays."""
    labels[:] = 0
    predicted[:] = 0
    return 0.0


def forgetting(labels, predicted):
    return float(labels.sum())


def zeroing(model, examples, context):
    """A client loop that writes to the examples that it is given."""
    del context
    with torch.no_grad():
        model.weight.add_(examples.features.mean(0), alpha=0.1)
        examples.features.zero_()
        examples.labels.zero_()


def _data(seed=0, count=30):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, 4)).astype(np.float32)
    return fedavg.Dataset(x, np.arange(count) % 3)


def _plan(**training):
    return fedavg.Plan(
        cohort=fedavg.PoissonCohort(1.0),
        encoding=fedavg.FixedPoint(50.0, 30, rounding="nearest"),
        noise=None,
        secure_sum=fedavg.InsecurePlain(),
        local_training=fedavg.LocalTraining(**({"epochs": 2, "lr": 0.3} | training)),
        server_optimizer=fedavg.FedAvg(),
    )


def _run(model, *, scoring=None, rounds=3, **training):
    clients = [_data(seed) for seed in range(4)]
    held = _data(9)
    before = [(data.features.copy(), data.labels.copy()) for data in (*clients, held)]
    run = fedavg.Federation(model, clients, _plan(**training), evaluate=held, scoring=scoring)
    results = list(run.run(rounds))
    for data, (features, labels) in zip((*clients, held), before, strict=True):
        np.testing.assert_array_equal(data.features, features)
        np.testing.assert_array_equal(data.labels, labels)
    return run.released, results


def _weights(kind):
    torch.manual_seed(0)
    return kind(4, 3)


@pytest.mark.parametrize("batch_size", [None, 7])
def test_what_a_module_writes_to_its_input_is_seen_by_no_later_step(batch_size):
    (one, first), (other, second) = (
        _run(_weights(kind), batch_size=batch_size) for kind in (Halving, Careful)
    )
    np.testing.assert_array_equal(one, other)
    assert [result.loss for result in first] == [result.loss for result in second]


def test_mutant_that_trains_on_the_callers_own_arrays(monkeypatch):
    def shared(features, targets, batches, *, own=False):
        del own
        return served(features, targets, batches)

    monkeypatch.setattr(fedavg.training.local.autograd, "served", shared)
    # Steps of a data set that is not aligned are on one copy, which the first step changes.
    with pytest.raises(FOUND):
        test_what_a_module_writes_to_its_input_is_seen_by_no_later_step(None)


def _score_once():
    data, model = _data(), _weights(Halving)
    before, layout = data.features.copy(), Layout.of(model)
    with torch.no_grad():
        score = fedavg.training.evaluation.predict
        score(model, layout, layout.flatten(model), data, fedavg.Scoring())
    np.testing.assert_array_equal(data.features, before)


def test_what_a_module_writes_to_its_input_is_seen_by_no_later_scoring():
    _score_once()


def test_mutant_that_scores_the_callers_own_arrays(monkeypatch):
    without(
        monkeypatch,
        fedavg.training.evaluation,
        "predict",
        "torch.tensor(dataset.features[rows], device=compute.torch_device)",
        "torch.from_numpy(dataset.features[rows])",
    )
    with pytest.raises(FOUND):
        _score_once()


def test_a_client_loop_has_examples_of_its_own():
    data, model = _data(), _weights(nn.Linear)
    before, layout = (data.features.copy(), data.labels.copy()), Layout.of(model)
    training = fedavg.LocalTraining(loop=zeroing)
    job = TrainingJob(model, layout, layout.flatten(model), data, training)
    one, other = train_by_autograd(job), train_by_autograd(job)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(data.features, before[0])
    np.testing.assert_array_equal(data.labels, before[1])


def test_mutant_that_gives_a_loop_the_callers_own_arrays(monkeypatch):
    without(
        monkeypatch,
        fedavg.training.local.autograd,
        "_on_device",
        "torch.tensor(job.dataset.features, device=device)",
        "torch.from_numpy(job.dataset.features)",
    )
    with pytest.raises(FOUND):
        test_a_client_loop_has_examples_of_its_own()


def test_what_a_metric_writes_is_seen_by_no_other_metric_and_no_later_round():
    scoring = fedavg.Scoring(metrics=(greedy, forgetting))
    _, results = _run(_weights(nn.Linear), scoring=scoring)
    for result in results:
        assert {figure.name: figure.value for figure in result.figures}["forgetting"] == 30


def test_mutant_that_hands_a_metric_the_evaluation_set(monkeypatch):
    without(monkeypatch, fedavg.metrics.suite, "_named", "predictions.copy()", "predictions")
    with pytest.raises(FOUND):
        test_what_a_metric_writes_is_seen_by_no_other_metric_and_no_later_round()


class Running(nn.Linear):
    """Subtracts a running mean of its inputs that is no buffer."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.centre = torch.zeros(sizes[0])

    def forward(self, inputs):
        if self.training:
            self.centre = 0.9 * self.centre + 0.1 * inputs.mean(0)
        return super().forward(inputs - self.centre)


class Counting(nn.Linear):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.calls = 0

    def forward(self, inputs):
        self.calls += 1
        return super().forward(inputs) / self.calls


class Written(nn.Linear):
    """Keeps the running mean in a frozen parameter."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.centre = nn.Parameter(torch.zeros(sizes[0]), requires_grad=False)

    def forward(self, inputs):
        if self.training:
            self.centre.data = 0.9 * self.centre.data + 0.1 * inputs.mean(0)
        return super().forward(inputs - self.centre)


class Growing(nn.Linear):
    """Makes a parameter when it is first used, which no vector holds."""

    def forward(self, inputs):
        if not hasattr(self, "scale"):
            self.scale = nn.Parameter(torch.ones(3))
        return super().forward(inputs) * self.scale


REMEMBERING = {
    Running: "another update the second time",
    Counting: "another update the second time",
    Written: "the parameter 'centre'",
    Growing: "the parameter 'scale'",
}


@pytest.mark.parametrize("kind", REMEMBERING)
def test_a_module_that_remembers_examples_is_refused_before_any_charge(kind):
    with pytest.raises(PlanError, match=f"{REMEMBERING[kind]}.*remembers what it has seen"):
        _run(_weights(kind))


@pytest.mark.parametrize("kind", REMEMBERING)
def test_mutant_trains_it_and_the_clients_order_decides(kind, monkeypatch):
    monkeypatch.setattr(fedavg.client.trial, "_check_memory", lambda *_: None)
    with pytest.raises(FOUND):
        test_a_module_that_remembers_examples_is_refused_before_any_charge(kind)


class Showing(nn.Linear):
    """Keeps its last outputs to be looked at, and never reads them."""

    def forward(self, inputs):
        self.shown = super().forward(inputs)
        return self.shown


class Chancy(nn.Linear):
    """Draws noise from a generator that no seed of a run reaches."""

    def forward(self, inputs):
        noise = np.random.default_rng().standard_normal(inputs.shape)
        return super().forward(inputs + torch.from_numpy(noise).float())


@pytest.mark.parametrize("kind", [Showing, Chancy])
def test_what_is_no_memory_is_accepted(kind):
    assert np.isfinite(_run(_weights(kind))[0]).all()


class Handle(nn.Module):
    """A module whose function refers to the caller's copy, as a patched `forward` does."""

    def __init__(self, given):
        super().__init__()
        self.own = _weights(nn.Linear)
        self.function = given.forward

    def __deepcopy__(self, memo):
        return Handle(self.function.__self__)

    def forward(self, inputs):
        return self.function(inputs)


def test_a_loss_of_another_modules_parameters_is_refused():
    """Every round trained nothing, and said that it had finished."""
    with pytest.raises(PlanError, match="functions that hold another copy of the model"):
        _run(Handle(nn.Linear(4, 3)))
