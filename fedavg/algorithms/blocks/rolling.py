"""Blocks of hidden units: a client receives, trains and returns a smaller network, a window of the model.

See FedRolex (Alam et al. 2022), after HeteroFL (Diao et al. 2021).  For chains of dense or convolutional
layers.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fedavg import checks
from fedavg.algorithms.blocks.deal import check_length, check_seed
from fedavg.algorithms.blocks.interface import TrainedPart
from fedavg.errors import ConfigError, PlanError
from fedavg.models.layout import Layout
from fedavg.parts import Part, register

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray
    from torch import nn

    from fedavg.algorithms.blocks.interface import Cuts

__all__ = ["RollingBlocks"]


@register("blocks")
class RollingBlocks(Part, frozen=True, tag="rolling"):
    """Windows of the hidden units: a client trains the smaller network that they span.

    Block b of round t takes ``round(share·H)`` neighbouring units of every hidden layer of H units.  The
    windows move by their own length each round, and those of deeper layers move faster: after as many rounds
    as there are windows, each pair of windows of two layers has occurred together.  Weights between windows
    that do not occur together, and units outside all windows, are not trained in that round.

    Args:
        shapes: shapes of weight, bias, weight, bias, … of a chain of dense or convolutional layers.
        count: number of windows trained in a round; 1/share windows cover all units in every round.
        share: share of every hidden layer, in (0, 1]; None takes 1/count.
        seed: public seed of the assignment.

    Raises:
        PlanError: the shapes are no chain with a hidden layer, or count or share is out of range.

    Example:
        >>> blocks = RollingBlocks(((4, 3), (4,), (2, 4), (2,)), count=2)
        >>> blocks.lengths, blocks.widths, blocks.windows(1, 0)[0].tolist()
        ((14, 14), (2,), [2, 3])
    """

    shapes: tuple[tuple[int, ...], ...]
    count: int = 2
    share: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.plan.whole("the number of blocks", self.count)
        checks.plan.positive_fraction("a block's share", self.part)
        check_seed(self.seed)
        pairs = list(zip(self.shapes[::2], self.shapes[1::2], strict=False))
        if len(self.shapes) % 2 or len(pairs) < 2:
            raise PlanError(
                "rolling blocks need a chain of layers with weight and bias, two at least"
            )
        before = 0
        for weight, bias in pairs:
            # After convolutions a dense layer has several inputs for each channel, so a multiple is enough.
            if len(weight) < 2 or bias != weight[:1] or (before and weight[1] % before):
                raise PlanError(
                    f"a weight of shape {weight} with a bias of shape {bias} does not follow "
                    f"{before or 'the'} inputs: rolling blocks need a chain of layers"
                )
            before = weight[0]

    @classmethod
    def cut(cls, layout: Layout, cuts: Cuts) -> RollingBlocks:
        """By count and share; see `NamedBlocks`."""
        if not cuts.count:
            raise ConfigError(
                "blocks.kind 'rolling' takes a count and a share, no memory or patterns"
            )
        return cls(layout.shapes, cuts.count, cuts.share, cuts.seed)

    @property
    def part(self) -> float:
        """The share of every hidden layer."""
        return 1 / self.count if self.share is None else self.share

    @property
    def hidden(self) -> tuple[int, ...]:
        """Number of units of each hidden layer."""
        return tuple(weight[0] for weight in self.shapes[:-2:2])

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of a window's units in each hidden layer."""
        return tuple(max(1, round(self.part * units)) for units in self.hidden)

    @property
    def lengths(self) -> tuple[int, ...]:
        """See `Blocks.lengths`: all windows have one size."""
        return (sum(map(math.prod, self.inner)),) * self.count

    @property
    def sends_part(self) -> bool:
        """True: the smaller network is all that a client needs."""
        return True

    def windows(self, block: int, round_index: int) -> list[NDArray[np.int64]]:
        """The units of each hidden layer that a block holds in a round."""
        ways = math.ceil(1 / self.part)
        rounds = math.ceil(
            ways / self.count
        )  # until the blocks of the rounds have covered all units
        turn = round_index // rounds
        found: list[NDArray[np.int64]] = []
        for depth, (units, width) in enumerate(zip(self.hidden, self.widths, strict=True)):
            # The blocks' windows begin evenly spaced, and move on by their width from round to round.
            first = block * units // self.count + width * (round_index + depth * turn)
            first += (turn // ways) * (
                width < units
            )  # afterwards shift by one unit, to form windows of other neighbours
            found.append((first + np.arange(width, dtype=np.int64)) % units)
        return found

    def coordinates(self, block: int, round_index: int) -> NDArray[np.int64]:
        """See `Blocks.coordinates`; in the order of the smaller network's own vector."""
        windows = self.windows(block, round_index)
        pieces: list[NDArray[np.int64]] = []
        start, before = 0, 0
        inputs = np.arange(self.shapes[0][1], dtype=np.int64)
        # Weights and biases alternate in the layout, so each pass of the loop handles one layer.
        for depth, weight in enumerate(self.shapes[::2]):
            out, into, *kernel = weight
            if depth:
                fan = into // before  # positions of a flattened channel
                inputs = (windows[depth - 1][:, None] * fan + np.arange(fan)).ravel()
            # The last layer's outputs are the model's own, which every window has.
            last = depth == len(windows)
            outputs = np.arange(out, dtype=np.int64) if last else windows[depth]
            taps = math.prod(kernel)
            grid = (outputs[:, None] * into + inputs).ravel()
            pieces.append(start + (grid[:, None] * taps + np.arange(taps)).ravel())
            pieces.append(start + math.prod(weight) + outputs)
            start += math.prod(weight) + out
            before = out
        return np.concatenate(pieces)

    def factors(self) -> NDArray[np.float64]:
        """float64[lengths[0]]: the factors of the parameters while the smaller network trains.

        A unit receives input from fewer units, so weights from a window of w of H units are multiplied by
        H/w. With one hidden layer, the whole network is then exactly the mean of the disjoint windows'
        networks.
        """
        factors: list[NDArray[np.float64]] = []
        for depth, (weight, bias) in enumerate(zip(self.inner[::2], self.inner[1::2], strict=True)):
            more = self.hidden[depth - 1] / self.widths[depth - 1] if depth else 1.0
            factors += [np.full(math.prod(weight), more), np.ones(math.prod(bias))]
        return np.concatenate(factors)

    @property
    def inner(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the smaller network's tensors."""
        found: list[tuple[int, ...]] = []
        before = self.shapes[0][1]
        for depth, weight in enumerate(self.shapes[::2]):
            out = self.widths[depth] if depth < len(self.widths) else weight[0]
            found += [(out, before, *weight[2:]), (out,)]
            if depth < len(self.widths):
                before = out * (self.shapes[2 * depth + 2][1] // weight[0])
        return tuple(found)

    def sent_layout(self, layout: Layout) -> Layout:
        """The layout of the smaller network that a window spans; see `Blocks.sent_layout`."""
        return replace(layout, shapes=self.inner)

    def check(self, vector_length: int) -> None:
        """See `Blocks.check`."""
        check_length(sum(map(math.prod, self.shapes)), vector_length)

    def check_model(self, model: nn.Module) -> None:
        """See `Blocks.check_model`: a module that can construct a narrower one of its kind."""
        from fedavg.training.cutting import check_narrowable  # noqa: PLC0415 - loads torch

        check_narrowable(model, self.shapes)

    @contextlib.contextmanager
    def trained_part(
        self, model: nn.Module, layout: Layout, vector: NDArray[np.float64], block: int
    ) -> Generator[TrainedPart]:
        """See `Blocks.trained_part`: a smaller module with the units of the block's windows."""
        from fedavg.training.cutting import narrowed  # noqa: PLC0415 - loads torch

        del (
            layout,
            block,
        )  # all windows have one size, and the server has sent the parameters of this block
        smaller, factors = narrowed(model, self.widths), self.factors()
        yield TrainedPart(smaller, Layout.of(smaller), vector * factors, factors)
