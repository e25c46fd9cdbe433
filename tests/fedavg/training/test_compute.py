"""Devices and precisions: what is there is used, what is not is refused, and all is put in one place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fedavg.data.dataset import Dataset
from fedavg.errors import ConfigError
from fedavg.models.layout import Layout
from fedavg.optimizers.custom import Batch
from fedavg.optimizers.local import LocalTraining
from fedavg.training import compute
from fedavg.training.compute import Compute
from fedavg.training.evaluation import Scoring, evaluate
from fedavg.training.job import TrainingJob
from fedavg.training.local import autograd


def _has(monkeypatch, *kinds):
    monkeypatch.setattr(compute, "_is_there", lambda kind: kind in kinds)


@pytest.mark.parametrize(
    ("there", "best"), [((), "cpu"), (("mps",), "mps"), (("cuda", "mps"), "cuda")]
)
def test_auto_takes_the_first_that_is_there(there, best, monkeypatch):
    _has(monkeypatch, *there)
    assert Compute("auto").device == best
    assert Compute("auto").plain == (best == "cpu")


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there_is_refused(device, monkeypatch):
    _has(monkeypatch)
    with pytest.raises(ConfigError, match=rf"'{device}' is not available.*'auto'"):
        Compute(device)
    _has(monkeypatch, "cuda", "mps")
    assert Compute(device).torch_device == torch.device(device)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"device": "gpu"}, "no device 'gpu'; there are cpu, cuda, mps, auto. Do you mean 'cuda'"),
        ({"device": "cua"}, "Do you mean 'cuda'"),
        ({"precision": "half"}, "precision"),
    ],
)
def test_what_is_no_device_or_precision_is_refused(fields, said):
    with pytest.raises(ConfigError, match=said):
        Compute(**fields)


def test_a_device_is_asked_of_torch():
    assert compute._is_there("cuda") == torch.cuda.is_available()
    assert compute._is_there("mps") == torch.backends.mps.is_available()


class Sole(nn.Linear):
    """Says where its parameters and its inputs are."""

    def forward(self, inputs):
        Sole.seen.append((str(self.weight.device), str(inputs.device)))
        return super().forward(inputs)

    seen: list = []  # noqa: RUF012 - a list for the test


def _on_meta():
    """A device that computes shapes only; it stands for any that is not the CPU."""
    where = Compute()
    object.__setattr__(where, "device", "meta")
    return where


def test_the_model_and_every_batch_are_on_the_device():
    """Forward, loss, backward and step, on torch's "meta" device: a tensor left on the CPU would raise."""
    Sole.seen.clear()
    model, data = Sole(6, 3), Dataset(np.ones((12, 6)), np.arange(12) % 3, weights=np.ones(12))
    training = LocalTraining(batch_size=5, optimizer="adam", l2=0.1)
    job = TrainingJob(model, Layout.of(model), np.zeros(21), data, training, compute=_on_meta())
    job.compute.place(model)
    parameters = list(model.parameters())
    batches = list(autograd._batches(job))
    assert [len(batch.labels) for batch in batches] == [5, 5, 2]
    assert all(isinstance(batch, Batch) for batch in batches)
    for batch in batches:
        gradients = autograd._gradients(job, parameters, batch, 1.0, first=False)
        assert {str(part.device) for part in gradients} == {"meta"}
    assert Sole.seen == [("meta", "meta")] * 3
    moved = autograd._ready(gradients, parameters, 1.0)
    autograd.Descent(training, 0.1, [part.detach().clone() for part in parameters]).step(
        [part.data for part in parameters], moved
    )


def test_a_model_comes_back_to_the_cpu():
    model = nn.Linear(2, 2)
    _on_meta().place(model)
    assert {str(part.device) for part in model.parameters()} == {"meta"}
    model = model.to_empty(device="cpu")
    Compute().place(model)
    assert {str(part.device) for part in model.parameters()} == {"cpu"}


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_real_device_gives_what_the_cpu_gives(device):
    """Runs where there is one: to the rounding of float32 products."""
    if not compute._is_there(device):
        pytest.skip(f"no {device} here")
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(40, 6)), rng.integers(0, 3, 40))
    model, training = nn.Linear(6, 3), LocalTraining(epochs=2, batch_size=8)
    layout = Layout.of(model)
    start = rng.normal(size=layout.size)
    jobs = [
        TrainingJob(model, layout, start, data, training, compute=Compute(name))
        for name in ("cpu", device)
    ]
    cpu, other = (autograd.train_by_autograd(job) for job in jobs)
    np.testing.assert_allclose(other, cpu, atol=1e-4)
    scores = [
        evaluate(model, layout, start, data, Scoring(compute=Compute(name)))
        for name in (device, "cpu")
    ]
    assert scores[0].loss == pytest.approx(scores[1].loss, rel=1e-4)


def test_seeds_hold_for_a_while_only():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with Compute().seeded(7):
        inside = torch.rand(1)
    assert torch.equal(torch.rand(1), expected)
    with Compute().seeded(7):
        assert torch.equal(torch.rand(1), inside)
