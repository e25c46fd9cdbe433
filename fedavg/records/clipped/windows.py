"""Windows of convolutions: what each place of an output saw. They give the outputs and the gradients.

The first convolution's gradients need its windows in any case. With them its outputs are one product of
matrices, which takes half of the time of the convolution itself.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

__all__ = ["windowed", "windows"]


def windows(convolution: nn.Conv2d, inputs: torch.Tensor) -> torch.Tensor:
    """What each place of the output saw, float32[rows, lines, places, height, width, channels].

    Channels come last, so that each line of a window lies together in memory and is copied at once.

    Args:
        convolution: a layer without groups, padded by zeros.
        inputs: float32[rows, channels, height, width].

    Example:
        >>> image = torch.arange(9.0).view(1, 1, 3, 3)
        >>> windows(nn.Conv2d(1, 1, 2), image)[0, 1, 0].flatten().tolist()
        [3.0, 4.0, 6.0, 7.0]
    """
    high, wide = cast("tuple[int, int]", convolution.padding)  # a word has no rule
    down, right = convolution.stride
    tall, broad = convolution.kernel_size
    far, apart = convolution.dilation
    padded = functional.pad(inputs.permute(0, 2, 3, 1), (0, 0, wide, wide, high, high)).contiguous()
    rows, height, width, channels = padded.shape
    lines = (height - far * (tall - 1) - 1) // down + 1
    places = (width - apart * (broad - 1) - 1) // right + 1
    whole, line, place, channel = padded.stride()
    return padded.as_strided(
        (rows, lines, places, tall, broad, channels),
        (whole, line * down, place * right, line * far, place * apart, channel),
    ).contiguous()


@contextlib.contextmanager
def windowed(
    convolutions: Iterable[nn.Conv2d], seen: dict[nn.Module, torch.Tensor]
) -> Generator[None]:
    """Compute convolutions of inputs without gradients as products with windows, and keep these.

    Convolutions of inputs that need gradients stay as they are: their backward pass has kernels of its own.

    Args:
        convolutions: layers that `windows` describes.
        seen: receives the windows by layer.

    Example:
        >>> layer, seen = nn.Conv2d(1, 2, 2), {}
        >>> image = torch.arange(9.0).view(1, 1, 3, 3)
        >>> with windowed([layer], seen):
        ...     outputs = layer(image)
        >>> torch.allclose(outputs, layer(image)), list(seen[layer].shape)
        (True, [1, 2, 2, 2, 2, 1])
    """
    own = [layer for layer in convolutions if "forward" not in vars(layer)]
    for layer in own:
        vars(layer)["forward"] = partial(_outputs, layer, seen)
    try:
        yield
    finally:
        for layer in own:
            del vars(layer)["forward"]


def _outputs(
    layer: nn.Conv2d, seen: dict[nn.Module, torch.Tensor], inputs: torch.Tensor
) -> torch.Tensor:
    """The layer's outputs, float32[rows, channels, height, width]; channels lie together in memory."""
    if inputs.requires_grad or inputs.ndim != 4:
        return nn.Conv2d.forward(layer, inputs)
    found = seen[layer] = windows(layer, inputs)
    kernel = layer.weight.permute(0, 2, 3, 1).flatten(1)
    flat = functional.linear(found.view(-1, kernel.shape[1]), kernel, layer.bias)
    return flat.view(*found.shape[:3], -1).permute(0, 3, 1, 2)
