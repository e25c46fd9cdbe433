"""What one round costs one client: seconds, memory and bytes, each measured by itself."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.profiler import ProfilerActivity, profile

from fedavg.algorithms.blocks.deal import assigned_block
from fedavg.client.update import ClientContext, prepare
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.federation.federation import Federation
from fedavg.models.layout import Layout
from fedavg.optimizers.server import FedAvg
from fedavg.plan.plan import Plan
from fedavg.plan.resolution import resolve
from fedavg.privacy.sampling import PoissonCohort
from fedavg.server.blocks import block_start
from fedavg.server.model import GlobalModel
from fedavg.sums.masked import SecAgg
from fedavg.sums.plain import InsecurePlain

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedavg.algorithms.blocks.interface import Blocks
    from fedavg.data.dataset import Dataset
    from fedavg.models.spec import ModelSpec
    from fedavg.optimizers.local import LocalTraining
    from fedavg.sums.interface import SecureSum

__all__ = ["Costs", "costs_of", "plan_of"]

_ROSTER = 6  # clients of one block in the round whose bytes are counted


@dataclass(frozen=True, slots=True)
class Costs:
    """One client's round; means over the blocks, since every client passes through all of them.

    Args:
        share: part of the parameters that is trained and sent.
        largest: the same for the largest block.
        up, down: bytes of all messages of a round under secagg.
        seconds: CPU time to train and encode.
        peak: bytes that torch has allocated at most while doing so: gathered examples, activations,
            gradients, optimiser state and trained copies, beyond the model that the client was sent.
        worst: the same for the block with the highest peak.
    """

    share: float
    largest: float
    up: float
    down: float
    seconds: float
    peak: float
    worst: float


def plan_of(blocks: Blocks | None, training: LocalTraining, sums: SecureSum) -> Plan:
    """Plain averaging with everyone in every round."""
    return Plan(
        cohort=PoissonCohort(1.0),
        encoding=FixedPoint(8.0, 20, rounding="nearest"),
        noise=None,
        secure_sum=sums,
        local_training=training,
        server_optimizer=FedAvg(1.0),
        blocks=blocks,
    )


def costs_of(
    spec: ModelSpec, blocks: Blocks | None, training: LocalTraining, data: Dataset, repeats: int
) -> Costs:
    """Measure one client's round for every block of a model.

    Args:
        spec: the model.
        blocks: how it is cut; None for not at all.
        training: what the client does with it.
        data: the client's examples.
        repeats: of the timing, whose median counts.
    """
    count = 1 if blocks is None else blocks.count
    people = _ROSTER * count
    up, down = _traffic(spec, blocks, training, data, people)
    model = spec.build()
    layout, plan = Layout.of(model), plan_of(blocks, training, InsecurePlain())
    resolution = resolve(
        plan, num_clients=people, vector_length=layout.size, num_rounds=1, largest_client=len(data)
    )
    side = plan.secure_sum.client_side(b"")
    bench = ClientContext(resolution, model, layout, side, 0)
    server = GlobalModel(plan, layout.flatten(model), layout)
    seconds: list[float] = []
    peaks: list[int] = []
    for block in range(count):
        start, client = server.start(0), 0
        if blocks is not None:
            client = next(c for c in range(people) if assigned_block(blocks, c, 0, people) == block)
            start = block_start(start, blocks, block, blocks.coordinates(block, 0), server)

        def once(client: int = client, start: object = start) -> object:
            return prepare(bench, client, data, start, {})  # pyright: ignore[reportArgumentType]

        once()
        seconds.append(statistics.median(_cpu(once) for _ in range(repeats)))
        peaks.append(_peak(once))
    lengths = (layout.size,) if blocks is None else blocks.lengths
    return Costs(
        share=statistics.mean(lengths) / layout.size,
        largest=max(lengths) / layout.size,
        up=up,
        down=down,
        seconds=statistics.mean(seconds),
        peak=statistics.mean(peaks),
        worst=max(peaks),
    )


def _traffic(
    spec: ModelSpec, blocks: Blocks | None, training: LocalTraining, data: Dataset, people: int
) -> tuple[float, float]:
    """Bytes up and down for each client of one round under secagg."""
    few = type(data)(data.features[:4], data.labels[:4])  # bytes do not depend on examples
    plan = plan_of(blocks, training, SecAgg())
    (result,) = Federation(spec, dict.fromkeys(range(people), few), plan).run(1)
    if result.skipped is not None or result.survivors != people:
        raise RuntimeError(f"the round that was to be counted failed: {result.skipped}")
    return result.bytes_up / people, result.bytes_down / people


def _cpu(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def _peak(call: Callable[[], object]) -> int:
    """Most bytes that torch had allocated at once, from its profiler's list of all allocations."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    traced: Any = seen.profiler  # its stubs leave the list of allocations out
    events = traced.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    alive = peak = 0
    for _, change in changes:
        alive += change
        peak = max(peak, alive)
    return peak
