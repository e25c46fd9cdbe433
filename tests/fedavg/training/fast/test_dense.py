"""Gradients by hand are autograd's; examples are served as the batches say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from fedavg.data.dataset import Dataset
from fedavg.losses import CrossEntropy
from fedavg.models.layout import Layout
from fedavg.models.zoo import FeedForward, McMahanCNN
from fedavg.training.evaluation import evaluate
from fedavg.training.fast.convolutional import ConvNet
from fedavg.training.fast.dense import DenseNet, passed
from fedavg.training.local import batches as batches_module
from fedavg.training.local.batches import served

if TYPE_CHECKING:
    from collections.abc import Iterator


def _flat(model: torch.nn.Module) -> torch.Tensor:
    return torch.from_numpy(Layout.of(model).flatten(model))


def _autograd(model: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    gradients = torch.autograd.grad(
        functional.cross_entropy(model(inputs), labels), list(model.parameters())
    )
    return torch.cat([gradient.flatten() for gradient in gradients])


def _assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    """In float64, where two ways to compute one formula differ by 1e-16 and two formulas by far more."""
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.fixture
def _in_float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.usefixtures("_in_float64")
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
        targets = CrossEntropy().wanted(labels, widths[-1])
        net.gradient(inputs, targets, DenseNet(slope, shapes))
        _assert_same(slope, expected)
        moved = _flat(model)
        DenseNet(moved, shapes).descend(inputs, targets, 0.3)
        _assert_same(moved, _flat(model) - 0.3 * expected)
        below = net.descend_below(inputs, targets, 0.3)
        _assert_same(flat, _flat(model) - 0.3 * expected)
    leaf = inputs.clone().requires_grad_()
    functional.cross_entropy(model(leaf), labels, reduction="sum").backward()
    assert leaf.grad is not None
    _assert_same(below, leaf.grad)


@pytest.mark.usefixtures("_in_float64")
@pytest.mark.parametrize("widths", [(32, 64, 512), (3, 5, 7)])
def test_a_step_of_the_cnn_is_autograds(widths: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    model = McMahanCNN(4, widths)
    images, labels = torch.rand(3, 784), torch.tensor([0, 3, 1])
    expected = _flat(model) - 0.1 * _autograd(model, images, labels)
    with torch.inference_mode():
        flat = _flat(model)
        net = ConvNet(flat, Layout.of(model).shapes)
        net.descend(images.view(-1, 1, 28, 28), CrossEntropy().wanted(labels, 4), 0.1)
        net.store()
        _assert_same(flat, expected)


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


def _askew(whole: torch.Tensor) -> torch.Tensor:
    """The same numbers, at 4 bytes beyond a multiple of 64: numpy's arrays may lie anywhere."""
    room = torch.zeros(whole.numel() + 16)
    skew = next(k for k in range(16) if (room.data_ptr() + 4 * k) % 64 == 4)
    return room[skew : skew + whole.numel()].view(whole.shape).copy_(whole)


def test_all_examples_are_served_without_copies_unless_they_lie_askew() -> None:
    for features in (torch.ones(17, 4), _askew(torch.ones(17, 4))):
        (first, _), (again, _) = served(features, torch.arange(17), iter([None, None]))
        assert first.data_ptr() == again.data_ptr()
        assert first.data_ptr() % 64 == 0
        assert torch.equal(first, features)


def test_rounding_does_not_depend_on_where_examples_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through frozen layers and in evaluation.

    Whether a product rounds by alignment is the processor's affair, so that what enters it is looked at as
    well; mutant: products of numpy's memory as it lies.
    """
    torch.manual_seed(0)
    layers, seen, product = [torch.randn(50, 33), torch.randn(50)], list[int](), torch.addmm

    def addmm(bias: torch.Tensor, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        seen.append(inputs.data_ptr() % 64)
        return product(bias, inputs, weight)

    monkeypatch.setattr(torch, "addmm", addmm)
    model = FeedForward((33, 50, 3))
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].data_ptr() % 64))
    layout = Layout.of(model)
    vector = layout.flatten(model)
    for count in range(1, 30):
        whole, labels = torch.randn(count, 33), np.arange(count) % 3
        askew = _askew(whole)
        assert torch.equal(passed(whole, layers), passed(askew, layers))
        data, moved = Dataset(whole.numpy(), labels), Dataset(askew.numpy(), labels)
        assert moved.features.ctypes.data % 64 == 4
        assert evaluate(model, layout, vector, data) == evaluate(model, layout, vector, moved)
    assert set(seen) == {0}
    assert len(seen) == 4 * 29
