"""How every suite's command begins and ends."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks.kit.bench import Bench

if TYPE_CHECKING:
    import argparse

__all__ = ["begin", "finish", "set_environment"]

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
}
"""One core for each contestant, and no peer reports its use to its authors."""


def set_environment() -> None:
    """Set what is not set; before any suite is imported, since libraries read it when they are loaded."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def begin(suite: str, options: argparse.Namespace) -> Bench:
    """Return what the suite is handed.

    Args:
        suite: its name.
        options: as parsed; see `benchmarks.kit.options.add_common`.
    """
    return Bench(suite, options.size, Console(stderr=True))


def finish(bench: Bench, options: argparse.Namespace, **more: float) -> int:
    """Print the tables, write the files, and print the last line, which is one JSON object.

    Args:
        bench: with everything that was found.
        options: as parsed.
        more: figures for the last line.

    Returns:
        The exit status: 1 when a bar is missed and --check was given, else 0.
    """
    from benchmarks.kit.report import last_line, print_tables, write_files  # noqa: PLC0415 - plotly is slow

    console = Console() if sys.stdout.isatty() else Console(width=150)
    print_tables(bench, console)
    for path in write_files(bench, options.out):
        console.print(f"wrote {path}", markup=False)
    print(last_line(bench, **more))
    return int(options.check and any(measure.met is False for measure in bench.measures))
