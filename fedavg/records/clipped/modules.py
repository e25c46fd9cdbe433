"""Modules and losses in which one record's gradient depends on other records are refused, by name.

Clipping bounds one unit's part in a sum of gradients. It bounds nothing where a record also changes the
gradients of others: by statistics of a batch, or by a loss over pairs of records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from dp.checks import is_a
from fedavg.errors import DataError, PlanError
from fedavg.parts.imports import blamed
from fedavg.training.compute import in_mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedavg.data.dataset import Dataset
    from fedavg.losses.interface import Loss

__all__ = ["check_independent", "outputs_of_rows"]

_TOLERANCE = 1e-4
_BY_INSTANCE = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
_BY_BATCH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def outputs_of_rows(
    forward: Callable[[torch.Tensor], torch.Tensor], features: torch.Tensor
) -> torch.Tensor:
    """A model's outputs for rows, float[n, k]; one number a row becomes a column.

    Raises:
        DataError: the outputs have another shape.
    """
    outputs = forward(features)
    if not is_a(outputs, torch.Tensor) or outputs.shape[:1] != features.shape[:1]:
        raise DataError(
            "the model must return a tensor with one row of outputs for each record: wrap it in a module "
            "whose forward does"
        )
    return outputs[:, None] if outputs.ndim == 1 else outputs


def check_independent(model: nn.Module, loss: Loss, sample: Dataset) -> int:
    """Refuse a model or a loss that lets one record change another's output or loss.

    Modules that are known to take statistics of a batch are refused by their class. All others are tried out
    on two made-up records, of which the second is then exchanged. No record of a silo is read.

    Args:
        model: the module, in the modes that its owner chose.
        loss: the loss of each record.
        sample: any examples of the run, for the shapes and kinds of its arrays alone.

    Returns:
        The number of the model's outputs for one record.

    Raises:
        PlanError: a record depends on another, or the forward pass changes a buffer.
        DataError: the model does not take such records.
    """
    for name, part in model.named_modules():
        _check_module(name, part)
    return _check_probe(model, loss, sample)


def _check_module(name: str, part: nn.Module) -> None:
    if not isinstance(part, (*_BY_BATCH, *_BY_INSTANCE)):
        return
    if not part.training and part.running_mean is not None:  # stored statistics are only read
        return
    if part.running_mean is None and isinstance(part, _BY_INSTANCE):  # of each record's own places
        return
    raise PlanError(
        f"{name or 'the model'} ({type(part).__name__}) takes statistics over several records, so that one "
        "record changes the gradients of others and clipping bounds nothing: use GroupNorm or LayerNorm, or "
        "call .eval() on it and freeze its parameters, so that stored statistics are only read"
    )


@torch.no_grad()
def _check_probe(model: nn.Module, loss: Loss, sample: Dataset) -> int:
    shape = sample.features.shape[1:]
    first = (torch.arange(int(torch.Size(shape).numel())) % 2).float().reshape(1, *shape)
    pairs = [torch.cat([first, other]) for other in (torch.ones_like(first), 1 - first)]
    labels = torch.zeros(2, *sample.labels.shape[1:], dtype=torch.from_numpy(sample.labels).dtype)
    before = {name: part.clone() for name, part in model.named_buffers()}
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    for pair in pairs:
        # One seed for both, so that dropout masks are equal.
        with torch.random.fork_rng(devices=[]), in_mode(model, training=True):
            torch.manual_seed(0)
            with blamed(lambda: "the model, given two made-up records,"):
                outputs = outputs_of_rows(model, pair)
        with blamed(lambda: f"the loss {loss.kind!r}"):
            each = loss.each(outputs, labels)
        found.append((outputs[0], each[0] if each.ndim else each))
    for name, part in model.named_buffers():
        if name not in before or not torch.equal(part, before[name]):
            raise PlanError(
                f"a forward pass changes the buffer {name!r}, which is neither clipped nor noised: use "
                "layers without such state (GroupNorm for BatchNorm, no spectral norm)"
            )
    (one, its_loss), (same, same_loss) = found
    if not torch.allclose(one, same, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise PlanError(
            "the model's output for one record depends on the other records of its batch, so that clipping "
            "bounds nothing: use layers that treat every record by itself"
        )
    if not torch.allclose(its_loss, same_loss, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise PlanError(
            f"the loss {loss.kind!r} of one record depends on the other records of its batch (as contrastive "
            "losses do), so that clipping bounds nothing: use a loss of single records"
        )
    return one.numel()
