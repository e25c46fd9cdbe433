"""What a client does with the model: some steps on its own examples; and how it is scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from fedavg.errors import DataError, PlanError
from fedavg.models.zoo import FeedForward, McMahanCNN
from fedavg.optimizers.local import LocalTraining
from fedavg.training.fast.convolutional import ConvNet
from fedavg.training.fast.dense import DenseNet, passed, served
from fedavg.training.fast.stacked import stackable, train_stacked
from fedavg.training.steps import Descent, Pull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray
    from torch import nn

    from fedavg.data.dataset import Dataset
    from fedavg.models.layout import Layout

    _Forces: TypeAlias = tuple[list[torch.Tensor] | None, Pull | None]

__all__ = ["Evaluation", "LocalTraining", "evaluate", "local_update", "local_updates"]

_EVALUATION_BATCH = 2048


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
    correction: NDArray[np.float64] | None = None,
    towards: tuple[NDArray[np.floating], float] | None = None,
) -> NDArray[np.float64]:
    """Train from `start` on one client's examples and return how far the parameters moved.

    Run by a client.  Training is in float32, so that Δ = trained − float32(start).  The number of
    threads is the caller's to set: for small models one is fastest.

    Args:
        model: a module to work with; its parameters may be overwritten.
        layout: of that module.
        start: float64[d] or float32[d], the broadcast model.
        dataset: the client's examples.
        training: how to train.
        round_index: counts from 0.
        num_rounds: length of the run, for the schedule.
        seed: public seed of the order of examples and of dropout masks.
        correction: float64[d], added to every gradient after its clipping (SCAFFOLD's c − cᵢ).
        towards: a model, float64[d], and how strongly each step is drawn to it (`local_steps.Pull`).

    Returns:
        Δ, float64[d]; a function of the arguments alone.

    Raises:
        LocalProtocolError: `start` or the module does not fit the layout.
        DataError: examples that the module does not take, or labels beyond its outputs.
        PlanError: the module changed a buffer while training.
    """
    if correction is None and towards is None and stackable(model, layout, dataset, training):
        return local_updates(
            layout,
            start,
            [(dataset, seed)],
            training,
            round_index=round_index,
            num_rounds=num_rounds,
        )[0]
    lr, order = training.lr_at(round_index, num_rounds), [seed, round_index]
    batches = _batches(len(dataset), training, order)
    if type(model) is FeedForward and _fits(model, dataset):
        held = [None if part.requires_grad else part.detach() for part in model.parameters()]
        forces = _forces(lambda v: [torch.from_numpy(layout.as_float32(v))], correction, towards)
        return _train_dense(layout, start, held, dataset, batches, training, lr, forces)
    plain = training.plain and correction is None and towards is None
    if type(model) is McMahanCNN and plain and _takes(model, dataset):
        return _train_convolutions(layout, start, dataset, batches, training, lr)
    layout.load_vector(model, start)
    before = layout.flatten(model)
    forces = _forces(lambda v: list(layout.unflatten(v).values()), correction, towards)
    _train_any(model, dataset, batches, training, lr, order, forces)
    return np.subtract(layout.flatten(model), before)


def local_updates(
    layout: Layout,
    start: NDArray[np.floating],
    members: Sequence[tuple[Dataset, int]],
    training: LocalTraining,
    *,
    round_index: int,
    num_rounds: int,
) -> list[NDArray[np.float64]]:
    """`local_update` of many clients at once, to the bit.

    Args:
        layout: of the model.
        start: float64[d] or float32[d], the broadcast model.
        members: each client's examples, equally many and `stackable`, and its seed.
        training: how to train.
        round_index: counts from 0.
        num_rounds: length of the run, for the schedule.
    """
    orders = [list(_batches(len(data), training, [seed, round_index])) for data, seed in members]
    datasets, lr = [data for data, _ in members], training.lr_at(round_index, num_rounds)
    return train_stacked(layout, start, datasets, orders, training, lr)


def _forces(
    split: Callable[[NDArray[np.floating]], list[torch.Tensor]],
    correction: NDArray[np.float64] | None,
    towards: tuple[NDArray[np.floating], float] | None,
) -> _Forces:
    """What acts on each step beside the gradient, as tensors of the shapes that are trained."""
    shifts = None if correction is None else split(correction)
    return shifts, None if towards is None else Pull(split(towards[0]), towards[1])


def _fits(model: FeedForward, dataset: Dataset) -> bool:
    """Whether the fast path applies; what does not fit goes to the plain loop, which says why."""
    dense = model.dense()
    inputs, outputs = dense[0].in_features, dense[-1].out_features
    right = dataset.features[0].size == inputs and int(dataset.labels.max()) < outputs
    return right and dense[0].weight.dtype == torch.float32


def _takes(model: McMahanCNN, dataset: Dataset) -> bool:
    """The same for convolutions, whose parameters must all be trained."""
    right = (
        dataset.features[0].size == 784 and int(dataset.labels.max()) < model.output.out_features
    )
    trained = all(part.requires_grad and part.dtype == torch.float32 for part in model.parameters())
    return right and trained


def _batches(count: int, training: LocalTraining, seed: list[int]) -> Iterator[torch.Tensor | None]:
    """Yield each step's indices; None for all examples."""
    size = training.batch_size or count
    steps = training.steps_for(count)
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


@torch.inference_mode()
def _train_dense(
    layout: Layout,
    start: NDArray[np.floating],
    held: Sequence[torch.Tensor | None],
    dataset: Dataset,
    batches: Iterator[torch.Tensor | None],
    training: LocalTraining,
    lr: float,
    forces: _Forces,
) -> NDArray[np.float64]:
    """The fast path, for dense layers: gradients without a tape, on one vector of parameters."""
    lowest = held.index(None) // 2 * 2  # below it nothing moves, and no gradient is needed
    below = [part for part in held[:lowest] if part is not None]
    held = held[lowest:]
    begun = layout.as_float32(start)
    flat = torch.empty(begun.size).copy_(torch.from_numpy(begun))
    net = DenseNet(flat, layout.shapes, held)
    features = passed(torch.from_numpy(dataset.features).flatten(1), below)
    examples = served(features, net.targets(torch.from_numpy(dataset.labels)), batches)
    if training.plain and forces == (None, None):
        for inputs, targets in examples:
            net.descend(inputs, targets, lr)
            lr *= training.step_decay
    else:
        descent = Descent(training, lr, [torch.from_numpy(begun)], *forces)
        slope = torch.empty_like(flat)
        into = DenseNet(slope, layout.shapes, held)
        for inputs, targets in examples:
            net.gradient(inputs, targets, into)
            descent.step([flat], [slope])
    return np.subtract(flat.numpy(), begun, dtype=np.float64)


@torch.inference_mode()
def _train_convolutions(
    layout: Layout,
    start: NDArray[np.floating],
    dataset: Dataset,
    batches: Iterator[torch.Tensor | None],
    training: LocalTraining,
    lr: float,
) -> NDArray[np.float64]:
    """Plain SGD on McMahan's CNN, without a tape."""
    begun = layout.as_float32(start)
    flat = torch.empty(begun.size).copy_(torch.from_numpy(begun))
    net = ConvNet(flat, layout.shapes)
    images = torch.from_numpy(dataset.features).reshape(-1, 1, 28, 28)
    for inputs, targets in served(images, net.targets(torch.from_numpy(dataset.labels)), batches):
        net.descend(inputs, targets, lr)
        lr *= training.step_decay
    net.store()
    return np.subtract(flat.numpy(), begun, dtype=np.float64)


def _train_any(
    model: nn.Module,
    dataset: Dataset,
    batches: Iterator[torch.Tensor | None],
    training: LocalTraining,
    lr: float,
    seed: list[int],
    forces: _Forces,
) -> None:
    """The plain loop, for any module: autograd, one step after the other."""
    parameters = [part for part in model.parameters() if part.requires_grad]
    origin = [part.detach().clone() for part in parameters] if training.proximal else []
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    descent = Descent(training, lr, origin, *forces)
    examples = torch.from_numpy(dataset.features), torch.from_numpy(dataset.labels)
    model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))  # noqa: TID251 - public seed
        for features, labels in served(*examples, batches):
            loss = _loss(model, features, labels)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            with torch.no_grad():
                descent.step(parameters, gradients)
    for name, buffer in model.named_buffers():
        if not torch.equal(buffer, buffers[name]):
            raise PlanError(
                f"training changed the buffer {name!r}, which is no parameter: it would leave the "
                "client neither clipped nor averaged; use a layer without such state (GroupNorm or "
                "LayerNorm for BatchNorm, no spectral norm, no moving averages or counters)"
            )


def _loss(model: nn.Module, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    try:
        return functional.cross_entropy(model(features), labels)
    except (RuntimeError, IndexError) as error:
        raise DataError(
            f"the model does not take examples of shape {tuple(features.shape[1:])} with labels up "
            f"to {int(labels.max())}: {error}"
        ) from error


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
