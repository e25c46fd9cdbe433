"""Rounds that give no sum, and are tried again with another cohort.

A client's update of one round enters one sum at most: whoever's update has left, masked or encrypted, is not
asked again in that round, and would refuse (`fedavg.client.client`).  So two attempts sum over disjoint
clients, and no difference of them can single out one of them.  Under differential privacy there is one
attempt.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedavg.protocol.driver import PROTOCOL_ERRORS, run_round
from fedavg.server.blocks import run_blocks
from fedavg.server.round import RoundServer

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.plan.resolution import Resolution
    from fedavg.protocol.driver import RoundTraffic, Transport
    from fedavg.protocol.messages import RoundStart
    from fedavg.protocol.transcript import Transcript
    from fedavg.server.model import GlobalModel
    from fedavg.sums.interface import ServerSide, SumResult

__all__ = ["Taken", "Tried", "persevere", "redraw", "take_sum"]


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a round.

    Args:
        cohort: of the last attempt.
        aborted: why the earlier ones gave no sum.
        skipped: why the last one gave none, or None.
    """

    cohort: tuple[int, ...]
    aborted: tuple[str, ...]
    skipped: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """What one attempt gave.

    Args:
        sums: the sum, or those of all blocks one after the other.
        update: float64[d], the mean update.
        missing: blocks without a sum, with the reason.
    """

    sums: SumResult
    update: NDArray[np.float64]
    missing: tuple[str, ...] = ()


def persevere(
    resolution: Resolution,
    clients: Sequence[int],
    cohort: tuple[int, ...],
    spent: Container[int],
    attempt: Callable[[int, tuple[int, ...]], None],
) -> Tried:
    """Attempt a round until it gives a sum, as often as the plan allows.

    Args:
        resolution: the plan.
        clients: the population.
        cohort: asked first.
        spent: clients whose update of this round has left; read after each attempt.
        attempt: the number of the attempt and its cohort; raises when there is no sum.
    """
    plan, aborted = resolution.plan, list[str]()
    least = plan.secure_sum.min_survivors(int(resolution.expected_cohort))
    while True:
        try:
            attempt(len(aborted), cohort)
        except PROTOCOL_ERRORS as error:
            reason = str(error)
        else:
            return Tried(cohort, tuple(aborted), None)
        again = redraw(resolution, clients, spent, least)
        if again is None or len(aborted) >= plan.retry_limit:
            return Tried(cohort, tuple(aborted), reason)
        aborted.append(reason)
        cohort = again


def take_sum(
    model: GlobalModel,
    resolution: Resolution,
    side: ServerSide,
    transport: Transport,
    traffic: RoundTraffic,
    start: RoundStart,
    cohort: Sequence[int],
    transcript: Transcript | None,
) -> Taken:
    """Run one sum over a cohort, or one a block, and move the model by it.

    Args:
        model: moved when there is a sum, else left as it was, or, under DP, moved by noise alone.
        resolution: the plan.
        side: the server's material of the secure sum.
        transport: carries the bytes.
        traffic: filled in as the round goes.
        start: what the cohort is sent.
        cohort: the clients that are asked.
        transcript: records every byte that the server saw, when given.

    Raises:
        RoundAbortedError, secagg.Aborted, he.HeError: no sum, no update revealed.
    """
    blocks = resolution.plan.blocks
    if blocks is not None:
        parts = (resolution, side, transport, traffic, model)
        sums = run_blocks(blocks, *parts, start=start, cohort=cohort, transcript=transcript)
        return Taken(sums, sums.update, sums.skipped)
    server = RoundServer(resolution, side, start=start, cohort=cohort)
    try:
        result = run_round(server, transport, traffic, transcript)
    except PROTOCOL_ERRORS:
        if resolution.plan.noise is not None:
            model.release_noise(resolution, start.round)
        raise
    started = time.perf_counter()
    update = model.apply(resolution, result, start.round, len(server.roster))
    traffic.seconds["decode"] = time.perf_counter() - started
    return Taken(result, update)


def redraw(
    resolution: Resolution, clients: Sequence[int], spent: Container[int], least: int
) -> tuple[int, ...] | None:
    """Another cohort, of the same expected size, for a round that gave no sum; None when too few are left.

    Without differential privacy only: who came decides whether there is a second draw.

    Args:
        resolution: the plan.
        clients: those who are here.
        spent: those whose update of this round has left; it enters no second sum.
        least: fewest clients worth another attempt.
    """
    left = [client for client in clients if client not in spent]
    if len(left) < max(least, 1):
        return None
    return resolution.plan.cohort.again(left, resolution.expected_cohort)
