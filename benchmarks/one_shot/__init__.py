"""The one_shot suite: what it costs that clients speak once, beside secagg and he in the same run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.kit.bench import Bench

__all__ = ["run"]


def run(bench: Bench) -> None:
    """Measure everything: each row of the table of bars of `OneShot`, in one run."""
    from benchmarks.one_shot import clients, committees, exact, example  # noqa: PLC0415 - the command sets the environment

    played = committees.run(bench)
    clients.run(bench, played)
    exact.run(bench)
    example.run(bench)
