"""The simulation suite: rounds of 10 among 100 clients beside Flower's simulation, pfl and a plain loop."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.kit.bench import Bench

__all__ = ["run"]


def run(bench: Bench, data: str | None = None, workers: int | None = None) -> None:
    """Measure everything; peers that are not installed stay away.

    Args:
        bench: takes what is found.
        data: an NPZ file of MNIST; None for images of its shape, which train at the same speed.
        workers: processes; None for one a core.
    """
    from benchmarks.kit.images import write_synthetic  # noqa: PLC0415 - the same
    from benchmarks.simulation import rows  # noqa: PLC0415 - the command sets the environment

    with tempfile.TemporaryDirectory() as folder:
        path = data or str(Path(folder) / "images.npz")
        if data is None:
            write_synthetic(Path(path), bench.pick(quick=6_000, default=60_000, full=60_000))
        task = rows.default_task(path, workers)
        if bench.size == "quick":
            task = replace(task, clients=20, each=300, cohort=10)
        peers = rows.peers(bench)
        rows.rounds(bench, task, peers)
        rows.convolutional(bench, task, peers)
        rows.start(bench, task, peers)
        rows.protected(bench, task)
        rows.large(bench, task)
