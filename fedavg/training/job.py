"""One client's training in one round, as a single value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedavg.errors import DataError
from fedavg.training.compute import CPU

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import nn

    from fedavg.data.dataset import Dataset, TargetKind
    from fedavg.losses.interface import Loss
    from fedavg.models.layout import Layout
    from fedavg.optimizers.local import LocalTraining
    from fedavg.training.compute import Compute

__all__ = ["TrainingJob", "check_outputs", "chosen_loss"]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingJob:
    """Everything that determines one client's update in one round.

    Args:
        model: a module to work with; its parameters may be overwritten.
        layout: the `Layout` of `model`.
        start: float64[d] or float32[d], the broadcast model.
        dataset: the client's examples.
        training: training at the client.
        round_index: index of the round, from 0.
        num_rounds: number of rounds in the run, for the learning-rate schedule.
        seed: public seed of the order of examples and of dropout masks.
        correction: float64[d], added to every gradient after its clipping (SCAFFOLD's c − cᵢ).
        towards: a model, float64[d], and the strength with which each step is pulled towards it
            (`fedavg.training.local.steps.Pull`).
        compute: device and precision.

    Raises:
        DataError: the plan's loss is not defined for labels of this kind.

    Example:
        >>> from fedavg.data.dataset import Dataset
        >>> from fedavg.models.layout import Layout
        >>> from fedavg.optimizers.local import LocalTraining
        >>> model, data = torch.nn.Linear(2, 3), Dataset(np.ones((5, 2)), np.arange(5) % 3)
        >>> job = TrainingJob(model, Layout.of(model), np.zeros(9), data, LocalTraining(batch_size=2))
        >>> [len(batch) for batch in job.batches()]
        [2, 3]
    """

    model: nn.Module
    layout: Layout
    start: NDArray[np.floating]
    dataset: Dataset
    training: LocalTraining
    round_index: int = field(default=0, kw_only=True)
    num_rounds: int = field(default=1, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    correction: NDArray[np.float64] | None = field(default=None, kw_only=True)
    towards: tuple[NDArray[np.floating], float] | None = field(default=None, kw_only=True)
    compute: Compute = field(default=CPU, kw_only=True)

    @property
    def loss(self) -> Loss:
        """The plan's loss, or the one that fits the kind of the labels.

        Raises:
            DataError: the plan's loss is not defined for labels of this kind.
        """
        return chosen_loss(self.training.loss, self.dataset.kind)

    @property
    def weights(self) -> NDArray[np.float32] | None:
        """float32[n]: weight of each example, from its own weight and its label's; None for equal weights."""
        own, by_label = self.dataset.weights, self.loss.label_weights(self.dataset.labels)
        if own is None or by_label is None:
            return by_label if own is None else own
        return own * by_label

    @property
    def lr(self) -> float:
        """Learning rate of the first step."""
        return self.training.lr_at(self.round_index, self.num_rounds)

    @property
    def plain(self) -> bool:
        """Whether each step is w ← w − lr·∇loss and nothing more."""
        return self.training.plain and self.correction is None and self.towards is None

    @property
    def order(self) -> list[int]:
        """Public seed of this round's order of examples."""
        return [self.seed, self.round_index]

    def batches(self) -> Iterator[torch.Tensor | None]:
        """Yield the indices of each step's examples, int64[batch]; None stands for all examples."""
        count, training = len(self.dataset), self.training
        sizes, steps = training.batch_sizes(count), training.steps_for(count)
        # A single batch needs no shuffling: the order does not change its mean.
        if len(sizes) == 1:
            yield from (None for _ in range(steps))
            return
        rng = np.random.default_rng(self.order)  # noqa: TID251 - public seed
        done = 0
        while done < steps:
            order = torch.from_numpy(rng.permutation(count))
            # The last epoch ends where the number of steps is reached.
            for batch in order.split(sizes)[: steps - done]:
                yield batch
                done += 1


def chosen_loss(given: Loss | None, kind: TargetKind) -> Loss:
    """The loss that is minimised for labels of a kind.

    Args:
        given: the plan's loss; None takes the one that fits the kind.
        kind: kind of the labels.

    Raises:
        DataError: the given loss is not defined for labels of this kind.
    """
    if given is None:
        return kind.loss
    if kind.name not in given.targets:
        raise DataError(
            f"the loss {given.kind!r} needs labels of kind {' or '.join(sorted(given.targets))}, but these "
            f"are of kind {kind.name}: choose another loss, or leave it out for {kind.loss.kind!r}"
        )
    return given


_PER_OUTPUT = {"classes": "class", "numbers": "number to predict", "multi-label": "label"}


def check_outputs(found: int, needed: int, kind: TargetKind) -> None:
    """Refuse a model whose number of outputs is not that of the task.

    Args:
        found: number of outputs of the model for one example.
        needed: number of classes, of numbers to predict, or of labels.
        kind: kind of the labels.

    Raises:
        DataError: the numbers differ; the message has both and the remedy.
    """
    single = needed == 2 and not kind.columns
    if found == needed or (found == 1 and single):  # whether one is enough is known to the loss
        return
    one = _PER_OUTPUT[kind.name]
    also = ", or a single output with the loss 'bce'" if single else ""
    raise DataError(
        f"the model has {_outputs(found)} for each example, but the task needs {needed}, one for each {one}"
        f"{also}: give its last layer {_outputs(needed)}. A factory is told this number as its second "
        "argument"
    )


def _outputs(count: int) -> str:
    return "1 output" if count == 1 else f"{count} outputs"
