"""What happens to a model before any round: what is personal is set apart, what cannot work is refused."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

from fedavg.data.dataset import Dataset
from fedavg.errors import ConfigError, DataError
from fedavg.models.files import matching
from fedavg.models.layout import Layout
from fedavg.optimizers.local import LocalTraining
from fedavg.training.job import TrainingJob
from fedavg.training.loop import local_update

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

__all__ = ["check_buffers", "set_apart", "set_up"]


def set_apart(model: nn.Module, patterns: Sequence[str]) -> frozenset[str]:
    """Take the parameters that stay at the clients out of the vector, and return their names.

    Args:
        model: its matching parameters no longer require gradients afterwards.
        patterns: glob patterns of parameter names; () for none.

    Raises:
        ConfigError: a pattern that matches nothing or a frozen parameter, or patterns that leave nothing
            to average.
    """
    if not patterns:
        return frozenset()
    parameters = dict(model.named_parameters())
    names = matching(patterns, parameters, "personalization.head")
    frozen = sorted(name for name in names if not parameters[name].requires_grad)
    if frozen:
        raise ConfigError(
            f"personalization.head: {', '.join(frozen)} is frozen, so that no client can train it: "
            "take it out of model.freeze"
        )
    if all(name in names for name, part in parameters.items() if part.requires_grad):
        raise ConfigError("personalization.head leaves nothing to average: name fewer parameters")
    for name in names:
        parameters[name].requires_grad = False
    return names


def set_up(
    model: nn.Module, head: Sequence[str], example_shape: tuple[int, ...]
) -> tuple[nn.Module, Layout, frozenset[str]]:
    """Make a module ready to be trained.

    Args:
        model: the caller's, left as it is when something has to be set apart in it.
        head: patterns of the parameters that stay at the clients; () for none.
        example_shape: of one example.

    Returns:
        The module to work with, the layout of what is sent, and names of what stays at the clients.

    Raises:
        ConfigError, PlanError: see `set_apart`, `Layout.of` and `check_buffers`.
    """
    kept: frozenset[str] = frozenset()
    if head:
        model = copy.deepcopy(model)
        kept = set_apart(model, head)
    layout = Layout.of(model)
    check_buffers(model, layout, example_shape)
    return model, layout, kept


def check_buffers(model: nn.Module, layout: Layout, example_shape: tuple[int, ...]) -> None:
    """Refuse a module whose training changes buffers, by one step on made-up examples.

    A layer may still begin to change a buffer later, or on other examples: local training checks as well.

    Args:
        model: left as it was.
        layout: of what is trained.
        example_shape: of one example.

    Raises:
        PlanError: names the buffer, why it cannot work, and what does.
    """
    if not any(True for _ in model.buffers()):
        return
    before = {name: part.detach().clone() for name, part in model.named_buffers()}
    mode = model.training
    features = np.zeros((2, *example_shape), np.float32)
    features[1] = 1.0  # codes of letters may not be negative; two equal examples have no variance
    labels = np.zeros(2, np.int64)
    start = layout.flatten(model)
    try:
        data = Dataset(features, labels)
        local_update(TrainingJob(model, layout, start, data, LocalTraining(lr=1e-6)))
    except DataError:
        return  # it may be the made-up examples that do not fit
    finally:
        layout.load_vector(model, start)
        for name, part in model.named_buffers():
            part.copy_(before[name])
        model.train(mode)
