"""The one_shot suite at tiny sizes: every row of its bars is measured, and wrong sums are counted."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from benchmarks import Bench
from benchmarks.kit.timing import Cost
from benchmarks.one_shot import clients, committees, exact, example
from benchmarks.one_shot.setting import Setting
from benchmarks.secagg import committee
from he import onetime


def _bench() -> Bench:
    return Bench("one_shot", "quick", Console(file=io.StringIO()))


@pytest.fixture(scope="module")
def measured() -> Bench:
    bench = _bench()
    clients.run(bench, committees.run(bench))
    return bench


def test_every_row_that_needs_no_example_is_there(measured: Bench) -> None:
    keys = {measure.key for measure in measured.measures}
    assert keys == {
        "messages",
        "member_messages",
        "client",
        "up_20",
        "up_100",
        "down",
        "server",
        "opening_few",
        "opening_many",
        "member",
        "member_down",
        "absent_members",
        "absent_clients",
    }
    assert all(measure.bar is None for measure in measured.measures)  # bars are for the true sizes


def test_ratios_are_ours_by_theirs(measured: Bench) -> None:
    (row,) = [measure for measure in measured.measures if measure.key == "client"]
    assert row.ratio == pytest.approx(row.ours.median / row.peer.median)


def test_bars_are_those_of_the_protocol() -> None:
    bench = Bench("one_shot", "default", Console(file=io.StringIO()))
    assert Setting.of(bench, 1000).length == 1_000_000
    assert Setting.of(bench, 1000).members == (50, 5, 10)
    numbers = Setting.of(bench, 100).keys(least=3, absent=22)
    assert (numbers.threshold, numbers.packing) == (16, 7)  # as docs/protocol.md lists it
    assert Setting.of(bench, 100).keys(least=3, absent=15).threshold == 25


def test_a_member_that_keeps_its_shares_receives_them_once() -> None:
    params = Setting.of(_bench(), 10).keys()
    once = committee.play(params, 10, tick=lambda: None, restart=False)
    twice = committee.play(params, 10, tick=lambda: None)
    # The request repeats envelope and head (100 bytes) of each client, and not the signature.
    assert twice.down - once.down == 10 * (params.envelope_size + 100)
    assert once.server > 0


def test_silent_members_send_nothing_and_the_sum_is_right() -> None:
    params = Setting.of(_bench(), 10).keys()
    assert committee.play(params, 10, tick=lambda: None, silent=frozenset({9})).up > 0


def test_a_wrong_sum_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    right = onetime.Server.open_with_key_sum

    def wrong(self: onetime.Server, key_sum: np.ndarray) -> object:
        found = right(self, key_sum)
        first = np.arange(found.total.size) == 0
        return replace(found, total=found.total + first)

    monkeypatch.setattr(exact, "_CORNERS", ((3, 2, 1),))
    monkeypatch.setattr(exact, "_drawn", lambda _: (3, 2, 4))
    monkeypatch.setattr(onetime.Server, "open_with_key_sum", wrong)
    bench = _bench()
    exact.run(bench)
    assert bench.measures[0].ours == 1 + 3 + 1


def test_drawn_cases_lie_between_the_corners() -> None:
    rng = np.random.default_rng(1)
    for n, bits, length in (exact._drawn(rng) for _ in range(200)):
        assert 3 <= n <= 1500
        assert 2 <= bits <= 32
        assert 1 <= length <= 10**6


def test_the_example_runs_both_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int]] = []

    def wall(kind: str, rounds: int) -> Cost:
        told.append((kind, rounds))
        return Cost({"one-shot": 3.0, "secagg": 2.0}[kind])

    monkeypatch.setattr(example, "_wall", wall)
    bench = _bench()
    example.run(bench)
    assert bench.measures[0].ratio == pytest.approx(1.5)
    assert set(told) == {("one-shot", 1), ("secagg", 1), ("one-shot", 2), ("secagg", 2)}
