"""The steps of local training, in place on tensors: penalties, clipping, and the optimiser's rule.

torch's own optimisers compute the same results, but importing them takes longer than ten rounds of a small
model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.optimizers.local import LocalTraining
    from fedavg.training.job import TrainingJob

__all__ = ["Descent", "Pull", "StepRule", "forces", "step_rule"]

_EPSILON = 1e-8  # Kingma and Ba 2015, Algorithm 1


class StepRule(Protocol):
    """Moves parameters by their gradients, and keeps its own state from step to step."""

    lr: float

    def step(
        self, parameters: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor | None]
    ) -> None:
        """Take one step in place; a parameter whose gradient is None does not change."""
        ...


@dataclass(slots=True)
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
    nesterov: bool
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
            ahead = gradient.add(velocity, alpha=self.momentum) if self.nesterov else velocity
            parameter.add_(ahead, alpha=-self.lr)


@dataclass(slots=True)
class _Moments:
    first: torch.Tensor
    second: torch.Tensor
    steps: int = 0


@dataclass(slots=True)
class _Adam:
    lr: float
    beta1: float
    beta2: float
    moments: dict[int, _Moments] = field(default_factory=dict[int, _Moments])

    def step(
        self, parameters: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor | None]
    ) -> None:
        for index, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            if gradient is None:
                continue
            held = self.moments.get(index)
            # Both moments begin at zero, and the corrections below undo that bias.
            if held is None:
                zero = torch.zeros_like(gradient)
                held = self.moments[index] = _Moments(zero, zero.clone())
            held.steps += 1
            held.first.lerp_(gradient, 1 - self.beta1)
            held.second.mul_(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
            scale = math.sqrt(1 - self.beta2**held.steps)
            spread = held.second.sqrt().div_(scale).add_(_EPSILON)
            parameter.addcdiv_(held.first, spread, value=-self.lr / (1 - self.beta1**held.steps))


def step_rule(training: LocalTraining, lr: float) -> StepRule:
    """The rule of a client's optimiser, with a new state, as in every round.

    Args:
        training: local training, which names the optimiser.
        lr: learning rate of this round.
    """
    match training.optimizer:
        case "sgd":
            return _Plain(lr)
        case "momentum":
            return _Momentum(lr, training.momentum, training.nesterov)
        case "adam" | "adamw":
            return _Adam(lr, training.beta1, training.beta2)


@dataclass(frozen=True, slots=True)
class Pull:
    """A proximal term strength/2·‖w − targets‖² around a fixed model, as its exact step.

    w ← (w + lr·strength·targets) ÷ (1 + lr·strength) is stable for every strength, and approaches the targets
    as the strength grows. A step along the term's gradient would diverge for strengths beyond 2 ÷ lr.

    Args:
        targets: float32 tensors, one for each parameter.
        strength: λ ≥ 0.
    """

    targets: Sequence[torch.Tensor]
    strength: float

    def step(self, parameters: Sequence[torch.Tensor], lr: float) -> None:
        """Pull the parameters towards the targets, in place."""
        weight = 1 - 1 / (1 + lr * self.strength)
        for parameter, target in zip(parameters, self.targets, strict=True):
            parameter.lerp_(target, weight)


def forces(
    split: Callable[[NDArray[np.floating]], list[torch.Tensor]], job: TrainingJob
) -> tuple[list[torch.Tensor] | None, Pull | None]:
    """The correction and the pull of a job, in the form that `Descent` needs.

    Args:
        split: turns a vector, float64[d], into tensors of the shapes that are trained.
        job: the job with the correction and the pull.
    """
    shifts = None if job.correction is None else split(job.correction)
    return shifts, None if job.towards is None else Pull(split(job.towards[0]), job.towards[1])


class Descent:
    """One client's steps in one round.

    Args:
        training: penalties, clipping and optimiser.
        lr: learning rate of the first step.
        origin: the parameters at the start of the round; used when there is a proximal penalty.
        shifts: tensors to add to the gradients after their clipping, or None.
        pull: pull towards another model, applied after each step.
    """

    def __init__(
        self,
        training: LocalTraining,
        lr: float,
        origin: Sequence[torch.Tensor] = (),
        shifts: Sequence[torch.Tensor] | None = None,
        pull: Pull | None = None,
    ) -> None:
        self._training = training
        self._rule = step_rule(training, lr)
        self._origin = origin
        self._shifts = shifts
        self._pull = pull

    def step(
        self, parameters: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor | None]
    ) -> None:
        """Take one step in place; the gradients are overwritten, and a parameter without one does not change.

        Args:
            parameters: float32 tensors.
            gradients: gradients of the mean loss, of the same shapes.
        """
        training = self._training
        # Penalties come before clipping, since they are part of the gradient.
        if training.penalised:
            self._add_penalties(parameters, gradients)
        if training.clip_gradient is not None:
            _clip([part for part in gradients if part is not None], training.clip_gradient)
        # The correction is added after clipping: SCAFFOLD assumes that every step has it in full.
        if self._shifts is not None:
            for gradient, shift in zip(gradients, self._shifts, strict=True):
                if gradient is not None:
                    gradient.add_(shift)
        # The decay is decoupled: it does not pass through the optimiser's memory.
        if training.decay:
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    parameter.mul_(1 - self._rule.lr * training.decay)
        self._rule.step(parameters, gradients)
        if self._pull is not None:
            self._pull.step(parameters, self._rule.lr)
        self._rule.lr *= training.step_decay

    def _add_penalties(
        self, parameters: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor | None]
    ) -> None:
        training = self._training
        for index, (gradient, parameter) in enumerate(zip(gradients, parameters, strict=True)):
            if gradient is None:
                continue
            if training.l2:
                gradient.add_(parameter, alpha=training.l2)
            if training.l1:
                gradient.add_(parameter.sign(), alpha=training.l1)
            if training.proximal:
                gradient.add_(parameter - self._origin[index], alpha=training.proximal)


def _clip(gradients: Sequence[torch.Tensor], largest: float) -> None:
    # The norm is that of all parameters together.
    norm = math.sqrt(sum(float(part.square().sum()) for part in gradients))
    if norm > largest:
        for part in gradients:
            part.mul_(largest / norm)
