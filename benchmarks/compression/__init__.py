"""What fewer bytes cost in accuracy: widths, rotation, error feedback, random places, quantised downloads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.compression import tables
from benchmarks.compression.task import Setting

if TYPE_CHECKING:
    from benchmarks.kit.bench import Bench

__all__ = ["run"]


def run(bench: Bench) -> None:
    """Train every case on every seed, measure one round of each under real sums, and tabulate."""
    setting = Setting.of(
        rounds=bench.pick(quick=6, default=40, full=80),
        seeds=bench.pick(quick=1, default=3, full=5),
    )
    tables.run(bench, setting)
