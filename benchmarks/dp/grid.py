"""Our accountant and calibration alone, over the whole grid: width, CPU time, memory."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from benchmarks.dp.cases import GRID
from benchmarks.dp.child import ask
from benchmarks.kit.measure import Bar, Measure, Table
from benchmarks.kit.timing import Timing
from dp import NoSampling, PoissonSampling, calibrate_noise_multiplier
from dp.accounting import gaussian_epsilon

if TYPE_CHECKING:
    from benchmarks.dp.child import Answer
    from benchmarks.kit.bench import Bench

__all__ = ["calibrate", "run"]

_WIDTH = 1e-3


def run(bench: Bench) -> None:
    """Each case once, in a process without earlier answers."""
    cases = bench.pick(quick=GRID[::7], default=GRID, full=GRID)
    answers: list[Answer] = []
    block = 16
    with bench.progress("accountant, whole grid", len(cases)) as tick:
        for start in range(0, len(cases), block):
            part = cases[start : start + block]
            answers += ask("ours", part)
            for _ in part:
                tick()
    failed = [str(case) for case, a in zip(cases, answers, strict=True) if a.high is None]
    told = [a for a in answers if a.high is not None and a.high > 0]
    widths = [1.0 if a.width is None else a.width for a in told]
    seconds = sorted(a.seconds for a in answers)
    note = f"{len(cases)} cases, {len(answers) - len(told) - len(failed)} with ε = 0"
    if failed:
        note += f"; no answer: {', '.join(failed)}"
    low = {"of": "ours", "at_most": True}
    bench.add(
        Measure(
            "width_share",
            f"cases answered to a relative width of {_WIDTH:g}",
            "share",
            ours=(sum(w <= _WIDTH for w in widths)) / (len(told) + len(failed)),
            bar=Bar(1.0, of="ours"),
            note=note,
        ),
        Measure("width_median", "relative width, median", "", ours=statistics.median(widths)),
        Measure("width_max", "relative width, worst", "", ours=max(widths), bar=Bar(_WIDTH, **low)),
        Measure(
            "epsilon_cpu",
            "ε from both sides, CPU, median",
            "s",
            ours=Timing.of(seconds),
            bar=Bar(0.06, **low),
        ),
        Measure("epsilon_cpu_max", "the same, slowest", "s", ours=seconds[-1], bar=Bar(2.0, **low)),
        Measure(
            "epsilon_memory",
            "peak memory of its process",
            "MiB",
            ours=max(a.memory_mib for a in answers),
            bar=Bar(1024.0, **low),
        ),
        _worst(cases, answers),
    )


def _worst(cases: tuple[object, ...], answers: list[Answer]) -> Table:
    both = [(case, a) for case, a in zip(cases, answers, strict=True) if a.high]
    widest = sorted(both, key=lambda pair: -(pair[1].width or 1.0))[:4]
    slowest = sorted(both, key=lambda pair: -pair[1].seconds)[:4]
    rows: list[tuple[object, ...]] = [
        (str(case), a.low, a.high, 1.0 if a.width is None else a.width, a.seconds)
        for case, a in dict.fromkeys(widest + slowest)
    ]
    columns = ("case", "low", "high", "relative width", "CPU s")
    return Table("hardest", "Our widest and slowest answers", columns, rows)


def calibrate(bench: Bench) -> None:
    """Noise from ε, cold, over a sensible grid."""
    targets = [
        (epsilon, rate, rounds)
        for epsilon in bench.pick(quick=(1.0,), default=(0.5, 2.0, 8.0), full=(0.5, 2.0, 8.0))
        for rate in (0.01, 0.1, 1.0)
        for rounds in bench.pick(quick=(100,), default=(50, 1000), full=(50, 1000, 10_000))
    ]
    seconds: list[float] = []
    with bench.progress("calibration", len(targets)) as tick:
        for epsilon, rate, rounds in targets:
            sampling = NoSampling() if rate == 1 else PoissonSampling(rate)
            start = time.process_time()
            noise = calibrate_noise_multiplier(epsilon, 1e-5, sampling=sampling, steps=rounds)
            seconds.append(time.process_time() - start)
            if rate == 1 and gaussian_epsilon(noise / rounds**0.5, 1e-5) > epsilon:
                raise AssertionError(f"calibrated noise {noise} misses epsilon {epsilon}")
            tick()
    bench.add(
        Measure(
            "calibration_cpu",
            "noise from ε, CPU, median",
            "s",
            ours=Timing.of(seconds),
            bar=Bar(0.5, of="ours", at_most=True),
            note=f"{len(targets)} targets, slowest {max(seconds):.2f} s",
        )
    )
