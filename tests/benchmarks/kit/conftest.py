"""A run of a suite with one of everything that a suite can find."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchmarks import Bar, Bench, Curve, Measure, Table, Timing


@pytest.fixture
def found() -> Bench:
    bench = Bench("demo", "quick", Console(file=io.StringIO(), width=200))
    bench.add(
        Measure("speed", "speed", "s", ours=Timing.of([0.5, 0.4, 0.6]), peer=2.0, bar=Bar(3, 5)),
        Measure("slow", "slowness", "s", ours=1.0, peer=2.0, bar=Bar(3), note="a note"),
        Measure("size", "size", "bits", ours=23.0, bar=Bar(24, 23, of="ours", at_most=True)),
        Measure("lonely", "no peer", "s", ours=1.0, bar=Bar(3)),
        Curve("growth", "growth", "n", "s", {"ours": [(1, 1), (10, 10), (100, 100)]}),
        Table("paper", "on paper", ("n", "degree"), [(10, 9)]),
    )
    return bench
