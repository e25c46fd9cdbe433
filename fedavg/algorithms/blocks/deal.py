"""Blocks: the part of a model that a client trains in a round, so that it computes and sends no more.

Two ways of cutting: `fedavg.algorithms.blocks.layers` (whole tensors of any model) and
`fedavg.algorithms.blocks.rolling` (windows of hidden units).

Who trains which block is public and no one's choice: it follows from a seed of the plan,
the round and the client's id, so that a client can refuse to be asked for another block, or for two.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.stats import hypergeom

from fedavg.errors import LocalProtocolError, PlanError
from fedavg.privacy.sampling import CohortBounds, FixedCohort, PoissonCohort

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from fedavg.models.layout import Layout
    from fedavg.privacy.sampling import Cohort

__all__ = ["Blocks", "check_length", "check_seats", "check_seed", "dealt", "dealt_bounds"]


class Blocks(Protocol):
    """A way of cutting a model's vector of d coordinates into blocks."""

    @property
    def count(self) -> int:
        """B: how many blocks are trained side by side in a round."""
        ...

    @property
    def seed(self) -> int:
        """Public seed of the deal."""
        ...

    @property
    def lengths(self) -> tuple[int, ...]:
        """Coordinates of each block; the same in every round."""
        ...

    @property
    def sends_part(self) -> bool:
        """Whether a client is sent its block alone, and not the model."""
        ...

    def coordinates(self, block: int, round_index: int) -> NDArray[np.int64]:
        """int64[lengths[block]]: the block's places in the model's vector, each once."""
        ...

    def check(self, vector_length: int) -> None:
        """Raise PlanError unless the blocks are of a model of this length."""
        ...

    def sent_layout(self, layout: Layout) -> Layout:
        """The layout of what a client is sent, where `layout` is that of the whole model."""
        ...


def check_seed(seed: int) -> None:
    """Raise PlanError for a seed that numpy does not take."""
    if seed < 0:
        raise PlanError(f"the blocks' public seed must not be negative, not {seed!r}")


def check_length(ours: int, vector_length: int) -> None:
    """Raise PlanError unless blocks of `ours` coordinates are of a model of this length."""
    if ours != vector_length:
        raise PlanError(
            f"the blocks are of a model of {ours:,} parameters, this one has {vector_length:,}: cut "
            "them from this model's own layout"
        )


@functools.lru_cache(maxsize=4)
def _order(seed: int, epoch: int, num_clients: int) -> NDArray[np.int64]:
    public = np.random.default_rng((seed, epoch))  # noqa: TID251 - public seed
    return public.permutation(num_clients)


def dealt(blocks: Blocks, client_id: int, round_index: int, num_clients: int) -> int:
    """The one block that a client trains in a round, if it is drawn.

    Clients are shuffled by the public seed and counted off; from round to round everyone moves on by one
    block, and after B rounds, when everyone has passed all of them, they are shuffled anew.  In each round
    every block has ⌊n/B⌋ or ⌈n/B⌉ clients of the whole population, whoever is drawn.

    The deal knows ids and nothing of data or of who is drawn.  So if each client is drawn with probability
    q by a coin of its own, the roster of a block is a Poisson sample at rate q of its clients, independent
    of the other blocks' rosters: seen over the seed too, each client is on it with probability q/B.  A
    release is amplified by q and not by q/B, since everyone knows who would train which block.

    Args:
        blocks: the plan's.
        client_id: 0 … num_clients − 1, the client's seat at enrolment; seats stay when one is empty.
        round_index: counts from 0.
        num_clients: seats.

    Raises:
        LocalProtocolError: no such seat.

    Example:
        >>> from fedavg.algorithms.blocks.layers import LayerBlocks
        >>> blocks = LayerBlocks(("a", "b"), (1, 1), (0, 1))
        >>> [dealt(blocks, 0, t, 4) for t in range(2)] in ([0, 1], [1, 0])
        True
    """
    if not 0 <= client_id < num_clients:
        raise LocalProtocolError(f"client {client_id} has no seat among {num_clients}")
    seat = _order(blocks.seed, round_index // blocks.count, num_clients)[client_id]
    return (int(seat) + round_index) % blocks.count


def check_seats(ids: Iterable[int]) -> None:
    """Blocks are dealt by seat: ids must be 0 … n−1.

    Raises:
        PlanError: they are not.
    """
    found = sorted(ids)
    if found != list(range(len(found))):
        raise PlanError(
            "blocks are dealt by client id, which must run from 0 without a gap: number the clients anew"
        )


def dealt_bounds(
    cohort: Cohort, count: int, num_clients: int, floor: int, tail: float, attendance: float
) -> CohortBounds:
    """Sizes between which the roster of one block lies, and the probability that any of a round's does not.

    Args:
        cohort: whose draws are dealt to the blocks.
        count: B.
        num_clients: seats.
        floor: least roster of one block, by the threat model.
        tail: probability a round, about, that some block's roster lies outside; shared out by a union bound.
        attendance: part of a draw that comes at least, see `Cohort.bounds`.

    Returns:
        Floor and cap of every block; `outside` counts all B.

    Raises:
        PlanError: a sampler whose rosters of blocks are not known here, or too few clients.
    """
    least, most = num_clients // count, -(-num_clients // count)
    if least < 1:
        raise PlanError(f"{num_clients} clients cannot be dealt to {count} blocks")
    each = tail / count
    if isinstance(cohort, PoissonCohort):
        # of a block's clients everyone is drawn by its own coin, as in a population of that size
        small = cohort.bounds(least, floor, each, attendance)
        large = cohort.bounds(most, floor, each, attendance)
        outside = small.outside if least == most else small.outside + large.outside
        return CohortBounds(small.floor, max(small.cap, large.cap), min(1.0, count * outside))
    if isinstance(cohort, FixedCohort):
        return _fixed_bounds(cohort, count, num_clients, floor, each, attendance)
    raise PlanError(
        f"the rosters of blocks under {type(cohort).__name__} are not known: use PoissonCohort or "
        "FixedCohort"
    )


def _fixed_bounds(
    cohort: FixedCohort, count: int, num_clients: int, floor: int, tail: float, attendance: float
) -> CohortBounds:
    """Of a fixed number of clients, a hypergeometric number falls to a block."""
    least, most = num_clients // count, -(-num_clients // count)
    drawn = int(cohort.expected_size(num_clients))
    groups = [g for g in range(least - 1, most + 2) if 0 <= g <= num_clients]
    fewest = int(hypergeom.ppf(tail / 2, num_clients, groups[0], drawn))
    low = max(floor, math.floor(max(fewest - 1, 0) * attendance))
    cap = max(low, int(hypergeom.isf(tail / 2, num_clients, groups[-1], drawn)) + 1)
    needed = math.ceil(low / attendance) if attendance > 0 else low
    below = float(hypergeom.cdf(needed - 1, num_clients, groups[0], drawn))
    above = float(hypergeom.sf(cap, num_clients, groups[-1], drawn))
    return CohortBounds(low, min(cap, drawn), min(1.0, count * (below + above)))
