"""The suite's sections: the list, a curve around each value, stacks of models, and the two key streams."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.constants.catalogue import CONSTANTS
from benchmarks.constants.works import jobs
from benchmarks.kit.measure import Curve, Measure, Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.constants.catalogue import Constant
    from benchmarks.kit.bench import Bench
    from fedavg.training.job import TrainingJob

__all__ = ["catalogue", "curves", "stacking", "streams"]

_AROUND = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)


def catalogue(bench: Bench) -> None:
    """All constants, with what a larger value trades."""
    lines: list[tuple[object, ...]] = [(one.key, one.value, one.trades) for one in CONSTANTS]
    columns = ("constant", "value", "a larger value: what it saves; what it costs")
    bench.add(Table("catalogue", "Tuned constants", columns, lines))


def curves(bench: Bench) -> None:
    """CPU seconds of a typical piece of work around each value, as a part of the least of them."""
    size = bench.pick(quick=20_000, default=1_000_000, full=1_000_000)
    lines: dict[str, list[tuple[float, float]]] = {}
    rows: list[tuple[object, ...]] = []
    for constant in CONSTANTS:
        if constant.work is None:
            continue
        found = _around(bench, constant, constant.work(size))
        least = min(found.values())
        rows.append((constant.key, *(f"{found[part] / least:.2f}" for part in _AROUND)))
        lines[constant.key] = [(part, seconds / least) for part, seconds in found.items()]
        key = constant.key.replace(".", "_")
        note = "best of the values around it ÷ the value that ships"
        bench.add(Measure(key, constant.key, "CPU s", found[1.0], peer=least, note=note))
    columns = ("constant", *(f"× {part:g}" for part in _AROUND))
    bench.add(
        Table("around", "CPU time at other values ÷ the least", columns, rows),
        Curve("curves", "Around each constant", "× its value", "time ÷ the least", lines),
    )


def _around(bench: Bench, constant: Constant, work: Callable[[], object]) -> dict[float, float]:
    def at(value: int) -> None:
        with constant.moved(value):
            work()

    there = {f"{part:g}": partial(at, max(1, round(constant.value * part))) for part in _AROUND}
    rounds = bench.pick(quick=1, default=7, full=15)
    seconds = bench.pick(quick=0.0, default=0.02, full=0.1)
    timed = bench.contest(constant.key, there, rounds=rounds, min_seconds=seconds)
    # The lower quartile, since other processes on the machine only lengthen a sample.
    return {part: timed[f"{part:g}"].low for part in _AROUND}


def stacking(bench: Bench) -> None:
    """Models of growing size, 20 clients stacked and one by one: where a stack stops to pay."""
    from fedavg.training.fast.dense import DensePath  # noqa: PLC0415 - loads torch
    from fedavg.training.fast.stacked import StackedPath  # noqa: PLC0415 - as above

    widths = bench.pick(
        quick=(8,), default=(8, 32, 64, 128, 256, 512), full=(8, 32, 64, 128, 256, 512)
    )
    rows: list[tuple[object, ...]] = []
    for inputs in widths:
        given = jobs("mlp", inputs, 20, 20)
        timed = bench.contest(
            f"{given[0].layout.size:,} parameters",
            {
                "stacked": partial(StackedPath().run_together, given),
                "one by one": partial(_each, DensePath().run, given),
            },
            rounds=bench.pick(quick=1, default=5, full=11),
            min_seconds=bench.pick(quick=0.0, default=0.02, full=0.1),
        )
        stacked, single = timed["stacked"].low, timed["one by one"].low
        rows.append((given[0].layout.size, stacked, single, f"{single / stacked:.2f}"))
    columns = ("parameters", "stacked, CPU s", "one by one, CPU s", "one by one ÷ stacked")
    bench.add(Table("stacking", "Twenty clients of one small model", columns, rows))


def _each(train: Callable[[TrainingJob], object], given: list[TrainingJob]) -> None:
    for job in given:
        train(job)


def streams(bench: Bench) -> None:
    """The two ways to the same key stream, between which a process chooses by measuring."""
    from secagg.crypto.streams import BLOCK, streams_after_head  # noqa: PLC0415 - loads cryptography

    size = bench.pick(quick=1 << 14, default=1 << 18, full=1 << 18)
    zeros, room = bytes(size), memoryview(bytearray(size + BLOCK))
    started = {
        name: start(bytes(16))
        for name, start in zip(("CTR", "GCM"), streams_after_head(), strict=True)
    }
    timed = bench.contest(
        "key streams",
        {name: partial(stream.update_into, zeros, room) for name, stream in started.items()},
        rounds=bench.pick(quick=1, default=9, full=21),
        min_seconds=bench.pick(quick=0.0, default=0.01, full=0.05),
    )
    rows: list[tuple[object, ...]] = [
        (name, size / max(timing.low, 1e-12) / 1e9) for name, timing in timed.items()
    ]
    bench.add(Table("streams", "AES-128 key streams", ("mode", "GB/s"), rows))
