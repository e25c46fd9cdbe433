"""Preparation of a model before any round: personal parameters are separated, unusable models refused."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch.nn.parameter import is_lazy

from fedavg.errors import ConfigError, DataError
from fedavg.models.files import matching
from fedavg.models.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

__all__ = ["set_apart", "set_up"]

_HOOKS = "_backward_hooks", "_post_accumulate_grad_hooks"  # torch has no public name for them


def set_apart(model: nn.Module, patterns: Sequence[str]) -> frozenset[str]:
    """Take the parameters that stay at the clients out of the vector, and return their names.

    Args:
        model: the module; its matching parameters no longer require gradients afterwards.
        patterns: glob patterns of parameter names; () for none.

    Raises:
        ConfigError: a pattern matches nothing or a frozen parameter, or no parameter is left to average.
    """
    if not patterns:
        return frozenset()
    parameters = dict(model.named_parameters())
    names = matching(patterns, parameters, "personalization.head")
    frozen = sorted(name for name in names if not parameters[name].requires_grad)
    if frozen:
        raise ConfigError(
            f"personalization.head: {', '.join(frozen)} is frozen, so no client can train it: "
            "take it out of model.freeze"
        )
    # Without a common parameter there is nothing to average, and no vector.
    if all(name in names for name, part in parameters.items() if part.requires_grad):
        raise ConfigError("personalization.head leaves nothing to average: name fewer parameters")
    for name in names:
        parameters[name].requires_grad = False
    return names


def set_up(model: nn.Module, head: Sequence[str]) -> tuple[nn.Module, Layout, frozenset[str]]:
    """Make a copy of a module ready to be trained.

    Args:
        model: the caller's module, which is not changed now or later.
        head: patterns of the parameters that stay at the clients; () for none.

    Returns:
        The module to work with, the layout of what is sent, and the names of the parameters that stay.

    Raises:
        ConfigError, PlanError: see `set_apart` and `Layout.of`.
        DataError: the module cannot be copied, has a parameter without a shape or with a hook, or holds NaN
            or infinity.
    """
    # Training writes into the module, and the caller's own must stay as it was.
    try:
        own = copy.deepcopy(model)
    except Exception as error:
        raise DataError(
            f"the model ({type(model).__name__}) cannot be copied, but training must not change the module "
            f"that you hold: {type(error).__name__}: {error}"
        ) from error
    for name, part in model.named_parameters():
        if is_lazy(part):
            raise DataError(
                f"the model's parameter {name!r} has no shape yet: pass one batch through the model first"
            )
        if any(getattr(part, hooks) for hooks in _HOOKS):
            raise DataError(
                f"the model's parameter {name!r} has a hook, which no copy of the module has and training "
                "would leave out: write it into forward, or freeze the parameter"
            )
    kept = set_apart(own, head)
    layout = Layout.of(own)
    # Buffers may hold infinity on purpose, for example in masks; parameters may not.
    for name, part in own.named_parameters():
        if not bool(torch.isfinite(part).all()):
            raise DataError(
                f"the model's parameter {name!r} holds NaN or infinity before any training"
            )
    return own, layout, kept
