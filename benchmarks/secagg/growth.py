"""How cost grows with the cohort, with the vector, and on a second core."""

from __future__ import annotations

import statistics
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.kit.measure import Curve, Measure, Table
from benchmarks.kit.timing import Cost, Stopwatch
from benchmarks.secagg.session import MAX_ABS, record, replay
from secagg import Params
from secagg.crypto.masks import SEED_SIZE, add_masks
from secagg.crypto.ring import packed_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from benchmarks.kit.bench import Bench
    from benchmarks.secagg.session import Recording

__all__ = ["run"]

_RATE = 0.05
_CORES = 2


def run(bench: Bench) -> None:
    """Curves over n and d, a table of bytes, and one core against two."""
    _with_cohort(bench)
    _with_vector(bench)
    _with_cores(bench)


def _point(n: int, length: int, watched: int) -> tuple[Recording, float, float]:
    """A recording with 5 % drop, and the CPU seconds of its client and its server."""
    params = Params.for_cohort(n, length, max_abs=MAX_ABS, dropout_rate=_RATE, corrupt_rate=_RATE)
    recording = record(params, silent=int(_RATE * n), watched=watched)
    server = statistics.median(replay(recording).seconds for _ in range(3))
    return recording, statistics.median(recording.client_seconds), server


def _with_cohort(bench: Bench) -> None:
    length = bench.pick(quick=1_000, default=10_000, full=10_000)
    sizes = bench.pick(
        quick=(10, 30, 100), default=(10, 30, 100, 300, 1000), full=(10, 30, 100, 300, 1000, 2000)
    )
    clients: list[tuple[float, float]] = []
    servers: list[tuple[float, float]] = []
    rows: list[tuple[object, ...]] = []
    with bench.progress(f"cohorts, d={length:,}", len(sizes)) as tick:
        for n in sizes:
            recording, client, server = _point(n, length, watched=min(n // 2, 12))
            params = recording.params
            vector = packed_size(length, params.ring_bits)
            clients.append((n, client))
            servers.append((n, server))
            up, down = recording.up - vector, recording.down
            rows.append((n, params.degree, params.threshold, client, server, int(up), int(down)))
            tick()
    lines = {"client": clients, "server": servers}
    title = f"cost by cohort, d={length:,}, malicious, 5 % drop and colluders"
    columns = (
        "n",
        "neighbours",
        "threshold",
        "client CPU s",
        "server CPU s",
        "bytes up*",
        "bytes down",
    )
    bench.add(
        Curve("cost_by_n", title, "n", "CPU s", lines, fit_from=100),
        Table("by_n", f"{title} (*besides the vector)", columns, rows),
    )


def _with_vector(bench: Bench) -> None:
    n = 10
    lengths = bench.pick(
        quick=(1_000, 10_000, 100_000),
        default=(10_000, 100_000, 1_000_000, 10_000_000),
        full=(10_000, 100_000, 1_000_000, 10_000_000),
    )
    lines: dict[str, list[tuple[float, float]]] = {"client": [], "server": []}
    with bench.progress(f"vectors, n={n}", len(lengths)) as tick:
        for length in lengths:
            _, client, server = _point(n, length, watched=5)
            lines["client"].append((length, client))
            lines["server"].append((length, server))
            tick()
    title = f"cost by vector, n={n}, malicious, 5 % drop and colluders"
    bench.add(Curve("cost_by_d", title, "d", "CPU s", lines, fit_from=lengths[1]))


def _with_cores(bench: Bench) -> None:
    length = bench.pick(quick=100_000, default=1_000_000, full=1_000_000)
    n = bench.pick(quick=20, default=100, full=100)
    seeds = [bytes([index]) * SEED_SIZE for index in range(100)]
    total = np.zeros(length, dtype=np.uint32)
    recording, _, _ = _point(n, length, watched=1)

    def masks(executor: Executor | None) -> Cost:
        watch = Stopwatch(wall=True)
        with watch:
            add_masks(total, seeds, executor=executor)
        return watch.cost

    def unmask(executor: Executor | None) -> Cost:
        taken = replay(recording, executor=executor, wall=True)
        return Cost(taken.by_phase["unmask"])

    with ThreadPoolExecutor(_CORES) as executor:
        _cores(bench, "cores_masks", f"100 masks, d={length:,}", masks, executor)
        name = f"server's unmasking, n={n}, d={length:,}"
        _cores(bench, "cores_unmask", name, unmask, executor)


def _cores(
    bench: Bench,
    key: str,
    name: str,
    call: Callable[[Executor | None], Cost],
    executor: Executor,
) -> None:
    contestants = {"one": lambda: call(None), "more": lambda: call(executor)}
    times = bench.contest(name, contestants, rounds=5)
    what = f"{name}: {_CORES} cores against one"
    bench.add(Measure(key, what, "wall s", ours=times["more"], peer=times["one"]))
