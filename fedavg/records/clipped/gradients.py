"""Clipped gradients of units, in micro-batches of one shape: time does not show who was drawn.

Each micro-batch holds the same number of units, each of the same number of rows. A unit that was not drawn
has the weight 0 and costs as much as one that was. `fedavg.records.clipped.layers` computes the same sums
faster for models of dense and convolutional layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch.func import functional_call, grad, vmap

from fedavg.errors import PlanError
from fedavg.parts.imports import said
from fedavg.records.clipped.modules import outputs_of_rows
from fedavg.records.clipped.portions import Portions
from fedavg.training.compute import in_mode

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from fedavg.data.dataset import Dataset
    from fedavg.losses.interface import Loss
    from fedavg.models.layout import Layout

__all__ = [
    "Gradients",
    "UnitGradients",
    "Units",
    "balance",
    "clip_factors",
    "clipped_sum",
    "made_up",
]

_SINGLE, _DOUBLE = 2.0**-24, 2.0**-52
_RAMP = 8  # clips from ½ to −½: norms from 15/16 to 17/16 of the clip count in part


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Units:
    """Rows of some units, in slots of one shape.

    Args:
        features: float32[units, rows, ...].
        labels: [units, rows, ...].
        weights: float32[units, rows]: weight of each row's loss; 0 for padding.
        drawn: bool[units]: whether the unit counts.
    """

    features: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    drawn: torch.Tensor


def made_up(sample: Dataset) -> Units:
    """Four made-up units of two rows, of the shapes and kinds of some examples, to try a model out on."""
    shape, kind = sample.features.shape[1:], torch.from_numpy(sample.labels).dtype
    features = torch.sin(torch.arange(8 * math.prod(shape)).float()).abs().round()
    return Units(
        features.reshape(4, 2, *shape),
        torch.zeros(4, 2, *sample.labels.shape[1:], dtype=kind),
        torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.25, 0.75], [1.0, 1.0]]),
        torch.ones(4, dtype=torch.bool),
    )


class Gradients(Protocol):
    """Gradients of a model's parameters, one for each unit."""

    def at(self, vector: NDArray[np.floating]) -> None:
        """Take the parameters at which gradients are computed, float[d]."""
        ...

    def clipped_sum(
        self, units: Units, clip: float, *, balanced: bool = False
    ) -> NDArray[np.float64]:
        """The sum of the drawn units' gradients, each shortened to the norm `clip`, float64[d].

        Of several portions each is shortened by itself, to a norm with which the whole has at most that one.

        Args:
            units: the units.
            clip: C.
            balanced: whether one more coordinate follows: the sum of `balance` over the drawn units.
        """
        ...


class UnitGradients:
    """The gradients of any module without batch statistics, by `torch.func`.

    Each unit's gradient is computed from its own rows alone, beside any other units.

    Args:
        model: the module; its parameters are overwritten by `at`.
        layout: layout of its trained parameters.
        loss: the loss of each row.
        portions: what is shortened by itself; None for the whole gradient.
    """

    def __init__(
        self, model: nn.Module, layout: Layout, loss: Loss, portions: Portions | None = None
    ) -> None:
        self._model, self._layout, self._loss = model, layout, loss
        self._portions = portions or Portions.whole(layout)
        self._parameters: dict[str, torch.Tensor] = {}
        # "different": every unit gets a dropout mask of its own.
        self._each: Callable[..., dict[str, torch.Tensor]] = vmap(
            grad(self._unit_loss), in_dims=(None, 0, 0, 0), randomness="different"
        )

    def at(self, vector: NDArray[np.floating]) -> None:
        """Take the parameters at which gradients are computed, float[d]."""
        self._layout.load_vector(self._model, vector)
        named = dict(self._model.named_parameters())
        self._parameters = {name: named[name].detach() for name in self._layout.names}

    def check(self, sample: Dataset) -> None:
        """Refuse a model whose gradients cannot be computed for single units.

        The trial takes two made-up units; no record of a silo is read.

        Args:
            sample: any examples of the run, for the shapes and kinds of its arrays alone.

        Raises:
            PlanError: the model has an operation that `torch.func` does not vectorise over units.
        """
        self.at(self._layout.flatten(self._model))
        try:
            self.of(made_up(sample))
        except Exception as error:
            raise PlanError(
                "the gradients of single units cannot be computed for this model: torch.func does not "
                f"vectorise one of its operations ({said(error)}). Replace that operation: a branch on a "
                "number of the data, for example, by torch.where"
            ) from error

    def of(self, units: Units) -> torch.Tensor:
        """The gradient of each unit, float32[units, d], in the order of the layout."""
        with in_mode(self._model, training=True):
            found = self._each(self._parameters, units.features, units.labels, units.weights)
        return torch.cat([found[name].flatten(1) for name in self._layout.names], dim=1)

    def clipped_sum(
        self, units: Units, clip: float, *, balanced: bool = False
    ) -> NDArray[np.float64]:
        """See `Gradients.clipped_sum`."""
        found = self.of(units)
        return clipped_sum(found, units.drawn, clip, self._portions, balanced=balanced)

    def _unit_loss(
        self,
        parameters: dict[str, torch.Tensor],
        features: torch.Tensor,
        labels: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        def forward(rows: torch.Tensor) -> torch.Tensor:
            return functional_call(self._model, parameters, (rows,))

        outputs = outputs_of_rows(forward, features)
        return (self._loss.each(outputs, labels) * weights).sum()


@torch.no_grad()
def clipped_sum(
    gradients: torch.Tensor,
    drawn: torch.Tensor,
    clip: float,
    portions: Portions | None = None,
    *,
    balanced: bool = False,
) -> NDArray[np.float64]:
    """Shorten each drawn unit's gradient to the norm `clip`, and add them in float64.

    A portion that is not finite counts as zero: an error would show that its unit was drawn.

    Args:
        gradients: float32[units, d]; overwritten.
        drawn: bool[units].
        clip: C.
        portions: what is shortened by itself, to `portions.share(clip)`; None for the whole gradient.
        balanced: whether one more coordinate follows: the sum of `balance` over the drawn units.

    Returns:
        float64[d]: a sum of vectors of norm at most C each, also after the rounding of norms and products.

    Example:
        >>> gradients = torch.tensor([[3.0, 4.0], [0.3, 0.4], [float("nan"), 1.0], [9.0, 9.0]])
        >>> clipped_sum(gradients, torch.tensor([True, True, True, False]), 1.0).round(6)
        array([0.9, 1.2])
    """
    cuts, share = [[slice(None)]], clip
    if portions is not None:
        share = portions.share(clip)
        cuts = [[portions.places[place] for place in portion] for portion in portions.of]
    squares = torch.zeros(len(drawn), dtype=torch.float64)
    for portion in cuts:
        parts = [gradients[:, place] for place in portion]
        norms = torch.stack(
            [torch.linalg.vector_norm(part, dim=1, dtype=torch.float64) for part in parts]
        ).norm(dim=0)
        squares += norms.square()
        factors = clip_factors(norms, drawn, share, gradients.shape[1])
        for part in parts:
            # A factor of zero times NaN would be NaN.
            part.masked_fill_(~torch.isfinite(norms)[:, None], 0.0).mul_(factors.float()[:, None])
    total = gradients.sum(0, dtype=torch.float64)
    if balanced:
        total = torch.cat([total, balance(squares.sqrt(), drawn, clip).sum()[None]])
    return total.numpy()


def balance(norms: torch.Tensor, drawn: torch.Tensor, clip: float) -> torch.Tensor:
    """On which side of the clip each unit is, float64[units]: ½ for shorter, −½ for longer, 0 if not drawn.

    Between 15/16 and 17/16 of the clip the value falls evenly. With a jump, a norm that rounding moves in its
    last digit would move a whole count, and the norms of other units depend on their places that far.

    Args:
        norms: float64[units]; one that is not finite counts as longer.
        drawn: bool[units].
        clip: C.

    Example:
        >>> balance(torch.tensor([0.5, 1.0, 2.0, 2.0]), torch.tensor([True, True, True, False]), 1.0)
        tensor([ 0.5000,  0.0000, -0.5000,  0.0000], dtype=torch.float64)
    """
    sides = ((1 - norms.double() / clip) * _RAMP).clamp(-0.5, 0.5)
    return torch.where(drawn, sides.nan_to_num(-0.5), 0.0)


def clip_factors(
    norms: torch.Tensor, drawn: torch.Tensor, clip: float, length: int
) -> torch.Tensor:
    """The factor of each unit's gradient, float64[units]: 0 for units that do not count.

    Args:
        norms: float64[units], computed from gradients in float32.
        drawn: bool[units].
        clip: C.
        length: d, on which the rounding of a norm depends.
    """
    # A computed norm may be short by a relative d·2^−53, and a float32 factor and product long by 2^−24 each:
    # the factor gives all of that away.
    shrink = 1 - 4 * _SINGLE - (length + 8) * _DOUBLE
    counts = drawn & torch.isfinite(norms)
    return torch.where(counts, clip / norms.clamp_min(clip) * shrink, 0.0)
