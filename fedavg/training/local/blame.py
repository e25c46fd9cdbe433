"""How errors in a user's module or loss are named while it trains, with the remedies that are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.parts.imports import blamed

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torch

    from fedavg.losses.interface import Loss
    from fedavg.optimizers.custom import Batch

__all__ = ["computing", "stepping_back", "taking"]

_CHANNELS = (1, 3, 4)  # of grey images, colour, and colour with transparency


def taking(batch: Batch) -> AbstractContextManager[None]:
    """A context for a model's forward pass, in which errors name the model and the batch it was given."""

    def who() -> str:
        shape = "×".join(map(str, batch.features.shape[1:]))
        return (
            f"the model does not take a batch of {len(batch.labels)} examples of shape {shape}: it"
        )

    def hint(error: Exception) -> str:
        return _hint(error) or _image_hint(tuple(batch.features.shape[1:]), error)

    return blamed(who, hint)


def computing(
    loss: Loss, outputs: torch.Tensor, labels: torch.Tensor
) -> AbstractContextManager[None]:
    """A context for the computation of a loss, in which errors name the loss and what it was given."""

    def who() -> str:
        name = getattr(loss, "path", loss.kind)
        given = " and ".join(
            f"{what} {str(part.dtype).removeprefix('torch.')}{list(part.shape)}"
            for what, part in (("outputs", outputs), ("labels", labels))
        )
        return f"the loss {name!r}, which was given {given},"

    return blamed(who)


def stepping_back() -> AbstractContextManager[None]:
    """A context for a backward pass, in which errors name it."""
    return blamed(_backward, _hint)


def _backward() -> str:
    return "the backward pass of the model and its loss"


def _hint(error: Exception) -> str:
    text = str(error)
    if "same dtype" in text or "expected scalar type" in text or "expected m1 and m2" in text:
        return "; features are float32: make the model float32 with model.float(), or cast in its forward"
    if "more than 1 value per channel" in text:
        return (
            "; it takes statistics over a batch, which one example does not have: use GroupNorm or "
            "LayerNorm, or leave out clients with one example and batches of one"
        )
    return ""


def _image_hint(shape: tuple[int, ...], error: Exception) -> str:
    """The layout that torch's convolutions take, for a model that refuses images of another layout."""
    if "conv" not in str(error) and "channels" not in str(error):
        return ""
    if len(shape) == 3 and shape[2] in _CHANNELS and shape[0] not in _CHANNELS:
        return (
            "; examples of this shape look like height × width × channels, but convolutions take channels "
            "first: store np.transpose(x, (0, 3, 1, 2))"
        )
    if len(shape) == 2:
        return (
            "; examples of this shape are images without an axis of channels, but convolutions take one: "
            "store x[:, None], or add the axis in forward"
        )
    if len(shape) == 1:
        return (
            "; examples of this shape are rows of numbers, but convolutions take channels × height × width: "
            "reshape them, or choose a model of dense layers"
        )
    return ""
