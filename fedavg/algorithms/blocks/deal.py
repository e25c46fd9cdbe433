"""The assignment of blocks (parts of a model) to clients: a client trains and sends one block a round.

Two classes cut a model: `fedavg.algorithms.blocks.layers` (whole tensors of any model) and
`fedavg.algorithms.blocks.rolling` (windows of hidden units).

The assignment is public, and no party chooses it: it follows from a seed of the plan, the round and the
client's id.  A client can therefore refuse to train another block, or two blocks.
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

__all__ = ["assigned_block", "check_length", "check_seats", "check_seed", "dealt_bounds"]


def check_seed(seed: int) -> None:
    """Raise PlanError for a seed that numpy does not accept."""
    if seed < 0:
        raise PlanError(f"the blocks' public seed must not be negative, not {seed!r}")


def check_length(ours: int, vector_length: int) -> None:
    """Raise PlanError unless the blocks are those of a model of this length."""
    if ours != vector_length:
        raise PlanError(
            f"the blocks belong to a model of {ours:,} parameters, but this one has {vector_length:,}: cut "
            "them from this model's own layout"
        )


@functools.lru_cache(maxsize=4)
def _order(seed: int, epoch: int, num_clients: int) -> NDArray[np.int64]:
    public = np.random.default_rng((seed, epoch))  # noqa: TID251 - public seed
    return public.permutation(num_clients)


def assigned_block(blocks: Blocks, client_id: int, round_index: int, num_clients: int) -> int:
    """The one block that a client trains in a round, if the client is drawn.

    The public seed shuffles the clients, and they are dealt to the blocks in turn.  From round to round every
    client moves to the next block.  After B rounds every client has trained every block, and the clients are
    shuffled again.  In each round every block has ⌊n/B⌋ or ⌈n/B⌉ clients of the whole population; the draw
    of the cohort does not matter.

    The assignment depends on ids only, not on data or on the draw.  If each client is drawn with probability
    q, independently, the roster of a block is a Poisson sample at rate q of the block's clients, independent
    of the other rosters.  Over a random seed, each client is on it with probability q/B.  A release is
    amplified by q and not by q/B, because everyone knows which block each client would train.

    Args:
        blocks: blocks of the plan.
        client_id: 0 … num_clients − 1, the client's number at enrolment; it stays when another client leaves.
        round_index: index of the round, from 0.
        num_clients: number of enrolled clients.

    Raises:
        LocalProtocolError: the id is out of range.

    Example:
        >>> from fedavg.algorithms.blocks.layers import LayerBlocks
        >>> blocks = LayerBlocks(("a", "b"), (1, 1), (0, 1))
        >>> [assigned_block(blocks, 0, t, 4) for t in range(2)] in ([0, 1], [1, 0])
        True
    """
    if not 0 <= client_id < num_clients:
        raise LocalProtocolError(f"client {client_id} has no seat among {num_clients}")
    # Within `count` rounds a client trains every block once; then the seats are dealt anew.
    seat = _order(blocks.seed, round_index // blocks.count, num_clients)[client_id]
    return (int(seat) + round_index) % blocks.count


def check_seats(ids: Iterable[int]) -> None:
    """Check that ids are 0 … n−1, because blocks are dealt by client id.

    Raises:
        PlanError: the ids are others.
    """
    found = sorted(ids)
    # The deal permutes 0 … n − 1, so an id beyond that would have no seat.
    if found != list(range(len(found))):
        raise PlanError(
            "blocks are dealt by client id, which must run from 0 without a gap: number the clients anew"
        )


def dealt_bounds(
    cohort: Cohort, count: int, num_clients: int, floor: int, tail: float, attendance: float
) -> CohortBounds:
    """Smallest and largest roster of one block, and the probability that any block's roster is outside.

    Args:
        cohort: sampler whose draws are dealt to the blocks.
        count: number of blocks.
        num_clients: enrolled clients.
        floor: see `DealtCohort.block_bounds`.
        tail: probability per round; see `DealtCohort.block_bounds`.
        attendance: least fraction of a draw that attends; see `DealtCohort.block_bounds`.

    Raises:
        PlanError: the sampler does not know the rosters of blocks, or there are fewer clients than blocks.
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
