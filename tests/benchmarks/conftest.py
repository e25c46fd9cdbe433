"""Commands of suites run in this process, whose environment they leave as it is; a clock that tests set."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmarks import Bench


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.kit.command._ENVIRONMENT", {})


class Clock:
    """CPU seconds that pass when a test says so, and not while a busy machine does other things."""

    def __init__(self) -> None:
        self.now = 0.0

    def spend(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contestants play one round, without a warm-up: for tests in which the times do not matter."""
    contest = Bench.contest

    def once(self: Bench, title: str, contestants: dict, **options: object) -> dict:
        shorter = {"rounds": 1, "warm_up": False, "min_seconds": 0.0}
        return contest(self, title, contestants, **{**options, **shorter})

    monkeypatch.setattr(Bench, "contest", once)
    # collections before samples only steady the times, and cost most of such a test
    monkeypatch.setattr("benchmarks.kit.timing.gc", SimpleNamespace(collect=lambda: 0))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    told = Clock()
    instead = SimpleNamespace(process_time=lambda: told.now, perf_counter=lambda: told.now)
    monkeypatch.setattr("benchmarks.kit.timing.time", instead)
    monkeypatch.setattr("benchmarks.he.stages.time", instead)
    return told
