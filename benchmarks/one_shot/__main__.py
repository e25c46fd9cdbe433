"""The suite's own command, `python -m benchmarks one_shot`: results are written after each of its steps."""

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
    """Run; 0 also when a bar is missed, unless --check is given. A run that is stopped leaves its steps."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks one_shot",
        description="Sums in which clients speak once, beside secagg and he in the same run. Results are "
        "written after each step: committees, clients and server, exactness, the built-in example.",
    )
    add_common(parser)
    options = parser.parse_args(arguments)
    bench = begin("one_shot", options)
    from benchmarks import one_shot as suite  # noqa: PLC0415 - after the environment is set
    from benchmarks.kit.report import write_files  # noqa: PLC0415 - the same

    for _ in suite.steps(bench):
        write_files(bench, options.out)
    return finish(bench, options)


if __name__ == "__main__":
    sys.exit(main())
