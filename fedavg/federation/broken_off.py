"""Rounds that were interrupted before a restart: which are void, and which clients are not asked for a while.

Under differential privacy a round that was charged stays charged and gives no model. Without noise a round is
run again, unless its sum may have been opened. Such a round is void, and the clients whose updates were in it
are excluded: from the same model they would compute the same updates, and the difference of two sums over
almost the same clients reveals single updates. They are asked again once the model has moved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.errors import CheckpointError
from fedavg.server.retries import redraw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from fedavg.federation.checkpoint import Restart
    from fedavg.plan.resolution import ResolvedPlan

__all__ = ["draw", "draw_others", "newly_spent", "void_rounds"]

_EMPTY = -2  # ids from here down stand for enrolled clients that are absent; -1 is the key holder
_CHARGED = "the run broke off in it; it stays charged"
_OPEN = "the run broke off when its sum may have been open; it gives no model"


def void_rounds(
    resolution: ResolvedPlan, restart: Restart, *, hidden: bool
) -> list[tuple[tuple[int, ...], str]]:
    """The rounds after the checkpoint that give no model, in order.

    Args:
        resolution: the resolved plan.
        restart: content of the journal.
        hidden: whether the secure sum hides updates from the server; if it does not, a second sum reveals
            nothing new.

    Returns:
        For each such round, the clients whose updates may have been sent, and the reason.
    """
    done = restart.checkpoint.rounds_done
    if resolution.plan.noise is not None:
        lost = range(done, min(done + restart.lost, resolution.num_rounds))
        return [(restart.asked.get(index, ()), _CHARGED) for index in lost]
    clients = newly_spent(resolution, restart, hidden=hidden)
    return [(clients, _OPEN)] if clients else []


def newly_spent(resolution: ResolvedPlan, restart: Restart, *, hidden: bool) -> tuple[int, ...]:
    """Clients whose updates were in the sum of the interrupted round, if no noise covers them."""
    # Noise covers a second sum, and a sum that hides nothing has already shown the updates.
    if resolution.plan.noise is not None or not hidden:
        return ()
    return restart.opening.get(restart.checkpoint.rounds_done, ())


def draw(
    resolution: ResolvedPlan, clients: Sequence[int], population: int, spent: AbstractSet[int]
) -> tuple[int, ...]:
    """Draw a cohort among all enrolled clients; if some are excluded, among the other present ones.

    Args:
        resolution: the resolved plan.
        clients: present clients.
        population: number of enrolled clients; those that are absent never answer.
        spent: clients that may not be asked.

    Raises:
        CheckpointError: too few clients remain.
    """
    if spent:
        return draw_others(resolution, clients, spent)
    # Absent clients are drawn as well, so that the draw depends on the public number of enrolled clients
    # only.
    empty = range(_EMPTY, _EMPTY - (population - len(clients)), -1)
    drawn = resolution.plan.cohort.draw([*clients, *empty])
    return tuple(client for client in drawn if client > _EMPTY)


def draw_others(
    resolution: ResolvedPlan, clients: Sequence[int], spent: AbstractSet[int]
) -> tuple[int, ...]:
    """Draw a cohort of the same expected size among clients that are not excluded.

    Raises:
        CheckpointError: too few clients remain.
    """
    # A sum of the usual size needs that many survivors; a draw among fewer clients could not give one.
    least = resolution.plan.secure_sum.min_survivors(int(resolution.expected_cohort))
    cohort = redraw(resolution, clients, spent, least)
    if cohort is None:
        raise CheckpointError(
            f"the run broke off when a sum of {len(spent)} clients' updates may have been open, and without "
            f"noise they must not enter another one: the other {len(clients) - len(spent)} clients are too "
            "few for a round. Begin a new run from another model, or one with noise"
        )
    return cohort
