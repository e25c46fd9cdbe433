"""By size of the model: how each role's time grows, beside the peers, and ours alone at the top."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.he.against import FLARE, FLOATS, TUTORIAL
from benchmarks.he.play import COSTS, Round, play
from benchmarks.he.sides.flare import Flare
from benchmarks.he.sides.ours import label, ours
from benchmarks.he.sides.peers import Floats, Tutorial
from benchmarks.kit.measure import Curve, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.he.play import Played, System
    from benchmarks.kit.bench import Bench

__all__ = ["run"]

_OURS = label("bfv", 20)
_ROLES = {"client": "client sends", "server": "server, for each client", "opening": "opening"}


def run(bench: Bench, large: Mapping[str, Played], *, peer: bool) -> None:
    """A round at each size; the large one, of ten clients, has been played already.

    Args:
        bench: of the run.
        large: the round that bars are set for; left out of a quick run, whose cohorts differ.
        peer: whether NVFlare is there.
    """
    clients = bench.pick(quick=3, default=10, full=10)
    shared = bench.pick(quick=(3_000, 30_000), default=(10_000, 100_000), full=(10_000, 100_000))
    alone = bench.pick(quick=(), default=(10_000_000,), full=(10_000_000, 50_000_000))
    others: dict[str, Callable[[Round], System]] = {FLARE: Flare} if peer else {}
    others |= {TUTORIAL: Tutorial, FLOATS: Floats}
    rounds: list[Mapping[str, Played]] = []
    with bench.progress(f"model sizes, n={clients}", len(shared) + len(alone)) as tick:
        for length in (*shared, *alone):
            contestants = {_OURS: ours("bfv", 20), **(others if length in shared else {})}
            rounds.append(play(Round.even(length, clients), contestants, openings=3))
            tick()
    if bench.size != "quick":
        rounds.insert(len(shared), {n: p for n, p in large.items() if n == _OURS or n in others})
    title = f"by size of the model, n={clients}, in 8 tensors"
    bench.add(*_curves(rounds, clients, shared[-1]), Table("by_size", title, *_rows(rounds)))


def _curves(rounds: Sequence[Mapping[str, Played]], clients: int, fit_from: int) -> list[Curve]:
    curves: list[Curve] = []
    for role, shown in _ROLES.items():
        lines: dict[str, list[tuple[float, float]]] = {}
        for name, p in (item for played in rounds for item in played.items()):
            lines.setdefault(name, []).append((p.params, getattr(p, role).median))
        title = f"{shown}, n={clients}"
        curves.append(Curve(f"{role}_by_size", title, "parameters", "CPU s", lines, fit_from))
    return curves


def _rows(
    rounds: Sequence[Mapping[str, Played]],
) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    columns = ("parameters", "system", *COSTS)
    rows: list[tuple[object, ...]] = [
        (
            f"{p.params:,}",
            name,
            *p.costs,
        )
        for played in rounds
        for name, p in played.items()
    ]
    return columns, rows
