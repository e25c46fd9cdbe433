"""The dp suite at tiny sizes: questions in child processes, ratios, failures said openly, and its parts."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchmarks import Bench
from benchmarks.dp import audits, grid, peers, samplers
from benchmarks.dp.cases import GRID, SHORT, Case
from benchmarks.dp.child import Answer, ask
from benchmarks.kit.report import last_line


def _bench() -> Bench:
    return Bench("dp", "quick", Console(file=io.StringIO(), width=200))


def _measures(bench: Bench) -> dict[str, float | None]:
    return {m.key: m.ratio for m in bench.measures}


def test_the_grid_is_every_combination_once() -> None:
    assert len(GRID) == len(set(GRID)) == 4 * 5 * 4 * 2
    assert set(SHORT) <= {Case(c.rate, c.noise, c.rounds, c.delta) for c in SHORT}
    assert all(case.rate < 1 and case.rounds > 1 for case in SHORT)


def test_a_child_answers_each_question_with_its_own_cpu_time() -> None:
    first, second = ask("ours", [Case(1.0, 1.0, 1, 1e-5), Case(1.0, 2.0, 4, 1e-5)])
    assert first.low <= 4.377178096 * (1 + 1e-9)
    assert first.high == pytest.approx(4.377178096, rel=1e-6)
    assert second.high == pytest.approx(first.high, rel=1e-6)
    assert 0 < first.seconds < 60
    assert 10 < first.memory_mib < 4096


def test_a_child_without_its_peer_or_time_is_a_failure_not_a_crash() -> None:
    (missing,) = ask("nobody", [SHORT[0]])
    assert missing.high is None
    assert missing.failure
    assert missing.width is None


def test_a_peer_is_judged_by_the_median_over_what_it_answered() -> None:
    ours = [Answer(1.0, 1.0005, 0.01), Answer(2.0, 2.001, 0.02), Answer(3.0, 3.001, 0.03)]
    theirs = [Answer(1.0, 1.001, 0.4), Answer(2.0, 2.001, 0.8), Answer(0.0, None, 9.0)]
    found = peers._speed("prv", ours, theirs)
    assert found.ratio == pytest.approx(40)
    assert found.met
    assert "1 of 3 without an answer" in found.note


def test_an_epsilon_below_the_truth_is_counted() -> None:
    ours = [Answer(1.0, 1.001, 0.01), Answer(2.0, 2.001, 0.01)]
    found = peers._loose("gdp", ours, [Answer(0.0, 0.9, 0.1), Answer(0.0, 2.5, 0.1)])
    assert "in 1 of 2 cases" in found.note


def test_missing_peers_leave_our_side_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = _bench()
    monkeypatch.setattr(bench, "peer", lambda *_, **__: None)
    peers.run(bench)
    assert bench.measures == []


def test_the_grid_reports_widths_times_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = _bench()
    small = (Case(1.0, 1.0, 1, 1e-5), Case(1.0, 2.0, 100, 1e-8))
    monkeypatch.setattr(grid, "GRID", small)
    monkeypatch.setattr(bench, "pick", lambda **sizes: sizes["default"])
    grid.run(bench)
    figures = {m.key: m.ours for m in bench.measures}
    assert figures["width_share"] == 1
    assert figures["width_max"] < 1e-6
    assert '"dp"' in last_line(bench)


def test_samplers_and_audits_run_small(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = _bench()
    monkeypatch.setattr(bench, "peer", lambda *_, **__: None)
    sizes = {200_000: 20_000, (500, 2000): (100, 500), 2: 1}
    monkeypatch.setattr(bench, "pick", lambda **given: sizes.get(given["quick"], given["quick"]))
    samplers.run(bench)
    audits.run(bench)
    ratios = _measures(bench)
    assert ratios["sampler_skellam"] is not None
    assert {m.key for m in bench.measures} >= {"one_run_any", "one_run_gaussian", "one_shot_error"}
    assert next(m for m in bench.measures if m.key == "one_run_any").ours <= 1
