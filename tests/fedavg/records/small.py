"""Small silos, models and plans for the tests of records: seconds, not minutes."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from fedavg.data.dataset import Dataset
from fedavg.models.layout import Layout
from fedavg.optimizers.server import FedAvg
from fedavg.privacy.noise import DistributedGaussian
from fedavg.records.clipped.gradients import Units
from fedavg.records.federation import RecordFederation
from fedavg.records.privacy import RecordPlan, RecordPrivacy
from fedavg.records.resolution import resolve_records
from fedavg.sums.plain import InsecurePlain

PRIVACY = {"unit": "record", "rate": 0.25, "clip": 1.0, "max_units": 100, "noise_multiplier": 1.0}
WIDTH, CLASSES = 5, 3


def records(count: int, seed: int) -> Dataset:
    """Three blobs in five dimensions."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    features = np.eye(WIDTH)[labels] * 3 + rng.standard_normal((count, WIDTH))
    return Dataset(features, labels)


def silos(count: int = 4, size: int = 40) -> dict[int, Dataset]:
    return {10 + i: records(size + i, i) for i in range(count)}


def privacy(**changes) -> RecordPrivacy:
    return RecordPrivacy(**PRIVACY | changes)


def plan(*, steps: int = 3, divisor: float = 40.0, **changes) -> RecordPlan:
    """A plan with a sum in the clear; fields of `RecordPrivacy` may be among the changes."""
    own = {key: changes.pop(key) for key in list(changes) if key in RecordPrivacy.__struct_fields__}
    usual = {"secure_sum": InsecurePlain(dropout_rate=0.0), "server_optimizer": FedAvg(lr=1.0)}
    parts = usual | {"micro_batch": 16} | changes
    return RecordPlan(privacy=privacy(**own), steps=steps, divisor=divisor, **parts)


def softmax() -> nn.Module:
    model = nn.Linear(WIDTH, CLASSES)
    with torch.no_grad():
        model.weight.copy_(torch.linspace(-1, 1, WIDTH * CLASSES).reshape(CLASSES, WIDTH))
        model.bias.zero_()
    return model


LENGTH = WIDTH * CLASSES + CLASSES


def resolved(count: int = 4, length: int = LENGTH, **changes):
    return resolve_records(plan(**changes), silos=count, vector_length=length)


def federation(given=None, model=None, **changes) -> RecordFederation:
    more = {key: changes.pop(key) for key in ("ledgers", "silent", "evaluate") if key in changes}
    return RecordFederation(model or softmax(), given or silos(), plan(**changes), **more)


def no_noise(monkeypatch) -> None:
    monkeypatch.setattr(
        DistributedGaussian, "sample", lambda _self, _stddev, size: np.zeros(size, np.int64)
    )


def units_of(features: np.ndarray, labels: np.ndarray, weights: np.ndarray, drawn=None) -> Units:
    """Units from arrays [units, rows, …]."""
    chosen = np.ones(len(features), bool) if drawn is None else np.asarray(drawn)
    return Units(
        torch.from_numpy(np.asarray(features, np.float32)),
        torch.from_numpy(labels),
        torch.from_numpy(np.asarray(weights, np.float32)),
        torch.from_numpy(chosen),
    )


def one_by_one(model: nn.Module, loss, units: Units) -> np.ndarray:
    """The gradients of units by plain autograd, one unit after the other, float64[units, d]."""
    layout, found = Layout.of(model), []
    named = dict(model.named_parameters())
    parameters = [named[name] for name in layout.names]
    for features, labels, weights in zip(units.features, units.labels, units.weights, strict=True):
        total = (loss.each(model(features), labels) * weights).sum()
        parts = torch.autograd.grad(total, parameters)
        found.append(np.concatenate([part.double().numpy().ravel() for part in parts]))
    return np.array(found)


def shortened(gradients: np.ndarray, clip: float) -> np.ndarray:
    norms = np.linalg.norm(gradients, axis=1, keepdims=True)
    return gradients * np.minimum(1, clip / np.maximum(norms, 1e-300))
