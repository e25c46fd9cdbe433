"""The constants suite: every tuned constant, what it trades, and how this machine answers to other values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.kit.bench import Bench

__all__ = ["run"]


def run(bench: Bench) -> None:
    """List the constants, and measure a typical piece of work around the value of each."""
    from benchmarks.constants import rows  # noqa: PLC0415 - the command sets the environment

    rows.catalogue(bench)
    rows.curves(bench)
    rows.stacking(bench)
    rows.streams(bench)
