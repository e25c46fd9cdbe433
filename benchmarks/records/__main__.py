"""The suite's own command, `python -m benchmarks records [--data mnist.npz]`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from benchmarks.kit.command import begin, finish, set_environment
from benchmarks.kit.options import add_common

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_TASKS, _PARTS = ("scattering", "cnn"), ("steps", "accuracy", "opacus")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 also when a bar is missed, unless --check is given."""
    set_environment()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks records",
        description="Records of ten silos under a secure sum, by a CNN of 26,010 parameters and by a linear "
        "model on scattering features; both beside Opacus, where it is installed. All of it takes about two "
        "hours of CPU: name a task and a part for less.",
    )
    parser.add_argument("--data", metavar="NPZ", help="MNIST: x_train, y_train, x_test, y_test")
    parser.add_argument("--task", choices=tuple(_TASKS), action="append", help="default: both")
    parser.add_argument("--part", choices=tuple(_PARTS), action="append", help="default: all")
    parser.add_argument(
        "--runs", type=int, default=5, help="runs of each training (default: %(default)s)"
    )
    add_common(parser)
    options = parser.parse_args(arguments)
    from benchmarks import records  # noqa: PLC0415 - after the environment is set

    bench = begin("records", options)
    records.run(
        bench,
        options.data,
        tasks=options.task or _TASKS,
        parts=options.part or _PARTS,
        runs=options.runs,
    )
    return finish(bench, options)


if __name__ == "__main__":
    sys.exit(main())
