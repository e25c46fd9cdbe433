"""Clipped gradients of units for models of dense and convolutional layers, many times without computing them.

One forward and one backward pass of all rows together give each layer's inputs a and the derivatives g of
the loss by its outputs. A unit's gradient of a dense layer's weights is g·aᵀ. Its norm is ‖g‖·‖a‖, and the
sum of many such gradients is one product of matrices, so that no single one is formed. Gradients of
convolutions, and of units of several rows, are formed for one micro-batch.

This relies on rows that do not depend on each other, which enrolment checks
(`fedavg.records.clipped.modules`). It is used only for models for which it gives what
`torch.func` gives on made-up records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from fedavg.models.zoo import channels_last
from fedavg.records.clipped.gradients import UnitGradients, clip_factors, made_up
from fedavg.records.clipped.modules import outputs_of_rows
from fedavg.records.clipped.portions import Portions
from fedavg.training.compute import in_mode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray

    from fedavg.data.dataset import Dataset
    from fedavg.losses.interface import Loss
    from fedavg.models.layout import Layout
    from fedavg.records.clipped.gradients import Gradients, Units

    Rule: TypeAlias = "Callable[[nn.Module, torch.Tensor, torch.Tensor, int], Piece]"

__all__ = ["LayeredGradients", "fastest_gradients"]

_TOLERANCE = 1e-4
_TRIAL_CLIP = 0.3


class Piece(Protocol):
    """One parameter's gradients of some units."""

    def squares(self) -> torch.Tensor:
        """The squared norm of each unit's gradient, float64[units]."""
        ...

    def weighted(self, factors: torch.Tensor) -> torch.Tensor:
        """Σ factor·gradient over the units, float64[size]; units of factor 0 may hold NaN."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Formed:
    """Gradients that are formed, float64[units, …], in the order in which they come about.

    Args:
        each: the gradients; overwritten by `weighted`.
        order: the axes of one gradient in the order of the parameter; None if that is their order.
    """

    each: torch.Tensor
    order: tuple[int, ...] | None = None

    def squares(self) -> torch.Tensor:
        return torch.linalg.vector_norm(self.each.flatten(1), dim=1).square()

    def weighted(self, factors: torch.Tensor) -> torch.Tensor:
        self.each.masked_fill_((factors == 0).view(-1, *[1] * (self.each.ndim - 1)), 0.0)
        total = factors @ self.each.flatten(1)
        if self.order is None:
            return total
        # One sum is put in order, and not each of the gradients.
        return total.view(self.each.shape[1:]).permute(self.order).flatten()


@dataclass(frozen=True, slots=True, eq=False)
class _Outer:
    """Gradients g·aᵀ of dense weights, one row a unit, which are not formed."""

    slopes: torch.Tensor
    inputs: torch.Tensor

    def squares(self) -> torch.Tensor:
        parts = (self.slopes, self.inputs)
        one, other = (
            torch.linalg.vector_norm(part, dim=1, dtype=torch.float64).square() for part in parts
        )
        return one * other

    def weighted(self, factors: torch.Tensor) -> torch.Tensor:
        none = (factors == 0)[:, None]
        # The product is taken in float64, as all sums over units are.
        slopes = self.slopes.double().masked_fill_(none, 0.0).mul_(factors[:, None])
        return (slopes.T @ self.inputs.double().masked_fill_(none, 0.0)).flatten()


def _dense(layer: nn.Module, inputs: torch.Tensor, slopes: torch.Tensor, units: int) -> Piece:
    del layer
    if inputs.ndim == 2 and len(inputs) == units:
        return _Outer(slopes, inputs)
    own = inputs.reshape(units, -1, inputs.shape[-1])
    each = slopes.reshape(units, -1, slopes.shape[-1]).transpose(1, 2) @ own
    return _Formed(each.double())


def _dense_bias(layer: nn.Module, inputs: torch.Tensor, slopes: torch.Tensor, units: int) -> Piece:
    del layer, inputs
    return _Formed(slopes.reshape(units, -1, slopes.shape[-1]).sum(1).double())


def _convolved(layer: nn.Module, inputs: torch.Tensor, slopes: torch.Tensor, units: int) -> Piece:
    """Windows of the inputs times slopes, summed over the places of all rows of a unit."""
    convolution = cast("nn.Conv2d", layer)
    seen = _windows(convolution, inputs)
    told = slopes.permute(0, 2, 3, 1).reshape(units, -1, slopes.shape[1])
    each = told.transpose(1, 2) @ seen.reshape(units, -1, seen[0, 0].numel())
    formed = each.double().view(units, slopes.shape[1], *seen.shape[2:])
    return _Formed(formed, order=(0, 3, 1, 2))


def _windows(convolution: nn.Conv2d, inputs: torch.Tensor) -> torch.Tensor:
    """What each place of the output saw, float32[rows, places, height, width, channels].

    Channels come last, so that each line of a window lies together in memory and is copied at once.
    """
    high, wide = cast("tuple[int, int]", convolution.padding)  # a word has no rule
    down, right = convolution.stride
    tall, broad = convolution.kernel_size
    far, apart = convolution.dilation
    padded = functional.pad(inputs.permute(0, 2, 3, 1), (0, 0, wide, wide, high, high)).contiguous()
    rows, height, width, channels = padded.shape
    lines = (height - far * (tall - 1) - 1) // down + 1
    places = (width - apart * (broad - 1) - 1) // right + 1
    whole, line, place, channel = padded.stride()
    seen = padded.as_strided(
        (rows, lines, places, tall, broad, channels),
        (whole, line * down, place * right, line * far, place * apart, channel),
    )
    return seen.reshape(rows, lines * places, tall, broad, channels)


def _convolved_bias(
    layer: nn.Module, inputs: torch.Tensor, slopes: torch.Tensor, units: int
) -> Piece:
    del layer, inputs
    each = slopes.reshape(units, -1, slopes.shape[1], slopes[0, 0].numel()).sum((1, 3))
    return _Formed(each.double())


def _is_plain(layer: nn.Module) -> bool:
    """Whether a convolution is one that `unfold` describes."""
    found = cast("nn.Conv2d", layer)
    return (
        found.groups == 1 and found.padding_mode == "zeros" and not isinstance(found.padding, str)
    )


@dataclass(frozen=True, slots=True)
class _Rules:
    """How the gradients of a class of layers follow from inputs and slopes, by parameter."""

    of: Mapping[str, Rule]
    applies: Callable[[nn.Module], bool]


_RULES: dict[type[nn.Module], _Rules] = {
    nn.Linear: _Rules({"weight": _dense, "bias": _dense_bias}, lambda _: True),
    nn.Conv2d: _Rules({"weight": _convolved, "bias": _convolved_bias}, _is_plain),
}
_NONE = _Rules({}, lambda _: False)


class LayeredGradients:
    """Clipped gradients of units from one forward and one backward pass of all rows.

    Args:
        model: the module; its parameters are overwritten by `at`.
        layout: layout of its trained parameters, all of them weights and biases of layers with a rule.
        loss: the loss of each row.
        portions: what is shortened by itself; None for the whole gradient.
    """

    def __init__(
        self, model: nn.Module, layout: Layout, loss: Loss, portions: Portions | None = None
    ) -> None:
        # The layout in memory decides which kernels run, and not what they compute.
        self._model, self._layout, self._loss = channels_last(model), layout, loss
        self._portions = portions or Portions.whole(layout)
        self._places = _places(model, layout)
        self._layers = list(dict.fromkeys(layer for layer, _ in self._places))

    @staticmethod
    def fits(model: nn.Module, layout: Layout) -> bool:
        """Whether all trained parameters belong to layers with a rule."""
        return all(
            part in (rules := _RULES.get(type(layer), _NONE)).of and rules.applies(layer)
            for layer, part in _places(model, layout)
        )

    def at(self, vector: NDArray[np.floating]) -> None:
        """Take the parameters at which gradients are computed, float[d]."""
        self._layout.load_vector(self._model, vector)

    @torch.no_grad()
    def clipped_sum(self, units: Units, clip: float) -> NDArray[np.float64]:
        """See `Gradients.clipped_sum`.

        Raises:
            RuntimeError: a layer is used twice or never, or its output was overwritten.
        """
        inputs, slopes = self._passes(units)
        count = len(units.drawn)
        pieces = [
            _RULES[type(layer)].of[part](layer, inputs[layer], slopes[layer], count)
            for layer, part in self._places
        ]
        total, longest = np.empty(self._layout.size), self._portions.share(clip)
        for portion in self._portions.of:
            norms = torch.stack([pieces[place].squares() for place in portion]).sum(0).sqrt()
            factors = clip_factors(norms, units.drawn, longest, self._layout.size)
            for place in portion:
                total[self._portions.places[place]] = pieces[place].weighted(factors).numpy()
        return total

    def _passes(
        self, units: Units
    ) -> tuple[dict[nn.Module, torch.Tensor], dict[nn.Module, torch.Tensor]]:
        """Each layer's inputs, and the derivatives of the summed loss by its outputs."""
        inputs: dict[nn.Module, torch.Tensor] = {}
        outputs: dict[nn.Module, torch.Tensor] = {}

        def note(layer: nn.Module, given: Sequence[torch.Tensor], output: torch.Tensor) -> None:
            if layer in inputs:
                raise RuntimeError("a layer is used twice in one forward pass")
            inputs[layer], outputs[layer] = given[0].detach(), output

        hooks = [layer.register_forward_hook(note) for layer in self._layers]
        try:
            with in_mode(self._model, training=True), torch.enable_grad():
                found = outputs_of_rows(self._model, units.features.flatten(0, 1))
                each = self._loss.each(found, units.labels.flatten(0, 1))
                total = (each * units.weights.flatten()).sum()
        finally:
            for hook in hooks:
                hook.remove()
        if len(outputs) < len(self._layers):
            raise RuntimeError("a layer is not used in the forward pass")
        told = [outputs[layer] for layer in self._layers]
        if any(output._version for output in told):  # noqa: SLF001 - torch has no public name for it
            raise RuntimeError("a layer's output is overwritten in place")
        return inputs, dict(zip(self._layers, torch.autograd.grad(total, told), strict=True))


def _places(model: nn.Module, layout: Layout) -> list[tuple[nn.Module, str]]:
    """The layer and the name within it of each trained parameter."""
    found = (name.rpartition(".") for name in layout.names)
    return [(model.get_submodule(owner), part) for owner, _, part in found]


def fastest_gradients(
    model: nn.Module,
    layout: Layout,
    loss: Loss,
    sample: Dataset,
    portions: Portions | None = None,
) -> Gradients:
    """The fastest way to a model's clipped gradients that gives what `torch.func` gives.

    Args:
        model: the module.
        layout: layout of its trained parameters.
        loss: the loss of each record.
        sample: any examples of the run, for the shapes and kinds of its arrays alone.
        portions: what is shortened by itself; None for the whole gradient.

    Raises:
        PlanError: the gradients of single units cannot be computed for this model.
    """
    usual = UnitGradients(model, layout, loss, portions)
    usual.check(sample)
    if not LayeredGradients.fits(model, layout):
        return usual
    fast, start = LayeredGradients(model, layout, loss, portions), layout.flatten(model)
    try:
        return fast if _agree(usual, fast, start, sample) else usual
    except RuntimeError:
        return usual
    finally:
        layout.load_vector(model, start)


def _agree(usual: Gradients, fast: Gradients, start: NDArray[np.float64], sample: Dataset) -> bool:
    """Whether two ways give equal sums for made-up units, at the model and beside it."""
    units = made_up(sample)
    # Many models begin with weights of zero, where some gradients vanish.
    for place in (start, start + np.sin(np.arange(start.size)) / 10):
        found: list[NDArray[np.float64]] = []
        for way in (usual, fast):
            # One seed for both; models that draw masks of their own differ even so, and keep the usual way.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                way.at(place)
                found.append(way.clipped_sum(units, _TRIAL_CLIP))
        if not np.allclose(*found, rtol=_TOLERANCE, atol=_TOLERANCE * _TRIAL_CLIP):
            return False
    return True
