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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 also when a bar is missed, unless --check is given."""
    set_environment()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks records",
        description="A CNN of 26,010 parameters on the records of ten silos, under a secure sum and shared "
        "noise; about ten minutes of CPU.",
    )
    parser.add_argument("--data", metavar="NPZ", help="MNIST: x_train, y_train, x_test, y_test")
    parser.add_argument(
        "--epsilon", type=float, default=3.0, help="the budget (default: %(default)s)"
    )
    add_common(parser)
    options = parser.parse_args(arguments)
    from benchmarks import records  # noqa: PLC0415 - after the environment is set

    bench = begin("records", options)
    records.run(bench, options.data, epsilon=options.epsilon)
    return finish(bench, options)


if __name__ == "__main__":
    sys.exit(main())
