"""A round of a model that is cut into blocks: one secure sum a block, then one step on all of them.

A block whose sum fails (too few clients, too many drop-outs) is skipped by itself: its parameters, and what
the server's optimiser keeps of them, stay as they are; under differential privacy they move by noise alone.

Under differential privacy the blocks of one round are one release.  A client adds to the sum of one block, at
most C long, and the others do not depend on it: whom they are dealt, who is drawn and what they add are the
same with it or without.  Every block's sum carries the full noise for C, so all of them together are the
Gaussian mechanism at the plan's own multiplier, on the concatenation, whatever the number of blocks.  That
a roster falls outside its bounds has a probability that δ counts for all blocks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from fedavg.algorithms.blocks.deal import dealt
from fedavg.encoding.broadcast import ModelCodec
from fedavg.errors import RoundAbortedError
from fedavg.protocol.driver import PROTOCOL_ERRORS, run_round
from fedavg.server.model import silence
from fedavg.server.round import RoundServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedavg.algorithms.blocks.interface import Blocks
    from fedavg.plan.resolution import Resolution
    from fedavg.protocol.driver import RoundTraffic, Transport
    from fedavg.protocol.messages import RoundStart
    from fedavg.protocol.transcript import Transcript
    from fedavg.server.model import GlobalModel
    from fedavg.sums.interface import ServerSide, SumResult

__all__ = ["BlockSums", "block_start", "run_blocks"]


@dataclass(frozen=True, slots=True, eq=False)
class BlockSums:
    """What came of a round's blocks, in the shape of one sum.

    Args:
        total: int64[Σ d'], the sums that stand, one after the other.
        survivors: clients in any of them, in order.
        skipped: blocks without a sum, with the reason.
        update: float64[d], the mean update; zero where there is none.
    """

    total: NDArray[np.int64]
    survivors: tuple[int, ...]
    skipped: tuple[str, ...]
    update: NDArray[np.float64]


@dataclass(slots=True)
class _Gathered:
    """Sums of updates and of weights by coordinate: windows may overlap."""

    totals: NDArray[np.float64]
    weights: NDArray[np.float64]

    def add(self, places: NDArray[np.int64], total: NDArray[np.float64], weight: float) -> None:
        self.totals[places] += total
        self.weights[places] += weight

    def mean(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        touched = self.weights > 0
        return np.divide(self.totals, self.weights, where=touched, out=self.totals), touched


def run_blocks(
    blocks: Blocks,
    resolution: Resolution,
    side: ServerSide,
    transport: Transport,
    traffic: RoundTraffic,
    model: GlobalModel,
    *,
    start: RoundStart,
    cohort: Sequence[int],
    transcript: Transcript | None = None,
) -> BlockSums:
    """Run one secure sum a block, each over the clients that it is dealt, and take the server's step.

    Args:
        blocks: the plan's.
        resolution: of all blocks.
        side: the server's material of the secure sum.
        transport: carries the bytes.
        traffic: filled in as the round goes, over all blocks.
        model: started from, and moved.
        start: the round's first message, before it is cut.
        cohort: the clients drawn.
        transcript: records every byte that the server saw, when given.

    Raises:
        RoundAbortedError: no block has a sum; the model stays as it was, or moves by noise alone.
    """
    index, size = start.round, model.vector.size
    gathered = _Gathered(np.zeros(size), np.zeros(size))
    sums: list[SumResult] = []
    skipped: list[str] = []
    rosters: list[list[int]] = [[] for _ in range(blocks.count)]
    for client in cohort:
        rosters[dealt(blocks, client, index, resolution.num_clients)].append(client)
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
            opened = model.open(resolution.of_block(block), result, len(server.roster))
            gathered.add(places, opened.total, opened.divisor)
            sums.append(result)
            spent = time.perf_counter() - began
            traffic.seconds["decode"] = traffic.seconds.get("decode", 0.0) + spent
        except PROTOCOL_ERRORS as error:
            skipped.append(f"block {block}: {error}")
            if resolution.plan.noise is not None:  # nothing else tells that the block has no sum
                own = resolution.of_block(block)
                opened = model.open(own, silence(own), 1)
                gathered.add(places, opened.total, opened.divisor)
    if not sums and resolution.plan.noise is None:
        raise RoundAbortedError("; ".join(skipped))
    began = time.perf_counter()
    mean, touched = gathered.mean()
    model.step(mean, index, resolution.num_rounds, None if touched.all() else touched)
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
    """The round's first message to one block's clients: with all parameters, or theirs alone.

    Args:
        start: of the round, as for a model that is not cut.
        blocks: the plan's.
        block: whose clients it is for.
        places: the block's coordinates in this round.
        model: the server's.
    """
    sent = start.model
    if blocks.sends_part:
        codec = ModelCodec(model.codec.kind, blocks.sent_layout(model.codec.layout))
        sent = codec.encode(model.vector[places])
    return msgspec.structs.replace(start, model=sent, block=block)
