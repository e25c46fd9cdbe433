"""The suites, and which of them are there."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.bench import Bench

__all__ = ["available", "load"]

NAMES = ("secagg", "he", "dp", "simulation", "end_to_end")


def available() -> tuple[str, ...]:
    """Names of the suites in this folder."""
    return tuple(name for name in NAMES if importlib.util.find_spec(f"benchmarks.{name}"))


def load(name: str) -> Callable[[Bench], None]:
    """A suite's `run`."""
    return cast("Callable[[Bench], None]", importlib.import_module(f"benchmarks.{name}").run)
