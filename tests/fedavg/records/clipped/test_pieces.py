"""Gradients of single parameters: norms and sums agree with autograd, whether or not they are formed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedavg.records.clipped.pieces import has_rule, held, piece

LAYERS = {
    "dense": (lambda: nn.Linear(6, 4), (6,)),
    "dense on the last axis": (lambda: nn.Linear(3, 2), (5, 3)),
    "convolution": (lambda: nn.Conv2d(2, 3, (2, 3), stride=(2, 1), padding=1), (2, 6, 5)),
}


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("part", ["weight", "bias"])
@pytest.mark.parametrize("name", LAYERS)
def test_norms_and_sums_are_those_of_autograd(name, part, rows):
    torch.manual_seed(3)
    make, shape = LAYERS[name]
    layer, units = make(), 4
    inputs = torch.randn(units * rows, *shape)
    outputs = layer(inputs)
    slopes = torch.randn_like(outputs)
    wanted = torch.stack(
        [
            torch.autograd.grad(
                outputs,
                getattr(layer, part),
                slopes * of[:, *[None] * (outputs.ndim - 1)],
                retain_graph=True,
            )[0].flatten()
            for of in torch.eye(units).repeat_interleave(rows, 1)
        ]
    ).double()
    factors = torch.tensor([0.5, 0.0, 1.0, 2.0]).double()
    found = piece(layer, part, inputs, slopes, units)
    torch.testing.assert_close(found.squares(), wanted.square().sum(1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.weighted(factors), factors @ wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("part", ["weight", "bias"])
@pytest.mark.parametrize("name", LAYERS)
def test_what_is_held_for_a_unit_is_known_beforehand(name, part, rows):
    make, shape = LAYERS[name]
    layer, inputs = make(), torch.randn(4 * rows, *shape)
    slopes = torch.randn_like(layer(inputs))
    found = piece(layer, part, inputs, slopes, 4)
    arrays = [getattr(found, f) for f in ("each", "slopes", "inputs") if hasattr(found, f)]
    assert sum(array.numel() for array in arrays) == 4 * held(layer, part, inputs, slopes, 4)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_unit_of_factor_zero_may_hold_anything(name, value):
    make, shape = LAYERS[name]
    layer = make()
    inputs = torch.randn(3, *shape)
    slopes = torch.randn_like(layer(inputs))
    inputs[1] = slopes[1] = value
    factors = torch.tensor([1.0, 0.0, 1.0]).double()
    found = piece(layer, "weight", inputs, slopes, 3)
    assert not torch.isfinite(found.squares()[1])
    inputs[1], slopes[1] = 0.0, 0.0
    clean = piece(layer, "weight", inputs, slopes, 3).weighted(factors)
    torch.testing.assert_close(found.weighted(factors), clean)


def test_layers_without_a_rule():
    assert has_rule(nn.Linear(2, 2), "weight")
    assert has_rule(nn.Conv2d(1, 1, 2), "bias")
    for layer in (
        nn.LayerNorm(2),
        nn.Conv2d(2, 2, 2, groups=2),
        nn.Conv2d(1, 1, 2, padding="same"),
    ):
        assert not has_rule(layer, "weight")
