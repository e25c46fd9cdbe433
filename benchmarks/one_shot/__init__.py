"""The one_shot suite: what it costs that clients speak once, beside secagg and he in the same run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.kit.bench import Bench

__all__ = ["run", "steps"]


def run(bench: Bench) -> None:
    """Measure everything: each row of the table of bars of `OneShot`, in one run."""
    for _ in steps(bench):
        pass


def steps(bench: Bench) -> Iterator[None]:
    """The same, step by step; what is measured after a step can be written before the next begins."""
    from benchmarks.one_shot import clients, committees, exact, example  # noqa: PLC0415 - the command sets the environment

    played = committees.run(bench)
    yield
    clients.run(bench, played)
    yield
    exact.run(bench)
    yield
    example.run(bench)
    yield
