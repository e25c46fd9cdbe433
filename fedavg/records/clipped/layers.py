"""Clipped gradients of units for models of dense and convolutional layers, many times without computing them.

One forward and one backward pass of all rows of a micro-batch give each layer's inputs and the derivatives of
the loss by its outputs. From these follow the gradients, or their norms and their sum alone
(`fedavg.records.clipped.pieces`). Gradients that are formed are formed for a part of a micro-batch at a time:
they stay in the processor's caches, and in bounded memory.

This relies on rows that do not depend on each other, which enrolment checks
(`fedavg.records.clipped.modules`). It is used only for models for which it gives what
`torch.func` gives on made-up records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from fedavg.models.zoo import channels_last
from fedavg.records.clipped.gradients import UnitGradients, balance, clip_factors, made_up
from fedavg.records.clipped.modules import outputs_of_rows
from fedavg.records.clipped.pieces import has_rule, held, piece
from fedavg.records.clipped.portions import Portions
from fedavg.records.clipped.windows import windowed
from fedavg.training.compute import in_mode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedavg.data.dataset import Dataset
    from fedavg.losses.interface import Loss
    from fedavg.models.layout import Layout
    from fedavg.records.clipped.gradients import Gradients, Units
    from fedavg.records.clipped.pieces import Piece

__all__ = ["LayeredGradients", "fastest_gradients"]

_TOLERANCE = 1e-4
_TRIAL_CLIP = 0.3
_FORMED = 2**22  # numbers of gradients that are formed together, 32 MiB
_FEWEST, _MOST = 16, 128  # units whose gradients are formed together


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
        self._convolutions = [layer for layer in self._layers if isinstance(layer, nn.Conv2d)]

    @staticmethod
    def fits(model: nn.Module, layout: Layout) -> bool:
        """Whether all trained parameters belong to layers with a rule."""
        return all(has_rule(layer, part) for layer, part in _places(model, layout))

    def at(self, vector: NDArray[np.floating]) -> None:
        """Take the parameters at which gradients are computed, float[d]."""
        self._layout.load_vector(self._model, vector)

    @torch.no_grad()
    def clipped_sum(
        self, units: Units, clip: float, *, balanced: bool = False
    ) -> NDArray[np.float64]:
        """See `Gradients.clipped_sum`.

        Raises:
            RuntimeError: a layer is used twice or never, or its output was overwritten.
        """
        inputs, slopes = self._passes(units)
        count, rows = units.weights.shape
        total = torch.zeros(self._layout.size, dtype=torch.float64)
        sides = torch.zeros(1, dtype=torch.float64)
        together = self._together(inputs, slopes, count)
        for start in range(0, count, together):
            drawn = units.drawn[start : start + together]
            part = slice(start * rows, (start + len(drawn)) * rows)
            pieces = [
                piece(layer, name, inputs[layer][part], slopes[layer][part], len(drawn))
                for layer, name in self._places
            ]
            norms = self._add(total, pieces, drawn, clip)
            sides += balance(norms, drawn, clip).sum()
        return (torch.cat([total, sides]) if balanced else total).numpy()

    def _together(
        self,
        inputs: dict[nn.Module, torch.Tensor],
        slopes: dict[nn.Module, torch.Tensor],
        units: int,
    ) -> int:
        """How many units' gradients are formed at a time: a matter of shapes, and so the same everywhere."""
        of_one = sum(
            held(layer, name, inputs[layer], slopes[layer], units) for layer, name in self._places
        )
        return max(_FEWEST, min(_MOST, _FORMED // of_one))

    def _add(
        self, total: torch.Tensor, pieces: Sequence[Piece], drawn: torch.Tensor, clip: float
    ) -> torch.Tensor:
        """Add the shortened gradients of some units to a sum, float64[d]; gives the norms, float64[units]."""
        squares = torch.zeros(len(drawn), dtype=torch.float64)
        longest = self._portions.share(clip)
        for portion in self._portions.of:
            own = torch.stack([pieces[place].squares() for place in portion]).sum(0)
            squares += own
            factors = clip_factors(own.sqrt(), drawn, longest, self._layout.size)
            for place in portion:
                total[self._portions.places[place]] += pieces[place].weighted(factors)
        return squares.sqrt()

    def _passes(
        self, units: Units
    ) -> tuple[dict[nn.Module, torch.Tensor], dict[nn.Module, torch.Tensor]]:
        """Each layer's inputs, or windows of them, and the derivatives of the loss by its outputs."""
        inputs: dict[nn.Module, torch.Tensor] = {}
        outputs: dict[nn.Module, torch.Tensor] = {}

        def note(layer: nn.Module, given: Sequence[torch.Tensor], output: torch.Tensor) -> None:
            if layer in inputs:
                raise RuntimeError("a layer is used twice in one forward pass")
            inputs[layer], outputs[layer] = given[0].detach(), output

        hooks = [layer.register_forward_hook(note) for layer in self._layers]
        seen: dict[nn.Module, torch.Tensor] = {}
        kept = windowed(self._convolutions, seen)
        try:
            with kept, in_mode(self._model, training=True), torch.enable_grad():
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
        inputs |= seen
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
                found.append(way.clipped_sum(units, _TRIAL_CLIP, balanced=True))
        if not np.allclose(*found, rtol=_TOLERANCE, atol=_TOLERANCE * _TRIAL_CLIP):
            return False
    return True
