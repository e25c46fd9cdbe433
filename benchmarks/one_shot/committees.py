"""Members of a committee: their cost, how many may be absent, and the opening for few clients and many."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.he.onetime import Case, opening_of_ten
from benchmarks.kit.measure import Measure
from benchmarks.one_shot.setting import Setting, vector
from benchmarks.secagg.committee import Played, play
from secagg.committee.collector import closing

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.kit.bench import Bench
    from he import onetime

__all__ = ["Sessions", "run"]

_FEW = 10


@dataclass(frozen=True, slots=True)
class Sessions:
    """What other parts of the suite go on from.

    Args:
        many: the session of keys of the large sum.
        opening: CPU seconds of its opening.
    """

    many: Played
    opening: float


def run(bench: Bench) -> Sessions:
    """Sessions of ten and of a thousand clients; opening; absent members; absent clients."""
    sizes = {"few": _FEW, "many": bench.pick(quick=20, default=1000, full=1000)}
    settings = {name: Setting.of(bench, n) for name, n in sizes.items()}
    with bench.progress("sessions of a committee", sum(sizes.values())) as tick:
        played = {
            name: play(one.keys(), one.clients, tick=tick, restart=False)
            for name, one in settings.items()
        }
    many = played["many"]
    _members(bench, settings["many"], many)
    opening = _openings(bench, settings, played)
    _absent(bench)
    return Sessions(many, opening)


def _members(bench: Bench, setting: Setting, played: Played) -> None:
    numbers, name = setting.keys(), f"a member of {setting.members[0]}, n={setting.clients:,}"
    about = (
        f"keys of {numbers.vector_length:,} coordinates, t={numbers.threshold}, k={numbers.packing}; three "
        "messages, shares kept between them"
    )
    bench.add(
        Measure(
            "member",
            name,
            "CPU s",
            played.members,
            bar=bench.bar(1, 0.4, of="ours", at_most=True),
            note=about,
        ),
        Measure(
            "member_down",
            f"{name}, download",
            "bytes",
            played.down,
            bar=bench.bar(2_200_000, 1_000_000, of="ours", at_most=True),
            note=f"{about}; a member that lost its shares with its process receives "
            f"{played.down + setting.clients * (numbers.envelope_size):,} bytes",
        ),
    )


def _openings(bench: Bench, settings: dict[str, Setting], played: dict[str, Played]) -> float:
    """Keys and ciphertexts together, beside he's opening for ten; all take turns."""
    contestants: dict[str, Callable[[], object]] = {
        "shared": opening_of_ten(vector(settings["few"].length))
    }
    for name, setting in settings.items():
        case = Case.of(setting.sums.params(setting.spec), vector(setting.length))
        contestants[name] = partial(_open, setting, case, played[name], case.served())
    times = bench.contest("openings", contestants, rounds=5)
    for name, setting in settings.items():
        bench.add(
            Measure(
                f"opening_{name}",
                f"opening, n={setting.clients:,}, d={setting.length:,}",
                "CPU s",
                times[name],
                times["shared"],
                ratio=times[name].median / times["shared"].median,
                bar=bench.bar(1.5, 1.1, at_most=True),
                note="the sum of keys from the members' answers, and the sum of ciphertexts; beside the "
                "opening of a sum of ten under one shared key",
            )
        )
    return times["many"].median


def _open(setting: Setting, case: Case, played: Played, server: onetime.Server) -> None:
    closing.total(setting.keys(), played.answers)
    server.open_with_key_sum(case.key_sum)


def _absent(bench: Bench) -> None:
    """Sessions in which members and clients are missing, played to their sums."""
    found: dict[str, float] = {}
    everybody = Setting.of(bench, bench.pick(quick=20, default=100, full=100))
    m = everybody.members[0]
    for name, share in (("margin", 0.3), ("no margin", 0.44)):
        missing = frozenset(range(m - int(share * m), m))
        numbers = everybody.keys(least=3, absent=len(missing))
        play(numbers, 3, tick=lambda: None, silent=missing)  # raises unless the sum is right
        found[name] = len(missing) / m
    bench.add(
        Measure(
            "absent_members",
            f"members absent throughout, of {m}",
            "share",
            found["margin"],
            bar=bench.bar(0.3, of="ours"),
            note=f"{everybody.members[1]} may collude; t = ⌈m/2⌉ leaves a margin against stolen keys. "
            f"With t = ⌊m/3⌋, given, {found['no margin']:.0%} may be absent",
        ),
        Measure(
            "absent_clients",
            f"clients that send nothing, of {everybody.clients}",
            "share",
            1 - 3 / everybody.clients,
            bar=bench.bar(0.9, of="ours"),
            note="without noise any number may be missing, down to the smallest sum of three; with noise the "
            "share that the plan states, as its law is sized by it",
        ),
    )
