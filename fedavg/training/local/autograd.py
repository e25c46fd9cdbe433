"""Local training of any module by autograd, with this package's steps or with a loop of the user's own.

Any error in a user's module, loss, step or loop becomes a `DataError` that names the place; the original
error is its cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from fedavg.errors import DataError, PlanError
from fedavg.optimizers.custom import Batch, Examples, LoopContext
from fedavg.parts.imports import blamed
from fedavg.training.compute import in_mode
from fedavg.training.local.batches import served
from fedavg.training.local.blame import computing, stepping_back, taking
from fedavg.training.local.steps import Descent, forces

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from fedavg.data.dataset import Dataset
    from fedavg.optimizers.custom import TrainingStep
    from fedavg.training.compute import Compute
    from fedavg.training.job import TrainingJob

__all__ = ["first_outputs", "outputs_of", "train_by_autograd"]

_HALF = (torch.float16, torch.bfloat16)
_FIRST_SCALE, _LEAST_SCALE = (
    2.0**16,
    1.0,
)  # of a float16 loss; torch.amp.GradScaler starts with the first
_NOTHING_TRAINED = (
    "the loss does not depend on any parameter that is trained, so nothing would be learnt: check for "
    "torch.no_grad, .detach() and .item() in the model, for frozen parameters, and for functions that hold "
    "another copy of the model (training works on a copy of the module that you give)"
)
_GROWS_AFTER = 2000  # steps without an overflow, after which the factor grows


def train_by_autograd(job: TrainingJob) -> NDArray[np.float64]:
    """See `fedavg.training.loop.local_update`; this works for any module."""
    job.compute.place(job.model)
    job.layout.load_vector(job.model, job.start)
    # A buffer is no part of the vector: what training changed in it would never reach the server.
    before = {name: _bits(buffer) for name, buffer in job.model.named_buffers()}
    # Only the user's own code can write to frozen parameters; the package's steps move the vector's alone.
    frozen = _frozen(job.model) if job.training.custom else {}
    # Dropout follows the same public seed as the order, so that a repeated round gives the same update.
    seed = int(np.random.SeedSequence(job.order).generate_state(1)[0])  # noqa: TID251 - public seed
    with in_mode(job.model, training=True), job.compute.seeded(seed):
        trained = _own_loop(job, seed) if job.training.loop is not None else _steps(job)
    _check_buffers(job.model, before)
    if job.training.custom and _frozen(job.model) != frozen:
        raise PlanError(
            "your own training step or client loop changed parameters that are frozen or stay at the "
            "client: it may change only parameters that require gradients"
        )
    return trained


def _frozen(model: nn.Module) -> dict[str, bytes]:
    """The bytes of all parameters that are not trained."""
    return {
        name: _bits(part).numpy().tobytes()
        for name, part in model.named_parameters()
        if not part.requires_grad
    }


def _own_loop(job: TrainingJob, seed: int) -> NDArray[np.float64]:
    """Let the plan's loop train the module; the change of the parameters is measured here."""
    before = job.layout.flatten(job.model)
    data = Examples(*_on_device(job), job.loss)
    device = job.compute.torch_device
    told = LoopContext(job.training, job.lr, job.round_index, job.num_rounds, seed, device)
    # The loop may replace parameters, which the vector's layout would no longer fit.
    shapes = {name: part.shape for name, part in job.model.named_parameters()}
    with blamed(lambda: "the client loop"), job.compute.autocast():
        job.training.loop(job.model, data, told)
    if {name: part.shape for name, part in job.model.named_parameters()} != shapes:
        raise PlanError(
            "the client loop added, removed or reshaped parameters: it may change only their values"
        )
    return np.subtract(job.layout.flatten(job.model), before)


def _on_device(job: TrainingJob) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    device, weights = job.compute.torch_device, job.weights
    # Copies, since a loop and its module may write to what they are given.
    features = torch.tensor(job.dataset.features, device=device)
    labels = torch.tensor(job.dataset.labels, device=device)
    return features, labels, None if weights is None else torch.tensor(weights, device=device)


def _steps(job: TrainingJob) -> NDArray[np.float64]:
    """This package's own steps; half-precision parameters have float32 copies, to keep small steps."""
    held = dict(job.model.named_parameters())
    parameters = [held[name] for name in job.layout.names]
    moved = _exact(job, parameters)
    begun = [part.detach().clone() for part in moved]
    halved = [pair for pair in zip(parameters, moved, strict=True) if pair[0].dtype in _HALF]
    acting = forces(lambda v: _like(job.layout.unflatten(v), moved), job)
    descent = Descent(job.training, job.lr, begun, *acting)
    # bfloat16 has the range of float32, so only float16 needs a scale.
    scale = _Scale(on=job.compute.precision == "float16")

    def advance(batch: Batch, *, first: bool) -> None:
        """One step. With its end the gradients are free, and the next ones take their place in the cache."""
        gradients = _gradients(job, parameters, batch, scale.value, first=first)
        with torch.no_grad():
            ready = _ready(gradients, moved, scale.value)
            if scale.takes(ready):
                descent.step(moved, ready)
            for part, own in halved:
                part.copy_(own)

    for index, batch in enumerate(_batches(job)):
        advance(batch, first=index == 0)
    return _change(begun, moved)


def _change(begun: Sequence[torch.Tensor], moved: Sequence[torch.Tensor]) -> NDArray[np.float64]:
    """How far parameters moved, as a vector: float64 holds the difference of two float32 numbers exactly."""
    change = np.empty(sum(part.numel() for part in moved))
    places = torch.from_numpy(change).split([part.numel() for part in moved])
    for place, start, end in zip(places, begun, moved, strict=True):
        place.view(end.shape).copy_(end).sub_(start.to(place.device))
    return change


def _exact(job: TrainingJob, parameters: Sequence[nn.Parameter]) -> list[torch.Tensor]:
    """The tensors that steps change: the parameters, or float32 copies of those in half precision."""
    if not any(part.dtype in _HALF for part in parameters):
        return [part.data for part in parameters]
    starts = job.layout.unflatten(job.start).values()
    return [
        start.to(part.device) if part.dtype in _HALF else part.data
        for part, start in zip(parameters, starts, strict=True)
    ]


def _like(parts: dict[str, torch.Tensor], others: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [part.to(other) for part, other in zip(parts.values(), others, strict=True)]


def _ready(
    gradients: Sequence[torch.Tensor | None], moved: Sequence[torch.Tensor], scale: float
) -> list[torch.Tensor | None]:
    """Gradients that a step may overwrite: dense, of the right type, unscaled, and in separate memory."""
    ready: list[torch.Tensor | None] = []
    seen: set[int] = set()
    for part, own in zip(gradients, moved, strict=True):
        if part is None:
            ready.append(None)
            continue
        gradient = part if part.layout is torch.strided else part.to_dense()
        place = gradient.data_ptr()
        if place in seen or _spread(gradient):
            gradient = gradient.clone()
        seen.add(place)
        if gradient.dtype is not own.dtype:
            gradient = gradient.to(own.dtype)
        ready.append(gradient if scale == 1.0 else gradient.div(scale))
    return ready


def _spread(gradient: torch.Tensor) -> bool:
    """Whether several elements are one number in memory, so that nothing can be written in place."""
    return not gradient.is_contiguous() and any(
        not step and size > 1 for step, size in zip(gradient.stride(), gradient.shape, strict=True)
    )


class _Scale:
    """The factor of a float16 loss, which keeps small gradients from vanishing; halved at an overflow.

    Args:
        on: whether the loss is scaled; otherwise the factor is 1.
    """

    def __init__(self, *, on: bool) -> None:
        self.value = _FIRST_SCALE if on else 1.0
        self._on, self._calm = on, 0

    def takes(self, gradients: Sequence[torch.Tensor | None]) -> bool:
        """Whether a step can be taken; after an overflow the step is skipped and the factor halved."""
        if not self._on:
            return True
        if all(bool(torch.isfinite(part).all()) for part in gradients if part is not None):
            self._calm += 1
            if self._calm % _GROWS_AFTER == 0:
                self.value *= 2
            return True
        if self.value <= _LEAST_SCALE:
            return True  # the model itself diverges, and its NaN is refused later with a message
        # The gradients of this step are lost, so it is skipped and the next one is scaled less.
        self.value, self._calm = self.value / 2, 0
        return False


def _batches(job: TrainingJob) -> Iterator[Batch]:
    """The batches of all steps, on the device; dropout's random generator is not used."""
    device, weights, loss = job.compute.torch_device, job.weights, job.loss
    labels = torch.from_numpy(job.dataset.labels)
    rows = torch.arange(len(labels)) if weights is not None else None
    inputs = torch.from_numpy(job.dataset.features)
    wanted = labels if rows is None else rows
    for features, chosen in served(inputs, wanted, job.batches(), own=True):
        own = None if weights is None else torch.from_numpy(weights)[chosen].to(device)
        truth = chosen if rows is None else labels[chosen]
        yield Batch(features.to(device), truth.to(device), own, loss)


def _gradients(
    job: TrainingJob,
    parameters: Sequence[nn.Parameter],
    batch: Batch,
    scale: float,
    *,
    first: bool,
) -> Sequence[torch.Tensor | None]:
    """The gradient of a batch's loss times `scale`."""
    step = job.training.step
    loss = _losses(job, batch, first=first) if step is None else _own_loss(job, step, batch)
    with stepping_back():
        if not loss.requires_grad:
            raise PlanError(_NOTHING_TRAINED)
        gradients = cast(
            "tuple[torch.Tensor | None, ...]",
            # A parameter that this batch does not use has no gradient and stays as it is.
            torch.autograd.grad(loss, parameters, _slopes(loss, batch, scale), allow_unused=True),
        )
    # A function that refers to another copy of the module computes its loss from that copy's parameters.
    if all(part is None for part in gradients):
        raise PlanError(_NOTHING_TRAINED)
    return gradients


def _slopes(loss: torch.Tensor, batch: Batch, scale: float) -> torch.Tensor:
    """The derivative of `scale` times the mean loss by `loss`: by one number, or by the loss of each example.

    A backward pass that begins with it needs no mean; the gradients are the same to the bit.
    """
    if not loss.ndim:
        return loss.new_full((), scale)
    each = loss.new_full(loss.shape, scale / loss.shape[0])
    return each if batch.weights is None else each.mul_(batch.weights)


def _own_loss(job: TrainingJob, step: TrainingStep, batch: Batch) -> torch.Tensor:
    """What the user's own training step minimises, as a scalar."""
    with blamed(lambda: "the training step"), job.compute.autocast():
        loss = cast("object", step(job.model, batch))
    if not isinstance(loss, torch.Tensor):
        raise PlanError(
            "a training step must return a tensor, the one number to minimise, not a "
            f"{type(loss).__name__}"
        )
    if loss.numel() != 1:
        raise PlanError(
            f"a training step must return one number to minimise, not shape {list(loss.shape)}"
        )
    return loss.reshape(()) if loss.ndim else loss


def _losses(job: TrainingJob, batch: Batch, *, first: bool) -> torch.Tensor:
    """Each example's loss, float[n]; for the first batch, all labels are checked against the outputs."""
    with job.compute.autocast():
        with taking(batch):
            outputs = outputs_of(job.model, batch)
        with computing(batch.loss, outputs, batch.labels):
            if first:
                # One check of all labels is enough, and only now the number of outputs is known.
                batch.loss.check(job.dataset.labels, outputs.shape[1])
            each = batch.loss.each(outputs, batch.labels)
            # A loss of somebody else's may have reduced the examples already.
            return each if each.shape == batch.labels.shape[:1] else batch.mean(each)


def outputs_of(model: nn.Module, batch: Batch) -> torch.Tensor:
    """A model's outputs for a batch, float[n, k], at least in float32.

    Args:
        model: the model.
        batch: the examples.

    Raises:
        DataError: the outputs have another shape.
    """
    outputs = model(batch.features)
    count = batch.labels.shape[0]
    if not isinstance(outputs, torch.Tensor):
        raise DataError(
            f"the model returns a {type(outputs).__name__}, not a tensor of outputs [n, k]: wrap it in a "
            "module whose forward returns that tensor, or give your own training step"
        )
    if outputs.shape == (count,):
        outputs = outputs[:, None]
    if outputs.ndim != 2 or outputs.shape[0] != count:
        raise DataError(
            f"the model gave outputs of shape {list(outputs.shape)} for {count} examples, but a loss needs "
            "[n, k]. Wrap the model, or give your own training step"
        )
    # Logarithms and sums of a loss lose too many digits in half precision.
    return outputs.float() if outputs.dtype in _HALF else outputs


@torch.no_grad()
def first_outputs(model: nn.Module, dataset: Dataset, compute: Compute) -> torch.Tensor:
    """A model's outputs for a data set's first one or two examples, float[1 or 2, k].

    Raises:
        DataError: the model does not accept the examples, or its outputs have no shape [n, k].
    """
    compute.place(model)
    few = dataset.subset(np.arange(min(len(dataset), 2)))
    features = torch.from_numpy(few.features).to(compute.torch_device)
    batch = Batch(features, torch.from_numpy(few.labels), None, few.kind.loss)
    with in_mode(model, training=False), taking(batch), compute.autocast():
        return outputs_of(model, batch)


def _bits(buffer: torch.Tensor) -> torch.Tensor:
    """A copy as bytes, in which NaN equals itself."""
    return buffer.detach().cpu().contiguous().reshape(-1).view(torch.uint8).clone()


def _check_buffers(model: nn.Module, before: dict[str, torch.Tensor]) -> None:
    """Refuse a module whose training changed, added or removed a buffer."""
    after = {name: _bits(buffer) for name, buffer in model.named_buffers()}
    for name in (*before, *after):
        old, new = before.get(name), after.get(name)
        if old is None or new is None or not torch.equal(old, new):
            owner = model.get_submodule(name.rpartition(".")[0])
            raise PlanError(
                f"training changed the buffer {name!r} of {type(owner).__name__}, which is not a parameter: "
                "it would be sent neither clipped nor averaged. Use a layer without such state "
                "(GroupNorm or LayerNorm for BatchNorm, no spectral norm, no moving averages or counters); "
                "if a BatchNorm's statistics are only to be read, call .eval() on it and freeze its "
                "parameters"
            )
