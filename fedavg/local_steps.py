"""What one step of local training does with a gradient: plain, momentum or Adam, on tensors in place.

torch's own optimisers compute the same; importing them takes longer than ten rounds of a small model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedavg.local import LocalTraining

__all__ = ["StepRule", "step_rule"]

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8  # Kingma and Ba 2015, Algorithm 1


class StepRule(Protocol):
    """Moves parameters by their gradients; keeps its own state from step to step."""

    def step(
        self, parameters: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor | None]
    ) -> None:
        """Take one step in place; a parameter whose gradient is None stays."""
        ...


@dataclass(frozen=True, slots=True)
class _Plain:
    lr: float

    def step(
        self, parameters: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor | None]
    ) -> None:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.add_(gradient, alpha=-self.lr)


@dataclass(slots=True)
class _Momentum:
    lr: float
    momentum: float
    velocity: dict[int, torch.Tensor] = field(default_factory=dict[int, torch.Tensor])

    def step(
        self, parameters: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor | None]
    ) -> None:
        for index, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            if gradient is None:
                continue
            velocity = self.velocity.get(index)
            if velocity is None:
                velocity = self.velocity[index] = gradient.clone()
            else:
                velocity.mul_(self.momentum).add_(gradient)
            parameter.add_(velocity, alpha=-self.lr)


@dataclass(slots=True)
class _Moments:
    first: torch.Tensor
    second: torch.Tensor
    steps: int = 0


@dataclass(slots=True)
class _Adam:
    lr: float
    moments: dict[int, _Moments] = field(default_factory=dict[int, _Moments])

    def step(
        self, parameters: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor | None]
    ) -> None:
        for index, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            if gradient is None:
                continue
            held = self.moments.get(index)
            if held is None:
                zero = torch.zeros_like(gradient)
                held = self.moments[index] = _Moments(zero, zero.clone())
            held.steps += 1
            held.first.lerp_(gradient, 1 - _BETA1)
            held.second.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
            scale = math.sqrt(1 - _BETA2**held.steps)
            spread = held.second.sqrt().div_(scale).add_(_EPSILON)
            parameter.addcdiv_(held.first, spread, value=-self.lr / (1 - _BETA1**held.steps))


def step_rule(training: LocalTraining, lr: float) -> StepRule:
    """The rule of a client's optimiser, fresh as in every round.

    Args:
        training: names the optimiser.
        lr: learning rate of this round.
    """
    match training.optimizer:
        case "sgd":
            return _Plain(lr)
        case "momentum":
            return _Momentum(lr, training.momentum)
        case "adam":
            return _Adam(lr)
