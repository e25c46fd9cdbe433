"""Parts of a module that are trained separately: some of its tensors, or a narrower module of its kind."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import nn

from fedavg.errors import PlanError
from fedavg.models.layout import Layout
from fedavg.models.zoo import channels_last

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Sequence

__all__ = ["Narrowable", "check_layers", "check_narrowable", "held_still", "narrowed"]


class Narrowable(Protocol):
    """A module that can construct a narrower one of its kind, which rolling blocks require.

    The narrower module has the same inputs, outputs and names of parameters, and fewer hidden units.
    """

    def narrowed(self, widths: Sequence[int]) -> nn.Module:
        """Return a module with these numbers of units, inputs first; its parameters' values do not matter."""
        ...


def _uncuttable(model: nn.Module) -> PlanError:
    return PlanError(
        f"rolling blocks need a model that can be made narrower, but {type(model).__name__} has no method "
        "narrowed(widths); the built-in 'mlp', '2nn' and 'cnn' have one. Or choose kind 'layers', which cuts "
        "any model"
    )


def narrowed(model: nn.Module, widths: Sequence[int]) -> nn.Module:
    """Return the narrower module on the CPU, with uninitialised parameters.

    Args:
        model: the whole module, a `Narrowable`.
        widths: numbers of units, inputs first.

    Raises:
        PlanError: the module is not `Narrowable`.
    """
    if not callable(getattr(model, "narrowed", None)):
        raise _uncuttable(model)
    with torch.device("meta"):  # no memory and no random numbers before it is filled
        smaller = cast("Narrowable", model).narrowed(widths)
    return channels_last(smaller.to_empty(device="cpu"))


def check_narrowable(model: nn.Module, shapes: tuple[tuple[int, ...], ...]) -> None:
    """Refuse a module from which rolling blocks of these shapes cannot be cut.

    Raises:
        PlanError: the module is not `Narrowable`, is partly frozen, or has parameters of other shapes.
    """
    if not callable(getattr(model, "narrowed", None)):
        raise _uncuttable(model)
    if not all(part.requires_grad for part in model.parameters()):
        raise PlanError(
            "rolling blocks cut all layers alike, but some layers of this model are frozen: choose kind "
            "'layers', or train all of them"
        )
    _check_same(shapes == Layout.of(model).shapes)


def check_layers(model: nn.Module, names: Collection[str]) -> None:
    """Refuse a module whose trained tensors are not those of the blocks.

    Raises:
        PlanError: the names or their order differ.
    """
    _check_same(tuple(names) == Layout.of(model).names)


def _check_same(same: bool) -> None:  # noqa: FBT001 - private
    if not same:
        raise PlanError("the blocks were cut from another model's layout")


@contextlib.contextmanager
def held_still(model: nn.Module, names: Collection[str]) -> Generator[None]:
    """Switch off gradients of these parameters, so that none are computed below the lowest trained one."""
    still = [part for name, part in model.named_parameters() if name in names]
    for part in still:
        part.requires_grad_(False)
    try:
        yield
    finally:
        for part in still:
            part.requires_grad_(True)
