"""The round that bars are set for: ten clients, a million parameters, ours beside NVFlare and the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.he.play import COSTS, Played, Round, play
from benchmarks.he.sides.flare import Flare
from benchmarks.he.sides.ours import label, ours
from benchmarks.he.sides.peers import Floats, Tutorial
from benchmarks.kit.measure import Measure, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.he.play import System
    from benchmarks.kit.bench import Bench
    from benchmarks.kit.timing import Timing

__all__ = ["FLARE", "FLOATS", "TUTORIAL", "beside", "contest", "run", "tables"]

FLARE, TUTORIAL, FLOATS = "NVFlare", "TenSEAL tutorial", "float32 in the clear"
_BFV, _CKKS, _NARROW = label("bfv", 20), label("ckks", 16), label("bfv", 8)
_PUBLIC = label("bfv", 20, public_key=True)
_NVFLARE_ROUND = "CKKS 8192 [60, 40, 40], 8 tensors, its filters, FOBS and aggregator"
_ROLES = {
    "client": "client sends",
    "server": "server, a client",
    "opening": "opening",
}


def run(bench: Bench, *, peer: bool) -> dict[str, Played]:
    """Play the round, judge it, and say where time and bytes went; returns it for other sections."""
    what = Round.even(*bench.pick(quick=(50_000, 4), default=(1_000_000, 10), full=(1_000_000, 10)))
    played = contest(
        bench,
        what,
        {
            _BFV: ours("bfv", 20),
            _CKKS: ours("ckks", 16),
            _NARROW: ours("bfv", 8),
            _PUBLIC: ours("bfv", 20, public_key=True),
        },
        peer=peer,
    )
    name = f"n={what.clients}, {what.length:,} parameters"
    _sizes(bench, played)
    _times(bench, played, name)
    _exactness(bench, played, name)
    bench.add(*tables(played, name))
    return played


def contest(
    bench: Bench,
    what: Round,
    contestants: Mapping[str, Callable[[Round], System]],
    *,
    peer: bool,
) -> dict[str, Played]:
    """Ours and the others in one round, with a progress bar."""
    everyone: dict[str, Callable[[Round], System]] = dict(contestants)
    everyone |= {FLARE: Flare} if peer else {}
    everyone |= {TUTORIAL: Tutorial, FLOATS: Floats}
    title = f"n={what.clients}, {what.length:,} parameters"
    with bench.progress(title, what.clients * len(everyone)) as tick:
        return play(what, everyone, tick=tick)


def _sizes(bench: Bench, played: Mapping[str, Played]) -> None:
    peer = played.get(FLARE)
    up = None if peer is None else peer.up / peer.params
    down = None if peer is None else peer.down / peer.params
    for key, name, limit, reach in (
        ("up_bfv", _BFV, 4.1, 3.8),
        ("up_ckks", _CKKS, 4.1, 3.8),
        ("up_narrow", _NARROW, 2.05, 1.9),
    ):
        figure = played[name].up / played[name].params
        bar = bench.bar(limit, reach, of="ours", at_most=True)
        bench.add(Measure(key, f"upload, {name}", "B/parameter", figure, up, bar=bar))
    bench.add(
        Measure(
            "down_bfv",
            f"download of the sum, {_BFV}",
            "B/parameter",
            played[_BFV].down / played[_BFV].params,
            down,
            bar=bench.bar(8.1, 4.2, of="ours", at_most=True),
            note="to the key holder, or in symmetric custody to each client that opens; "
            "a key holder's broadcast of the mean is 4 B of float32 more, to each client",
        ),
        Measure(
            "context",
            "the server's context, without a key",
            "bytes",
            played[_BFV].context,
            None if peer is None else peer.context,
            bar=bench.bar(128, of="ours", at_most=True),
            note="NVFlare's vectors carry theirs again with each tensor, up and down",
        ),
    )


def _times(bench: Bench, played: Mapping[str, Played], name: str) -> None:
    peer = played.get(FLARE)
    notes = {
        "client": f"from floats to bytes, our quantisation included; NVFlare: {_NVFLARE_ROUND}",
        "server": "from bytes to bytes, receiving and 1/n of the result; both without a key",
        "opening": "NVFlare: FOBS and its decrypting filter, at every client; ours: the key holder's "
        "opening, its rounding to float32 and a client's reading of that; where clients "
        "hold the key and each opens, the same opening",
    }
    bars = {"client": (8, 15), "server": (11, 20), "opening": (4.5, 6)}
    whats = {
        "client": f"client sends, {name}",
        "server": f"server for each client, {name}",
        "opening": f"client receives, {name}",
    }
    for role, what in whats.items():
        theirs: Timing | None = None if peer is None else getattr(peer, role)
        for key, system in (("", _BFV), ("_ckks", _CKKS), ("_public_key", _PUBLIC)):
            figure: Timing = getattr(played[system], role)
            bar = None if key else bench.bar(*bars[role])
            note = "" if key else notes[role]
            title = f"{what}, {system}"
            bench.add(Measure(f"{role}{key}", title, "CPU s", figure, theirs, bar=bar, note=note))


def _exactness(bench: Bench, played: Mapping[str, Played], name: str) -> None:
    differences = [p.difference for p in played.values() if p.difference is not None]
    bench.add(
        Measure(
            "difference",
            f"largest difference from the plain integer sum, {name}",
            "units",
            max(differences),
            bar=bench.bar(0, of="ours", at_most=True),
            note=f"over {len(differences)} rounds of ours",
        )
    )


def beside(played: Mapping[str, Played]) -> list[Measure]:
    """Each system of ours beside NVFlare, without bars; keys begin with the scheme's name."""
    peer = played.get(FLARE)
    found: list[Measure] = []
    for name, p in played.items():
        if p.difference is None:
            continue
        scheme = name.split()[0].lower()
        up, theirs = p.up / p.params, None if peer is None else peer.up / peer.params
        found.append(Measure(f"{scheme}_up", f"upload, {name}", "B/parameter", up, theirs))
        for role, shown in _ROLES.items():
            figure: Timing = getattr(p, role)
            other: Timing | None = None if peer is None else getattr(peer, role)
            key = f"{scheme}_{role}"
            found.append(Measure(key, f"{shown}, {name}", "CPU s", figure, other))
    return found


def tables(played: Mapping[str, Played], name: str) -> list[Table]:
    """A round's figures, and where time and bytes went: one column a system."""
    columns = ("system", *COSTS, "integers off by", "mean off by")
    rows: list[tuple[object, ...]] = [
        (
            system,
            *p.costs,
            "–" if p.difference is None else p.difference,
            f"{p.error:.1e}",
        )
        for system, p in played.items()
    ]
    times = {(system, role): p.time[role] for system, p in played.items() for role in _ROLES}
    sizes = {(s, d): p.size[d] for s, p in played.items() for d in ("upload", "download")}
    return [
        Table("round", f"a round, {name}", columns, rows),
        _wide(
            "time",
            f"where the time goes, milliseconds of processor time, {name}",
            times,
            _ROLES,
            1e3,
        ),
        _wide(
            "bytes", f"where the bytes go, {name}", sizes, {"upload": "up", "download": "down"}, 1
        ),
    ]


def _wide(
    key: str,
    title: str,
    parts: Mapping[tuple[str, str], Mapping[str, float]],
    groups: Mapping[str, str],
    factor: float,
) -> Table:
    """A row for each part of each group, a column for each system."""
    systems = list(dict.fromkeys(system for system, _ in parts))
    rows: list[tuple[object, ...]] = []
    for group, shown in groups.items():
        names = dict.fromkeys(part for system in systems for part in parts[system, group])
        for name in names:
            cells = [parts[system, group].get(name) for system in systems]
            rows.append((shown, name, *(0.0 if c is None else float(factor * c) for c in cells)))
    return Table(key, title, ("", "part", *systems), rows)
