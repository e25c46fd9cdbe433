"""The suites, and which of them are there."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.bench import Bench

__all__ = ["available", "load", "own_command"]

NAMES = ("secagg", "he", "dp", "compression", "simulation", "convergence", "blocks", "end_to_end")


def available() -> tuple[str, ...]:
    """Names of the suites in this folder."""
    return tuple(name for name in NAMES if importlib.util.find_spec(f"benchmarks.{name}"))


def load(name: str) -> Callable[[Bench], None]:
    """A suite's `run`."""
    return cast("Callable[[Bench], None]", importlib.import_module(f"benchmarks.{name}").run)


def own_command(name: str) -> Callable[[Sequence[str]], int] | None:
    """The `main` of a suite with options of its own: of `benchmarks/NAME/__main__.py`."""
    if name not in available() or not importlib.util.find_spec(f"benchmarks.{name}.__main__"):
        return None
    module = importlib.import_module(f"benchmarks.{name}.__main__")
    return cast("Callable[[Sequence[str]], int]", module.main)
