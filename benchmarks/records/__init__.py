"""Records of ten silos under a secure sum: accuracy at ε, time of a step, and the sum's share of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.records import rows
from benchmarks.records.task import Images

if TYPE_CHECKING:
    from benchmarks.kit.bench import Bench

__all__ = ["run"]


def run(bench: Bench, path: str | None = None, *, epsilon: float = 3.0) -> None:
    """Train once, and report.

    Args:
        bench: where results go.
        path: MNIST as NPZ; None makes images up, for speed alone.
        epsilon: the budget.
    """
    images = Images.of(path, few=bench.size == "quick")
    rows.add(bench, images, epsilon, steps=bench.pick(quick=5, default=400, full=400))
