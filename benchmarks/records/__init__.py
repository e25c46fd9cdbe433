"""Records of ten silos under a secure sum: accuracy at ε, against Opacus, and where a step's time goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.records import peers, rows
from benchmarks.records.settings import SETTINGS, TASKS
from benchmarks.records.task import Images

if TYPE_CHECKING:
    from collections.abc import Collection

    from benchmarks.kit.bench import Bench

__all__ = ["PARTS", "run"]

PARTS = ("steps", "accuracy", "opacus")


def run(
    bench: Bench,
    path: str | None = None,
    *,
    tasks: Collection[str] = tuple(TASKS),
    parts: Collection[str] = PARTS,
    runs: int = 5,
) -> None:
    """Measure the parts that are asked for.

    Args:
        bench: where results go.
        path: MNIST as NPZ; None makes images up, for speed alone.
        tasks: "cnn" and "scattering".
        parts: "steps" (time, and the secure sum's share), "accuracy" at every ε, and "opacus" (the accuracy
            of the first setting of each task, trained by Opacus).
        runs: number of runs of each training.
    """
    runs = bench.pick(quick=1, default=runs, full=runs)
    for task in tasks:
        settings = [setting for setting in SETTINGS if setting.task == task]
        images = Images.of(path, few=bench.size == "quick", centred=TASKS[task].centred)
        images = rows.ready(images, settings[0])
        if "steps" in parts:
            rows.steps(bench, images, settings[0], bench.pick(quick=2, default=6, full=21))
            peers.speed(bench, images, settings[0], bench.pick(quick=1, default=5, full=20))
        for setting in settings:
            if "accuracy" in parts and bench.size != "quick":
                found = rows.accuracies(bench, images, setting, runs)
                if "opacus" in parts and setting is settings[0]:
                    peers.accuracy(bench, images, setting, found)
