"""The suite's cases, and what of them is reported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from benchmarks.blocks.costs import Costs, costs_of, plan_of
from benchmarks.kit.measure import Curve, Measure, Table
from fedavg.algorithms.blocks.layers import LayerBlocks
from fedavg.algorithms.blocks.rolling import RollingBlocks
from fedavg.data.dataset import Dataset
from fedavg.data.tasks import load_task
from fedavg.errors import PlanError
from fedavg.federation.federation import Federation
from fedavg.models.layout import Layout
from fedavg.models.spec import ModelSpec
from fedavg.optimizers.local import LocalTraining
from fedavg.optimizers.server import FedAvg
from fedavg.sums.plain import InsecurePlain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.kit.bench import Bench
    from fedavg.algorithms.blocks.interface import Blocks
    from fedavg.data.tasks import Task

__all__ = ["everything"]

_COUNTS = (1, 2, 4, 8)
_KINDS = ("layers", "rolling")
_SERVER_RATES = (1.0, 0.5)


@dataclass(frozen=True, slots=True)
class _Case:
    """A model, how its clients train, and how long its accuracy is followed."""

    name: str
    training: LocalTraining
    clients: int
    examples: int
    rounds: int
    repeats: int


def everything(bench: Bench) -> None:
    """Costs and accuracy of both models under both cuts."""
    torch.set_num_threads(1)
    task = load_task("mnist-5k")
    step = LocalTraining(epochs=1, batch_size=10, optimizer="momentum", lr=0.05)
    cases = (
        _Case("2nn", step, 40, 50, bench.pick(quick=5, default=40, full=100), 9),
        _Case("cnn", step, 12, 50, bench.pick(quick=1, default=8, full=30), 3),
    )
    for case in cases:
        _case(bench, case, task)


def _case(bench: Bench, case: _Case, task: Task) -> None:
    spec = ModelSpec(case.name, task.train.features.shape[1:], task.num_classes)
    layout = Layout.of(spec.build())
    plans: dict[tuple[str, int], Blocks | None] = {("whole", 1): None}
    for kind in _KINDS:
        for count in _COUNTS[1:]:
            blocks = _cut(layout, kind, count)
            if blocks is not None:
                plans[kind, count] = blocks
    each = case.examples
    people = {
        i: Dataset(
            task.train.features[i * each : (i + 1) * each],
            task.train.labels[i * each : (i + 1) * each],
        )
        for i in range(case.clients)
    }
    found: dict[tuple[str, int], tuple[Costs, str]] = {}
    with bench.progress(f"{case.name}: costs and accuracy", len(plans)) as tick:
        for key, blocks in plans.items():
            costs = costs_of(spec, blocks, case.training, people[0], case.repeats)
            reached = [
                _accuracy(spec, blocks, case, people, task.test, rate) for rate in _SERVER_RATES
            ]
            found[key] = costs, " / ".join(f"{accuracy:.1%}" for accuracy in reached)
            tick()
    _report(bench, case, found, layout.size)


def _cut(layout: Layout, kind: str, count: int) -> Blocks | None:
    """The blocks, or None where a model has too few tensors."""
    if kind == "rolling":
        return RollingBlocks(layout.shapes, count)
    try:
        return LayerBlocks.by_count(layout, count)
    except PlanError:
        return None


def _accuracy(
    spec: ModelSpec,
    blocks: Blocks | None,
    case: _Case,
    people: Mapping[int, Dataset],
    test: Dataset,
    rate: float,
) -> float:
    """After the same number of rounds for every cut, everyone in all of them."""
    plan = plan_of(blocks, case.training, InsecurePlain())
    plan = replace(plan, server_optimizer=FedAvg(rate))
    run = Federation(spec, people, plan, evaluate=test)
    accuracy = 0.0
    for result in run.run(case.rounds):
        accuracy = result.accuracy or 0.0
    return accuracy


def _report(
    bench: Bench, case: _Case, found: dict[tuple[str, int], tuple[Costs, str]], size: int
) -> None:
    whole, _ = found["whole", 1]
    rows: list[tuple[object, ...]] = []
    for (kind, count), (costs, accuracy) in found.items():
        shares = f"{costs.share:.1%} / {costs.largest:.1%}"
        peaks = f"{costs.peak / 1e6:.2f} / {costs.worst / 1e6:.2f}"
        traffic = (costs.up / 1e3, costs.down / 1e3)
        rows.append((kind, count, shares, *traffic, costs.seconds * 1e3, peaks, accuracy))
    columns = (
        "kind",
        "blocks",
        "share, mean / largest",
        "up, kB",
        "down, kB",
        "CPU, ms",
        "peak MB, mean / largest",
        f"accuracy after {case.rounds} rounds, server rate 1 / ½",
    )
    title = f"{case.name}, {size:,} parameters: one client's round"
    bench.add(Table(f"{case.name}_blocks", title, columns, rows))
    for kind in _KINDS:
        _curves(bench, case, kind, found, whole)
    for kind in _KINDS:
        costs, _ = found[kind, 4]
        _measures(bench, f"{case.name}, {kind}, 4 blocks", f"{case.name}_{kind}", costs, whole)


def _curves(
    bench: Bench,
    case: _Case,
    kind: str,
    found: dict[tuple[str, int], tuple[Costs, str]],
    whole: Costs,
) -> None:
    cuts = [costs for (name, _), (costs, _) in found.items() if name in ("whole", kind)]
    lines = {
        "upload": [(c.share, c.up / whole.up) for c in cuts],
        "download": [(c.share, c.down / whole.down) for c in cuts],
        "CPU": [(c.share, c.seconds / whole.seconds) for c in cuts],
        "peak memory": [(c.share, c.peak / whole.peak) for c in cuts],
    }
    title = f"{case.name}, {kind}: costs beside the whole model's"
    bench.add(Curve(f"{case.name}_{kind}_costs", title, "share", "part of the whole", lines))


def _measures(bench: Bench, name: str, key: str, costs: Costs, whole: Costs) -> None:
    """Four blocks beside the whole model; the bar: bytes fall with the share, but for the protocol's own."""
    bar = bench.bar(round(0.95 / costs.share, 1))
    pairs = (
        ("up", "upload", "kB", costs.up / 1e3, whole.up / 1e3, bar),
        ("down", "download", "kB", costs.down / 1e3, whole.down / 1e3, None),
        ("cpu", "CPU", "ms", costs.seconds * 1e3, whole.seconds * 1e3, None),
        ("peak", "peak memory", "MB", costs.peak / 1e6, whole.peak / 1e6, None),
    )
    for short, what, unit, ours, theirs, asked in pairs:
        bench.add(Measure(f"{key}_{short}", f"{name}: {what}", unit, ours, theirs, bar=asked))
