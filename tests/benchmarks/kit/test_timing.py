"""Timing in turns: medians and quartiles, and what counts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import Cost, Stopwatch, Timing, contest


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
