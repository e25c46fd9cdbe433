"""What a client does with the model: some steps of SGD or Adam on its own examples; and how it is scored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch.nn import functional

from fedavg.errors import ConfigError, DataError, PlanError
from fedavg.models import FeedForward

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import nn

    from fedavg.data import Dataset
    from fedavg.tensors import Layout

__all__ = ["Evaluation", "LocalTraining", "evaluate", "local_update"]

_EVALUATION_BATCH = 2048


@dataclass(frozen=True, slots=True)
class LocalTraining:
    """How a client trains.

    Args:
        epochs: passes over its examples.
        batch_size: examples a step; None takes all of them.
        optimizer: plain SGD, SGD with momentum, or Adam; fresh in every round.
        lr: learning rate of the first round.
        schedule: over server rounds: constant; "step" divides by 10 at one half and again at three
            quarters of the rounds; "cosine" falls towards zero (Loshchilov and Hutter 2017, eq. 5).
        l1, l2: penalties l1·‖w‖₁ and l2/2·‖w‖₂².
        proximal: FedProx's μ, the penalty μ/2·‖w − w₀‖₂² (Li et al. 2020, eq. 2).
        momentum: of optimizer "momentum".
        max_steps: at most so many steps a round, however many examples there are.

    Raises:
        ConfigError: a value outside its range, by name.

    Example:
        >>> LocalTraining(lr=0.1, schedule="step").lr_at(50, 100)
        0.01
    """

    epochs: int = 1
    batch_size: int | None = None
    optimizer: Literal["sgd", "momentum", "adam"] = "sgd"
    lr: float = 0.1
    schedule: Literal["constant", "step", "cosine"] = "constant"
    l1: float = 0.0
    l2: float = 0.0
    proximal: float = 0.0
    momentum: float = 0.9
    max_steps: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "max_steps"):
            count: int | None = getattr(self, name)
            if count is None and name != "epochs":
                continue
            if not isinstance(count, int) or count < 1:
                raise ConfigError(f"{name} must be a whole number from 1 up, not {count!r}")
        for name in ("l1", "l2", "proximal"):
            penalty: float = getattr(self, name)
            if not (math.isfinite(penalty) and penalty >= 0):
                raise ConfigError(f"{name} must be zero or positive, not {penalty!r}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ConfigError(f"lr must be positive, not {self.lr!r}")
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"momentum must lie in [0, 1), not {self.momentum!r}")
        if self.optimizer not in {"sgd", "momentum", "adam"}:
            raise ConfigError(f"optimizer {self.optimizer!r} is none of sgd, momentum, adam")
        if self.schedule not in {"constant", "step", "cosine"}:
            raise ConfigError(f"schedule {self.schedule!r} is none of constant, step, cosine")

    def lr_at(self, round_index: int, num_rounds: int) -> float:
        """Learning rate of one round.

        Args:
            round_index: counts from 0.
            num_rounds: length of the run.
        """
        done = round_index / num_rounds
        match self.schedule:
            case "constant":
                return self.lr
            case "step":
                return self.lr / 10 ** ((done >= 0.5) + (done >= 0.75))
            case "cosine":
                return self.lr * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model's figures on held-out examples.

    Args:
        accuracy: share of examples whose largest logit is their class's.
        loss: mean cross-entropy in nats.
    """

    accuracy: float
    loss: float


def local_update(
    model: nn.Module,
    layout: Layout,
    start: NDArray[np.floating],
    dataset: Dataset,
    training: LocalTraining,
    *,
    round_index: int,
    num_rounds: int,
    seed: int,
) -> NDArray[np.float64]:
    """Train from `start` on one client's examples and return how far the parameters moved.

    Run by a client.  Training is in float32, so that Δ = trained − float32(start).  The number of
    threads is the caller's to set: for small models one is fastest.

    Args:
        model: a module to work with; its parameters are overwritten.
        layout: of that module.
        start: float64[d] or float32[d], the broadcast model.
        dataset: the client's examples.
        training: how to train.
        round_index: counts from 0.
        num_rounds: length of the run, for the schedule.
        seed: public seed of the order of examples and of dropout masks.

    Returns:
        Δ, float64[d]; a function of the arguments alone.

    Raises:
        LocalProtocolError: `start` or the module does not fit the layout.
        DataError: examples that the module does not take, or labels beyond its outputs.
        PlanError: the module changed a buffer while training.
    """
    layout.load_vector(model, start)
    examples = torch.from_numpy(dataset.features), torch.from_numpy(dataset.labels)
    batches = _batches(len(dataset), training, [seed, round_index])
    lr = training.lr_at(round_index, num_rounds)
    before = layout.flatten(model)
    if type(model) is FeedForward and training.optimizer == "sgd" and _fits(model, dataset):
        _train_fused(model, examples, batches, training, lr)
    else:
        _train_any(model, examples, batches, training, lr, [seed, round_index])
    return layout.flatten(model) - before


def _fits(model: FeedForward, dataset: Dataset) -> bool:
    """Whether the fast path applies; what does not fit goes to the plain loop, which says why."""
    dense = model.dense()
    inputs, outputs = dense[0].in_features, dense[-1].out_features
    trained = all(part.requires_grad for part in model.parameters())
    right = dataset.features[0].size == inputs and int(dataset.labels.max()) < outputs
    return trained and right and dense[0].weight.dtype == torch.float32


def _batches(count: int, training: LocalTraining, seed: list[int]) -> Iterator[torch.Tensor | None]:
    """Yield each step's indices; None for all examples."""
    size = training.batch_size or count
    steps = training.epochs * math.ceil(count / size)
    if training.max_steps is not None:
        steps = min(steps, training.max_steps)
    if size >= count:
        yield from (None for _ in range(steps))
        return
    rng = np.random.default_rng(seed)  # noqa: TID251 - public seed
    done = 0
    while done < steps:
        order = torch.from_numpy(rng.permutation(count))
        for batch in order.split(size)[: steps - done]:
            yield batch
            done += 1


def _train_any(
    model: nn.Module,
    examples: tuple[torch.Tensor, torch.Tensor],
    batches: Iterator[torch.Tensor | None],
    training: LocalTraining,
    lr: float,
    seed: list[int],
) -> None:
    """The plain loop, for any module: autograd and torch's own optimisers."""
    parameters = [part for part in model.parameters() if part.requires_grad]
    origin = [part.detach().clone() for part in parameters] if training.proximal else []
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    optimizer = _optimizer(parameters, training, lr)
    model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))  # noqa: TID251 - public seed
        for batch in batches:
            features, labels = (part if batch is None else part[batch] for part in examples)
            optimizer.zero_grad(set_to_none=True)
            _loss(model, features, labels).backward()
            _add_penalties(parameters, origin, training)
            optimizer.step()
    for name, buffer in model.named_buffers():
        if not torch.equal(buffer, buffers[name]):
            raise PlanError(
                f"training changed the buffer {name!r}, which is no parameter: it would leave the "
                "client neither clipped nor averaged; use a layer without such state"
            )


def _optimizer(
    parameters: list[nn.Parameter], training: LocalTraining, lr: float
) -> torch.optim.Optimizer:
    if training.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=lr)
    momentum = training.momentum if training.optimizer == "momentum" else 0.0
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum)


def _loss(model: nn.Module, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    try:
        return functional.cross_entropy(model(features), labels)
    except (RuntimeError, IndexError) as error:
        raise DataError(
            f"the model does not take examples of shape {tuple(features.shape[1:])} with labels up "
            f"to {int(labels.max())}: {error}"
        ) from error


def _add_penalties(
    parameters: list[nn.Parameter], origin: list[torch.Tensor], training: LocalTraining
) -> None:
    with torch.no_grad():
        for index, parameter in enumerate(parameters):
            gradient = parameter.grad
            if gradient is None:
                continue
            if training.l2:
                gradient.add_(parameter, alpha=training.l2)
            if training.l1:
                gradient.add_(parameter.sign(), alpha=training.l1)
            if training.proximal:
                gradient.add_(parameter - origin[index], alpha=training.proximal)


@torch.no_grad()
def _train_fused(
    model: FeedForward,
    examples: tuple[torch.Tensor, torch.Tensor],
    batches: Iterator[torch.Tensor | None],
    training: LocalTraining,
    lr: float,
) -> None:
    """Plain SGD on dense layers without autograd: W ← W − lr·(δᵀx)/n is one fused product (`addmm_`)."""
    weights: list[torch.Tensor] = [layer.weight for layer in model.dense()]
    biases: list[torch.Tensor] = [layer.bias for layer in model.dense()]
    everything = [*weights, *biases]
    origin = [part.clone() for part in everything] if training.proximal else []
    features = examples[0].flatten(1)
    targets = functional.one_hot(examples[1], len(biases[-1])).float()
    for batch in batches:
        chosen = slice(None) if batch is None else batch
        inputs = [features[chosen]]  # of every layer
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            inputs.append(torch.addmm(bias, inputs[-1], weight.T).relu_())
        logits = torch.addmm(biases[-1], inputs[-1], weights[-1].T)
        signal = torch.softmax(logits, 1).sub_(targets[chosen])  # the loss's gradient at the logits
        signals = [signal]
        for weight, values in zip(weights[:0:-1], inputs[:0:-1], strict=True):
            signals.append((signals[-1] @ weight).mul_(values > 0))
        shrink = _penalty_steps(everything, origin, training, lr)
        scale = -lr / len(signal)
        for weight, bias, values, error in zip(weights, biases, inputs, signals[::-1], strict=True):
            weight.addmm_(error.T, values, alpha=scale)
            bias.add_(error.sum(0), alpha=scale)
        for part, step in shrink:
            part.add_(step)


def _penalty_steps(
    parts: list[torch.Tensor], origin: list[torch.Tensor], training: LocalTraining, lr: float
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Steps that the penalties ask for, computed before any parameter moves."""
    if not (training.l1 or training.l2 or training.proximal):
        return []
    steps: list[tuple[torch.Tensor, torch.Tensor]] = []
    for index, part in enumerate(parts):
        slope = part * training.l2 + part.sign() * training.l1
        if training.proximal:
            slope += (part - origin[index]) * training.proximal
        steps.append((part, slope * -lr))
    return steps


@torch.no_grad()
def evaluate(
    model: nn.Module, layout: Layout, vector: NDArray[np.floating], dataset: Dataset
) -> Evaluation:
    """Score the model with parameters `vector` on held-out examples.

    Args:
        model: a module to work with; its parameters are overwritten.
        layout: of that module.
        vector: float64[d] or float32[d].
        dataset: the examples.

    Raises:
        LocalProtocolError: the vector or the module does not fit the layout.
        DataError: examples that the module does not take.
    """
    layout.load_vector(model, vector)
    model.eval()
    right, loss = 0, 0.0
    features, labels = torch.from_numpy(dataset.features), torch.from_numpy(dataset.labels)
    for inputs, classes in zip(
        features.split(_EVALUATION_BATCH), labels.split(_EVALUATION_BATCH), strict=True
    ):
        try:
            logits = model(inputs)
            loss += float(functional.cross_entropy(logits, classes, reduction="sum"))
        except (RuntimeError, IndexError) as error:
            raise DataError(f"the model does not take these examples: {error}") from error
        right += int((logits.argmax(1) == classes).sum())
    return Evaluation(accuracy=right / len(dataset), loss=loss / len(dataset))
