"""Benchmarks against our bars and, in the same run, against peers: `python -m benchmarks SUITE`.

A suite is a package of this folder with a function `run(bench)`.  It times contestants with `bench.contest`,
and adds what it found with `bench.add`.  What suites share is `benchmarks.kit`.
"""

from __future__ import annotations

from benchmarks.kit.bench import Bench, Size
from benchmarks.kit.measure import Bar, Curve, Measure, Table
from benchmarks.kit.timing import Cost, Stopwatch, Timing, contest

__all__ = [
    "Bar",
    "Bench",
    "Cost",
    "Curve",
    "Measure",
    "Size",
    "Stopwatch",
    "Table",
    "Timing",
    "contest",
]
