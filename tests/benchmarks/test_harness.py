"""The harness: timing in turns, measures and bars, files, the last line, and a peer that is not there."""

from __future__ import annotations

import doctest
import importlib
import io
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from benchmarks import Bar, Bench, Cost, Curve, Measure, Stopwatch, Table, Timing, contest
from benchmarks import __main__ as command
from benchmarks.bench import PEERS_COMMAND
from benchmarks.machine import facts
from benchmarks.measure import exponent
from benchmarks.report import last_line, print_tables, write_files
from tests.arch.tree import PACKAGES, imports, modules, tree

if TYPE_CHECKING:
    from pathlib import Path


def _bench(said: io.StringIO | None = None) -> Bench:
    return Bench("demo", "quick", Console(file=said or io.StringIO(), width=200))


def _found() -> Bench:
    bench = _bench()
    bench.add(
        Measure("speed", "speed", "s", ours=Timing.of([0.5, 0.4, 0.6]), peer=2.0, bar=Bar(3, 5)),
        Measure("slow", "slowness", "s", ours=1.0, peer=2.0, bar=Bar(3), note="a note"),
        Measure("size", "size", "bits", ours=23.0, bar=Bar(24, 23, of="ours", at_most=True)),
        Measure("lonely", "no peer", "s", ours=1.0, bar=Bar(3)),
        Curve("growth", "growth", "n", "s", {"ours": [(1, 1), (10, 10), (100, 100)]}),
        Table("paper", "on paper", ("n", "degree"), [(10, 9)]),
    )
    return bench


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20))
@settings(deadline=None, max_examples=50)
def test_a_timing_is_ordered_and_lies_within_its_samples(samples: list[float]) -> None:
    timing = Timing.of(samples)
    tolerance = 1e-9 * max(samples)
    assert min(samples) - tolerance <= timing.low <= timing.median + tolerance
    assert timing.median <= timing.high + tolerance <= max(samples) + 2 * tolerance
    assert timing.samples == len(samples)


def test_quartiles_are_those_of_the_textbook() -> None:
    assert Timing.of([4.0, 1.0, 3.0, 2.0, 5.0]) == Timing(3.0, 2.0, 4.0, 5)


@pytest.mark.parametrize("samples", [[], [float("nan")], [1.0, float("inf")]])
def test_a_timing_without_finite_samples_is_refused(samples: list[float]) -> None:
    with pytest.raises(ValueError, match="finite samples"):
        Timing.of(samples)


def test_contestants_take_turns_after_one_uncounted_call_each() -> None:
    order: list[str] = []
    times = contest({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert "".join(order) == "ab" + "ababab"
    assert times["a"].samples == times["b"].samples == 3


def test_what_measures_itself_is_taken_at_its_word() -> None:
    costs = iter([99.0, 3.0, 1.0, 2.0])
    assert contest({"own": lambda: Cost(next(costs))}, rounds=3)["own"].median == 2.0


def test_short_calls_are_repeated_and_divided() -> None:
    calls = 0

    def call() -> Cost:
        nonlocal calls
        calls += 1
        return Cost(0.001)

    timing = contest({"short": call}, rounds=1, warm_up=False, min_seconds=0.05)["short"]
    assert timing.median == pytest.approx(0.001)
    assert calls >= 100  # finding the number of calls takes some as well


def test_a_contest_without_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="one round"):
        contest({}, rounds=0)


def test_a_stopwatch_counts_only_what_it_wraps() -> None:
    outer, inner = Stopwatch(), Stopwatch()
    with outer:
        sum(range(200_000))
        with inner:
            sum(range(1000))
        with inner:
            sum(range(1000))
    assert 0 < inner.seconds < outer.seconds


@pytest.mark.parametrize(
    ("bar", "met"),
    [
        (Bar(4), True),
        (Bar(4.1), False),
        (Bar(0.5, of="ours", at_most=True), True),
        (Bar(0.4, of="ours", at_most=True), False),
        (None, None),
    ],
)
def test_bars_are_judged_on_what_they_are_about(bar: Bar | None, met: bool | None) -> None:  # noqa: FBT001 - a case
    assert Measure("k", "n", "s", ours=0.5, peer=2.0, bar=bar).met is met


def test_a_measure_without_its_peer_is_neither_met_nor_missed() -> None:
    assert Measure("k", "n", "s", ours=0.5, bar=Bar(1)).met is None


def test_figures_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="not all finite"):
        Measure("k", "n", "s", ours=float("nan"))


@given(st.floats(-3, 3), st.floats(0.1, 100))
@settings(deadline=None, max_examples=50)
def test_the_exponent_of_a_power_law_is_found(power: float, factor: float) -> None:
    points = [(x, factor * x**power) for x in (1.0, 3.0, 10.0, 50.0)]
    assert exponent(points) == pytest.approx(power, abs=1e-9)


def test_small_sizes_can_be_left_out_of_a_fit() -> None:
    lines = {"ours": [(1.0, 50.0), (10.0, 10.0), (100.0, 100.0)]}
    assert Curve("k", "t", "n", "s", lines, fit_from=10).exponents["ours"] == pytest.approx(1)


def test_one_key_is_added_once() -> None:
    bench = _found()
    with pytest.raises(ValueError, match="speed was added before"):
        bench.add(Measure("speed", "again", "s", ours=1.0))


def test_the_last_line_is_one_json_object_with_the_ratios() -> None:
    line = last_line(_found())
    assert "\n" not in line
    told = json.loads(line)
    assert told["ratios"] == {"speed": 4.0, "slow": 2.0}
    assert told["ours"]["size"] == 23.0
    assert (told["missed"], told["unmeasured"]) == (["slow"], ["lonely"])


def test_files_hold_the_figures_the_machine_and_a_plot(tmp_path: Path) -> None:
    results, picture = write_files(_found(), tmp_path / "new", facts())
    told = json.loads(results.read_text(encoding="utf-8"))
    assert told["measures"][0]["ours"] == {"median": 0.5, "low": 0.45, "high": 0.55, "samples": 3}
    assert told["measures"][1]["met"] is False
    assert told["curves"][0]["exponents"]["ours"] == pytest.approx(1)
    assert told["machine"]["packages"]["numpy"]
    page = picture.read_text(encoding="utf-8")
    assert "slowness" in page
    assert 'src="http' not in page  # nothing is fetched


def test_the_table_tells_met_from_missed_and_from_unmeasured() -> None:
    shown = io.StringIO()
    print_tables(_found(), Console(file=shown, width=200))
    rows = {
        line.split("│")[1].strip(): line for line in shown.getvalue().splitlines() if "│" in line
    }
    assert "met" in rows["speed"]
    assert "missed" in rows["slowness"]
    assert "no peer" in rows["no peer"]
    assert "grows as n^1.00" in shown.getvalue()


def test_a_missing_peer_is_told_once_with_the_command_that_installs_it() -> None:
    said = io.StringIO()
    bench = Bench("demo", "quick", Console(file=said, width=40))  # too narrow for the command
    assert bench.peer("no_such_peer_here") is None
    assert bench.peer("no_such_peer_here") is None
    assert said.getvalue().count("is not installed here") == 1
    assert PEERS_COMMAND in said.getvalue()
    assert ".venv-peers/bin/python -m benchmarks demo" in said.getvalue()


def test_a_contestant_that_is_not_there_stays_away() -> None:
    assert list(_bench().contest("t", {"ours": lambda: None, "peer": None}, rounds=1)) == ["ours"]


def test_sizes_choose() -> None:
    assert _bench().pick(quick=1, default=2, full=3) == 1


@pytest.mark.parametrize(("options", "status"), [([], 0), (["--check"], 1)])
def test_a_missed_bar_fails_the_command_only_when_asked(
    options: list[str],
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def suite(bench: Bench) -> None:
        bench.add(Measure("slow", "slowness", "s", ours=1.0, peer=2.0, bar=Bar(3)))

    monkeypatch.setattr(command, "_ENVIRONMENT", {})
    monkeypatch.setattr(command, "available", lambda: ("demo",))
    monkeypatch.setattr(command, "load", lambda name: {"demo": suite}[name])
    assert command.main(["demo", "--quick", "--out", str(tmp_path), *options]) == status
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["ratios"] == {"slow": 2.0}
    assert (tmp_path / "demo.html").is_file()


def test_only_suites_that_are_there_are_offered(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(["no_such_suite"])
    assert stopped.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["bench", "machine", "measure", "timing"])
def test_the_examples_in_the_docstrings_run(name: str) -> None:
    done = doctest.testmod(importlib.import_module(f"benchmarks.{name}"))
    assert done.attempted
    assert not done.failed


def test_no_package_imports_benchmarks_or_tests() -> None:
    roots = {name.split(".")[0] for path in modules(*PACKAGES) for _, name in imports(tree(path))}
    assert "numpy" in roots
    assert not roots & {"benchmarks", "tests"}
