"""Products with windows are the convolution, and only for as long as they are asked for."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from fedavg.records.clipped.windows import windowed, windows

LAYERS = {
    "plain": lambda: nn.Conv2d(2, 3, 3),
    "strided": lambda: nn.Conv2d(2, 4, (2, 3), stride=(2, 3), bias=False),
    "padded and dilated": lambda: nn.Conv2d(2, 1, (3, 2), padding=(2, 1), dilation=(1, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_windows_are_those_of_unfold(name):
    torch.manual_seed(0)
    layer, image = LAYERS[name](), torch.randn(4, 2, 9, 8)
    found = windows(layer, image)
    wanted = functional.unfold(
        image,
        layer.kernel_size,
        dilation=layer.dilation,
        padding=layer.padding,
        stride=layer.stride,
    )
    in_order = found.permute(0, 5, 3, 4, 1, 2).reshape(wanted.shape)
    torch.testing.assert_close(in_order, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("name", LAYERS)
def test_outputs_are_those_of_the_convolution(name):
    torch.manual_seed(1)
    layer, image, seen = LAYERS[name](), torch.randn(5, 2, 9, 8), {}
    with windowed([layer], seen):
        found = layer(image)
    torch.testing.assert_close(found, layer(image))
    assert found.requires_grad
    assert list(seen) == [layer]


def test_inputs_that_need_gradients_go_the_usual_way():
    layer, seen = nn.Conv2d(1, 2, 2), {}
    image = torch.randn(3, 1, 4, 4, requires_grad=True)
    with windowed([layer], seen):
        found = layer(image)
    assert not seen
    torch.testing.assert_close(found, layer(image), rtol=0, atol=0)


def test_layers_are_as_they_were_also_after_an_error():
    layer = nn.Conv2d(1, 2, 2)
    with pytest.raises(RuntimeError), windowed([layer], {}):
        layer(torch.randn(3, 1, 1, 1))  # smaller than a window
    assert "forward" not in vars(layer)


def test_a_layer_with_a_forward_of_its_own_keeps_it():
    layer, seen = nn.Conv2d(1, 2, 2), {}
    layer.forward = lambda rows: nn.Conv2d.forward(layer, rows) * 2
    with windowed([layer], seen):
        layer(torch.randn(3, 1, 4, 4))
    assert not seen
    assert "forward" in vars(layer)
