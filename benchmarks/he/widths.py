"""By width of the values: bytes, integers in a slot, CPU time; both schemes, and the public key's price."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from benchmarks.he.play import Round, play
from benchmarks.he.sides.ours import label, ours
from benchmarks.kit.measure import Table
from he import Params

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.he.play import Played
    from benchmarks.he.sides.ours import Ours
    from benchmarks.kit.bench import Bench
    from he.params import Scheme

__all__ = ["run"]

_BITS = (8, 16, 20, 32)
_SCHEMES: tuple[Scheme, ...] = ("bfv", "ckks")


def run(bench: Bench) -> None:
    """One round for each mode of keys, in which all widths take turns."""
    length, clients = bench.pick(quick=(50_000, 3), default=(1_000_000, 10), full=(1_000_000, 10))
    for public_key in (False, True):
        _mode(bench, Round.even(length, clients), public_key=public_key)


def _mode(bench: Bench, what: Round, *, public_key: bool) -> None:
    cases = {
        label(scheme, bits, public_key=public_key): (scheme, bits)
        for scheme, bits in product(_SCHEMES, _BITS)
    }
    contestants: dict[str, Callable[[Round], Ours]] = {
        name: ours(scheme, bits, public_key=public_key) for name, (scheme, bits) in cases.items()
    }
    mode = "public key" if public_key else "symmetric"
    with bench.progress(f"widths, {mode}", what.clients * len(cases)) as tick:
        played = play(what, contestants, openings=3, tick=tick)
    rows = [
        _row(what.clients, scheme, bits, played[name], public_key=public_key)
        for name, (scheme, bits) in cases.items()
    ]
    columns = (
        "scheme",
        "bits",
        "integers a slot",
        "up B/param",
        "down B/param",
        "client, CPU s",
        "server a client, CPU s",
        "opening, CPU s",
        "off by",
    )
    title = f"by width, {mode}, n={what.clients}, {what.length:,} parameters"
    bench.add(Table(f"widths_{mode.replace(' ', '_')}", title, columns, rows))


def _row(
    clients: int, scheme: Scheme, bits: int, played: Played, *, public_key: bool
) -> tuple[object, ...]:
    largest = (1 << (bits - 1)) - 1
    params = Params.for_sum(clients, max_abs=largest, scheme=scheme, public_key=public_key)
    return (
        scheme.upper(),
        bits,
        f"{params.fields / params.limbs:.3g}",
        played.up / played.params,
        played.down / played.params,
        played.client.median,
        played.server.median,
        played.opening.median,
        played.difference,
    )
