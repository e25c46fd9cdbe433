"""One core against two: a client's encryption in its own process, and in two spawned ones."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.kit.measure import Measure
from benchmarks.kit.timing import Cost, Stopwatch, Timing
from he import Client, Params, SecretContext, encrypt_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.kit.bench import Bench

__all__ = ["run"]

_PROCESSES = 2
_MAX_ABS = (1 << 19) - 1


def run(bench: Bench) -> None:
    """On the wall, with the start of the processes and once they run; and what all of them compute."""
    length = bench.pick(quick=300_000, default=20_000_000, full=50_000_000)
    secret = SecretContext.generate(Params.for_sum(10, max_abs=_MAX_ABS, scheme="bfv"))
    rng = np.random.default_rng(7)
    vector = rng.integers(-_MAX_ABS, _MAX_ABS, length, dtype=np.int64, endpoint=True)
    spent: dict[str, list[_Spent]] = {"one": [], "two": []}

    def one() -> Cost:
        client = Client(secret, 0, context=b"one")
        spent["one"].append(_spend(lambda: client.encrypt(vector, copy=False)))
        return Cost(spent["one"][-1].whole)

    def two() -> Cost:
        client = Client(secret, 0, context=b"two")
        spent["two"].append(_spend(lambda: encrypt_chunks(client, vector, processes=_PROCESSES)))
        return Cost(spent["two"][-1].whole)

    rounds = bench.pick(quick=1, default=3, full=3)
    bench.contest("cores", {"one": one, "two": two}, rounds=rounds, warm_up=False)
    wait = statistics.median(run.first for run in spent["two"])
    what = f"a client's encryption, {length:,} parameters, {_PROCESSES} processes against one"
    for key, about, unit, note, figure in (
        ("cores", "start to last chunk", "wall s", f"first chunk after {wait:.2g} s", _whole),
        (
            "cores_running",
            "first to last chunk",
            "wall s",
            "other programs take their share",
            _running,
        ),
        ("cores_cpu", "all processes", "CPU s", "the start of processes included", _cpu),
    ):
        ours, alone = (Timing.of([figure(run) for run in spent[name]]) for name in ("two", "one"))
        bench.add(Measure(key, f"{what}: {about}", unit, ours=ours, peer=alone, note=note))


@dataclass(frozen=True, slots=True)
class _Spent:
    """Seconds on the wall until the last chunk and until the first, and of the processors."""

    whole: float
    first: float
    cpu: float


def _whole(run: _Spent) -> float:
    return run.whole


def _running(run: _Spent) -> float:
    return run.whole - run.first


def _cpu(run: _Spent) -> float:
    return run.cpu


def _spend(make: Callable[[], Iterator[bytes]]) -> _Spent:
    whole, first, cpu = Stopwatch(wall=True), Stopwatch(wall=True), Stopwatch(children=True)
    with cpu, whole:
        with first:
            chunks = make()
            next(chunks)
        for _ in chunks:
            pass
    return _Spent(whole.seconds, first.seconds, cpu.seconds)
