"""The suite's own command, `python -m benchmarks convergence [--data mnist.npz]`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from benchmarks.kit.command import begin, finish
from benchmarks.kit.options import add_common

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Count rounds; 0 also when a target is missed, unless --check is given."""
    options = _parser().parse_args(arguments)
    bench = begin("convergence", options)
    from benchmarks import convergence  # noqa: PLC0415 - after the environment is set

    convergence.run(bench, options.data, options.workers)
    return finish(bench, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks convergence",
        description="Rounds until McMahan's 2NN names 97 % of MNIST's test images rightly, beside the "
        "published figures; without --data, to 90 % of 5,000 images that an installed package ships.",
    )
    parser.add_argument("--data", metavar="NPZ", help="MNIST: x_train, y_train, x_test, y_test")
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")
    add_common(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
