"""One core against two: a client's encryption in its own process, and in two spawned ones."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measure import Measure
from benchmarks.timing import Cost, Stopwatch, Timing
from he import Client, Params, SecretContext, encrypt_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.bench import Bench

__all__ = ["run"]

_PROCESSES = 2
_MAX_ABS = (1 << 19) - 1


def run(bench: Bench) -> None:
    """On the wall, with the start of the processes and once they run."""
    length = bench.pick(quick=300_000, default=20_000_000, full=50_000_000)
    secret = SecretContext.generate(Params.for_sum(10, max_abs=_MAX_ABS, scheme="bfv"))
    rng = np.random.default_rng(7)
    vector = rng.integers(-_MAX_ABS, _MAX_ABS, length, dtype=np.int64, endpoint=True)
    after: dict[str, list[float]] = {"one": [], "two": []}
    waits: list[float] = []

    def one() -> Cost:
        client = Client(secret, 0, context=b"one")
        whole, first = _timed(lambda: client.encrypt(vector, copy=False))
        after["one"].append(whole - first)
        return Cost(whole)

    def two() -> Cost:
        client = Client(secret, 0, context=b"two")
        whole, first = _timed(lambda: encrypt_chunks(client, vector, processes=_PROCESSES))
        after["two"].append(whole - first)
        waits.append(first)
        return Cost(whole)

    rounds = bench.pick(quick=1, default=3, full=3)
    times = bench.contest("cores", {"one": one, "two": two}, rounds=rounds, warm_up=False)
    what = f"a client's encryption, {length:,} parameters, {_PROCESSES} processes against one"
    bench.add(
        Measure(
            "cores",
            f"{what}, from start to last chunk",
            "wall s",
            ours=times["two"],
            peer=times["one"],
            note=f"the first chunk came after {statistics.median(waits):.2g} s: the start of the processes",
        ),
        Measure(
            "cores_running",
            f"{what}, from first to last chunk",
            "wall s",
            ours=Timing.of(after["two"]),
            peer=Timing.of(after["one"]),
            note="other programs on this machine take their share of both cores",
        ),
    )


def _timed(make: Callable[[], Iterator[bytes]]) -> tuple[float, float]:
    """Seconds on the wall until the last chunk, and until the first."""
    whole, first = Stopwatch(wall=True), Stopwatch(wall=True)
    with whole:
        with first:
            chunks = make()
            next(chunks)
        for _ in chunks:
            pass
    return whole.seconds, first.seconds
