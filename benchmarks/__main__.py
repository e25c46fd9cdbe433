"""The command: `python -m benchmarks SUITE`, or `python -m benchmarks document` for the page of results."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import pkgutil
import sys
from typing import TYPE_CHECKING, cast

import benchmarks
from benchmarks.kit import document
from benchmarks.kit.command import begin, finish, set_environment
from benchmarks.kit.options import add_common

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["available", "main"]

_Command = "Callable[[Sequence[str]], int]"


def available() -> tuple[str, ...]:
    """Names of the suites: all packages of this folder but the kit.

    Example:
        >>> "secagg" in available(), "kit" in available()
        (True, False)
    """
    found = pkgutil.iter_modules(benchmarks.__path__)
    return tuple(sorted(part.name for part in found if part.ispkg and part.name != "kit"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a suite's own command where it has one, else the suite; or rewrite the page of results."""
    set_environment()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["document"]:
        return document.main(given[1:])
    own = _own_command(given[0]) if given else None
    return own(given[1:]) if own else _run(given)


def _own_command(suite: str) -> Callable[[Sequence[str]], int] | None:
    name = f"benchmarks.{suite}.__main__"
    if suite not in available() or not importlib.util.find_spec(name):
        return None
    return cast("_Command", importlib.import_module(name).main)


def _run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure a suite against its bars, and against the peers that are installed. "
        "The last line printed is one JSON object with the ratios.",
        epilog="`python -m benchmarks document` writes results into docs/benchmarks.md.",
    )
    parser.add_argument("suite", choices=available())
    add_common(parser)
    options = parser.parse_args(arguments)
    bench = begin(options.suite, options)
    importlib.import_module(f"benchmarks.{options.suite}").run(bench)
    return finish(bench, options)


if __name__ == "__main__":
    sys.exit(main())
