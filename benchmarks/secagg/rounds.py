"""One round beside Flower's, with as many masks: every client's cost, the server's, and the upload."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.kit.measure import Measure
from benchmarks.kit.timing import Timing
from benchmarks.secagg import flower
from benchmarks.secagg.session import Recording, like_for_like, record, replay

if TYPE_CHECKING:
    from benchmarks.kit.bench import Bench
    from benchmarks.kit.measure import Bar
    from benchmarks.secagg.flower import FlowerRound

__all__ = ["run"]


@dataclass(frozen=True, slots=True)
class _Bout:
    """Ours before and after theirs."""

    recording: Recording
    clients: Timing
    server: Timing
    theirs: FlowerRound | None


def run(bench: Bench, *, peer: bool) -> None:
    """The complete graph, then a sparse one."""
    n, length = bench.pick(quick=(20, 50_000), default=(100, 1_000_000), full=(100, 1_000_000))
    sparse = bench.pick(quick=10, default=30, full=30)
    complete = _bout(bench, n, length, n - 1, peer=peer)
    name = f"n={n} complete graph, 10 % drop, d={length:,}"
    theirs = _floats(bench, complete, length)
    about = _about(complete)
    bench.add(
        _client("client_complete", f"client, {name}", complete, theirs, bench.bar(18, 25), about),
        _server("server_complete", f"server, {name}", complete, bench.bar(130, 170), about),
        _upload(bench, complete, length),
    )
    complete = None  # its messages are large
    neighbours = _bout(bench, n, length, sparse, peer=peer)
    name = f"n={n}, {sparse} neighbours, 10 % drop, d={length:,}"
    about = _about(neighbours)
    bench.add(
        _client("client_sparse", f"client, {name}", neighbours, theirs, bench.bar(6.5, 12), about),
        _server("server_sparse", f"server, {name}", neighbours, None, about),
        _download(neighbours, sparse),
    )


def _bout(bench: Bench, n: int, length: int, degree: int, *, peer: bool) -> _Bout:
    params, silent = like_for_like(n, length, degree), n // 10
    watched = bench.pick(quick=5, default=15, full=30)
    clients: list[float] = []
    servers: list[float] = []

    def ours() -> Recording:
        gc.collect()
        with bench.progress(f"ours, {degree} neighbours", n - silent) as tick:
            recording = record(params, silent=silent, watched=watched, tick=tick)
        clients.extend(recording.client_seconds)
        servers.extend(replay(recording).seconds for _ in range(3))
        return recording

    recording, theirs = ours(), None
    if peer:
        gc.collect()
        with bench.progress(f"Flower, {degree} neighbours", n - silent) as tick:
            theirs = flower.play(
                n, length, shares=degree + 1, threshold=_majority(degree), silent=silent, tick=tick
            )
        recording = ours()
    return _Bout(recording, Timing.of(clients), Timing.of(servers), theirs)


def _about(bout: _Bout) -> str:
    params = bout.recording.params
    ours = (
        f"{params.degree + 1} masks a client; ours against a {params.threat_model} server with "
        f"{params.corrupt_rate:.0%} colluders, threshold {params.threshold}, {params.ring_bits} bits"
    )
    theirs = f"; Flower's threshold {_majority(params.degree)}, its defaults"
    return ours if bout.theirs is None else f"both with {ours}{theirs}"


def _majority(degree: int) -> int:
    """Flower's threshold: just above half of a neighbourhood's shares."""
    return degree // 2 + 2


def _floats(bench: Bench, bout: _Bout, length: int) -> float:
    """Seconds of Flower's client that go to its floats: not counted, since ours is given integers."""
    if bout.theirs is None:
        return 0.0
    once = {"Flower": flower.quantisation(length)}
    return bench.contest("Flower's quantisation", once, rounds=5)["Flower"].median


def _client(
    key: str, name: str, bout: _Bout, floats: float, bar: Bar | None, about: str
) -> Measure:
    theirs = None
    if bout.theirs is not None:
        theirs = Timing.of([seconds - floats for seconds in bout.theirs.client_seconds])
        about += f", its quantisation of {floats:.3g} s left out"
    return Measure(key, name, "CPU s", ours=bout.clients, peer=theirs, bar=bar, note=about)


def _server(key: str, name: str, bout: _Bout, bar: Bar | None, about: str) -> Measure:
    theirs = None if bout.theirs is None else bout.theirs.server_seconds
    about += f"; {bout.recording.masks} masks removed"
    return Measure(key, name, "CPU s", ours=bout.server, peer=theirs, bar=bar, note=about)


def _upload(bench: Bench, bout: _Bout, length: int) -> Measure:
    theirs = None if bout.theirs is None else 8 * bout.theirs.up / length
    return Measure(
        "upload",
        f"upload, 16-bit values, n={bout.recording.params.n_clients}, all messages",
        "bits a parameter",
        ours=8 * bout.recording.up / length,
        peer=theirs,
        bar=bench.bar(24 * 1.01, 23, of="ours", at_most=True),
    )


def _download(bout: _Bout, degree: int) -> Measure:
    n = bout.recording.params.n_clients
    return Measure(
        "download",
        f"download, n={n}, {degree} neighbours, besides the model",
        "bytes",
        ours=bout.recording.down,
        peer=None if bout.theirs is None else bout.theirs.down,
        note="ours: everyone's keys, checked against a directory, and a quorum of signatures; "
        "Flower's: its neighbours' keys",
    )
