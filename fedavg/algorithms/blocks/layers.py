"""Blocks of whole tensors: a client trains one block and freezes the rest (partial variable training).

See Yang et al. 2022.  This works with any model.  A client still receives the whole model and runs its whole
forward pass.  It saves gradients, optimiser state, the backward pass below its lowest layer, and upload.
"""

from __future__ import annotations

import contextlib
import fnmatch
import math
from typing import TYPE_CHECKING

import numpy as np

from fedavg.algorithms.blocks.deal import check_length, check_seed
from fedavg.algorithms.blocks.interface import TrainedPart
from fedavg.errors import ConfigError, PlanError
from fedavg.models.layout import Layout
from fedavg.parts import Part, register

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from fedavg.algorithms.blocks.interface import Cuts

__all__ = ["LayerBlocks"]


@register("blocks")
class LayerBlocks(Part, frozen=True, tag="layers"):
    """Blocks of whole tensors: every coordinate lies in exactly one.

    Args:
        names: names of the model's trained tensors, in the order of its layout.
        sizes: number of coordinates of each tensor.
        owners: block of each tensor; every block from 0 up owns at least one.
        seed: public seed of the assignment.

    Raises:
        PlanError: the tuples have different lengths, or a block has no tensor.

    Example:
        >>> blocks = LayerBlocks(("a.weight", "a.bias", "b.weight"), (6, 2, 4), (0, 0, 1))
        >>> blocks.lengths, blocks.coordinates(1, 0).tolist(), blocks.tensors(0)
        ((8, 4), [8, 9, 10, 11], ('a.weight', 'a.bias'))
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    owners: tuple[int, ...]
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not len(self.names) == len(self.sizes) == len(self.owners):
            raise PlanError("blocks need one size and one block for each tensor")
        # A number without a tensor would be a block without a sum.
        if not self.owners or set(self.owners) != set(range(max(self.owners) + 1)):
            raise PlanError("every block needs at least one tensor")
        if min(self.sizes) < 1:
            raise PlanError("a tensor without coordinates belongs to no block")
        check_seed(self.seed)

    @classmethod
    def cut(cls, layout: Layout, cuts: Cuts) -> LayerBlocks:
        """Divide the layers by patterns, by memory or by count, as `cuts` says; see `NamedBlocks`."""
        if cuts.share is not None:
            raise ConfigError(
                "blocks.share is of blocks.kind 'rolling': whole tensors have no share"
            )
        if cuts.patterns:
            return cls.by_patterns(layout, cuts.patterns, seed=cuts.seed)
        if cuts.memory:
            each = cuts.bytes_per_parameter
            return cls.by_memory(layout, cuts.memory, bytes_per_parameter=each, seed=cuts.seed)
        return cls.by_count(layout, cuts.count, seed=cuts.seed)

    @classmethod
    def by_count(cls, layout: Layout, count: int, *, seed: int = 0) -> LayerBlocks:
        """Cut into `count` runs of consecutive layers (or tensors, if layers are few) of similar size.

        The largest run is as small as possible.

        Raises:
            PlanError: there are more blocks than tensors.
        """
        units = _layers(layout)
        # Few large layers are cut at their tensors, so that more blocks are possible.
        if count > len(units):
            units = [(index,) for index in range(len(layout.names))]
        if not 1 <= count <= len(units):
            raise PlanError(
                f"{count} blocks of whole tensors cannot be cut from {len(layout.names)} tensors: "
                "choose fewer, or a rolling kind, which cuts within layers"
            )
        return cls._of(layout, units, count, seed)

    @classmethod
    def by_memory(
        cls, layout: Layout, budget: int, *, bytes_per_parameter: int = 4, seed: int = 0
    ) -> LayerBlocks:
        """Cut into the fewest blocks whose gradients and optimiser state fit a budget.

        Args:
            layout: layout of the model.
            budget: memory budget in bytes.
            bytes_per_parameter: 4 for the gradient, and 4 for each number that the local optimiser
                keeps of a parameter.  Activations are not counted: they depend on the batch, not on the
                block.
            seed: public seed of the assignment.

        Raises:
            PlanError: one tensor alone exceeds the budget.
        """
        most = budget // bytes_per_parameter
        sizes = _sizes(layout)
        # A single tensor is never cut, so the largest one decides whether the budget can be met.
        largest = max(range(len(sizes)), key=sizes.__getitem__)
        if sizes[largest] > most:
            raise PlanError(
                f"training {layout.names[largest]!r} alone takes "
                f"{sizes[largest] * bytes_per_parameter:,} bytes, but the budget is {budget:,}: "
                "raise it, or choose a rolling kind, which cuts within layers"
            )
        units = _layers(layout)
        if max(_unit_sizes(layout, units)) > most:
            units = [(index,) for index in range(len(sizes))]
        return cls._of(layout, units, _pieces(_unit_sizes(layout, units), most), seed)

    @classmethod
    def by_patterns(
        cls, layout: Layout, patterns: Sequence[Sequence[str]], *, seed: int = 0
    ) -> LayerBlocks:
        """Name each block's tensors by shell patterns, such as ``[["conv*"], ["dense.*", "output.*"]]``.

        Raises:
            PlanError: a tensor is in no block or in two, or a block has no tensor.
        """
        owners: list[int] = []
        for name in layout.names:
            found = [
                block
                for block, mine in enumerate(patterns)
                if any(fnmatch.fnmatchcase(name, pattern) for pattern in mine)
            ]
            # A tensor of two blocks would be moved twice in a round, and one of none would never be trained.
            if len(found) != 1:
                where = f"in the blocks {found}" if found else "in no block"
                raise PlanError(f"the patterns put {name!r} {where}: each tensor belongs to one")
            owners.append(found[0])
        empty = set(range(len(patterns))) - set(owners)
        if empty:
            raise PlanError(f"the patterns of block {min(empty)} match no tensor")
        return cls(layout.names, _sizes(layout), tuple(owners), seed)

    @classmethod
    def _of(
        cls, layout: Layout, units: Sequence[tuple[int, ...]], count: int, seed: int
    ) -> LayerBlocks:
        owners = [0] * len(layout.names)
        for unit, block in zip(units, _cut(_unit_sizes(layout, units), count), strict=True):
            for index in unit:
                owners[index] = block
        return cls(layout.names, _sizes(layout), tuple(owners), seed)

    @property
    def count(self) -> int:
        """See `Blocks.count`."""
        return max(self.owners) + 1

    @property
    def lengths(self) -> tuple[int, ...]:
        """See `Blocks.lengths`."""
        totals = [0] * self.count
        for size, block in zip(self.sizes, self.owners, strict=True):
            totals[block] += size
        return tuple(totals)

    @property
    def sends_part(self) -> bool:
        """False: a client needs the whole model for its forward pass."""
        return False

    def tensors(self, block: int) -> tuple[str, ...]:
        """Names of one block's tensors, in the order of the layout."""
        return tuple(
            name for name, owner in zip(self.names, self.owners, strict=True) if owner == block
        )

    def coordinates(self, block: int, round_index: int) -> NDArray[np.int64]:
        """See `Blocks.coordinates`; the same in every round."""
        del round_index
        owners = np.repeat(np.array(self.owners), np.array(self.sizes))
        return np.flatnonzero(owners == block).astype(np.int64)

    def sent_layout(self, layout: Layout) -> Layout:
        """The layout of the whole model; see `Blocks.sent_layout`."""
        return layout

    def check(self, vector_length: int) -> None:
        """See `Blocks.check`."""
        check_length(sum(self.sizes), vector_length)

    def check_model(self, model: nn.Module) -> None:
        """See `Blocks.check_model`: any module whose trained tensors are those of the blocks."""
        from fedavg.training.cutting import check_layers  # noqa: PLC0415 - loads torch

        check_layers(model, self.names)

    @contextlib.contextmanager
    def trained_part(
        self, model: nn.Module, layout: Layout, vector: NDArray[np.float64], block: int
    ) -> Generator[TrainedPart]:
        """See `Blocks.trained_part`: the block's tensors of the whole module; the others are frozen."""
        from fedavg.training.cutting import held_still  # noqa: PLC0415 - loads torch

        # The names are in the order of the layout, so that the vector's coordinates stay in theirs.
        names = self.tensors(block)
        shapes = dict(zip(layout.names, layout.shapes, strict=True))
        layout.load_vector(model, vector)
        mine = vector[self.coordinates(block, 0)]
        with held_still(model, set(layout.names) - set(names)):
            yield TrainedPart(model, Layout(names, tuple(shapes[name] for name in names)), mine)


def _sizes(layout: Layout) -> tuple[int, ...]:
    return tuple(map(math.prod, layout.shapes))


def _layers(layout: Layout) -> list[tuple[int, ...]]:
    """Indices of the tensors of each module, for consecutive tensors."""
    units: list[tuple[int, ...]] = []
    before: str | None = None
    for index, name in enumerate(layout.names):
        owner = name.rpartition(".")[0]
        if owner and owner == before:
            units[-1] = (*units[-1], index)
        else:
            units.append((index,))
        before = owner
    return units


def _unit_sizes(layout: Layout, units: Iterable[tuple[int, ...]]) -> list[int]:
    sizes = _sizes(layout)
    return [sum(sizes[index] for index in unit) for unit in units]


def _pieces(sizes: Sequence[int], most: int) -> int:
    """Smallest number of runs of consecutive items of at most `most` each."""
    count, filled = 1, 0
    for size in sizes:
        count, filled = (count, filled + size) if filled + size <= most else (count + 1, size)
    return count


def _cut(sizes: Sequence[int], count: int) -> list[int]:
    """The run of each item; `count` runs of neighbours, the largest as small as possible."""
    # The least possible size of the largest run lies between the largest item and the whole.
    low, high = max(sizes), sum(sizes)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _pieces(sizes, middle) <= count else (middle + 1, high)
    runs: list[int] = []
    run, filled = 0, 0
    for index, size in enumerate(sizes):
        left = len(sizes) - index
        # Each further run needs at least one of the items that are left.
        if filled and (filled + size > low or left == count - run - 1):
            run, filled = run + 1, 0
        filled += size
        runs.append(run)
    return runs
