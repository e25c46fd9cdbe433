"""The suite's sections: speed and memory of rounds, start-up, protection, and a large population."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.kit.measure import Measure, Table
from benchmarks.kit.timing import Timing
from benchmarks.simulation.contest import cold_start, compete
from benchmarks.simulation.task import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.kit.bench import Bench
    from benchmarks.kit.measure import Bar
    from benchmarks.simulation.contest import Result

__all__ = [
    "convolutional",
    "default_task",
    "large",
    "peers",
    "protected",
    "rounds",
    "start",
    "table",
]

PEERS = {"flower": ("flwr", "Flower"), "pfl": ("pfl", "pfl")}
_OURS, _MODULE = "ours", "ours, any module"
_WALL = {"plain": (4.5, 6), "flower": (5, 7), "pfl": (4.5, 8)}
_CPU = {"plain": (3.5, 4.5), "flower": (4.5, 6), "pfl": (3, 4)}
_MODULE_CPU = {"flower": (2, 2.5), "pfl": (1.3, 1.6)}
_ROUNDS = {"ours": 8, "plain": 2, "flower": 2, "pfl": 2}


def default_task(data: str, workers: int | None = None) -> Task:
    """The 2NN, unprotected, a worker for each core."""
    return Task(data, workers=len(os.sched_getaffinity(0)) if workers is None else workers)


def peers(bench: Bench) -> tuple[str, ...]:
    """Modules of this package for those that are installed."""
    return tuple(name for name, (module, _) in PEERS.items() if bench.peer(module) is not None)


def _compete(
    bench: Bench, title: str, tasks: Mapping[str, tuple[str, Task]], turns: int
) -> dict[str, Result]:
    counts = {
        key: _ROUNDS[name] if task.model != "cnn" else 1 for key, (name, task) in tasks.items()
    }
    with bench.progress(title, turns * len(tasks)) as tick:
        return compete(tasks, turns=turns, rounds=counts, tick=tick)


def rounds(bench: Bench, task: Task, others: tuple[str, ...]) -> None:
    """The 2NN, plain and with central DP on both sides, and as a module of a user's own; memory."""
    turns = bench.pick(quick=2, default=8, full=20)
    everyone = {name: (name, task) for name in ("plain", *others)}
    tasks = {_OURS: ("ours", task), _MODULE: ("ours", replace(task, model="module")), **everyone}
    found = _compete(bench, "2NN", tasks, turns)
    bench.add(table("rounds", "2NN, plain SGD, 10 of 100 clients a round", found))
    for name in ("plain", *others):
        what = f"2NN ÷ {_title(name)}"
        wall, cpu = bench.bar(*_WALL[name]), bench.bar(*_CPU[name])
        _speed(bench, f"2nn_{name}", what, found[_OURS], found[name], wall)
        _cpu(bench, f"2nn_{name}_cpu", what, found[_OURS], found[name], cpu)
    for name in others:
        what = f"any module ÷ {_title(name)}"
        wall, cpu = bench.bar(1.8, 2.5), bench.bar(*_MODULE_CPU[name])
        _speed(bench, f"module_{name}", what, found[_MODULE], found[name], wall)
        _cpu(bench, f"module_{name}_cpu", what, found[_MODULE], found[name], cpu)
    _memory(bench, found)
    private = {
        key: (name, replace(own, protection="central-dp")) for key, (name, own) in tasks.items()
    }
    del private[_MODULE]
    noised = _compete(bench, "2NN, central DP", private, turns)
    bench.add(table("central_dp", "2NN, central DP on all sides", noised))
    for name in others:
        what = f"2NN, central DP ÷ {_title(name)}"
        _speed(bench, f"dp_{name}", what, noised[_OURS], noised[name], bench.bar(4.5, 8))


def _title(name: str) -> str:
    return PEERS[name][1] if name in PEERS else "plain loop"


def _speed(
    bench: Bench, key: str, name: str, ours: Result, theirs: Result, bar: Bar | None
) -> None:
    bench.add(
        Measure(
            key,
            name,
            "s a round",
            ours.wall_timing,
            theirs.wall_timing,
            bar=bar,
            note=f"CPU of all processes {ours.cpu_timing.median:.3g} s and "
            f"{theirs.cpu_timing.median:.3g} s a round",
        )
    )


def _cpu(bench: Bench, key: str, name: str, ours: Result, theirs: Result, bar: Bar | None) -> None:
    own, other = ours.cpu_timing, theirs.cpu_timing
    bench.add(Measure(key, f"{name}, CPU of all processes", "s a round", own, other, bar=bar))


def _memory(bench: Bench, found: Mapping[str, Result]) -> None:
    ours, peer = found[_OURS], found.get("flower")
    for key, name, figure in (
        ("memory", "peak memory ÷ Flower, shared pages once", "proportional_mib"),
        ("memory_resident", "the same, sum of each process's peak", "resident_mib"),
    ):
        own: float = getattr(ours, figure)
        theirs: float | None = None if peer is None else getattr(peer, figure)
        ratio = None if theirs is None else own / theirs
        # the sum of peaks counts shared pages once a process: it is no memory that a machine must have
        bar = bench.bar(0.6, 0.4, at_most=True) if key == "memory" else None
        bench.add(Measure(key, name, "MiB", own, theirs, ratio=ratio, bar=bar))


def table(key: str, title: str, found: Mapping[str, Result]) -> Table:
    """All figures of one contest."""
    columns = ("contestant", "wall s a round", "CPU s a round", "peak MiB", "accuracy")
    lines: list[tuple[object, ...]] = [
        (
            name,
            result.wall_timing.median,
            result.cpu_timing.median,
            result.proportional_mib,
            result.accuracy,
        )
        for name, result in found.items()
    ]
    return Table(key, title, columns, lines)


def convolutional(bench: Bench, task: Task, others: tuple[str, ...]) -> None:
    """McMahan's CNN, a few rounds."""
    own = replace(task, model="cnn", lr=0.05)
    tasks = {_OURS: ("ours", own)}
    if "flower" in others:
        tasks["flower"] = ("flower", own)
    found = _compete(bench, "CNN", tasks, bench.pick(quick=1, default=3, full=6))
    bench.add(table("cnn", "CNN, plain SGD, 10 of 100 clients a round", found))
    if "flower" in found:
        bar = bench.bar(1.2, 1.6)
        _speed(bench, "cnn_flower", "CNN ÷ Flower", found[_OURS], found["flower"], bar)


def start(bench: Bench, task: Task, others: tuple[str, ...]) -> None:
    """Ten rounds of a fresh process, its start, imports and reading of images included."""
    repeats = bench.pick(quick=1, default=3, full=5)
    samples: dict[str, list[float]] = {name: [] for name in ("ours", *others)}
    with bench.progress("10 rounds with start-up", repeats * len(samples)) as tick:
        for _ in range(repeats):
            for name, seconds in samples.items():
                seconds.append(cold_start(name, replace(task, rounds=10)))
                tick()
    ours = Timing.of(samples["ours"])
    bars = {"flower": bench.bar(3, 5), "pfl": bench.bar(1.7, 3)}
    for name in others:
        what = f"10 rounds, start-up included ÷ {_title(name)}"
        bench.add(
            Measure(f"start_{name}", what, "s", ours, Timing.of(samples[name]), bar=bars[name])
        )


def protected(bench: Bench, task: Task) -> None:
    """What masks and distributed noise add to a round of ours."""
    open_, masked, both = "in the clear", "secagg", "secagg + Skellam"
    task = replace(task, clients=task.cohort)
    tasks = {
        open_: ("ours", task),
        masked: ("ours", replace(task, protection="secagg")),
        both: ("ours", replace(task, protection="secagg-skellam")),
    }
    found = _compete(bench, "protection", tasks, bench.pick(quick=2, default=8, full=20))
    bench.add(table("protection", "2NN of ours, protected", found))
    for key, name in (("secagg", masked), ("secagg_skellam", both)):
        own, plain = found[name].wall_timing, found[open_].wall_timing
        bar = bench.bar(2, 1.3, at_most=True) if name == both else None
        what = f"{name} ÷ unprotected round"
        ratio = own.median / plain.median
        note = f"{task.cohort} clients of {task.cohort}: no theorem bounds Skellam noise in few of many"
        bench.add(Measure(key, what, "s a round", own, plain, ratio=ratio, bar=bar, note=note))


def large(bench: Bench, task: Task) -> None:
    """Ten thousand clients of six images, 200 a round, masked."""
    clients, cohort = bench.pick(quick=(100, 20), default=(10_000, 200), full=(10_000, 200))
    own = replace(task, clients=clients, each=6, cohort=cohort, protection="secagg")
    turns = bench.pick(quick=1, default=2, full=5)
    counts: dict[str, int] = {_OURS: 1}
    with bench.progress(f"{clients:,} clients", turns) as tick:
        found = compete({_OURS: ("ours", own)}, turns=turns, rounds=counts, tick=tick)[_OURS]
    name = f"{clients:,} clients, {cohort} a round, secagg"
    bar = bench.bar(4096, of="ours", at_most=True)
    bench.add(
        Measure("large_memory", f"{name}: memory", "MiB", found.proportional_mib, bar=bar),
        Measure("large_round", f"{name}: a round", "s", found.wall_timing),
    )
