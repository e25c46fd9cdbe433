"""The secagg suite: masks, sharing, rounds beside Flower's SecAgg+, large cohorts, committees, growth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.secagg import committee, growth, large, paper, primitives, rounds, whole

if TYPE_CHECKING:
    from benchmarks.kit.bench import Bench

__all__ = ["run"]


def run(bench: Bench) -> None:
    """Measure everything; our side alone when Flower is not installed."""
    peer = bench.peer("flwr") is not None
    primitives.run(bench, peer=peer)
    rounds.run(bench, peer=peer)
    whole.run(bench)
    large.run(bench)
    committee.run(bench)
    growth.run(bench)
    paper.run(bench)
