"""A client's examples, in the order in which its steps use them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["aligned", "served"]

_ALIGNED = 64  # bytes; at multiples of this, products round in the same way in every process
_GATHERED = 256  # examples copied at a time: few enough to stay in the cache beside the weights


def aligned(examples: torch.Tensor) -> torch.Tensor:
    """Return the same numbers in memory where products round alike in every process; copy if needed.

    MKL chooses its kernels by alignment.  torch's own memory begins at multiples of 64 bytes; numpy's begins
    at multiples of 16, and at which of them differs from process to process.

    Args:
        examples: [n, ...].
    """
    return examples.clone() if examples.data_ptr() % _ALIGNED else examples


def served(
    features: torch.Tensor,
    targets: torch.Tensor,
    batches: Iterator[torch.Tensor | None],
    *,
    own: bool = False,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield each step's examples; several steps' worth is copied at once.

    Args:
        features: [n, ...].
        targets: [n, ...].
        batches: each step's indices, all of one size but for the last of an epoch; None for all.
        own: whether each step's examples are in memory of their own.  A user's module or loss may write to
            its input, as `ReLU(inplace=True)` does, and later steps and rounds must not see that.
    """
    for first in batches:
        if first is None:
            features = aligned(features)
            yield (features.clone(), targets.clone()) if own else (features, targets)
            continue
        chunk = [first, *islice(batches, max(_GATHERED // len(first) - 1, 0))]
        sizes = [len(batch) for batch in chunk if batch is not None]
        order = torch.cat([batch for batch in chunk if batch is not None])
        yield from zip(
            features.index_select(0, order).split(sizes),
            targets.index_select(0, order).split(sizes),
            strict=True,
        )
