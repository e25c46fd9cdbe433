"""Small models of many clients trained at once: each call of numpy computes for a whole stack of clients.

A step of a few thousand parameters spends most of its time around its matrix products, and a stack spends
that time once for all of its clients. Larger models do not gain, because a stack of them does not fit the
cache.

A client's result does not depend on the number of clients, to the bit.  Libraries choose the kernel that
computes a number, and so its rounding, by shape, strides and alignment; torch's batched products choose by
the number of clients as well.  Here `numpy.matmul` calls BLAS once for each client, with the same shapes and
strides.  Each client's arrays begin at a multiple of 64 bytes. So the alignment is the same for all clients,
and no vector register of an elementwise loop holds numbers of two clients.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from fedavg.losses.classification import CrossEntropy
from fedavg.training.fast.dense import known

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from fedavg.data.dataset import Dataset
    from fedavg.optimizers.local import LocalTraining
    from fedavg.training.job import TrainingJob

    _Floats = NDArray[np.float32]

__all__ = ["StackedPath"]

_LARGEST_MODEL = 8192  # parameters
_LARGEST_COPY = 1 << 18  # numbers in one client's examples, over all steps
_STACK = 1 << 20  # numbers in all examples, and in all parameters, of a stack
_PRODUCT = (
    1 << 18
)  # multiplications in one call of BLAS: up to this number OpenBLAS uses one thread
_ALIGNED = 64  # bytes of a cache line, and of the widest vector register
_FLOAT = np.float32  # type in which models are trained
_LOSS = CrossEntropy()  # the loss whose derivative `_Pass.step` contains


class StackedPath:
    """Small dense models under plain SGD, alone or many clients at once."""

    def takes(self, job: TrainingJob) -> bool:
        """See `FastPath.takes`; other clients do not matter, since other paths round differently."""
        # Whether a job is stacked must follow from the job alone, or a client's result would depend on the
        # others.
        if job.layout.size > _LARGEST_MODEL or not job.plain:
            return False
        if job.loss != _LOSS or job.weights is not None:
            return False
        model = known(job)
        if model is None or not all(part.requires_grad for part in model.parameters()):
            return False
        return _numbers(job.dataset, job.training) <= _LARGEST_COPY

    def run(self, job: TrainingJob) -> NDArray[np.float64]:
        """See `FastPath.run`."""
        return self.run_together([job])[0]

    def run_together(self, jobs: Sequence[TrainingJob]) -> list[NDArray[np.float64]]:
        """Train clients that are sent the same model and have equally many examples.

        Args:
            jobs: one or more accepted jobs, which differ only in their examples and seeds.

        Returns:
            Δ, float64[d], for each client.  To the bit, it does not depend on the other clients.
        """
        begun = jobs[0].layout.as_float32(jobs[0].start)
        largest = max(_numbers(jobs[0].dataset, jobs[0].training), jobs[0].layout.size)
        height = max(1, _STACK // largest)
        updates: list[NDArray[np.float64]] = []
        for low in range(0, len(jobs), height):
            updates += _descend(begun, jobs[low : low + height])
        return updates


def _numbers(dataset: Dataset, training: LocalTraining) -> int:
    batch = min(training.batch_size or len(dataset), len(dataset))
    return training.steps_for(len(dataset)) * batch * dataset.features[0].size


class _Stack:
    """One array for each client, each in a block of its own that begins at a multiple of 64 bytes.

    Args:
        clients: number of clients.
        shape: shape of each client's array.

    Attributes:
        flat: float32[·], all blocks, zeros at first; the numbers that pad a block stay finite.
        each: float32[clients, *shape], a view.
    """

    def __init__(self, clients: int, *shape: int) -> None:
        # Blocks are whole cache lines, so that all clients' arrays have one alignment.
        size, lanes = math.prod(shape), _ALIGNED // np.dtype(_FLOAT).itemsize
        block = -(-size // lanes) * lanes
        room = np.zeros(clients * block + lanes, _FLOAT)
        first = -room.ctypes.data % _ALIGNED // room.itemsize
        self.flat = room[first : first + clients * block]
        self.each: _Floats = self.flat.reshape(clients, block)[:, :size].reshape(clients, *shape)


class _Layer:
    """Parameters of one dense layer, and the last step's gradient.

    Args:
        weight: float32[outputs, inputs], each client's initial values.
        bias: float32[outputs].
        clients: number of clients.
    """

    def __init__(self, weight: _Floats, bias: _Floats, clients: int) -> None:
        self.weight, self.slope = _Stack(clients, *weight.shape), _Stack(clients, *weight.shape)
        self.bias = _Stack(clients, 1, *bias.shape)
        self.weight.each[:], self.bias.each[:] = weight, bias


class _Pass:
    """The intermediate results of a step, for batches of one size.

    Args:
        layers: layers of the model, inputs first.
        clients: number of clients.
        batch: number of each client's examples.
    """

    def __init__(self, layers: Sequence[_Layer], clients: int, batch: int) -> None:
        self._layers = layers
        widths = [layer.weight.each.shape[1] for layer in layers]
        self._outputs = [_Stack(clients, batch, width) for width in widths]
        self._errors = [_Stack(clients, batch, width) for width in widths]

    def step(self, inputs: _Floats, targets: _Floats, lr: float) -> None:
        """Take one step of plain SGD, in place, like `dense.DenseNet.descend`.

        Args:
            inputs: float32[clients, batch, features].
            targets: float32[clients, batch, classes], one-hot.
            lr: learning rate.
        """
        layers, outputs, errors = self._layers, self._outputs, self._errors
        values = [inputs, *(output.each for output in outputs[:-1])]
        for layer, value, output in zip(layers, values, outputs, strict=True):
            _multiply(value, layer.weight.each.mT, output.each)
            output.each += layer.bias.each
            if output is not outputs[-1]:
                np.maximum(output.flat, 0, out=output.flat)
        logits, error = outputs[-1], errors[-1]
        # Softmax does not change by a shift, and without one its exponentials could overflow.
        logits.each -= logits.each.max(2, keepdims=True)
        np.exp(logits.flat, out=error.flat)
        error.each /= error.each.sum(2, keepdims=True)
        error.each -= targets
        # The rate enters the small array of errors, and not the large one of gradients.
        error.flat *= _FLOAT(lr / inputs.shape[1])
        for index in range(len(layers) - 1, 0, -1):
            below, output = errors[index - 1], outputs[index - 1]
            _multiply(errors[index].each, layers[index].weight.each, below.each)
            below.flat *= output.flat > 0
        for layer, value, error in zip(layers, values, errors, strict=True):
            _multiply(error.each.mT, value, layer.slope.each)
            layer.weight.flat -= layer.slope.flat
            layer.bias.each -= error.each.sum(1, keepdims=True)


def _multiply(left: _Floats, right: _Floats, out: _Floats) -> None:
    """`left @ right` for each client, in bands of rows that BLAS multiplies on one thread."""
    band = max(1, _PRODUCT // (right.shape[1] * right.shape[2]))
    for low in range(0, left.shape[1], band):
        rows = slice(low, low + band)
        np.matmul(left[:, rows], right, out=out[:, rows])


@np.errstate(all="ignore")  # a diverging model ends as NaN, which the client refuses with a message
def _descend(begun: _Floats, jobs: Sequence[TrainingJob]) -> list[NDArray[np.float64]]:
    starts, lr = _pieces(begun, jobs[0].layout.shapes), jobs[0].lr
    layers = [
        _Layer(weight, bias, len(jobs))
        for weight, bias in zip(starts[0::2], starts[1::2], strict=True)
    ]
    passes: dict[int, _Pass] = {}
    for inputs, targets in _examples(jobs, classes=starts[-1].size):
        batch = inputs.shape[1]
        # All batches of one size share their intermediate arrays.
        if batch not in passes:
            passes[batch] = _Pass(layers, len(jobs), batch)
        passes[batch].step(inputs, targets, lr)
        lr *= jobs[0].training.step_decay
    trained = [part for layer in layers for part in (layer.weight.each, layer.bias.each)]
    moved = np.concatenate([part.reshape(len(jobs), -1) for part in trained], axis=1)
    return list(np.subtract(moved, begun, dtype=np.float64))


def _pieces(flat: _Floats, shapes: Sequence[tuple[int, ...]]) -> list[_Floats]:
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    return [
        piece.reshape(shape) for piece, shape in zip(np.split(flat, ends[:-1]), shapes, strict=True)
    ]


def _examples(jobs: Sequence[TrainingJob], classes: int) -> Iterator[tuple[_Floats, _Floats]]:
    """Yield each step's inputs and one-hot targets; all are copied once, in the order of use."""
    count, width = len(jobs[0].dataset), jobs[0].dataset.features[0].size
    orders = [list(job.batches()) for job in jobs]
    sizes = [count if batch is None else len(batch) for batch in orders[0]]
    whole = orders[0][0] is None  # if so, every step uses all examples
    rows = np.arange(count if whole else sum(sizes))
    inputs = _Stack(len(jobs), len(rows), width).each
    targets = _Stack(len(jobs), len(rows), classes).each
    for client, (job, order) in enumerate(zip(jobs, orders, strict=True)):
        parts = [batch.numpy() for batch in order if batch is not None]
        chosen = np.concatenate(parts) if parts else rows
        features = job.dataset.features.reshape(count, width)
        np.take(features, chosen, 0, out=inputs[client], mode="clip")  # "raise" would copy twice
        targets[client, rows, job.dataset.labels[chosen]] = 1
    ends = sizes if whole else list(accumulate(sizes))
    for end, size in zip(ends, sizes, strict=True):
        yield inputs[:, end - size : end], targets[:, end - size : end]
