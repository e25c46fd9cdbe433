"""One contestant in a process of its own: `python -m benchmarks.simulation.child NAME TASK [free]`."""

from __future__ import annotations

import importlib
import os
import sys

from benchmarks.simulation.task import Task
from benchmarks.simulation.turns import Turns

__all__ = ["main"]


def main() -> None:
    """Play the task; with "free", without waiting for turns."""
    name, told, *free = sys.argv[1:]
    if free:
        os.environ["BENCHMARK_FREE"] = "1"
    importlib.import_module(f"benchmarks.simulation.contestants.{name}").play(
        Task.from_json(told), Turns(waits=not free)
    )


if __name__ == "__main__":
    main()
