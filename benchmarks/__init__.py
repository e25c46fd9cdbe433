"""Benchmarks against our bars and, in the same run, against peers: `python -m benchmarks SUITE`.

A suite is a module or package of this folder, named in `benchmarks.suites`, with a function `run(bench)`.
It times contestants with `bench.contest`, and says what it found with `bench.add`.
"""

from __future__ import annotations

from benchmarks.bench import Bench, Size
from benchmarks.measure import Bar, Curve, Measure, Table
from benchmarks.timing import Cost, Stopwatch, Timing, contest

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
