"""One parameter's gradients of some units, formed or as two factors, and the rules by which layers give them.

A unit's gradient of a dense layer's weights is g·aᵀ, for the layer's input a and the derivative g of the loss
by its output. Its norm is ‖g‖·‖a‖, and the sum of many such gradients is one product of matrices, so that no
single one is formed. Gradients of convolutions, and of units of several rows, are formed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import nn

from fedavg.records.clipped.windows import windows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    Rule: TypeAlias = "Callable[[nn.Module, torch.Tensor, torch.Tensor, int], Piece]"

__all__ = ["Piece", "has_rule", "held", "piece"]


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
        total = factors @ _finite(self.each).flatten(1)
        if self.order is None:
            return total
        # One sum is put in order, and not each of the gradients.
        return total.view(self.each.shape[1:]).permute(self.order).flatten()


@dataclass(frozen=True, slots=True, eq=False)
class _Outer:
    """Gradients g·aᵀ of dense weights, one row a unit, which are not formed.

    Norms and sums are taken in float64, and float64 copies serve both: a norm that converts its argument on
    the way takes five times as long as one of a copy that is in the processor's caches.

    Args:
        slopes: g, float64[units, outputs]; overwritten by `weighted`.
        inputs: a, float64[units, inputs]; overwritten by `weighted`.
    """

    slopes: torch.Tensor
    inputs: torch.Tensor

    def squares(self) -> torch.Tensor:
        parts = (self.slopes, self.inputs)
        one, other = (torch.linalg.vector_norm(part, dim=1).square() for part in parts)
        return one * other

    def weighted(self, factors: torch.Tensor) -> torch.Tensor:
        slopes = _finite(self.slopes).mul_(factors[:, None]).numpy()
        # NumPy's BLAS multiplies such flat matrices in two thirds of the time of torch's.
        return torch.from_numpy(slopes.T @ _finite(self.inputs).numpy()).flatten()


def _finite(wide: torch.Tensor) -> torch.Tensor:
    """Zeros in place of all that is not finite, which only units of factor 0 hold: 0·NaN would be NaN."""
    return wide.nan_to_num_(0.0, 0.0, 0.0)


def _are_vectors(inputs: torch.Tensor, units: int) -> bool:
    """Whether each unit is one row, and each row one vector."""
    return inputs.ndim == 2 and len(inputs) == units


def _dense(layer: nn.Module, inputs: torch.Tensor, slopes: torch.Tensor, units: int) -> Piece:
    del layer
    if _are_vectors(inputs, units):
        return _Outer(slopes.double(), inputs.double())
    own = inputs.reshape(units, -1, inputs.shape[-1])
    each = slopes.reshape(units, -1, slopes.shape[-1]).transpose(1, 2) @ own
    return _Formed(each.double())


def _dense_bias(layer: nn.Module, inputs: torch.Tensor, slopes: torch.Tensor, units: int) -> Piece:
    del layer, inputs
    return _Formed(slopes.reshape(units, -1, slopes.shape[-1]).sum(1).double())


def _convolved(layer: nn.Module, inputs: torch.Tensor, slopes: torch.Tensor, units: int) -> Piece:
    """Windows of the inputs times slopes, summed over the places of all rows of a unit."""
    # The inputs may be windows already.
    seen = inputs if inputs.ndim == 6 else windows(cast("nn.Conv2d", layer), inputs)
    told = _by_place(slopes, units)
    each = told.transpose(1, 2) @ seen.view(units, told.shape[1], -1)
    formed = each.double().view(units, slopes.shape[1], *seen.shape[3:])
    return _Formed(formed, order=(0, 3, 1, 2))


def _by_place(slopes: torch.Tensor, units: int) -> torch.Tensor:
    """The slopes of all rows of a unit, float32[units, places, channels]."""
    return slopes.permute(0, 2, 3, 1).reshape(units, -1, slopes.shape[1])


def _convolved_bias(
    layer: nn.Module, inputs: torch.Tensor, slopes: torch.Tensor, units: int
) -> Piece:
    del layer, inputs
    return _Formed(_by_place(slopes, units).sum(1).double())


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


def has_rule(layer: nn.Module, part: str) -> bool:
    """Whether gradients of a layer's parameter follow from the layer's inputs and slopes.

    Args:
        layer: the layer.
        part: name of the parameter in the layer.
    """
    rules = _RULES.get(type(layer), _NONE)
    return part in rules.of and rules.applies(layer)


def piece(
    layer: nn.Module, part: str, inputs: torch.Tensor, slopes: torch.Tensor, units: int
) -> Piece:
    """The gradients of one parameter of a layer that has a rule.

    Args:
        layer: the layer.
        part: name of the parameter in the layer.
        inputs: float32[units·rows, ...], what the layer was given; or, of a convolution, the windows of it.
        slopes: float32[units·rows, ...], the derivatives of the loss by the layer's outputs.
        units: number of units.
    """
    return _RULES[type(layer)].of[part](layer, inputs, slopes, units)


def held(
    layer: nn.Module, part: str, inputs: torch.Tensor, slopes: torch.Tensor, units: int
) -> int:
    """How many numbers of float64 `piece` holds for each unit.

    Args:
        layer: see `piece`.
        part: see `piece`.
        inputs: see `piece`.
        slopes: see `piece`.
        units: see `piece`.

    Example:
        >>> layer, inputs, slopes = nn.Linear(500, 10), torch.zeros(4, 500), torch.zeros(4, 10)
        >>> held(layer, "weight", inputs, slopes, 4), held(layer, "bias", inputs, slopes, 4)
        (510, 10)
    """
    parameter: torch.Tensor = getattr(layer, part)
    if parameter.ndim == 2 and _are_vectors(inputs, units):
        return inputs.shape[1] + slopes.shape[1]
    return parameter.numel()
