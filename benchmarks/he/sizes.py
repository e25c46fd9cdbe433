"""By size of the model: how each role's time grows, beside the peers, and ours alone at the top."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.he.against import FLARE, FLOATS, TUTORIAL
from benchmarks.he.flare import Flare
from benchmarks.he.ours import label, ours
from benchmarks.he.peers import Floats, Tutorial
from benchmarks.he.play import Round, play
from benchmarks.measure import Curve, Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.bench import Bench
    from benchmarks.he.play import System

__all__ = ["run"]

_OURS = label("bfv", 20)
_ROLES = {"client": "client sends", "server": "server, for each client", "opening": "opening"}


def run(bench: Bench, *, peer: bool) -> None:
    """A round at each size; peers up to a million parameters."""
    clients = bench.pick(quick=3, default=10, full=10)
    shared = bench.pick(quick=(3_000, 30_000), default=(10_000, 100_000), full=(10_000, 100_000))
    alone = bench.pick(quick=(), default=(1_000_000, 10_000_000), full=(1_000_000, 10_000_000))
    if bench.size == "full":
        shared += (1_000_000,)
        alone = (10_000_000,)
    others: dict[str, Callable[[Round], System]] = {FLARE: Flare} if peer else {}
    others |= {TUTORIAL: Tutorial, FLOATS: Floats}
    lines: dict[str, dict[str, list[tuple[float, float]]]] = {role: {} for role in _ROLES}
    rows: list[tuple[object, ...]] = []
    with bench.progress(f"model sizes, n={clients}", len(shared) + len(alone)) as tick:
        for length in (*shared, *alone):
            contestants = {_OURS: ours("bfv", 20), **(others if length in shared else {})}
            played = play(Round.even(length, clients), contestants, openings=3)
            for (name, p), role in ((item, role) for item in played.items() for role in _ROLES):
                seconds: float = getattr(p, role).median
                lines[role].setdefault(name, []).append((length, seconds))
            rows += [
                (
                    *(f"{length:,}", name, p.up / length, p.down / length),
                    *(p.client.median, p.server.median, p.opening.median),
                )
                for name, p in played.items()
            ]
            tick()
    columns = ("parameters", "system", "up B/param", "down B/param")
    columns += ("client, CPU s", "server a client, CPU s", "opening, CPU s")
    bench.add(
        *(
            Curve(f"{role}_by_size", f"{shown}, n={clients}", "parameters", "CPU s", lines[role])
            for role, shown in _ROLES.items()
        ),
        Table(
            "by_size", f"by size of the model, n={clients}, tensors of a model: 8", columns, rows
        ),
    )
