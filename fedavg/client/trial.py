"""One trial step before anything is charged: a model or data that cannot train are refused with the reason.

In a simulation the operator holds all data, so one client of each kind can try a step: a forward pass, the
loss, a backward pass, one optimiser step and the encoding of the update, on a copy of the model.  The results
are discarded.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import torch

from fedavg.algorithms.blocks.deal import assigned_block
from fedavg.algorithms.chain import ClientChain
from fedavg.client.blocks import part_to_train
from fedavg.client.update import contribution, encoding_for
from fedavg.errors import CapacityError, DataError, FedAvgError, NonFiniteError, PlanError
from fedavg.training.compute import CPU
from fedavg.training.job import TrainingJob, check_outputs, chosen_loss
from fedavg.training.local.autograd import first_outputs
from fedavg.training.loop import local_update

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from numpy.typing import NDArray
    from torch import nn

    from fedavg.data.dataset import Dataset
    from fedavg.losses.interface import Loss
    from fedavg.models.layout import Layout
    from fedavg.optimizers.local import LocalTraining
    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.protocol.messages import RoundStart
    from fedavg.training.compute import Compute

__all__ = ["Trial", "try_out"]

_LARGE = 20.0  # features and labels beyond this are not of unit scale
_BARELY = 1e-20  # of the learning rate, for a step that moves no parameter
_SUMS_TO_ONE = 1e-4  # rounding of a float32 softmax, even over many classes
_ROUNDING = 1e-4  # of an update's largest coordinate
_NO_MEMORY = (
    ": the module remembers what it has seen, outside of the parameters that are trained, and that memory "
    "would be neither clipped nor averaged, and would reach other clients' updates. Look for counters, "
    "running means, queues and parameters that forward writes, and leave them out"
)
_MOST_EXAMPLES = 256  # of a full batch: a trial needs a real batch, but not a large one


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """Everything that a trial needs besides the clients.

    Args:
        resolution: the resolved plan.
        model: a module with its initial parameters; it is copied and not changed.
        layout: the `Layout` of `model`.
        start: first message of round 0.
        seed: public seed.
        compute: device and precision.
        outputs: number of outputs that the task needs: one for each class, label or number; None if that is
            not known, as for a module of the caller's own.
    """

    resolution: ResolvedPlan
    model: nn.Module
    layout: Layout
    start: RoundStart
    seed: int = 0
    compute: Compute = CPU
    outputs: int | None = None


def try_out(trial: Trial, clients: Mapping[int, Dataset]) -> None:
    """Let one client of each kind take one step, and check the outputs, and the labels of all clients.

    Two clients are of the same kind if their examples have one shape and one kind of labels, their smallest
    batches both hold one example or both hold more, and they train the same block.

    Args:
        trial: the plan, the model and the first message.
        clients: every client's own examples, by id.

    Raises:
        DataError, PlanError: a client cannot train; the message has the client, the reason and the remedy.
        CapacityError, NonFiniteError: the encoding does not accept the update.
    """
    # The trial trains a copy, so that the run starts from the model that was given.
    model = copy.deepcopy(trial.model)
    alike: dict[Hashable, list[int]] = {}
    for client, data in clients.items():
        alike.setdefault(_kind(trial, client, data), []).append(client)
    first = next(iter(clients))
    for same in alike.values():
        chosen = same[0]
        try:
            tried = replace(trial, model=model)
            update = _one_step(tried, chosen, clients[chosen])
            if chosen == first:
                _check_memory(trial, tried, chosen, clients[chosen], update)
        except FedAvgError as error:
            others = f" (and {len(same) - 1:,} more like it)" if len(same) > 1 else ""
            large = ""
            if isinstance(error, CapacityError | NonFiniteError):
                large = _magnitudes(clients[chosen])
            raise type(error)(
                # The error keeps its type, which says whether the plan, the data or the encoding has to
                # change.
                f"client {chosen}{others} cannot train, so nothing was charged or sent: {error}{large}"
            ) from error
    _check_labels(trial, clients)


def _kind(trial: Trial, client: int, data: Dataset) -> Hashable:
    """A value that decides whether a client can train: clients with equal values all can, or none can."""
    sizes = trial.resolution.plan.local_training.batch_sizes(len(data))
    return (
        data.features.shape[1:],
        data.kind.name,
        data.labels.shape[1:],
        data.weights is None,
        # A batch of one example is a kind of its own: normalisation over a batch cannot train on it.
        min(sizes) == 1,
        _block(trial, client),
    )


def _block(trial: Trial, client: int) -> int | None:
    """The block that the client trains in round 0; None for the whole model."""
    blocks = trial.resolution.plan.blocks
    if blocks is None:
        return None
    return assigned_block(blocks, client, 0, trial.resolution.num_clients)


def _one_step(trial: Trial, client: int, data: Dataset) -> NDArray[np.float64]:
    """Try one step, in the trial's own module, and return the update."""
    block = _block(trial, client)
    resolution = trial.resolution if block is None else trial.resolution.of_block(block)
    plan, start = resolution.plan, trial.start
    vector = _sent_vector(resolution, trial)
    batch = _one_batch(data, min(plan.local_training.batch_sizes(len(data))))
    with part_to_train(resolution, trial.model, trial.layout, vector) as part:
        job = TrainingJob(
            part.model,
            part.layout,
            part.vector,
            batch,
            _shortened(plan.local_training, part.model),
            num_rounds=resolution.num_rounds,
            seed=trial.seed + client,
            compute=trial.compute,
        )
        personal = plan.personalization
        # A model of the client's own trains all parameters, and its settings may fail where the plan's do
        # not.
        if personal is not None and not personal.head:
            local_update(replace(job, training=_shortened(personal.training, part.model)))
        update = part.in_model(local_update(job))
        if not bool(np.isfinite(update).all()):
            raise PlanError(f"{_not_finite(job)}{_magnitudes(data)}")
    # A loop that trains a copy of the module leaves nothing to send, and every round would be empty.
    if plan.local_training.loop is not None and not update.any():
        raise PlanError(
            f"the client loop changed no parameter in a trial with {len(batch)} examples: it has to train "
            "the module that it is given, in place"
        )
    # The facts are those of the client's whole data, as in a round, although the batch is smaller.
    facts = replace(resolution.facts(0), examples=len(data))
    chain = ClientChain(plan.stages, facts, start.extras, {})
    contribution(resolution, encoding_for(resolution, start.clip), chain, update, len(data))
    return update


def _check_memory(
    trial: Trial, tried: Trial, client: int, data: Dataset, update: NDArray[np.float64]
) -> None:
    """Refuse a module that remembers the examples that it was given, outside of its trained parameters.

    Such a memory is neither clipped nor averaged.  In a simulation, where clients share a module, it would
    carry one client's examples into the next client's update.

    Args:
        trial: the trial, with a module that no step has used.
        tried: the same trial, with the module that has taken one step of this client.
        client: the client's id.
        data: its examples.
        update: float64[d], its update in that step.
    """
    before, after = (dict(each.model.named_parameters()) for each in (trial, tried))
    for name in {**before, **after}:
        if not _kept(before.get(name), after.get(name)):
            raise PlanError(
                f"training changed, added or removed the parameter {name!r}{_NO_MEMORY}"
            )
    trial.layout.load_vector(tried.model, trial.layout.flatten(trial.model))
    # A module without a memory gives the same update for the same step, whatever it has seen before.
    if _close(update, _one_step(tried, client, data)):
        return
    # Where chance of the module's own decides, two modules without a memory differ as well.
    unused = replace(trial, model=copy.deepcopy(trial.model))
    if _close(update, _one_step(unused, client, data)):
        raise PlanError(
            f"the same step on the same examples gives another update the second time{_NO_MEMORY}"
        )


def _kept(before: nn.Parameter | None, after: nn.Parameter | None) -> bool:
    """Whether a parameter is still there, and has its values if it is not trained."""
    if before is None or after is None or before.requires_grad != after.requires_grad:
        return False
    return before.requires_grad or torch.equal(before.cpu(), after.cpu())


def _close(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether two updates are equal but for the rounding of another order of additions."""
    reach = _ROUNDING * max(float(np.abs(one).max()), float(np.abs(other).max()))
    return bool(np.abs(one - other).max() <= reach)


def _not_finite(job: TrainingJob) -> str:
    """Why a step is not finite: a rate that is too large, or a loss that no rate can help."""
    rate = job.training.lr
    # A step of almost no length is finite unless the gradient itself is not.
    barely = msgspec.structs.replace(job.training, lr=rate * _BARELY)
    if np.isfinite(local_update(replace(job, training=barely))).all():
        return f"one step with the learning rate {rate:g} gives NaN or infinity: lower it"
    return (
        "the loss or its gradient is NaN or infinity on the first batch, with any learning rate: look for a "
        "logarithm, a root or a division of zero in the loss and in the model"
    )


def _magnitudes(data: Dataset) -> str:
    """What to do about large numbers in the data, which make updates too large; "" where there are none."""
    numbers = {"features": data.features}
    # Labels of classes are integers, whose size says nothing about scale.
    if data.labels.dtype.kind == "f":
        numbers["labels"] = data.labels
    large = [
        f"{name} reach {reached:.4g}"
        for name, values in numbers.items()
        if (reached := float(np.abs(values).max())) > _LARGE
    ]
    if not large:
        return ""
    return f". The {' and '.join(large)}, where training expects about 1: scale them first"


def _shortened(training: LocalTraining, model: nn.Module) -> LocalTraining:
    """The same training, shortened to one step, or to two where the module has buffers.

    A buffer that follows the weights, such as the singular vectors of a spectral norm, may change for the
    first time when the weights have changed.
    """
    steps = 1 if next(model.buffers(), None) is None else 2
    return msgspec.structs.replace(training, epochs=steps, steps=None, max_steps=steps)


def _sent_vector(resolution: ResolvedPlan, trial: Trial) -> NDArray[np.float64]:
    """The part of the initial model that is sent to a client."""
    whole = trial.layout.flatten(trial.model)
    blocks, block = resolution.plan.blocks, resolution.block
    if blocks is None or block is None or not blocks.sends_part:
        return whole
    return whole[blocks.coordinates(block, 0)]


def _one_batch(data: Dataset, size: int) -> Dataset:
    return data.subset(np.arange(min(size, _MOST_EXAMPLES)))


def _check_labels(trial: Trial, clients: Mapping[int, Dataset]) -> None:
    """Check the number of outputs that the model was found to have, and every client's labels against it.

    The trial step covers only some clients' examples and labels.
    """
    training = trial.resolution.plan.local_training
    # A user's own training may give the outputs any meaning.
    if training.custom and trial.outputs is None:
        return
    one = next(iter(clients.values()))
    given = first_outputs(trial.model, one, trial.compute)
    outputs = given.shape[1]
    if trial.outputs is not None:
        try:
            check_outputs(outputs, trial.outputs, one.kind)
        except DataError as error:
            raise DataError(f"nothing was charged or sent: {error}") from error
    if training.custom:
        return
    if trial.outputs is None and not one.kind.columns:
        _warn_of_more(outputs, clients)
    loss = chosen_loss(training.loss, one.kind)
    # A loss without a closed form is the user's own, and may be meant for probabilities.
    if not one.kind.columns and loss.closed_form is not None:
        _warn_of_probabilities(given, loss)
    # Labels are checked for every client, since one client may hold a class that the others lack.
    for client, data in clients.items():
        try:
            chosen_loss(training.loss, data.kind).check(data.labels, outputs)
        except DataError as error:
            raise DataError(f"client {client} cannot train: {error}") from error


def _warn_of_more(outputs: int, clients: Mapping[int, Dataset]) -> None:
    """Warn of outputs beyond all labels; a class without examples may be meant, so that is no error."""
    classes = 1 + max(int(data.labels.max()) for data in clients.values())
    if outputs > max(classes, 2):
        warnings.warn(
            f"the model has {outputs} outputs, but the clients' labels are 0 … {classes - 1}, which need "
            f"{classes}: if there are no more classes, give the model {classes} outputs",
            stacklevel=2,
        )


def _warn_of_probabilities(outputs: torch.Tensor, loss: Loss) -> None:
    """Warn of outputs after a softmax, which the loss applies itself: training then hardly moves."""
    sums = outputs.sum(1)
    if (
        outputs.shape[1] > 1
        and bool((outputs >= 0).all())
        and bool(((sums - 1).abs() < _SUMS_TO_ONE).all())
    ):
        warnings.warn(
            f"the model's outputs are probabilities already: they are positive and add up to 1. The loss "
            f"{loss.kind!r} applies softmax itself, and a second softmax leaves small gradients and flat "
            "probabilities: remove the softmax at the end of the model",
            stacklevel=2,
        )
