"""Blocks: the part of a model that a client trains in a round, so that it computes and sends no more.

Two ways of cutting: `fedavg.algorithms.blocks.layers` (whole tensors of any model) and
`fedavg.algorithms.blocks.rolling` (windows of hidden units).

Who trains which block is public and no one's choice: it follows from a seed of the plan,
the round and the client's id, so that a client can refuse to be asked for another block, or for two.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, cast

import numpy as np

from fedavg.errors import LocalProtocolError, PlanError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from fedavg.algorithms.blocks.interface import Blocks
    from fedavg.privacy.sampling import Cohort, CohortBounds, DealtCohort

__all__ = ["check_length", "check_seats", "check_seed", "dealt", "dealt_bounds"]


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
        count: blocks.
        num_clients: enrolled clients.
        floor: see `DealtCohort.block_bounds`, like what follows.
        tail: probability a round.
        attendance: part of a draw that comes at least.

    Raises:
        PlanError: a sampler that does not know the rosters of blocks, or fewer clients than blocks.
    """
    if num_clients < count:
        raise PlanError(f"{num_clients} clients cannot be dealt to {count} blocks")
    if not callable(getattr(cohort, "block_bounds", None)):
        raise PlanError(
            f"the rosters of blocks under {type(cohort).__name__} are not known: use PoissonCohort or "
            "FixedCohort, or give it a method block_bounds (fedavg.DealtCohort)"
        )
    known = cast("DealtCohort", cohort)
    return known.block_bounds(count, num_clients, floor, tail, attendance)
