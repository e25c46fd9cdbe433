"""Gradients by hand are autograd's; examples are served as the batches say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from fedavg.models.layout import Layout
from fedavg.models.zoo import FeedForward, McMahanCNN
from fedavg.training import batches as batches_module
from fedavg.training.batches import served
from fedavg.training.fast.convolutional import ConvNet
from fedavg.training.fast.dense import DenseNet


def _flat(model: torch.nn.Module) -> torch.Tensor:
    return torch.from_numpy(Layout.of(model).flatten(model).astype(np.float32))


def _autograd(model: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    gradients = torch.autograd.grad(
        functional.cross_entropy(model(inputs), labels), list(model.parameters())
    )
    return torch.cat([gradient.flatten() for gradient in gradients])


@settings(deadline=None, max_examples=40)
@given(
    widths=st.lists(st.integers(2, 9), min_size=2, max_size=4),
    count=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_gradients_and_steps_are_autograds(widths: list[int], count: int, seed: int) -> None:
    torch.manual_seed(seed)
    model = FeedForward(widths)
    inputs, labels = torch.randn(count, widths[0]), torch.randint(0, widths[-1], (count,))
    expected, shapes = _autograd(model, inputs, labels), Layout.of(model).shapes
    with torch.inference_mode():
        flat = _flat(model)
        net, slope = DenseNet(flat, shapes), torch.full_like(flat, torch.nan)
        targets = net.targets(labels)
        net.gradient(inputs, targets, DenseNet(slope, shapes))
        torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-6)
        moved = _flat(model)
        DenseNet(moved, shapes).descend(inputs, targets, 0.3)
        torch.testing.assert_close(moved, _flat(model) - 0.3 * expected, rtol=1e-4, atol=1e-6)
        below = net.descend_below(inputs, targets, 0.3)
        torch.testing.assert_close(flat, _flat(model) - 0.3 * expected, rtol=1e-4, atol=1e-6)
    leaf = inputs.clone().requires_grad_()
    functional.cross_entropy(model(leaf), labels, reduction="sum").backward()
    torch.testing.assert_close(below, leaf.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("widths", [(32, 64, 512), (3, 5, 7)])
def test_a_step_of_the_cnn_is_autograds(widths: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    model = McMahanCNN(4, widths)
    images, labels = torch.rand(3, 784), torch.tensor([0, 3, 1])
    expected = _flat(model) - 0.1 * _autograd(model, images, labels)
    with torch.inference_mode():
        flat = _flat(model)
        net = ConvNet(flat, Layout.of(model).shapes)
        net.descend(images.view(-1, 1, 28, 28), net.targets(labels), 0.1)
        net.store()
        torch.testing.assert_close(flat, expected, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 40),
    size=st.integers(1, 40),
    epochs=st.integers(1, 3),
    gathered=st.integers(1, 64),
)
def test_examples_are_served_as_the_batches_say(
    count: int, size: int, epochs: int, gathered: int
) -> None:
    features = torch.arange(count * 3.0).view(count, 3)
    targets = torch.arange(count)
    batches = [part for _ in range(epochs) for part in torch.randperm(count).split(size)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches_module, "_GATHERED", gathered)
        found = list(served(features, targets, iter(batches)))
    assert len(found) == len(batches)
    for (inputs, classes), batch in zip(found, batches, strict=True):
        assert torch.equal(inputs, features[batch])
        assert torch.equal(classes, batch)


def test_all_examples_are_served_without_copies_unless_they_lie_askew() -> None:
    room = torch.zeros(17 * 4 + 16)
    skew = next(k for k in range(16) if (room.data_ptr() + 4 * k) % 64)
    askew = room[skew : skew + 68].view(17, 4)
    for features in (torch.ones(17, 4), askew):
        (first, _), (again, _) = served(features, torch.arange(17), iter([None, None]))
        assert first.data_ptr() == again.data_ptr()
        assert first.data_ptr() % 64 == 0
        assert torch.equal(first, features)
