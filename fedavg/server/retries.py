"""Rounds that failed to give a sum and are attempted again with another cohort.

A client's update of one round enters at most one sum. A client that has sent its update, masked or encrypted,
is not asked again in that round, and would refuse (`fedavg.client.client`). Two attempts therefore sum over
disjoint sets of clients, and the difference of two sums never isolates one client. Under differential privacy
each round has one attempt only.
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

    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.protocol.driver import RoundTraffic, Transport
    from fedavg.protocol.messages import RoundStart
    from fedavg.protocol.transcript import Transcript
    from fedavg.server.model import GlobalModel
    from fedavg.sums.interface import ServerSide, SumResult

__all__ = ["RoundOutcome", "SumOutcome", "redraw", "run_with_retries", "sum_round"]


@dataclass(frozen=True, slots=True)
class RoundOutcome:
    """The outcome of a round.

    Args:
        cohort: cohort of the last attempt.
        aborted: reasons why the earlier attempts failed.
        skipped: reason why the last attempt failed, or None.
    """

    cohort: tuple[int, ...]
    aborted: tuple[str, ...]
    skipped: str | None


@dataclass(frozen=True, slots=True, eq=False)
class SumOutcome:
    """The outcome of one attempt.

    Args:
        sums: the sum, or the sums of all blocks one after the other.
        update: float64[d], the mean update.
        missing: one line for each block without a sum, with the reason.
    """

    sums: SumResult
    update: NDArray[np.float64]
    missing: tuple[str, ...] = ()


def run_with_retries(
    resolution: ResolvedPlan,
    clients: Sequence[int],
    cohort: tuple[int, ...],
    spent: Container[int],
    attempt: Callable[[int, tuple[int, ...]], None],
) -> RoundOutcome:
    """Attempt a round until it gives a sum, at most as often as the plan allows.

    Args:
        resolution: the resolved plan.
        clients: ids of all available clients.
        cohort: cohort of the first attempt.
        spent: clients whose update of this round has been sent; read after each attempt.
        attempt: runs one attempt, given its number and its cohort; raises when there is no sum.
    """
    plan, aborted = resolution.plan, list[str]()
    # Fewer clients than this cannot give a sum of the usual size, so no attempt is made with them.
    least = plan.secure_sum.min_survivors(int(resolution.expected_cohort))
    while True:
        try:
            attempt(len(aborted), cohort)
        except PROTOCOL_ERRORS as error:
            reason = str(error)
        else:
            return RoundOutcome(cohort, tuple(aborted), None)
        again = redraw(resolution, clients, spent, least)
        if again is None or len(aborted) >= plan.retry_limit:
            return RoundOutcome(cohort, tuple(aborted), reason)
        aborted.append(reason)
        cohort = again


def sum_round(
    model: GlobalModel,
    resolution: ResolvedPlan,
    side: ServerSide,
    transport: Transport,
    traffic: RoundTraffic,
    start: RoundStart,
    cohort: Sequence[int],
    transcript: Transcript | None,
) -> SumOutcome:
    """Run one sum over a cohort, or one for each block, and move the model.

    Args:
        model: moved when there is a sum; otherwise unchanged, or, under DP, moved by noise alone.
        resolution: the resolved plan.
        side: the server's material of the secure sum.
        transport: carries the bytes.
        traffic: bytes and times; filled in during the round.
        start: the first message to the cohort.
        cohort: clients that are asked.
        transcript: when given, records every message that the server sent or received.

    Raises:
        RoundAbortedError, secagg.Aborted, he.HeError: there is no sum, and no update was revealed.
    """
    blocks = resolution.plan.blocks
    if blocks is not None:
        parts = (resolution, side, transport, traffic, model)
        sums = run_blocks(blocks, *parts, start=start, cohort=cohort, transcript=transcript)
        return SumOutcome(sums, sums.update, sums.skipped)
    server = RoundServer(resolution, side, start=start, cohort=cohort)
    try:
        result = run_round(server, transport, traffic, transcript)
    except PROTOCOL_ERRORS:
        # A round without a sum releases noise, so that the model does not show that it failed (privacy.md
        # §14).
        if resolution.plan.noise is not None:
            model.release_noise(resolution, start.round)
        raise
    started = time.perf_counter()
    update = model.apply(resolution, result, start.round, len(server.roster))
    traffic.seconds["decode"] = time.perf_counter() - started
    return SumOutcome(result, update)


def redraw(
    resolution: ResolvedPlan, clients: Sequence[int], spent: Container[int], least: int
) -> tuple[int, ...] | None:
    """Draw another cohort of the same expected size after a failed attempt; None when too few clients remain.

    This is for runs without differential privacy, since clients' answers decide whether there is a second
    draw.

    Args:
        resolution: the resolved plan.
        clients: ids of the available clients.
        spent: clients whose update of this round has been sent; they enter no second sum.
        least: smallest number of clients for which another attempt is useful.
    """
    left = [client for client in clients if client not in spent]
    # With no client left there is no rate at which to draw.
    if len(left) < max(least, 1):
        return None
    return resolution.plan.cohort.again(left, resolution.expected_cohort)
