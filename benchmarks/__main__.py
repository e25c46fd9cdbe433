"""The command: `python -m benchmarks SUITE [--quick | --full] [--out FOLDER] [--check]`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.suites import available, load, own_command

if TYPE_CHECKING:
    from collections.abc import Sequence

# one core a contestant, and no peer phones home; before numpy or a peer is loaded
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a suite's own command where it has one, else the suite."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    given = list(sys.argv[1:] if arguments is None else arguments)
    own = own_command(given[0]) if given else None
    return own(given[1:]) if own else run_suite(given)


def run_suite(arguments: Sequence[str]) -> int:
    """Run one suite; 0 also when a bar is missed, unless --check is given."""
    options = _parser().parse_args(arguments)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)

    from rich.console import Console  # noqa: PLC0415 - after the environment is set

    from benchmarks.bench import Bench  # noqa: PLC0415 - the same
    from benchmarks.machine import facts  # noqa: PLC0415 - the same
    from benchmarks.report import last_line, print_tables, write_files  # noqa: PLC0415 - the same

    machine = facts()
    bench = Bench(options.suite, options.size, Console(stderr=True))
    load(options.suite)(bench)
    console = Console() if sys.stdout.isatty() else Console(width=150)
    print_tables(bench, console)
    for path in write_files(bench, options.out, machine):
        console.print(f"wrote {path}", markup=False)
    print(last_line(bench))
    return int(options.check and any(m.met is False for m in bench.measures))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure a suite against its bars, and against the peers that are installed. "
        "The last line printed is one JSON object with the ratios.",
    )
    parser.add_argument("suite", choices=available())
    sizes = parser.add_mutually_exclusive_group()
    for size, text in (
        ("quick", "small sizes: under two minutes"),
        ("full", "the largest cohorts as well"),
    ):
        sizes.add_argument(f"--{size}", dest="size", action="store_const", const=size, help=text)
    parser.set_defaults(size="default")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("bench-results"),
        metavar="FOLDER",
        help="where SUITE.json and SUITE.html go (default: %(default)s)",
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
