"""Rounds that broke off before a restart: which of them are void, and who is not asked again for a while.

Under differential privacy a round that was charged stays charged and gives no model. Without noise a round
is run again, unless its sum may have been opened. Then it is void, and those whose updates were in it are
spent: from the same model they would compute the same updates, and the difference of two sums over almost
the same clients shows single updates. They are asked again once the model has moved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.errors import CheckpointError
from fedavg.server.retries import redraw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from fedavg.federation.checkpoint import Restart
    from fedavg.plan.resolution import Resolution

__all__ = ["draw", "draw_others", "newly_spent", "void_rounds"]

_EMPTY = -2  # ids from here down stand for enrolled clients that are not here; -1 is the key holder
_CHARGED = "the run broke off in it; it stays charged"
_OPEN = "the run broke off when its sum may have been open; it gives no model"


def void_rounds(
    resolution: Resolution, restart: Restart, *, hidden: bool
) -> list[tuple[tuple[int, ...], str]]:
    """The rounds after the checkpoint that give no model, in order.

    Args:
        resolution: the plan.
        restart: what the journal holds.
        hidden: whether the secure sum keeps anything of an update from the server; where it does not,
            there is nothing for a second sum to show.

    Returns:
        The clients whose updates may have left, and the reason, for each such round.
    """
    done = restart.checkpoint.rounds_done
    if resolution.plan.noise is not None:
        lost = range(done, min(done + restart.lost, resolution.num_rounds))
        return [(restart.asked.get(index, ()), _CHARGED) for index in lost]
    clients = newly_spent(resolution, restart, hidden=hidden)
    return [(clients, _OPEN)] if clients else []


def newly_spent(resolution: Resolution, restart: Restart, *, hidden: bool) -> tuple[int, ...]:
    """Clients whose updates were in the sum of the round that broke off, where no noise covers them."""
    if resolution.plan.noise is not None or not hidden:
        return ()
    return restart.opening.get(restart.checkpoint.rounds_done, ())


def draw(
    resolution: Resolution, clients: Sequence[int], population: int, spent: AbstractSet[int]
) -> tuple[int, ...]:
    """A cohort among all that are enrolled; where some clients are spent, among the others that are here.

    Args:
        resolution: the plan.
        clients: those who are here.
        population: how many are enrolled; whoever is and is not here never answers.
        spent: those who may not be asked.

    Raises:
        CheckpointError: too few are left that are not spent.
    """
    if spent:
        return draw_others(resolution, clients, spent)
    empty = range(_EMPTY, _EMPTY - (population - len(clients)), -1)
    drawn = resolution.plan.cohort.draw([*clients, *empty])
    return tuple(client for client in drawn if client > _EMPTY)


def draw_others(
    resolution: Resolution, clients: Sequence[int], spent: AbstractSet[int]
) -> tuple[int, ...]:
    """A cohort of clients that are not spent, of the same expected size.

    Raises:
        CheckpointError: too few are left.
    """
    least = resolution.plan.secure_sum.min_survivors(int(resolution.expected_cohort))
    cohort = redraw(resolution, clients, spent, least)
    if cohort is None:
        raise CheckpointError(
            f"the run broke off when a sum of {len(spent)} clients' updates may have been open, and without "
            f"noise they must not enter another one: the other {len(clients) - len(spent)} clients are too "
            "few for a round. Begin a new run from another model, or one with noise"
        )
    return cohort
