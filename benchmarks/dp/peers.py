"""Certified ε beside prv-accountant, dp-accounting's PLD and opacus: the same questions, taking turns."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.dp.cases import SHORT
from benchmarks.dp.child import Answer, ask
from benchmarks.kit.measure import Bar, Measure, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.dp.cases import Case
    from benchmarks.kit.bench import Bench

__all__ = ["run"]

_WIDTH = 1e-3
_PACKAGES = {
    "prv": ("prv_accountant", "prv-accountant"),
    "pld": ("dp_accounting", "dp-accounting"),
    "pld-upper": ("dp_accounting", "dp-accounting"),
    "rdp": ("opacus", None),
    "gdp": ("opacus", None),
}
_NAMES = {
    "prv": "prv-accountant",
    "pld": "dp-accounting PLD, both sides",
    "pld-upper": "dp-accounting PLD, upper side",
    "rdp": "opacus RDP",
    "gdp": "opacus GDP",
}


def run(bench: Bench) -> None:
    """Ours against every peer at the same width: 1e-3 of ε; only a peer's last mesh is counted."""
    cases = bench.pick(quick=SHORT[:2], default=SHORT, full=SHORT)
    limit = bench.pick(quick=60, default=120, full=600)
    peers = [
        who for who, (module, package) in _PACKAGES.items() if bench.peer(module, package=package)
    ]
    if not peers:
        return
    answers: dict[str, list[Answer]] = {who: [] for who in ("ours", *peers)}
    with bench.progress("accountants in turns", len(cases) * (1 + len(peers))) as tick:
        for case in cases:
            (ours,) = ask("ours", [case])
            answers["ours"].append(ours)
            tick()
            for who in peers:
                answers[who] += ask(who, [case], width=_goal(who, ours), seconds=limit)
                tick()
    for who in peers:
        bench.add(_speed(who, answers["ours"], answers[who]))
    for who in ("rdp", "gdp"):
        if who in peers:
            bench.add(_loose(who, answers["ours"], answers[who]))
    bench.add(_table(cases, answers, peers))


def _goal(who: str, ours: Answer) -> float:
    """The width to reach; for an upper side alone, the largest ε that is as near to the truth."""
    high = ours.high or 1.0
    return high + _WIDTH * high if who == "pld-upper" else _WIDTH * high


def _speed(who: str, ours: Sequence[Answer], theirs: Sequence[Answer]) -> Measure:
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a.high and b.high and b.seconds]
    failed = len(ours) - len(pairs)
    bars = {"prv": Bar(30, 60), "pld": Bar(50, 100)}
    notes = {
        "prv": "asked for the width that ours has at most",
        "pld": "coarsest mesh of 8 that reaches the width; pessimistic and optimistic together",
        "pld-upper": "one side only, where ours gives both",
        "rdp": "an upper side only, and looser: see below",
        "gdp": "no bound at all: see below",
    }
    wide = sum(a.width is None or a.width > _WIDTH for a in ours)
    note = notes[who] + (f"; {failed} of {len(ours)} without an answer, left out" if failed else "")
    if who in bars and wide:
        note += f"; ours is wider than {_WIDTH:g} in {wide}"
    if not pairs:
        return Measure(f"vs_{who}", f"CPU against {_NAMES[who]}", "s", ours=0.0, note=note)
    return Measure(
        f"vs_{who}",
        f"CPU against {_NAMES[who]}",
        "s",
        ours=statistics.median(a.seconds for a, _ in pairs),
        peer=statistics.median(b.seconds for _, b in pairs),
        ratio=statistics.median(b.seconds / a.seconds for a, b in pairs),
        bar=bars.get(who),
        note=note,
    )


def _loose(who: str, ours: Sequence[Answer], theirs: Sequence[Answer]) -> Measure:
    """How far a peer's ε is from ours; below our certified lower side it promises what is not so."""
    pairs = [(a, b.high) for a, b in zip(ours, theirs, strict=True) if a.high and b.high]
    below = sum(high < a.low * (1 - 1e-9) for a, high in pairs)
    return Measure(
        f"epsilon_{who}",
        f"ε of {_NAMES[who]} ÷ ours, median",
        "",
        ours=1.0,
        peer=statistics.median(high / (a.high or 1.0) for a, high in pairs) if pairs else None,
        note=f"below the true ε in {below} of {len(pairs)} cases",
    )


def _table(cases: Sequence[Case], answers: dict[str, list[Answer]], peers: Sequence[str]) -> Table:
    columns = ("case", "ε low", "ε high", "ours, s", *(f"{_NAMES[who]}, s" for who in peers))
    rows: list[tuple[object, ...]] = []
    for index, case in enumerate(cases):
        ours = answers["ours"][index]
        theirs = [answers[who][index] for who in peers]
        cells = [a.seconds if a.high else (a.failure or "no answer") for a in theirs]
        rows.append((str(case), ours.low, ours.high or "no answer", ours.seconds, *cells))
    return Table("accountants", "Accountants, CPU seconds at a width of 1e-3", columns, rows)
