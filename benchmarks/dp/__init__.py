"""The dp suite: certified epsilon beside other accountants, calibration, samplers and audits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.dp import audits, grid, peers, samplers

if TYPE_CHECKING:
    from benchmarks.kit.bench import Bench

__all__ = ["run"]


def run(bench: Bench) -> None:
    """Measure everything; our side alone where a peer is not installed."""
    grid.run(bench)
    peers.run(bench)
    grid.calibrate(bench)
    samplers.run(bench)
    audits.run(bench)
