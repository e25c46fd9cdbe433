"""Large cohorts: what a server of a thousand spends and holds, and ten thousand clients to the end."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.kit.measure import Measure
from benchmarks.kit.timing import Timing
from benchmarks.secagg.primitives import bare_cipher
from benchmarks.secagg.session import MAX_ABS, Recording, record, replay
from secagg import Params
from secagg.crypto.ring import Unpacker, add_packed, ring_dtype

if TYPE_CHECKING:
    from benchmarks.kit.bench import Bench

__all__ = ["run", "ten_thousand"]

_RATE = 0.05  # of silent clients and of colluders


def run(bench: Bench) -> None:
    """A thousand clients with long vectors; in a full run, ten thousand with short ones."""
    _thousand(bench)
    if bench.size == "full":
        ten_thousand(bench)


def _thousand(bench: Bench) -> None:
    n, length = bench.pick(quick=(60, 50_000), default=(1000, 1_000_000), full=(1000, 1_000_000))
    params = Params.for_cohort(n, length, max_abs=MAX_ABS, dropout_rate=_RATE, corrupt_rate=_RATE)
    silent = int(_RATE * n)
    with bench.progress(f"clients, n={n:,}", n - silent) as tick:
        recording = record(
            params, silent=silent, watched=bench.pick(quick=3, default=8, full=16), tick=tick
        )
    rounds = bench.pick(quick=3, default=3, full=5)
    with bench.progress(f"server, n={n:,}", rounds) as tick:
        seconds: list[float] = []
        for _ in range(rounds):
            seconds.append(replay(recording).seconds)
            tick()
    unpacking = _unpacking(bench, recording) * (n - silent)
    masks = bare_cipher(
        bench, recording.masks * length * np.dtype(ring_dtype(params.ring_bits)).itemsize
    )
    rest = Timing.of([taken - unpacking for taken in seconds])
    traced = replay(recording, trace=True)
    about = (
        f"{params.threat_model}, {params.degree} neighbours, threshold {params.threshold}, 5 % drop, "
        f"{recording.masks:,} masks removed"
    )
    name = f"n={n:,}, d={length:,}"
    bench.add(
        Measure(
            "server_1000",
            f"server, {name}, less unpacking",
            "CPU s",
            ours=rest,
            bar=bench.bar(5, 3.5, of="ours", at_most=True),
            note=about,
        ),
        Measure(
            "server_1000_cipher",
            "the same ÷ raw AES-128-CTR for the bytes of its masks",
            "CPU s",
            ours=rest,
            peer=masks,
            ratio=rest.median / masks,
            bar=bench.bar(1.9, 1.5, at_most=True),
        ),
        Measure(
            "unpacking_1000",
            f"unpacking {n - silent:,} uploads of {params.ring_bits} bits, d={length:,}",
            "CPU s",
            ours=unpacking,
            bar=bench.bar(1.7, 1, of="ours", at_most=True),
        ),
        Measure(
            "memory_1000",
            f"server, {name}, memory beyond one upload",
            "vectors",
            ours=traced.peak / (8 * length),
            bar=bench.bar(6, 4, of="ours", at_most=True),
            note=f"int64[d], {traced.peak / 1e6:.1f} MB at most, in {traced.peak_phase}; "
            "all that the server holds, and the messages it returns",
        ),
        Measure(
            "client_1000",
            f"client, {name}",
            "CPU s",
            ours=Timing.of(recording.client_seconds),
            note=about,
        ),
    )


def _unpacking(bench: Bench, recording: Recording) -> float:
    """Seconds to unpack one upload: to unpack and add, less the addition."""
    bits = recording.params.ring_bits
    total = np.zeros(recording.params.vector_length, dtype=ring_dtype(bits))
    other, unpacker = np.ones_like(total), Unpacker(total.size, bits)
    times = bench.contest(
        "unpacking",
        {
            "both": lambda: add_packed(total, recording.packed, bits, unpacker),
            "add": lambda: np.add(total, other, out=total),
        },
        rounds=9,
    )
    return max(0.0, times["both"].median - times["add"].median)


def ten_thousand(bench: Bench) -> None:
    """Ten thousand clients with quorums of neighbours, to the end, beside a thousand."""
    length = 10_000
    figures: dict[int, float] = {}
    recordings: dict[int, Recording] = {}
    for n in (1_000, 10_000):
        params = Params.for_cohort(
            n,
            length,
            max_abs=MAX_ABS,
            dropout_rate=_RATE,
            corrupt_rate=_RATE,
            threat_model="malicious-local",
        )
        with bench.progress(f"clients, n={n:,}", n - int(_RATE * n)) as tick:
            recording = record(params, silent=int(_RATE * n), watched=16, tick=tick)
        figures[n] = statistics.median(recording.client_seconds) / params.degree
        recordings[n] = recording
    last = recordings[10_000]
    server = replay(last)
    bench.add(
        Measure(
            "client_10000",
            f"client, n=10,000, d={length:,}, for each neighbour, against n=1,000's",
            "CPU s",
            ours=figures[10_000],
            peer=figures[1_000],
            ratio=figures[10_000] / figures[1_000],
            bar=bench.bar(1.5, at_most=True),
            note=f"malicious-local, {last.params.degree} and {recordings[1_000].params.degree} neighbours; "
            f"the whole session ran and its sum was right",
        ),
        Measure(
            "server_10000",
            f"server, n=10,000, d={length:,}",
            "CPU s",
            ours=server.seconds,
            note=", ".join(f"{phase} {taken:.2g} s" for phase, taken in server.by_phase.items()),
        ),
    )
