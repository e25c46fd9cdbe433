"""Every fast path gives what the autograd loop gives, up to rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from fedavg.data.dataset import Dataset
from fedavg.models.layout import Layout
from fedavg.models.zoo import FeedForward, build_model
from fedavg.optimizers.local import LocalTraining
from fedavg.training import loop
from fedavg.training.compute import Compute
from fedavg.training.fast import FAST_PATHS
from fedavg.training.fast.convolutional import ConvolutionalPath
from fedavg.training.job import TrainingJob
from fedavg.training.local.autograd import train_by_autograd
from fedavg.training.loop import local_update
from tests.fedavg.support.float64 import assert_same_formula, doubled, in_float64
from tests.fedavg.support.reference import Trajectory, tolerance

LOSSES = {
    "cross-entropy": "classes",
    "focal": "classes",
    "bce": "multi-label",
    "mse": "numbers",
    "mae": "numbers",
    "huber": "numbers",
    "poisson": "numbers",
}


def _labels(kind, rng, count, classes):
    if kind == "classes":
        return rng.integers(0, classes, count)
    if kind == "multi-label":
        return rng.integers(0, 2, (count, classes))
    return np.abs(rng.normal(size=(count, classes)))


def _job(
    model, training, *, count=12, classes=3, seed=0, weighted=False, kind="classes", **options
):
    rng, layout = np.random.default_rng(seed), Layout.of(model)
    features, labels = rng.normal(size=(count, 6)), _labels(kind, rng, count, classes)
    weights = rng.uniform(0.1, 2, count).astype(np.float32) if weighted else None
    data = Dataset(features, labels, kind, weights)
    start = layout.flatten(model) + rng.normal(scale=0.1, size=layout.size)
    return TrainingJob(model, layout, start, data, training, num_rounds=10, seed=seed, **options)


@settings(deadline=None, max_examples=60)
@given(
    widths=st.sampled_from([(6, 3), (6, 5, 3), (6, 5, 4, 3), (6, 20, 3)]),
    optimizer=st.sampled_from(["sgd", "sgd", "momentum"]),
    extra=st.sampled_from(
        [
            {},
            {"weight_decay": 0.3},
            {"clip_gradient": 0.05},
            {"step_decay": 0.7},
            {"nesterov": True, "optimizer": "momentum"},
        ]
    ),
    batch=st.sampled_from([None, 1, 5, 12, 50]),
    epochs=st.integers(1, 3),
    l1=st.sampled_from([0.0, 0.01]),
    l2=st.sampled_from([0.0, 0.1]),
    proximal=st.sampled_from([0.0, 0.5]),
    max_steps=st.sampled_from([None, 1, 4]),
    corrected=st.booleans(),
    loss=st.sampled_from([*["cross-entropy"] * 3, *LOSSES]),
    weighted=st.booleans(),
    seed=st.integers(0, 99),
)
def test_dense_layers_by_hand_are_the_autograd_loop(
    widths,
    optimizer,
    extra,
    batch,
    epochs,
    l1,
    l2,
    proximal,
    max_steps,
    corrected,
    loss,
    weighted,
    seed,
):
    """Kinks are left out: beside one, two roundings of one number are two different steps."""
    torch.manual_seed(seed)
    settings_ = {"optimizer": optimizer, "momentum": 0.5, "lr": 0.1, **extra}
    training = LocalTraining(
        epochs=epochs,
        batch_size=batch,
        l1=l1,
        l2=l2,
        proximal=proximal,
        max_steps=max_steps,
        loss=loss,
        **settings_,
    )
    model = FeedForward(widths)
    shift = np.random.default_rng(seed).normal(size=Layout.of(model).size) * 0.1
    options = {"kind": LOSSES[loss], "weighted": weighted, "seed": seed}
    job = _job(model, training, correction=shift if corrected else None, **options)
    exact = Trajectory(job)
    allowed = tolerance(job, exact, terms=max(*widths, 12) + 4)
    assume(exact.margin > 8 * allowed)
    assert np.abs(exact.update).max() > 1e-4
    paths = [path for path in FAST_PATHS if path.takes(job)]
    assert paths
    for run in (*(path.run for path in paths), train_by_autograd):
        np.testing.assert_allclose(run(job), exact.update, rtol=0, atol=allowed)


def test_a_wrong_path_would_be_found():
    """Mutant: a bias that lags one step behind is far outside of the tolerance."""
    torch.manual_seed(0)
    job = _job(FeedForward((6, 5, 3)), LocalTraining(batch_size=4, lr=0.1))
    exact = Trajectory(job)
    allowed = tolerance(job, exact, terms=16)
    wrong = local_update(job)
    wrong[-3:] *= 0.99
    assert np.abs(wrong - exact.update).max() > 10 * allowed


@pytest.mark.parametrize("name", ["softmax", "mlp", "2nn"])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_dense_models_take_a_fast_path(name, optimizer, monkeypatch):
    monkeypatch.setattr(loop, "train_by_autograd", lambda _: pytest.fail("autograd"))
    job = _job(build_model(name, (6,), 3, seed=0), LocalTraining(optimizer=optimizer))
    assert local_update(job).any()


@pytest.mark.parametrize(
    ("batch", "decay", "loss", "weighted"),
    [
        (None, 1.0, "cross-entropy", False),
        (1, 0.5, "cross-entropy", False),
        (3, 1.0, "cross-entropy", True),
        (4, 0.5, "bce", False),
        (3, 1.0, "mse", True),
    ],
)
def test_the_cnn_by_hand_is_the_autograd_loop(batch, decay, loss, weighted):
    rng = np.random.default_rng(1)
    model = build_model("cnn", (784,), 5, seed=0)
    labels = _labels(LOSSES[loss], rng, 10, 5)
    weights = rng.uniform(0.1, 2, 10) if weighted else None
    layout, data = Layout.of(model), Dataset(rng.random((10, 784)), labels, LOSSES[loss], weights)
    training = LocalTraining(epochs=2, batch_size=batch, lr=0.05, step_decay=decay, loss=loss)
    job = TrainingJob(model, layout, layout.flatten(model), data, training)
    (path,) = [path for path in FAST_PATHS if path.takes(job)]
    assert isinstance(path, ConvolutionalPath)
    with in_float64():
        assert_same_formula(path.run(doubled(job)), train_by_autograd(doubled(job)))


def test_what_a_fast_path_does_not_know_goes_to_the_autograd_loop():
    """Hooks, parametrisations, subclasses, other precisions, and examples that do not fit."""
    hooked = FeedForward((6, 5, 3))
    hooked.layers[0].register_forward_hook(lambda _m, _i, output: output * 2)
    turned = FeedForward((6, 3))
    nn.utils.parametrizations.orthogonal(turned.layers[0])
    doubled = FeedForward((6, 3)).double()

    class Other(FeedForward):
        def forward(self, inputs):
            return -super().forward(inputs)

    for model in (hooked, turned, doubled, Other((6, 3))):
        assert not any(path.takes(_job(model, LocalTraining())) for path in FAST_PATHS), model
    wide = _job(FeedForward((6, 3)), LocalTraining(), classes=40)
    mixed = replace(
        _job(FeedForward((6, 3)), LocalTraining()), compute=Compute(precision="bfloat16")
    )
    own = _job(FeedForward((6, 3)), LocalTraining(loss="torch.nn.functional:cross_entropy"))
    stepped = _job(FeedForward((6, 3)), LocalTraining(step="fedavg.optimizers.custom:Batch"))
    for job in (wide, mixed, own, stepped):
        assert not any(path.takes(job) for path in FAST_PATHS)
