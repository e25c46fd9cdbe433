"""A round of a model that is cut into blocks: one secure sum for each block, then one step on all of them.

A block whose sum fails (too few clients, too many drop-outs) is skipped by itself. Its parameters, and the
server optimiser's state for them, stay as they are; under differential privacy they move by noise alone.

Under differential privacy the sums of all blocks of one round are one release.  A client contributes a vector
of length at most C to the sum of one block, and the other sums do not depend on the client: the assignment of
clients to blocks, the draw and the contributions of the others are the same with the client or without it.
Every block's sum carries the full noise for C.  All sums together are therefore the Gaussian mechanism at the
plan's own multiplier, applied to the concatenation, for any number of blocks.  δ includes the
probability that the roster of any block is outside its bounds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from fedavg.algorithms.blocks.deal import assigned_block
from fedavg.encoding.broadcast import ModelCodec
from fedavg.errors import RoundAbortedError
from fedavg.protocol.driver import PROTOCOL_ERRORS, run_round
from fedavg.server.model import silence
from fedavg.server.round import RoundServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedavg.algorithms.blocks.interface import Blocks
    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.protocol.driver import RoundTraffic, Transport
    from fedavg.protocol.messages import RoundStart
    from fedavg.protocol.transcript import Transcript
    from fedavg.server.model import GlobalModel
    from fedavg.sums.interface import ServerSide, SumResult

__all__ = ["BlockSums", "block_start", "run_blocks"]


@dataclass(frozen=True, slots=True, eq=False)
class BlockSums:
    """The sums of a round's blocks, in the form of one sum.

    Args:
        total: int64[Σ d'], the sums that succeeded, one after the other.
        survivors: clients in any of these sums, in order.
        skipped: one line for each block without a sum, with the reason.
        update: float64[d], the mean update; zero at coordinates without a sum.
    """

    total: NDArray[np.int64]
    survivors: tuple[int, ...]
    skipped: tuple[str, ...]
    update: NDArray[np.float64]


@dataclass(slots=True)
class _Gathered:
    """Sums of updates and of weights for each coordinate, because windows may overlap."""

    totals: NDArray[np.float64]
    weights: NDArray[np.float64]

    def add(self, places: NDArray[np.int64], total: NDArray[np.float64], weight: float) -> None:
        self.totals[places] += total
        self.weights[places] += weight

    def mean(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        touched = self.weights > 0
        # Coordinates that no block covered have no mean; `step` leaves them as they are.
        return np.divide(self.totals, self.weights, where=touched, out=self.totals), touched


def run_blocks(
    blocks: Blocks,
    resolution: ResolvedPlan,
    side: ServerSide,
    transport: Transport,
    traffic: RoundTraffic,
    model: GlobalModel,
    *,
    start: RoundStart,
    cohort: Sequence[int],
    transcript: Transcript | None = None,
) -> BlockSums:
    """Run one secure sum for each block, over the block's clients, and take the server's step.

    Args:
        blocks: blocks of the plan.
        resolution: the resolved plan, for all blocks.
        side: the server's material of the secure sum.
        transport: carries the bytes.
        traffic: collects bytes and times of all blocks; filled in during the round.
        model: the global model; the round starts from it and moves it.
        start: the round's first message, before it is cut into blocks.
        cohort: the clients drawn.
        transcript: when given, records every message that the server sent or received.

    Raises:
        RoundAbortedError: no block has a sum; the model did not change, or moved by noise alone.
    """
    index, size = start.round, model.vector.size
    gathered = _Gathered(np.zeros(size), np.zeros(size))
    sums: list[SumResult] = []
    skipped: list[str] = []
    # The block follows from public numbers, so the server and every client compute the same one.
    rosters: list[list[int]] = [[] for _ in range(blocks.count)]
    for client in cohort:
        rosters[assigned_block(blocks, client, index, resolution.num_clients)].append(client)
    for block, mine in enumerate(rosters):
        places = blocks.coordinates(block, index)
        server = RoundServer(
            resolution.of_block(block),
            side,
            start=block_start(start, blocks, block, places, model),
            cohort=mine,
        )
        try:
            result = run_round(server, transport, traffic, transcript)
            began = time.perf_counter()
            # Each block is decoded by its own sum: an error here skips this block and no other.
            opened = model.open(resolution.of_block(block), result, len(server.roster))
            gathered.add(places, opened.total, opened.divisor)
            sums.append(result)
            spent = time.perf_counter() - began
            traffic.seconds["decode"] = traffic.seconds.get("decode", 0.0) + spent
        except PROTOCOL_ERRORS as error:
            skipped.append(f"block {block}: {error}")
            if (
                resolution.plan.noise is not None
            ):  # so that a block without a sum looks like the others
                own = resolution.of_block(block)
                opened = model.open(own, silence(own), 1)
                gathered.add(places, opened.total, opened.divisor)
    # Without noise there is no epsilon to protect, so a round without any sum takes no step.
    if not sums and resolution.plan.noise is None:
        raise RoundAbortedError("; ".join(skipped))
    began = time.perf_counter()
    mean, touched = gathered.mean()
    model.step(mean, index, resolution.num_rounds, None if touched.all() else touched)
    # Under noise the step on noise alone has been taken; the error only marks the round as failed.
    if not sums:
        raise RoundAbortedError("; ".join(skipped))
    traffic.seconds["decode"] += time.perf_counter() - began
    return BlockSums(
        np.concatenate([result.total for result in sums]),
        tuple(sorted(client for result in sums for client in result.survivors)),
        tuple(skipped),
        mean,
    )


def block_start(
    start: RoundStart, blocks: Blocks, block: int, places: NDArray[np.int64], model: GlobalModel
) -> RoundStart:
    """The round's first message to one block's clients, with all parameters or only those of the block.

    Args:
        start: first message of the round, as for a model that is not cut.
        blocks: blocks of the plan.
        block: block of the clients who receive the message.
        places: the block's coordinates in this round.
        model: the server's model.
    """
    sent = start.model
    # A client that can train its block alone is sent no other parameters.
    if blocks.sends_part:
        codec = ModelCodec(model.codec.kind, blocks.sent_layout(model.codec.layout))
        sent = codec.encode(model.vector[places])
    return msgspec.structs.replace(start, model=sent, block=block)
